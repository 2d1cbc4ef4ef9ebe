//! What a node's reply becomes in the merged one, on encoded messages.
//!
//! Replies have the shape `Reply { repeated X messages = 1 }` with `X { common.Metadata metadata = 1 }`. Protobuf lets a field
//! come late and merges it, so the name of a node is appended to its `X` and nothing is decoded.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, skip_field},
};
use tonic::{Code, Status};
use wire::{common::Metadata, google_rpc};

/// The field of replies and of metadata.
const FIELD: u32 = 1;
/// Bytes of that field's key.
const KEY: usize = 1;

/// A node's metadata, encoded as field 1.
#[derive(Clone, Debug)]
pub(super) struct Label(Bytes);

impl Label {
    /// Says who answered.
    pub(super) fn of(hostname: &str) -> Self {
        Self::encode(&Metadata { hostname: hostname.to_owned(), ..Metadata::default() })
    }

    /// Says who failed, and how.
    pub(super) fn failed(hostname: &str, status: &Status) -> Self {
        let details = google_rpc::Status::decode(status.details()).map(|known| known.details).unwrap_or_default();
        let (code, message) = (status.code(), status.message());
        Self::encode(&Metadata {
            hostname: hostname.to_owned(),
            // Older clients show this text, in the words that they know.
            error: format!("rpc error: code = {} desc = {message}", name(code)),
            status: Some(google_rpc::Status { code: code.into(), message: message.to_owned(), details }),
        })
    }

    fn encode(metadata: &Metadata) -> Self {
        let mut bytes = BytesMut::new();
        put(&mut bytes, &[&metadata.encode_to_vec()]);
        Self(bytes.freeze())
    }
}

/// The name of a code as clients of the reference print it.
fn name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A message of a stream with its node's name.
pub(super) fn streamed(payload: &[u8], label: &Label) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + label.0.len());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&label.0);
    bytes.freeze()
}

/// A reply with its node's name in each of its messages; one without any gets one, so that the node is seen to have answered.
///
/// # Errors
/// When it is not of the shape.
pub(super) fn unary(payload: &Bytes, label: &Label) -> Result<Bytes, Status> {
    let malformed = || Status::internal("the node's reply cannot be merged: it does not begin with a list of messages");
    let mut bytes = BytesMut::with_capacity(payload.len() + label.0.len() + 16);
    if payload.is_empty() {
        put(&mut bytes, &[&label.0]);
    }
    let mut rest = payload.clone();
    while rest.has_remaining() {
        let start = rest.clone();
        let (field, kind) = decode_key(&mut rest).map_err(|_| malformed())?;
        let is_message = field == FIELD && kind == WireType::LengthDelimited;
        if bytes.is_empty() && !is_message {
            return Err(malformed());
        }
        if is_message {
            let length = decode_varint(&mut rest).map_err(|_| malformed())?;
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.remaining()).ok_or_else(malformed)?;
            put(&mut bytes, &[&rest.split_to(length), &label.0]);
        } else {
            skip_field(kind, field, &mut rest, DecodeContext::default()).map_err(|_| malformed())?;
            bytes.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    Ok(bytes.freeze())
}

/// A reply that holds one message with nothing but this.
pub(super) fn lone(label: &Label) -> Bytes {
    let mut bytes = BytesMut::with_capacity(KEY + encoded_len_varint(label.0.len() as u64) + label.0.len());
    put(&mut bytes, &[&label.0]);
    bytes.freeze()
}

/// The same in a stream.
pub(super) fn lone_streamed(label: &Label) -> Bytes {
    label.0.clone()
}

/// Field 1 with these parts.
fn put(bytes: &mut BytesMut, parts: &[&[u8]]) {
    encode_key(FIELD, WireType::LengthDelimited, bytes);
    encode_varint(parts.iter().map(|part| part.len() as u64).sum(), bytes);
    parts.iter().for_each(|part| bytes.put_slice(part));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{
        common::Data,
        machine::{Hostname, HostnameResponse},
    };

    use super::*;

    fn reply(hostnames: &[String]) -> Bytes {
        let messages = hostnames.iter().map(|hostname| Hostname { hostname: hostname.clone(), ..Hostname::default() }).collect();
        HostnameResponse { messages }.encode_to_vec().into()
    }

    #[test]
    fn a_failure_is_an_entry_of_its_own() {
        let label = Label::failed("10.0.0.2", &Status::unavailable("gone"));
        let merged = HostnameResponse::decode(lone(&label)).unwrap();
        let metadata = merged.messages[0].metadata.clone().unwrap();
        assert_eq!((metadata.hostname.as_str(), metadata.error.as_str()), ("10.0.0.2", "rpc error: code = Unavailable desc = gone"));
        let status = metadata.status.unwrap();
        assert_eq!((status.code, status.message.as_str()), (14, "gone"));
        let streamed = Data::decode(lone_streamed(&label)).unwrap();
        assert_eq!(streamed.metadata.unwrap().error, metadata.error);
        assert_eq!(name(Code::Cancelled), "Canceled");
    }

    #[test]
    fn a_reply_of_another_shape_is_refused() {
        let label = Label::of("n");
        for bad in [&[0x08, 1][..], &[0x0a, 5, 1], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &[0x12, 0], &[0x80]] {
            assert_eq!(unary(&Bytes::copy_from_slice(bad), &label).unwrap_err().code(), Code::Internal, "{bad:?}");
        }
        let silent = HostnameResponse::decode(unary(&Bytes::new(), &label).unwrap()).unwrap();
        assert_eq!(silent.messages[0].metadata.as_ref().unwrap().hostname, "n");
    }

    proptest! {
        /// Merged without decoding is the same as decoded, changed and encoded.
        #[test]
        fn merging_agrees_with_decoding(nodes in prop::collection::vec((".{0,8}", prop::collection::vec(".{0,40}", 1..4)), 0..5)) {
            let mut merged = BytesMut::new();
            let mut wanted = Vec::new();
            for (node, hostnames) in &nodes {
                merged.extend_from_slice(&unary(&reply(hostnames), &Label::of(node)).unwrap());
                for hostname in hostnames {
                    let metadata = Some(Metadata { hostname: node.clone(), ..Metadata::default() });
                    wanted.push(Hostname { metadata, hostname: hostname.clone() });
                }
            }
            prop_assert_eq!(HostnameResponse::decode(merged.freeze()).unwrap().messages, wanted);
        }

        #[test]
        fn streams_keep_their_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), node in ".{0,8}") {
            let data = Data { bytes: bytes.into(), metadata: None };
            let named = Data::decode(streamed(&data.encode_to_vec(), &Label::of(&node))).unwrap();
            prop_assert_eq!(named.metadata.unwrap().hostname, node);
            prop_assert_eq!(named.bytes, data.bytes);
        }

        /// Fields behind the list that this version does not know stay; garbage is refused or passed through, and never panics.
        #[test]
        fn garbage_does_no_harm(hostnames in prop::collection::vec(".{0,9}", 1..3), tail in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = reply(&hostnames).to_vec();
            bytes.extend(&tail);
            if let Ok(merged) = unary(&bytes.clone().into(), &Label::of("n")) {
                let (before, after) = (HostnameResponse::decode(&bytes[..]), HostnameResponse::decode(merged));
                // What cannot be decoded before may not be after; the other way round it has to be.
                if let Ok(before) = before {
                    prop_assert_eq!(before.messages.len(), after.unwrap().messages.len());
                }
            }
            let _ = unary(&tail.into(), &Label::of("n"));
        }
    }
}
