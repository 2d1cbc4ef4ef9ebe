//! How many lines may be written: so many at once, and so many a second in the long run.

use std::time::Duration;

/// At once.
const BURST: u32 = 100;
/// For each so long another one.
const EVERY: Duration = Duration::from_millis(100);

/// A bucket of turns. Times count from any one moment and do not go back.
#[derive(Debug)]
pub(super) struct Rate {
    turns: u32,
    /// Up to when turns were added.
    filled: Duration,
    left_out: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { turns: BURST, filled: Duration::ZERO, left_out: 0 }
    }
}

impl Rate {
    /// A turn, and how many had none since the last; `None` when there is none.
    pub(super) fn take(&mut self, now: Duration) -> Option<u64> {
        let due = now.saturating_sub(self.filled).as_nanos() / EVERY.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        self.turns = self.turns.saturating_add(due).min(BURST);
        // What is left of the time counts for the next turn, unless there is no room for one.
        self.filled = if self.turns == BURST { now } else { self.filled + EVERY * due };
        match self.turns.checked_sub(1) {
            Some(rest) => {
                self.turns = rest;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut rate = Rate::default();
        let at = Duration::from_millis;
        let passed = (0..1000).filter(|_| rate.take(at(5)) == Some(0)).count();
        assert_eq!(passed, 100);
        assert_eq!(rate.take(at(50)), None);
        assert_eq!(rate.take(at(110)), Some(901));
        assert_eq!(rate.take(at(110)), None);
        assert_eq!(rate.take(at(1_000_000)), Some(1));
        assert_eq!((0..1000).filter(|_| rate.take(at(1_000_000)).is_some()).count(), 99);
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate(steps in prop::collection::vec(0_u64..500, 0..2000)) {
            let (mut rate, mut now, mut passed, mut counted) = (Rate::default(), 0, 0, 0);
            for step in &steps {
                now += step;
                if let Some(left_out) = rate.take(Duration::from_millis(now)) {
                    passed += 1;
                    counted += left_out;
                }
            }
            prop_assert!(passed <= u64::from(BURST) + now / 100);
            prop_assert!(passed + counted <= steps.len() as u64);
        }
    }
}
