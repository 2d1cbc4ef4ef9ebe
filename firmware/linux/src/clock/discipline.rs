//! `adjtimex(2)` and the real-time clock (`rtc(4)`).

use std::{fs::File, io, mem, os::fd::AsRawFd, time::Duration};

use nix::libc::{self, timex};

/// The first real-time clock.
const RTC: &str = "/dev/rtc0";

/// Most that the kernel's loop takes as an offset (`MAXPHASE` of `linux/timex.h`), nanoseconds.
const MAX_PHASE: i64 = 500_000_000;

/// The kernel refused to change the clock.
#[derive(Debug, thiserror::Error)]
#[error("{operation} the clock")]
pub struct AdjustError {
    operation: &'static str,
    source: io::Error,
}

/// The real-time clock could not be set.
#[derive(Debug, thiserror::Error)]
#[error("set {RTC}")]
pub struct RtcError {
    #[from]
    source: io::Error,
}

/// What the last minute of this day is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leap {
    /// As long as any.
    #[default]
    None,
    /// A second longer.
    Insert,
    /// A second shorter.
    Delete,
}

/// A measurement for the kernel's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// True time less the clock's, nanoseconds; at most half a second either way is used.
    pub offset: i64,
    /// The loop's time constant: binary logarithm of seconds, 0 to 10.
    pub constant: u8,
    /// How wrong the clock may be.
    pub max_error: Duration,
    /// How wrong it probably is.
    pub est_error: Duration,
    /// What servers say of this day.
    pub leap: Leap,
}

/// The clock as the kernel sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockState {
    /// What is still to be slewed, nanoseconds.
    pub offset: i64,
    /// How fast the clock is made to run: 1 is as the hardware does.
    pub frequency: f64,
    /// How wrong it may be.
    pub max_error: Duration,
    /// How wrong it probably is.
    pub est_error: Duration,
    /// The kernel's flags (`STA_*`).
    pub status: i32,
    /// The loop's time constant.
    pub constant: i64,
    /// The kernel's word for it (`TIME_*`).
    pub state: i32,
}

impl ClockState {
    /// Somebody keeps the clock right.
    #[must_use]
    pub const fn is_synchronised(&self) -> bool {
        self.status & libc::STA_UNSYNC == 0
    }
}

/// Calls `adjtimex(2)`; gives what it answers, filled in by the kernel.
fn call(mut request: timex, operation: &'static str) -> Result<(timex, i32), AdjustError> {
    // SAFETY: the pointer is to a whole `timex` that lives through the call; the kernel reads and writes that much.
    let state = unsafe { libc::adjtimex(&raw mut request) };
    if state < 0 { Err(AdjustError { operation, source: io::Error::last_os_error() }) } else { Ok((request, state)) }
}

fn empty() -> timex {
    // SAFETY: `timex` is a C structure of integers: all zeros is one, and asks for nothing (`modes` 0).
    unsafe { mem::zeroed() }
}

/// Moves the clock by `nanoseconds` at once. The kernel forgets its adjustments and calls the clock unsynchronised until
/// [`adjust`].
///
/// # Errors
/// [`AdjustError`].
pub fn jump(nanoseconds: i64) -> Result<(), AdjustError> {
    let mut request = empty();
    request.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    request.time.tv_sec = nanoseconds.div_euclid(1_000_000_000);
    // With ADJ_NANO this field holds nanoseconds.
    request.time.tv_usec = nanoseconds.rem_euclid(1_000_000_000);
    call(request, "set").map(drop)
}

/// Tells the kernel's loop of a measurement: it slews the clock, and from now on the clock is synchronised. The kernel then
/// sets the real-time clock by it every eleven minutes.
///
/// # Errors
/// [`AdjustError`].
pub fn adjust(adjustment: &Adjustment) -> Result<ClockState, AdjustError> {
    let micros = |error: Duration| i64::try_from(error.as_micros()).unwrap_or(i64::MAX);
    let mut request = empty();
    request.modes = libc::ADJ_OFFSET | libc::ADJ_NANO | libc::ADJ_STATUS | libc::ADJ_TIMECONST | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
    request.offset = adjustment.offset.clamp(-MAX_PHASE, MAX_PHASE);
    request.constant = i64::from(adjustment.constant.min(10));
    request.maxerror = micros(adjustment.max_error);
    request.esterror = micros(adjustment.est_error);
    request.status = libc::STA_PLL
        | match adjustment.leap {
            Leap::None => 0,
            Leap::Insert => libc::STA_INS,
            Leap::Delete => libc::STA_DEL,
        };
    call(request, "adjust").map(|(answer, state)| seen(&answer, state))
}

/// What the kernel has.
///
/// # Errors
/// [`AdjustError`].
pub fn state() -> Result<ClockState, AdjustError> {
    call(empty(), "read").map(|(answer, state)| seen(&answer, state))
}

fn seen(answer: &timex, state: i32) -> ClockState {
    let micros = |value: i64| Duration::from_micros(value.unsigned_abs());
    let unit = if answer.status & libc::STA_NANO == 0 { 1000 } else { 1 };
    ClockState {
        offset: answer.offset.saturating_mul(unit),
        // Parts per million with 16 bits behind the point (adjtimex(2)).
        frequency: 1.0 + answer.freq as f64 / 65536.0 / 1e6,
        max_error: micros(answer.maxerror),
        est_error: micros(answer.esterror),
        status: answer.status,
        constant: answer.constant,
        state,
    }
}

/// `struct rtc_time` of `linux/rtc.h`.
#[repr(C)]
struct RtcTime {
    second: i32,
    minute: i32,
    hour: i32,
    day: i32,
    /// From 0.
    month: i32,
    /// From 1900.
    year: i32,
    week_day: i32,
    year_day: i32,
    daylight: i32,
}

nix::ioctl_write_ptr!(rtc_set_time, b'p', 0x0a, RtcTime);

/// Sets the board's real-time clock, where there is one, to `time` since the epoch; gives whether there is one.
///
/// # Errors
/// [`RtcError`].
pub fn set_rtc(time: Duration) -> Result<bool, RtcError> {
    let device = match File::open(RTC) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let time = calendar(time);
    // SAFETY: the kernel reads one `rtc_time`, which is what the pointer is to, and the descriptor is open.
    unsafe { rtc_set_time(device.as_raw_fd(), &raw const time) }.map_err(io::Error::from)?;
    Ok(true)
}

/// The date in UTC (days of 400 years at a time, years that begin in March).
fn calendar(time: Duration) -> RtcTime {
    let (days, second) = (time.as_secs() / 86400, time.as_secs() % 86400);
    let small = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    let from_march = days + 719_468;
    let (era, day) = (from_march / 146_097, from_march % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    RtcTime {
        second: small(second % 60),
        minute: small(second / 60 % 60),
        hour: small(second / 3600),
        day: small(day),
        month: small((month + 2) % 12),
        year: small(year.saturating_sub(1900)),
        week_day: small((days + 4) % 7),
        year_day: 0,
        daylight: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, wanted) in [
            (0, "1970-01-01 00:00:00 4"),
            (951_782_399, "2000-02-28 23:59:59 1"),
            (951_782_400, "2000-02-29 00:00:00 2"),
            (1_795_219_200, "2026-11-21 00:00:00 6"),
            (4_102_444_799, "2099-12-31 23:59:59 4"),
            (4_107_542_400, "2100-03-01 00:00:00 1"),
        ] {
            let date = calendar(Duration::from_secs(seconds));
            let RtcTime { second, minute, hour, day, month, year, week_day, .. } = date;
            let found = format!("{}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02} {week_day}", year + 1900, month + 1);
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn the_kernel_tells_its_state() {
        let state = state().unwrap();
        assert!((0.9..1.1).contains(&state.frequency), "{state:?}");
        assert!((0..=5).contains(&state.state), "{state:?}");
    }
}
