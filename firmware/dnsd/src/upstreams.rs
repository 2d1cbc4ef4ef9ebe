//! Which name servers are asked, in which order, and how long each is waited for. Pure.
//!
//! The order is the one in which they were named: a first server may know names that others do not. One that has failed twice in
//! a row, or is much slower than another, comes after those that have not, until a question of somebody, sent to it on the side,
//! is answered well again.

use std::{net::SocketAddr, time::Duration};

/// Most servers that are asked at all.
pub const MOST: usize = 8;
/// Most times that servers are asked one question.
const ATTEMPTS: usize = 4;
/// Most times that one server is.
const ROUNDS: usize = 3;
/// Failures in a row that make a server a bad one: a single packet gets lost.
const BAD: u32 = 2;
/// Wait for a server of which nothing is known, and the bounds of it: a server is waited for four times as long as it usually takes
/// before the next one is asked, too.
const PATIENCE: Duration = Duration::from_millis(800);
const LEAST_PATIENCE: Duration = Duration::from_millis(250);
const MOST_PATIENCE: Duration = Duration::from_millis(1500);
/// A server that takes longer than this, and four times as long as the quickest, is slow.
const SLOW: Duration = Duration::from_millis(300);
/// Between two questions on the side to a server that is bad or slow: at first, doubled up to the last.
const PROBE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// A server, and how it has been.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upstream {
    address: SocketAddr,
    failures: u32,
    /// Smoothed.
    latency: Option<Duration>,
    probe_at: Duration,
    pause: Duration,
}

/// One attempt at a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whom.
    pub address: SocketAddr,
    /// When this has passed without an answer, the next attempt begins beside this one.
    pub patience: Duration,
}

/// A server has become another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It answers again.
    Good,
    /// It does not.
    Bad,
}

/// All servers, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams(Vec<Upstream>);

impl Upstreams {
    /// Makes them these; what is known of one that stays is kept. Those that are this very server are left out and given back: each
    /// question to them would come back as another one.
    pub fn set(&mut self, addresses: &[SocketAddr], own: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut known = std::mem::take(&mut self.0);
        let mut refused = Vec::new();
        for address in addresses {
            // To ask "anywhere" is to ask oneself.
            if own.contains(address) || address.ip().is_unspecified() {
                refused.push(*address);
            } else if self.0.len() < MOST && !self.0.iter().any(|upstream| upstream.address == *address) {
                let at = known.iter().position(|upstream| upstream.address == *address);
                self.0.push(at.map_or_else(|| Upstream::new(*address), |at| known.swap_remove(at)));
            }
        }
        refused
    }

    /// Who is asked, one after the other: those that are well first, each several times when there are few.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut sorted: Vec<&Upstream> = self.0.iter().collect();
        sorted.sort_by_key(|upstream| (upstream.is_bad(), self.is_slow(upstream)));
        let rounds = (0..ROUNDS).flat_map(|round| {
            let longer = 1_u32 << round;
            sorted.iter().map(move |upstream| Attempt { address: upstream.address, patience: upstream.patience().saturating_mul(longer) })
        });
        rounds.take(ATTEMPTS).collect()
    }

    /// A server that is bad or slow and is due for a question on the side; it is not due again for a while.
    pub fn probe(&mut self, now: Duration) -> Option<SocketAddr> {
        let due = |upstream: &&Upstream| (upstream.is_bad() || self.is_slow(upstream)) && upstream.probe_at <= now;
        let address = self.0.iter().find(due)?.address;
        let upstream = self.find(address)?;
        upstream.pause = upstream.pause.saturating_mul(2).clamp(PROBE.0, PROBE.1);
        upstream.probe_at = now.saturating_add(upstream.pause);
        Some(address)
    }

    /// A server has answered, after so long.
    pub fn answered(&mut self, address: SocketAddr, took: Duration) -> Option<Turn> {
        let upstream = self.find(address)?;
        // The usual share of the newest (RFC 6298).
        let before = upstream.latency.unwrap_or(took);
        upstream.latency = Some(before.saturating_mul(7).saturating_add(took) / 8);
        let turned = upstream.is_bad();
        (upstream.failures, upstream.pause) = (0, Duration::ZERO);
        turned.then(|| {
            // What it took before it failed says nothing about now.
            upstream.latency = Some(took);
            Turn::Good
        })
    }

    /// A server has not answered, or not in its time, or what it said was no answer.
    pub fn failed(&mut self, address: SocketAddr, now: Duration) -> Option<Turn> {
        let upstream = self.find(address)?;
        let before = upstream.is_bad();
        upstream.failures = upstream.failures.saturating_add(1);
        if before || !upstream.is_bad() {
            return None;
        }
        upstream.pause = PROBE.0;
        upstream.probe_at = now.saturating_add(PROBE.0);
        Some(Turn::Bad)
    }

    /// Each server, and whether it is well.
    pub fn health(&self) -> impl Iterator<Item = (SocketAddr, bool)> + '_ {
        self.0.iter().map(|upstream| (upstream.address, !upstream.is_bad()))
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Upstream> {
        self.0.iter_mut().find(|upstream| upstream.address == address)
    }

    fn is_slow(&self, upstream: &Upstream) -> bool {
        let quickest = self.0.iter().filter(|other| !other.is_bad()).filter_map(|other| other.latency).min();
        let slow = |latency: Duration| latency > SLOW && quickest.is_some_and(|quickest| latency > quickest.saturating_mul(4));
        upstream.latency.is_some_and(slow)
    }
}

impl Upstream {
    const fn new(address: SocketAddr) -> Self {
        Self { address, failures: 0, latency: None, probe_at: Duration::ZERO, pause: Duration::ZERO }
    }

    const fn is_bad(&self) -> bool {
        self.failures >= BAD
    }

    fn patience(&self) -> Duration {
        self.latency.map_or(PATIENCE, |latency| latency.saturating_mul(4)).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 53).into()
    }

    fn three() -> Upstreams {
        let mut all = Upstreams::default();
        assert_eq!(all.set(&[1, 2, 3].map(address), &[]), []);
        all
    }

    #[track_caller]
    fn asks(upstreams: &Upstreams, wanted: &[u8]) {
        let found: Vec<_> = upstreams.attempts().iter().map(|attempt| attempt.address).collect();
        assert_eq!(found, wanted.iter().map(|last| address(*last)).collect::<Vec<_>>());
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_is_asked_first_while_it_is_well() {
        let mut all = three();
        asks(&all, &[1, 2, 3, 1]);
        assert_eq!(all.failed(address(1), ms(0)), None);
        asks(&all, &[1, 2, 3, 1]);
        assert_eq!(all.failed(address(1), ms(0)), Some(Turn::Bad));
        assert_eq!(all.failed(address(1), ms(0)), None, "it is told once");
        asks(&all, &[2, 3, 1, 2]);
        assert_eq!(all.health().map(|(_, well)| well).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(all.answered(address(1), ms(5)), Some(Turn::Good));
        assert_eq!(all.answered(address(1), ms(5)), None);
        asks(&all, &[1, 2, 3, 1]);
        let mut one = Upstreams::default();
        one.set(&[address(7)], &[]);
        asks(&one, &[7, 7, 7]);
        asks(&Upstreams::default(), &[]);
    }

    #[test]
    fn the_bad_and_the_slow_are_tried_on_the_side() {
        let mut all = three();
        all.failed(address(2), ms(0));
        all.failed(address(2), ms(100));
        assert_eq!(all.probe(ms(2000)), None);
        assert_eq!(all.probe(ms(2100)), Some(address(2)));
        assert_eq!(all.probe(ms(6000)), None, "the pause doubles");
        assert_eq!(all.probe(ms(6100)), Some(address(2)));
        for _ in 0..9 {
            let _ = all.probe(Duration::MAX);
        }
        assert_eq!(all.find(address(2)).map(|upstream| upstream.pause), Some(PROBE.1));
        all.answered(address(2), ms(5));
        all.answered(address(1), ms(1000));
        asks(&all, &[2, 3, 1, 2]);
        assert_eq!(all.probe(ms(9_000_000)), Some(address(1)));
    }

    #[test]
    fn patience_follows_what_a_server_usually_takes() {
        let mut all = three();
        let first = |all: &Upstreams| all.attempts().first().map(|attempt| attempt.patience);
        assert_eq!((first(&all), all.attempts()[3].patience), (Some(PATIENCE), PATIENCE * 2));
        for (took, wanted) in [(ms(1), LEAST_PATIENCE), (ms(100), ms(400)), (ms(9000), MOST_PATIENCE)] {
            for _ in 0..99 {
                all.answered(address(1), took);
                all.answered(address(2), took);
            }
            let found = first(&all).unwrap();
            assert!(found.abs_diff(wanted) < ms(2), "{took:?}: {found:?}");
        }
    }

    #[test]
    fn nobody_asks_himself_and_what_is_known_is_kept() {
        let mut all = three();
        all.failed(address(3), ms(0));
        all.failed(address(3), ms(0));
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 53));
        assert_eq!(all.set(&[address(9), address(3), address(3), anywhere, address(4)], &[address(9)]), [address(9), anywhere]);
        assert_eq!(all.health().collect::<Vec<_>>(), [(address(3), false), (address(4), true)]);
        let many: Vec<_> = (0..200).map(address).collect();
        all.set(&many, &[]);
        assert_eq!(all.health().count(), MOST);
    }

    proptest! {
        /// Whatever happened, every question has somebody to be asked, the well ones first, and an end.
        #[test]
        fn there_is_always_somebody_to_ask(steps in proptest::collection::vec((0_u8..5, 0_u64..5000, any::<bool>()), 0..60)) {
            let mut all = three();
            let mut now = Duration::ZERO;
            for (last, time, well) in steps {
                now += ms(time);
                if well { all.answered(address(last), ms(time)); } else { all.failed(address(last), now); }
                let attempts = all.attempts();
                prop_assert_eq!(attempts.len(), ATTEMPTS);
                let well: Vec<_> = all.health().filter(|(_, well)| *well).map(|(address, _)| address).collect();
                let asked_first: Vec<_> = attempts.iter().take(well.len()).map(|attempt| attempt.address).collect();
                prop_assert!(well.iter().all(|address| asked_first.contains(address)));
                prop_assert!(attempts.iter().all(|attempt| attempt.patience >= LEAST_PATIENCE && attempt.patience <= MOST_PATIENCE * 4));
                if let Some(probed) = all.probe(now) {
                    prop_assert_eq!(all.probe(now).filter(|again| *again == probed), None);
                }
            }
        }
    }
}
