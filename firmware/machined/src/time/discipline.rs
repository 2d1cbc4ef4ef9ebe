//! What becomes of the clock after each round of questions, and when to ask again. Pure.
//!
//! The first time that can be believed is taken at once. Later the clock is slewed by the kernel's loop while it is less than
//! [`JUMP`] off; more than that is a spike until it has been seen [`PROOF`] times in a row.

use std::time::Duration;

use linux::clock::{Adjustment, Leap};

use super::{agree::agree, packet::Measurement};

/// From here on a clock is set, and below it is slewed (behaviour of the reference).
pub const JUMP: Duration = Duration::from_millis(400);
/// A jump of this much begins a new epoch: what was dated before may not be valid now (behaviour of the reference).
pub const NEW_EPOCH: Duration = Duration::from_secs(15 * 60);
/// Shortest and longest pause between rounds, as binary logarithms of seconds: 32 s, 2048 s (behaviour of the reference).
pub const POLL: (u8, u8) = (5, 11);
/// Pause after the first failure; doubled each time.
pub const RETRY: Duration = Duration::from_secs(1);
/// Longest pause as long as there is no time yet: what starts later has to be found.
const RETRY_LIMIT: Duration = Duration::from_secs(64);
/// Rounds that must agree before a clock that was right is set.
const PROOF: u32 = 4;
/// Pause between these.
const PROOF_PAUSE: Duration = Duration::from_secs(4);
/// With this many servers configured one alone is not believed when the clock is to be set, ...
const ENOUGH: usize = 3;
/// ... unless the others were silent in so many rounds while there was no time at all.
const PATIENCE: u32 = 3;
/// Below this a round was calm; above it the loop is given shorter pauses, and above that the shortest. With these numbers clocks
/// that drift up to 100 ppm stay within 7 ms behind a line that jitters by 3 (simulated; twice the numbers: 15 ms).
const CALM: Duration = Duration::from_millis(5);
const RESTLESS: Duration = Duration::from_millis(15);
/// Calm rounds before the pause is doubled.
const CALM_ROUNDS: u8 = 8;

/// What to do with the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Leave,
    /// Set it: this many nanoseconds later than it is; then adjust.
    Jump(i64, Adjustment),
    /// Tell the kernel's loop.
    Slew(Adjustment),
}

/// What came of a round, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The time is known.
    Good,
    /// Nobody answered.
    Silence,
    /// Those who answered do not agree.
    Discord,
    /// Too few answered to set the clock by.
    TooFew,
    /// They agree on something that cannot be yet.
    Spike(i64),
}

/// A round's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// For the clock.
    pub action: Action,
    /// For people.
    pub outcome: Outcome,
    /// Pause before the next round.
    pub pause: Duration,
}

/// What is remembered between rounds.
#[derive(Clone, Debug)]
pub struct Discipline {
    synced: bool,
    epoch: u64,
    poll: u8,
    calm: u8,
    failures: u32,
    /// Offset that spikes agree on, and how many.
    spike: Option<(i64, u32)>,
    /// Mean deviation of offsets, nanoseconds.
    jitter: u64,
}

impl Default for Discipline {
    fn default() -> Self {
        Self { synced: false, epoch: 0, poll: POLL.0, calm: 0, failures: 0, spike: None, jitter: 0 }
    }
}

impl Discipline {
    /// The clock was right once.
    #[must_use]
    pub const fn synced(&self) -> bool {
        self.synced
    }

    /// How often the clock jumped so far that dates made before are not to be trusted.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Spikes in a row.
    #[must_use]
    pub fn spikes(&self) -> u32 {
        self.spike.map_or(0, |(_, count)| count)
    }

    /// Circumstances have changed: what failed may work now.
    pub fn hurry(&mut self) {
        self.failures = 0;
    }

    /// Takes the answers of a round to which `configured` servers were invited.
    pub fn round(&mut self, answers: &[Measurement], configured: usize) -> Round {
        let failed = |this: &mut Self, outcome| Round { action: Action::Leave, outcome, pause: this.retry() };
        if answers.is_empty() {
            return failed(self, Outcome::Silence);
        }
        let Some(agreed) = agree(answers) else { return failed(self, Outcome::Discord) };
        let off = Duration::from_nanos(agreed.offset.unsigned_abs());
        let max_error = agreed.error + Duration::from_millis(1);
        let mut adjustment = Adjustment { offset: agreed.offset, constant: self.poll, max_error, est_error: max_error, leap: agreed.leap };
        if off <= JUMP {
            self.settle(agreed.offset);
            adjustment.constant = self.poll;
            adjustment.est_error = Duration::from_nanos(self.jitter).min(max_error);
            return Round { action: Action::Slew(adjustment), outcome: Outcome::Good, pause: self.pause() };
        }
        let alone = agreed.servers < 2 && configured >= ENOUGH;
        if alone && (self.synced || self.failures < PATIENCE) {
            return failed(self, Outcome::TooFew);
        }
        if self.synced && !self.proven(agreed.offset) {
            self.poll = POLL.0;
            return Round { action: Action::Leave, outcome: Outcome::Spike(agreed.offset), pause: PROOF_PAUSE };
        }
        self.epoch += u64::from(off >= NEW_EPOCH);
        (self.synced, self.failures, self.spike, self.poll, self.calm) = (true, 0, None, POLL.0, 0);
        // The jump has taken it; what the servers say of leap seconds is asked again.
        adjustment = Adjustment { offset: 0, constant: self.poll, leap: Leap::None, ..adjustment };
        Round { action: Action::Jump(agreed.offset, adjustment), outcome: Outcome::Good, pause: self.pause() }
    }

    /// A round without surprise.
    fn settle(&mut self, offset: i64) {
        let off = offset.unsigned_abs();
        self.jitter = if self.synced { (self.jitter * 3 + off) / 4 } else { off };
        (self.synced, self.failures, self.spike) = (true, 0, None);
        let off = Duration::from_nanos(off);
        if off > RESTLESS {
            (self.poll, self.calm) = (POLL.0, 0);
        } else if off <= CALM {
            self.calm += 1;
            if self.calm >= CALM_ROUNDS {
                (self.poll, self.calm) = ((self.poll + 1).min(POLL.1), 0);
            }
        } else {
            (self.poll, self.calm) = (self.poll.saturating_sub(1).max(POLL.0), 0);
        }
    }

    /// Counts a spike; whether it has been seen often enough to be the truth.
    fn proven(&mut self, offset: i64) -> bool {
        let near = |known: i64| Duration::from_nanos(known.abs_diff(offset)) <= JUMP;
        let count = match self.spike {
            Some((known, count)) if near(known) => count + 1,
            _ => 1,
        };
        self.spike = Some((offset, count));
        count >= PROOF
    }

    /// Pause after a failed round.
    fn retry(&mut self) -> Duration {
        let limit = if self.synced { self.pause() } else { RETRY_LIMIT };
        let pause = RETRY.saturating_mul(1 << self.failures.min(16)).min(limit);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(1 << self.poll)
    }
}

#[cfg(test)]
mod tests;
