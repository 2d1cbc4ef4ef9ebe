//! Which time several servers agree on. Pure.

use std::time::Duration;

use linux::clock::Leap;

use super::packet::Measurement;

/// No answer is taken to be better than this: timers and queues of both ends.
const GRAIN: Duration = Duration::from_millis(1);

/// What more than half of the servers that answered can live with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// True time less the clock's, nanoseconds.
    pub offset: i64,
    /// How wrong that may be.
    pub error: Duration,
    /// How many servers agree.
    pub servers: usize,
    /// What all of them say of this day; nothing when they differ.
    pub leap: Leap,
}

/// Each answer is an interval that holds the true time unless the server lies. Where most of them overlap, the truth is, as
/// long as most servers tell it: the middle of that stretch. `None` when not more than half overlap anywhere.
#[must_use]
pub fn agree(answers: &[Measurement]) -> Option<Agreement> {
    let ends = |answer: &Measurement| {
        let reach = i64::try_from((answer.distance + GRAIN).as_nanos()).unwrap_or(i64::MAX);
        (answer.offset.saturating_sub(reach), answer.offset.saturating_add(reach))
    };
    // The densest stretch begins where an interval begins.
    let dense = |(low, _): (i64, i64)| answers.iter().map(ends).filter(move |(from, to)| *from <= low && low <= *to);
    let start = answers.iter().map(ends).max_by_key(|interval| dense(*interval).count())?;
    let servers = dense(start).count();
    if servers * 2 <= answers.len() {
        return None;
    }
    let high = dense(start).map(|(_, to)| to).min()?;
    let (low, high) = (i128::from(start.0), i128::from(high));
    let said = answers.iter().filter(|answer| ends(answer).0 <= start.0 && start.0 <= ends(answer).1).map(|answer| answer.leap);
    let leap = said.reduce(|one, other| if one == other { one } else { Leap::None });
    Some(Agreement {
        offset: i64::try_from((low + high) / 2).ok()?,
        error: Duration::from_nanos(u64::try_from((high - low) / 2).ok()?),
        servers,
        leap: leap.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn says(offset_ms: i64, distance_ms: u64) -> Measurement {
        let distance = Duration::from_millis(distance_ms);
        Measurement { offset: offset_ms * 1_000_000, delay: distance, distance, leap: Leap::None, stratum: 1 }
    }

    #[track_caller]
    fn check(answers: &[(i64, u64)], wanted: Option<(i64, usize)>) {
        let answers: Vec<_> = answers.iter().map(|(offset, distance)| says(*offset, *distance)).collect();
        let found = agree(&answers).map(|found| (found.offset / 1_000_000, found.servers));
        assert_eq!(found, wanted, "{answers:?}");
    }

    #[test]
    fn most_servers_are_believed() {
        check(&[], None);
        check(&[(5000, 10)], Some((5000, 1)));
        check(&[(10, 20), (30, 20)], Some((20, 2)));
        check(&[(0, 10), (1000, 10)], None);
        check(&[(0, 10), (1000, 10), (4, 10)], Some((2, 2)));
        check(&[(0, 10), (1000, 10), (4, 10), (1001, 10)], None);
        // One that is so unsure that it agrees with everybody does not decide.
        check(&[(100, 1000), (0, 10)], Some((0, 2)));
    }

    proptest! {
        /// However the others lie: as long as more than half tell the truth, the result is within what one of these told.
        #[test]
        fn liars_in_the_minority_move_nothing(
            honest in proptest::collection::vec((-50_i64..50, 51_u64..200), 1..5),
            lies in proptest::collection::vec((any::<i32>(), 0_u64..1500), 0..4),
            seed: u64,
        ) {
            let truth = 0;
            let mut answers: Vec<_> = honest.iter().map(|(offset, distance)| says(truth + offset, *distance)).collect();
            answers.extend(lies.iter().take(honest.len() - 1).map(|(offset, distance)| says((*offset).into(), *distance)));
            let turn = usize::try_from(seed % answers.len() as u64).unwrap();
            answers.rotate_left(turn);
            let found = agree(&answers).unwrap();
            let widest = honest.iter().map(|(_, distance)| *distance).max().unwrap();
            prop_assert!(found.offset.unsigned_abs() <= (2 * widest + 2) * 1_000_000, "{found:?} of {answers:?}");
        }
    }
}
