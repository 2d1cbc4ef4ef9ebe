use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000_000;

fn says(offset: i64) -> Measurement {
    let distance = Duration::from_millis(5);
    Measurement { offset, delay: distance * 2, distance, leap: Leap::None, stratum: 2 }
}

/// Rounds of one server each, and what comes of them.
#[track_caller]
fn check(offsets_ms: &[i64], wanted: &[&str]) {
    let mut discipline = Discipline::default();
    let found: Vec<String> = offsets_ms
        .iter()
        .map(|offset| {
            let Round { action, outcome, pause } = discipline.round(&[says(offset * MS)], 1);
            let action = match action {
                Action::Leave => format!("{outcome:?}"),
                Action::Jump(by, _) => format!("jump {}", by / MS),
                Action::Slew(adjustment) => format!("slew {}", adjustment.offset / MS),
            };
            format!("{action}, {} s", pause.as_secs())
        })
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_first_time_is_taken_and_later_ones_have_to_prove_themselves() {
    check(&[3_600_000, 3, 399], &["jump 3600000, 32 s", "slew 3, 32 s", "slew 399, 32 s"]);
    check(&[-200], &["slew -200, 32 s"]);
    check(
        &[0, 5000, 5100, 4900, 5000],
        &["slew 0, 32 s", "Spike(5000000000), 4 s", "Spike(5100000000), 4 s", "Spike(4900000000), 4 s", "jump 5000, 32 s"],
    );
    check(&[0, 5000, 0, 5000], &["slew 0, 32 s", "Spike(5000000000), 4 s", "slew 0, 32 s", "Spike(5000000000), 4 s"]);
    check(&[0, 5000, -5000], &["slew 0, 32 s", "Spike(5000000000), 4 s", "Spike(-5000000000), 4 s"]);
}

#[test]
fn calm_rounds_lengthen_the_pause_and_restless_ones_end_that() {
    let mut discipline = Discipline::default();
    let mut pauses: Vec<u64> = (0..60).map(|_| discipline.round(&[says(MS)], 1).pause.as_secs()).collect();
    pauses.dedup();
    assert_eq!(pauses, [32, 64, 128, 256, 512, 1024, 2048]);
    assert_eq!(discipline.round(&[says(6 * MS)], 1).pause.as_secs(), 1024);
    assert_eq!(discipline.round(&[says(60 * MS)], 1).pause.as_secs(), 32);
}

#[test]
fn silence_is_met_with_patience() {
    let mut discipline = Discipline::default();
    let pauses = |discipline: &mut Discipline| (0..9).map(|_| discipline.round(&[], 1).pause.as_secs()).collect::<Vec<_>>();
    assert_eq!(pauses(&mut discipline), [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    discipline.hurry();
    assert_eq!(discipline.round(&[], 1).pause.as_secs(), 1);
    assert!(!discipline.synced());
    discipline.round(&[says(0)], 1);
    assert_eq!(pauses(&mut discipline)[..7], [1, 2, 4, 8, 16, 32, 32]);
    assert!(discipline.synced(), "what was known once is not forgotten");
}

#[test]
fn one_of_three_is_believed_only_when_the_others_stay_silent_from_the_start() {
    let mut discipline = Discipline::default();
    for _ in 0..3 {
        assert_eq!(discipline.round(&[says(9000 * MS)], 3).outcome, Outcome::TooFew);
    }
    assert!(matches!(discipline.round(&[says(9000 * MS)], 3).action, Action::Jump(..)));
    for _ in 0..50 {
        assert_eq!(discipline.round(&[says(9000 * MS)], 3).action, Action::Leave, "never once the time is known");
    }
    assert_eq!(discipline.epoch(), 0);
    assert_eq!(discipline.round(&[says(0), says(9000 * MS)], 2).outcome, Outcome::Discord);
}

#[test]
fn far_jumps_begin_an_epoch() {
    for (seconds, epoch) in [(899, 0), (900, 1), (-900, 1), (-899, 0)] {
        let mut discipline = Discipline::default();
        discipline.round(&[says(seconds * 1000 * MS)], 1);
        assert_eq!(discipline.epoch(), epoch, "{seconds}");
    }
}

/// The kernel's loop (`kernel/time/ntp.c`), and a clock that drifts.
struct Clock {
    /// True time less the clock's, nanoseconds.
    off: f64,
    /// Nanoseconds a second that the clock loses by itself.
    drift: f64,
    /// Nanoseconds a second that the loop adds.
    frequency: f64,
    /// Still to be slewed.
    phase: f64,
    constant: u8,
    since: f64,
}

impl Clock {
    fn act(&mut self, action: Action) {
        match action {
            Action::Leave => {}
            Action::Jump(by, _) => {
                self.off -= by as f64;
                self.phase = 0.0;
            }
            Action::Slew(adjustment) => {
                self.phase = adjustment.offset as f64;
                self.constant = adjustment.constant;
                let seconds = self.since.min(2_f64.powi(3 + i32::from(self.constant)));
                self.frequency += self.phase * seconds / 2_f64.powi(2 * (4 + i32::from(self.constant)));
                self.frequency = self.frequency.clamp(-500_000.0, 500_000.0);
                self.since = 0.0;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            let step = self.phase / 2_f64.powi(2 + i32::from(self.constant));
            self.phase -= step;
            self.off += self.drift - self.frequency - step;
        }
        self.since += time.as_secs_f64();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A clock of any quality that is sold, behind a line of any quality: within 15 ms after two hours, whatever it began with.
    #[test]
    fn a_clock_becomes_right_and_stays_so(
        off in -1e12_f64..1e12, drift in -100_000_f64..100_000.0, noise in proptest::collection::vec(-3.0_f64..3.0, 600),
    ) {
        let mut clock = Clock { off, drift, frequency: 0.0, phase: 0.0, constant: 0, since: 0.0 };
        let mut discipline = Discipline::default();
        let mut passed = Duration::ZERO;
        for noise in noise.iter().cycle() {
            if passed > Duration::from_secs(6 * 3600) {
                break;
            }
            let round = discipline.round(&[says((clock.off + noise * MS as f64) as i64)], 1);
            clock.act(round.action);
            clock.pass(round.pause);
            passed += round.pause;
            if passed > Duration::from_secs(2 * 3600) {
                prop_assert!(clock.off.abs() < 15e6, "{} ms off after {passed:?}", clock.off / 1e6);
            }
        }
    }

    /// Three servers, of which one may say anything at any time while the others may fall silent: the clock is never moved
    /// further from the truth than the honest servers' own errors allow.
    #[test]
    fn one_liar_moves_nothing(
        lies in proptest::collection::vec((any::<i64>().prop_map(|lie| lie / 4), any::<bool>(), any::<bool>()), 1..60), start in -1e12_f64..1e12,
    ) {
        let mut discipline = Discipline::default();
        let mut off = start as i64;
        // The clock gets its first time from honest servers.
        if let Action::Jump(by, _) = discipline.round(&[says(off), says(off + MS), says(off)], 3).action {
            off -= by;
        }
        prop_assert!(off.abs() < 400 * MS);
        for (lie, one, two) in lies {
            let mut answers = vec![says(off.saturating_add(lie))];
            answers.extend(one.then(|| says(off)));
            answers.extend(two.then(|| says(off + MS)));
            match discipline.round(&answers, 3).action {
                Action::Jump(by, _) => prop_assert!(false, "the clock was set by {by}"),
                // With nobody else there a lone server's small offsets are all there is.
                Action::Slew(_) if !one && !two => {}
                Action::Slew(adjustment) => {
                    prop_assert!(adjustment.offset.abs_diff(off) <= 14 * MS.unsigned_abs(), "{adjustment:?} with {off} to go");
                    off -= adjustment.offset;
                }
                Action::Leave => {}
            }
        }
    }
}
