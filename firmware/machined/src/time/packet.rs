//! NTP packets (RFC 5905), as much of them as a client needs. Pure.
//!
//! A request tells nothing about this node: all of it is zero but the version, the mode and a random number in the place of
//! the time at which it was sent, by which its answer is known.

use std::time::Duration;

use linux::clock::Leap;

/// Bytes of a packet without extensions.
pub const LENGTH: usize = 48;
/// Largest answer that is looked at: extensions and a MAC may follow, nothing of which is used.
pub const LARGEST: usize = 1024;

/// No leap warning, version 4, mode 3 (client).
const CLIENT: u8 = 4 << 3 | 3;
const SERVER: u8 = 4;
/// Between 1900 and 1970, seconds.
const TO_UNIX: u64 = 2_208_988_800;
/// A clock that far from a primary one does not tell the time (`MAXDIST` is 1 s; servers behind slow links have more).
const MAX_ROOT_DISTANCE: Duration = Duration::from_millis(1500);
/// Strata from here on mean "not synchronised".
const MAX_STRATUM: u8 = 16;
/// Answers that far after the earliest time that can be true are lies or misread.
const BELIEVABLE: Duration = Duration::from_secs(50 * 365 * 86400);

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not NTP, or not from a server.
    #[error("this is not an NTP answer")]
    NotAnAnswer,
    /// To another question, or made up.
    #[error("this answers another question")]
    Foreign,
    /// The server wants to be left alone.
    #[error("the server refuses to serve ({0})")]
    KissOfDeath(String),
    /// The server does not know the time itself.
    #[error("the server is not synchronised")]
    Unsynchronised,
    /// Too far away from a clock that knows.
    #[error("the server may be {} ms wrong", .0.as_millis())]
    Distant(Duration),
    /// Before this system was made, or long after.
    #[error("the server's time cannot be true")]
    Unbelievable,
    /// The four times do not fit together.
    #[error("the server's times contradict each other")]
    Contradiction,
}

impl Refused {
    /// The server is to be asked less often (`RATE`).
    #[must_use]
    pub fn is_rate(&self) -> bool {
        matches!(self, Self::KissOfDeath(code) if code == "RATE")
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// True time less the clock's, nanoseconds.
    pub offset: i64,
    /// There and back, less the server's own time.
    pub delay: Duration,
    /// How wrong the offset may be: half the way, and the server's own distance from a clock that knows.
    pub distance: Duration,
    /// What the server says of this day.
    pub leap: Leap,
    /// How many servers it is from a clock.
    pub stratum: u8,
}

/// The request. `nonce` is random, and not zero.
#[must_use]
pub fn request(nonce: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = CLIENT;
    packet[40..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// Reads the answer to [`request`]. `sent` is this clock's time of sending since the Unix epoch, `took` the time until the
/// answer came; nothing is true before `floor`.
///
/// # Errors
/// [`Refused`].
pub fn answer(packet: &[u8], nonce: u64, sent: Duration, took: Duration, floor: Duration) -> Result<Measurement, Refused> {
    let packet: &[u8; LENGTH] = packet.first_chunk().ok_or(Refused::NotAnAnswer)?;
    let word = |at: usize| packet.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let time = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
    if mode != SERVER || !(3..=4).contains(&version) {
        return Err(Refused::NotAnAnswer);
    }
    if time(24) != nonce {
        return Err(Refused::Foreign);
    }
    let stratum = packet[1];
    if stratum == 0 {
        let code = packet[12..16].iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte));
        return Err(Refused::KissOfDeath(code.collect()));
    }
    if stratum >= MAX_STRATUM || time(32) == 0 || time(40) == 0 {
        return Err(Refused::Unsynchronised);
    }
    let leap = match leap {
        0 => Leap::None,
        1 => Leap::Insert,
        2 => Leap::Delete,
        _ => return Err(Refused::Unsynchronised),
    };
    let root = short(word(4)) / 2 + short(word(8));
    if root > MAX_ROOT_DISTANCE {
        return Err(Refused::Distant(root));
    }
    let received = unix(time(32), floor).ok_or(Refused::Unbelievable)?;
    let left = unix(time(40), floor).ok_or(Refused::Unbelievable)?;
    let there = left.checked_sub(received).ok_or(Refused::Contradiction)?;
    // Timers of the two ends are not the same: a server may think that it held the question for longer than the way took.
    let delay = took.checked_sub(there).ok_or(Refused::Contradiction)?;
    let offset = (nanos(received) - nanos(sent) + nanos(left) - nanos(sent + took)) / 2;
    let offset = i64::try_from(offset).map_err(|_| Refused::Unbelievable)?;
    Ok(Measurement { offset, delay, distance: delay / 2 + root, leap, stratum })
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

/// 16.16 bits of seconds.
fn short(value: u32) -> Duration {
    Duration::from_nanos((u64::from(value) * 1_000_000_000) >> 16)
}

/// 32.32 bits of seconds since 1900, or since the number of seconds last went through zero: of all times that it can mean, the
/// first from `floor` on; nothing when that is too far away to be true.
fn unix(time: u64, floor: Duration) -> Option<Duration> {
    let (seconds, fraction) = (time >> 32, time & 0xffff_ffff);
    let era = 1_u64 << 32;
    let since_1900 = floor.as_secs().saturating_add(TO_UNIX);
    let candidate = (since_1900 & !(era - 1)) | seconds;
    let candidate = if candidate < since_1900 { candidate + era } else { candidate };
    let nanoseconds = u32::try_from((fraction * 1_000_000_000) >> 32).ok()?;
    let time = Duration::new(candidate - TO_UNIX, nanoseconds);
    (time <= floor.saturating_add(BELIEVABLE)).then_some(time)
}

/// The packet of a server, for tests of what asks one.
#[doc(hidden)]
#[must_use]
pub fn server_packet(request: &[u8], now: Duration, stratum: u8) -> Option<[u8; LENGTH]> {
    let request: &[u8; LENGTH] = request.first_chunk()?;
    let mut packet = [0; LENGTH];
    packet[0] = 4 << 3 | SERVER;
    packet[1] = stratum;
    packet[24..32].copy_from_slice(&request[40..]);
    let seconds = (now.as_secs() + TO_UNIX) & 0xffff_ffff;
    let time = (seconds << 32) | ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000);
    for at in [32, 40] {
        packet[at..at + 8].copy_from_slice(&time.to_be_bytes());
    }
    Some(packet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLOOR: Duration = Duration::from_secs(1_795_219_200);
    const SENT: Duration = Duration::from_secs(1_795_300_000);
    const NONCE: u64 = 0x0123_4567_89ab_cdef;
    const TOOK: Duration = Duration::from_millis(20);

    /// An answer one hour ahead, changed by `change`.
    #[track_caller]
    fn check(change: impl FnOnce(&mut [u8; LENGTH]), wanted: Result<i64, Refused>) {
        let mut packet = server_packet(&request(NONCE), SENT + Duration::from_secs(3600), 2).unwrap();
        change(&mut packet);
        let found = answer(&packet, NONCE, SENT, TOOK, FLOOR).map(|found| found.offset / 1_000_000);
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_request_tells_nothing() {
        let packet = request(NONCE);
        assert_eq!(packet[0], 0x23);
        assert!(packet[1..40].iter().all(|byte| *byte == 0));
        assert_eq!(packet[40..], NONCE.to_be_bytes());
    }

    #[test]
    fn answers() {
        check(|_| {}, Ok(3_600_000 - 10));
        check(|packet| packet[0] = 4 << 3 | 3, Err(Refused::NotAnAnswer));
        check(|packet| packet[0] = 1 << 3 | 4, Err(Refused::NotAnAnswer));
        check(|packet| packet[30] ^= 1, Err(Refused::Foreign));
        check(|packet| packet[1] = 16, Err(Refused::Unsynchronised));
        check(|packet| packet[0] |= 3 << 6, Err(Refused::Unsynchronised));
        check(|packet| packet[40..].fill(0), Err(Refused::Unsynchronised));
        check(
            |packet| {
                packet[1] = 0;
                packet[12..16].copy_from_slice(b"RATE");
            },
            Err(Refused::KissOfDeath("RATE".to_owned())),
        );
        check(|packet| packet[9] = 2, Err(Refused::Distant(Duration::from_secs(2))));
        // A minute between the two times at the server, while 20 ms went by here.
        check(|packet| packet[43] = packet[43].wrapping_add(60), Err(Refused::Contradiction));
        check(|packet| packet[43] = packet[43].wrapping_sub(60), Err(Refused::Contradiction));
        assert_eq!(answer(&[0; 47], NONCE, SENT, TOOK, FLOOR), Err(Refused::NotAnAnswer));
    }

    #[test]
    fn the_number_of_seconds_goes_through_zero_in_2036() {
        let zero = Duration::from_secs((1 << 32) - TO_UNIX);
        for now in [zero - Duration::from_secs(1), zero + Duration::from_secs(1), zero + Duration::from_secs(86400)] {
            let packet = server_packet(&request(NONCE), now, 1).unwrap();
            let found = answer(&packet, NONCE, now, TOOK, FLOOR).unwrap();
            assert!(found.offset.abs() < 20_000_000, "{now:?}: {found:?}");
        }
        // Before the image was made: this is either wrong or 136 years later.
        let packet = server_packet(&request(NONCE), FLOOR - Duration::from_secs(1), 1).unwrap();
        assert_eq!(answer(&packet, NONCE, SENT, TOOK, FLOOR), Err(Refused::Unbelievable));
    }

    proptest! {
        #[test]
        fn no_packet_is_too_odd(packet in proptest::collection::vec(any::<u8>(), 0..80), sent: u32, took: u32, nonce: u64, floor: u32) {
            let (sent, took) = (Duration::from_secs(sent.into()), Duration::from_micros(took.into()));
            let _ = answer(&packet, nonce, sent, took, Duration::from_secs(floor.into()));
        }

        #[test]
        fn a_good_answer_bounds_the_truth(true_offset in -40_000_000_000_i64..40_000_000_000, there in 0_u64..500_000_000, back in 0_u64..500_000_000) {
            let truth_at_server = Duration::from_nanos(u64::try_from(nanos(SENT) + i128::from(true_offset) + i128::from(there)).unwrap());
            let packet = server_packet(&request(NONCE), truth_at_server, 1).unwrap();
            let found = answer(&packet, NONCE, SENT, Duration::from_nanos(there + back), FLOOR).unwrap();
            let error = u128::from(found.offset.abs_diff(true_offset));
            prop_assert!(error <= found.distance.as_nanos() + 2, "{error} ns wrong, {:?} told", found.distance);
        }
    }
}
