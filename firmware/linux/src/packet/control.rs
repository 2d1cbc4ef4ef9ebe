//! What the kernel says beside a packet: a row of records, each of a length, a level, a kind and its data.

use std::{mem, time::Duration};

/// Of `socket.h` and `if_packet.h`.
const SOL_SOCKET: i32 = libc::SOL_SOCKET;
const SCM_TIMESTAMPNS: i32 = libc::SO_TIMESTAMPNS;
const SOL_PACKET: i32 = libc::SOL_PACKET;
const PACKET_AUXDATA: i32 = 8;
/// Bits of a packet's status: there is a tag; its protocol is said.
const TAG_VALID: u32 = 1 << 4;
const PROTOCOL_VALID: u32 = 1 << 6;
/// The protocol of a tag whose protocol is not said (IEEE 802.1Q).
const DOT1Q: u16 = 0x8100;

/// Where a record's data begins, bytes; records begin at multiples of a word.
const HEADER: usize = mem::size_of::<usize>() + 2 * mem::size_of::<i32>();
const WORD: usize = mem::size_of::<usize>();

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) protocol: u16,
    pub(super) value: u16,
}

impl Tag {
    /// As it is on the wire.
    pub(super) fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.protocol.to_be_bytes(), self.value.to_be_bytes());
        [a, b, c, d]
    }
}

/// What was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// When the packet was seen, since the Unix epoch.
    pub(super) at: Option<Duration>,
    /// How long it was, without its tag.
    pub(super) length: Option<u32>,
    /// The tag that was taken out of it.
    pub(super) tag: Option<Tag>,
}

impl Beside {
    /// Records that are cut or not understood are passed over.
    pub(super) fn read(mut rest: &[u8]) -> Self {
        let mut beside = Self::default();
        while let Some((length, level, kind)) = header(rest) {
            let Some(data) = rest.get(HEADER..length) else { break };
            match (level, kind) {
                (SOL_SOCKET, SCM_TIMESTAMPNS) => beside.at = time(data),
                (SOL_PACKET, PACKET_AUXDATA) => beside.auxiliary(data),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(WORD)..).unwrap_or_default();
        }
        beside
    }

    /// `struct tpacket_auxdata`: status, length, kept length, two offsets, tag, protocol of the tag.
    fn auxiliary(&mut self, data: &[u8]) {
        let (Some(status), Some(length)) = (number(data, 0), number(data, 4)) else { return };
        self.length = Some(length);
        if let (true, Some(value), Some(protocol)) = (status & TAG_VALID != 0, short(data, 16), short(data, 18)) {
            let protocol = if status & PROTOCOL_VALID == 0 { DOT1Q } else { protocol };
            self.tag = Some(Tag { protocol, value });
        }
    }
}

/// Length, level and kind of the first record.
fn header(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let length = usize::from_ne_bytes(*bytes.first_chunk()?);
    let level = i32::from_ne_bytes(*bytes.get(WORD..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*bytes.get(WORD + 4..)?.first_chunk()?);
    (length >= HEADER).then_some((length, level, kind))
}

fn time(data: &[u8]) -> Option<Duration> {
    let seconds = i64::from_ne_bytes(*data.first_chunk()?);
    let nanoseconds = i64::from_ne_bytes(*data.get(8..)?.first_chunk()?);
    let nanoseconds = u32::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

fn number(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*data.get(at..)?.first_chunk()?))
}

fn short(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = (HEADER + data.len()).to_ne_bytes().to_vec();
        out.extend(level.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(WORD), 0);
        out
    }

    fn auxiliary(status: u32, value: u16, protocol: u16) -> Vec<u8> {
        let mut data = Vec::new();
        for word in [status, 1514, 96] {
            data.extend(word.to_ne_bytes());
        }
        for half in [0, 14, value, protocol] {
            data.extend(half.to_ne_bytes());
        }
        record(SOL_PACKET, PACKET_AUXDATA, &data)
    }

    #[track_caller]
    fn check(records: &[Vec<u8>], wanted: Beside) {
        assert_eq!(Beside::read(&records.concat()), wanted);
    }

    #[test]
    fn records_are_read() {
        let time = record(SOL_SOCKET, SCM_TIMESTAMPNS, &[7_i64.to_ne_bytes(), 9_i64.to_ne_bytes()].concat());
        let (at, length) = (Some(Duration::new(7, 9)), Some(1514));
        check(&[], Beside::default());
        check(&[time.clone(), auxiliary(1, 5, 0x88a8)], Beside { at, length, tag: None });
        let tag = |protocol| Some(Tag { protocol, value: 5 });
        check(&[auxiliary(TAG_VALID, 5, 0), time.clone()], Beside { at, length, tag: tag(DOT1Q) });
        check(&[auxiliary(TAG_VALID | PROTOCOL_VALID, 5, 0x88a8)], Beside { at: None, length, tag: tag(0x88a8) });
        // What nobody asked for, and with a length that needs filling.
        check(&[record(SOL_SOCKET, 99, b"odd"), time.clone()], Beside { at, ..Beside::default() });
        check(&[time[..time.len() - 1].to_vec()], Beside::default());
        check(&[vec![0; 64]], Beside::default());
        let past = record(SOL_SOCKET, SCM_TIMESTAMPNS, &[(-7_i64).to_ne_bytes(), 9_i64.to_ne_bytes()].concat());
        check(&[past], Beside::default());
    }

    #[test]
    fn a_tag_is_big_endian() {
        assert_eq!(Tag { protocol: DOT1Q, value: 0x6005 }.bytes(), [0x81, 0, 0x60, 5]);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..64) {
            let _ = Beside::read(&bytes);
            let _ = Beside::read(&[&length.to_ne_bytes()[..], &bytes].concat());
        }
    }
}
