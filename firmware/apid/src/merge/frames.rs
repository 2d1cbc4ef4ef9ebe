//! The messages of a reply, cut out of its data as it arrives: a byte that says whether it is compressed, four of length (big
//! endian), the message. A message is handed on whole; its bytes are taken from a budget that all merged calls share.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Bytes in front of a message.
pub(super) const HEADER: usize = 5;
/// Room that is made for a message before its bytes are there.
const FIRST_ROOM: usize = 64 * 1024;

/// A whole message with the room that it takes.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) payload: Bytes,
    pub(super) room: OwnedSemaphorePermit,
}

/// Cuts messages.
#[derive(Debug)]
pub(super) struct Frames {
    budget: Arc<Semaphore>,
    /// What came last and is not cut yet.
    pending: Bytes,
    header: BytesMut,
    begun: Option<Begun>,
}

/// A message that has not arrived completely.
#[derive(Debug)]
struct Begun {
    length: usize,
    bytes: BytesMut,
    room: OwnedSemaphorePermit,
}

impl Frames {
    pub(super) fn new(budget: Arc<Semaphore>) -> Self {
        Self { budget, pending: Bytes::new(), header: BytesMut::new(), begun: None }
    }

    /// Takes data; call [`Frames::cut`] until it gives nothing before there is more.
    pub(super) fn push(&mut self, data: Bytes) {
        debug_assert!(self.pending.is_empty(), "data that nobody cut");
        self.pending = data;
    }

    /// Nothing was begun and not ended.
    pub(super) fn is_between(&self) -> bool {
        self.begun.is_none() && self.header.is_empty() && self.pending.is_empty()
    }

    /// The next message, if all of it is there.
    pub(super) fn cut(&mut self) -> Result<Option<Message>, Status> {
        let mut begun = match self.begun.take() {
            Some(begun) => begun,
            None => match self.begin()? {
                Some(begun) => begun,
                None => return Ok(None),
            },
        };
        let missing = begun.length - begun.bytes.len();
        if begun.bytes.is_empty() && self.pending.len() >= missing {
            // The usual case: it came in one piece and needs no copy.
            return Ok(Some(Message { payload: self.pending.split_to(missing), room: begun.room }));
        }
        begun.bytes.reserve(missing.min(FIRST_ROOM));
        begun.bytes.extend_from_slice(&self.pending.split_to(missing.min(self.pending.len())));
        if begun.bytes.len() == begun.length {
            return Ok(Some(Message { payload: begun.bytes.freeze(), room: begun.room }));
        }
        self.begun = Some(begun);
        Ok(None)
    }

    fn begin(&mut self) -> Result<Option<Begun>, Status> {
        let wanted = (HEADER - self.header.len()).min(self.pending.len());
        self.header.extend_from_slice(&self.pending.split_to(wanted));
        if self.header.len() < HEADER {
            return Ok(None);
        }
        let (compressed, length) = (self.header.get_u8(), self.header.get_u32());
        self.header.clear();
        // Nobody was told that it might compress: see `fan::request`.
        if compressed != 0 {
            return Err(Status::internal("the node sent a compressed message, which cannot be merged"));
        }
        let length_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if length_bytes > wire::MAX_MESSAGE {
            return Err(Status::resource_exhausted(format!("a message of {length} bytes; the limit is {}", wire::MAX_MESSAGE)));
        }
        let Ok(room) = Arc::clone(&self.budget).try_acquire_many_owned(length) else {
            return Err(Status::resource_exhausted("no room to merge replies at the moment; ask fewer nodes at once or try again"));
        };
        Ok(Some(Begun { length: length_bytes, bytes: BytesMut::new(), room }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes))
    }

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(message);
        }
        bytes
    }

    fn cut(frames: &mut Frames, data: &[u8]) -> Result<Vec<Vec<u8>>, tonic::Code> {
        frames.push(Bytes::copy_from_slice(data));
        let mut messages = Vec::new();
        while let Some(message) = frames.cut().map_err(|status| status.code())? {
            messages.push(message.payload.to_vec());
        }
        Ok(messages)
    }

    #[test]
    fn limits_hold_before_the_bytes_are_there() {
        let code = |budget: Arc<Semaphore>, data: &[u8]| cut(&mut Frames::new(budget), data).unwrap_err();
        assert_eq!(code(budget(1000), &[1, 0, 0, 0, 1, 7]), tonic::Code::Internal);
        assert_eq!(code(budget(1000), &[0, 0, 0, 4, 0]), tonic::Code::ResourceExhausted);
        assert_eq!(code(budget(usize::MAX >> 3), &[0, 0xff, 0, 0, 0]), tonic::Code::ResourceExhausted);
        let shared = budget(10);
        let mut first = Frames::new(Arc::clone(&shared));
        assert_eq!(cut(&mut first, &[0, 0, 0, 0, 8, 1]).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(code(Arc::clone(&shared), &[0, 0, 0, 0, 8]), tonic::Code::ResourceExhausted);
        drop(first);
        assert_eq!(shared.available_permits(), 10, "room comes back");
    }

    proptest! {
        #[test]
        fn messages_come_out_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            steps in prop::collection::vec(1_usize..70, 1..50),
        ) {
            let bytes = framed(&messages);
            let mut frames = Frames::new(budget(1 << 20));
            let (mut rest, mut found) = (&bytes[..], Vec::new());
            for step in steps.iter().cycle() {
                let (now, later) = rest.split_at((*step).min(rest.len()));
                found.extend(cut(&mut frames, now).unwrap());
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, messages);
            prop_assert!(frames.is_between());
        }

        #[test]
        fn garbage_is_an_error_or_nothing(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let budget = budget(1 << 10);
            let mut frames = Frames::new(Arc::clone(&budget));
            let _ = cut(&mut frames, &data);
            drop(frames);
            prop_assert_eq!(budget.available_permits(), 1 << 10);
        }
    }
}
