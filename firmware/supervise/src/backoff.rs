//! How long a service that ended by itself waits before its next run. The figures' reasons: decision 0020.

use std::time::Duration;

/// After the first quick death. The reference always pauses so long.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Never longer: who mends the cause sees the service come back within a minute.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(40);
/// A run that lasted so long forgives what was before it. Longer than the longest pause and than any first health check.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Counts quick deaths in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// A run ended by itself after `uptime`: how long to wait. Twice as long after each quick death.
    pub(crate) fn after(&mut self, uptime: Duration) -> Duration {
        if uptime >= FORGIVEN_AFTER {
            self.0 = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.0)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_bounded_and_forgiven() {
        let mut backoff = Backoff::default();
        let quick = Duration::from_secs(59);
        let mut pauses = |uptimes: &[Duration]| uptimes.iter().map(|uptime| backoff.after(*uptime).as_secs()).collect::<Vec<_>>();
        assert_eq!(pauses(&[quick; 6]), [5, 10, 20, 40, 40, 40]);
        assert_eq!(pauses(&[FORGIVEN_AFTER, quick, Duration::ZERO, FORGIVEN_AFTER]), [5, 10, 20, 5]);
        assert_eq!(Backoff(u32::MAX).after(quick), LONGEST_PAUSE);
    }
}
