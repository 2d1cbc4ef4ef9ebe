//! The wall clock: its floor, jumps, and the kernel's discipline of it; the real-time clock of the board.

mod discipline;

use std::{
    fs, io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime, clock_settime},
};

pub use discipline::{AdjustError, Adjustment, ClockState, Leap, RtcError, adjust, jump, set_rtc, state};

/// The clock could not be set.
#[derive(Debug, thiserror::Error)]
#[error("set the clock to {seconds} s after the epoch")]
pub struct ClockError {
    /// The wanted time.
    seconds: u64,
    /// Why not.
    source: io::Error,
}

/// Now, since the Unix epoch.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Since the kernel started, sleep included.
#[must_use]
pub fn since_boot() -> Duration {
    match clock_gettime(ClockId::CLOCK_BOOTTIME) {
        Ok(time) => Duration::from(time),
        // Every kernel that we run on has this clock.
        Err(_) => Duration::ZERO,
    }
}

/// What the first real-time clock of the board says; `None` when it has none.
#[must_use]
pub fn rtc() -> Option<Duration> {
    let text = fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The earliest time that can be true: the latest of what is known to have been.
#[must_use]
pub fn floor(known: impl IntoIterator<Item = Option<Duration>>) -> Duration {
    known.into_iter().flatten().max().unwrap_or_default()
}

/// Sets the clock to `floor` when it shows less; gives whether it was set. Never sets it back.
///
/// # Errors
/// [`ClockError`].
pub fn raise_to(floor: Duration) -> Result<bool, ClockError> {
    if now() >= floor {
        return Ok(false);
    }
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(floor))
        .map_err(|errno| ClockError { seconds: floor.as_secs(), source: errno.into() })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_latest_known_time() {
        let s = Duration::from_secs;
        assert_eq!(floor([None, Some(s(5)), Some(s(9)), None, Some(s(7))]), s(9));
        assert_eq!(floor([None, None]), s(0));
        assert!(!raise_to(s(1)).expect("nothing to set"));
    }
}
