//! Netlink messages and attributes as bytes. Pure.

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`, `NLM_F_CREATE`, `NLM_F_APPEND`.
pub(super) const REQUEST: u16 = 0x001;
pub(super) const ACK: u16 = 0x004;
pub(super) const DUMP: u16 = 0x300;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

/// Bytes of `nlmsghdr` and of `nfgenmsg`.
pub(super) const HEADER: usize = 16;
pub(super) const FAMILY_HEADER: usize = 4;
/// Attributes and messages begin at multiples of this.
const ALIGN: usize = 4;
/// `NLA_F_NESTED`; with `NLA_F_NET_BYTEORDER` the bits that are no part of a type.
const NESTED: u16 = 0x8000;
const TYPE: u16 = 0x3fff;

/// Messages in the making, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    sequence: u32,
    last: usize,
}

impl Messages {
    /// Adds a message of `kind` (subsystem and number) for `family`; gives its sequence number.
    pub fn add(&mut self, kind: u16, flags: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> u32 {
        self.sequence += 1;
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        // Version 0 of nfnetlink; the resource is in network order.
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        fill(&mut Attributes { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - self.last).unwrap_or(u32::MAX);
        put(&mut self.bytes, self.last, &length.to_ne_bytes());
        self.sequence
    }

    /// Asks for an answer to the message that was added last; gives its sequence number.
    pub fn acknowledge_last(&mut self) -> u32 {
        if let Some(flags) = self.bytes.get_mut(self.last + 6) {
            *flags |= ACK as u8;
        }
        self.sequence
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Overwrites what was left open.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// The attributes of a message or of a nest.
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub fn raw(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.open(kind, |inside| inside.bytes.extend_from_slice(value))
    }

    /// With the zero at its end that the kernel expects.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.open(kind, |inside| {
            inside.bytes.extend_from_slice(value.as_bytes());
            inside.bytes.push(0);
        })
    }

    /// Numbers are in network order throughout nf_tables.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.raw(kind, &value.to_be_bytes())
    }

    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.raw(kind, &value.to_be_bytes())
    }

    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.open(kind | NESTED, |inside| fill(inside))
    }

    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Attributes { bytes: self.bytes });
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        put(self.bytes, start, &length.to_ne_bytes());
        let padded = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(padded, 0);
        self
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// What follows `nlmsghdr`.
    pub payload: &'a [u8],
}

/// The messages of a datagram; what is broken ends them.
pub(super) fn messages(mut datagram: &[u8]) -> Vec<Received<'_>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = datagram.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        let (Some(whole), Some(&[k0, k1, f0, f1, s0, s1, s2, s3])) = (datagram.get(HEADER..length), rest.first_chunk::<8>()) else { break };
        found.push(Received {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload: whole,
        });
        datagram = datagram.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    found
}

/// The attributes in `bytes`: type and content; what is broken ends them.
pub(super) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(&[l0, l1, k0, k1]) = bytes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([k0, k1]) & TYPE, value));
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    found
}

/// An attribute that is a text.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// An attribute that is a number; 0 when it is too short.
pub(super) fn number(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Messages::default();
        out.add(0xa03, CREATE, 1, 0, |attributes| {
            attributes.text(1, "abc").nest(2, |inside| {
                inside.u32(1, 7).raw(2, &[9]);
            });
        });
        out.add(0x11, 0, 0, 10, |_| {});
        assert_eq!(out.acknowledge_last(), 2);
        let found = messages(out.bytes());
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence), (0xa03, CREATE | REQUEST, 1));
        assert_eq!((found[1].kind, found[1].flags, found[1].payload), (0x11, REQUEST | ACK, &[0, 0, 0, 10][..]));
        let top = attributes(&found[0].payload[FAMILY_HEADER..]);
        assert_eq!((top.len(), top[0].0, text(top[0].1)), (2, 1, "abc".to_owned()));
        let inside = attributes(top[1].1);
        assert_eq!((number(inside[0].1), inside[1]), (7, (2, &[9][..])));
    }

    proptest! {
        #[test]
        fn nothing_is_too_broken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                for (_, value) in attributes(message.payload) {
                    _ = (text(value), number(value), attributes(value).len());
                }
            }
        }
    }
}
