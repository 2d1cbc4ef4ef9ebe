//! How long to wait before trying again.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// Never longer.
const MOST: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// One more failure: how long to wait; twice as long each time, up to a minute.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.0)).min(MOST);
        self.0 = self.0.saturating_add(1);
        wait
    }

    /// It worked: the next failure is a first one again.
    pub(crate) const fn worked(&mut self) {
        self.0 = 0;
    }

    /// Failures since it last worked.
    pub(crate) const fn failures(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_forgiven() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert_eq!(backoff.failures(), 9);
        backoff.worked();
        assert_eq!((backoff.failures(), backoff.failed()), (0, FIRST));
        let mut old = Backoff(u32::MAX);
        assert_eq!((old.failed(), old.failures()), (MOST, u32::MAX));
    }
}
