//! The file format of captures: a header, then records. Little-endian, times in nanoseconds (draft-ietf-opsawg-pcap).

use std::time::Duration;

const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// Bytes of the file's header.
pub(super) const HEADER: usize = 24;
/// Bytes in front of each packet.
pub(super) const RECORD: usize = 16;

/// What the packets of a link begin with; the numbers are the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkType {
    Ethernet = 1,
    Ip = 101,
}

/// The beginning of a file whose packets have at most `snap` bytes.
pub(super) fn header(snap: u32, link: LinkType) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let [major, minor] = VERSION;
    let version = u32::from(major) | u32::from(minor) << 16;
    // The two in the middle are not used any more.
    fill(&mut out, [MAGIC, version, 0, 0, snap, link as u32]);
    out
}

/// Appends a packet. `at` counts from the Unix epoch; `length` is how long the packet was.
pub(super) fn append(out: &mut Vec<u8>, at: Duration, packet: &[u8], length: u32) {
    let mut record = [0; RECORD];
    let kept = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    // The format's seconds have 32 bits and no sign: they end in 2106.
    let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
    fill(&mut record, [seconds, at.subsec_nanos(), kept, length.max(kept)]);
    out.extend_from_slice(&record);
    out.extend_from_slice(packet);
}

fn fill<const N: usize>(out: &mut [u8], words: [u32; N]) {
    for (room, word) in out.chunks_exact_mut(4).zip(words) {
        room.copy_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_byte_by_byte() {
        let mut file = header(65535, LinkType::Ethernet).to_vec();
        append(&mut file, Duration::new(0x0102_0304, 0x0506_0708), b"abc", 1500);
        let wanted = b"\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0\
            \x04\x03\x02\x01\x08\x07\x06\x05\x03\0\0\0\xdc\x05\0\0abc";
        assert_eq!(file, wanted);
    }

    #[test]
    fn lengths_and_times_that_do_not_fit() {
        let mut record = Vec::new();
        append(&mut record, Duration::from_secs(1 << 40), b"abcd", 2);
        assert_eq!(record, b"\xff\xff\xff\xff\0\0\0\0\x04\0\0\0\x04\0\0\0abcd");
        assert_eq!(header(1, LinkType::Ip)[20..], [101, 0, 0, 0]);
    }
}
