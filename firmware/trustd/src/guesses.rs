//! Who guesses tokens is made to wait. A function of values.
//!
//! A token has more than a hundred bits, so guessing it is hopeless in any case; but each guess costs a handshake and a log line, and a
//! token that leaked in part is no reason to let anybody try the rest at full speed.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Wrong answers that an address may give in a [`WINDOW`].
const ALLOWED: u32 = 10;
/// Wrong answers are forgiven after that.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the oldest makes room for another.
const ADDRESSES: usize = 1024;

/// Wrong answers of late.
#[derive(Debug, Default)]
pub(crate) struct Guesses(HashMap<IpAddr, Wrong>);

#[derive(Debug)]
struct Wrong {
    since: Instant,
    count: u32,
}

impl Guesses {
    /// Whether this address has to wait.
    pub(crate) fn refuses(&self, address: IpAddr, now: Instant) -> bool {
        self.0.get(&network(address)).is_some_and(|wrong| wrong.count >= ALLOWED && now.saturating_duration_since(wrong.since) < WINDOW)
    }

    /// It gave a wrong answer.
    pub(crate) fn wrong(&mut self, address: IpAddr, now: Instant) {
        self.0.retain(|_, wrong| now.saturating_duration_since(wrong.since) < WINDOW);
        let full = self.0.len() >= ADDRESSES;
        let address = network(address);
        match self.0.get_mut(&address) {
            Some(wrong) => wrong.count = wrong.count.saturating_add(1),
            // One who is not remembered has the others' guesses to thank; the oldest makes room.
            None => {
                if full && let Some(oldest) = self.0.iter().min_by_key(|(_, wrong)| wrong.since).map(|(address, _)| *address) {
                    self.0.remove(&oldest);
                }
                self.0.insert(address, Wrong { since: now, count: 1 });
            }
        }
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn an_address_waits_after_too_many_and_is_forgiven() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        for _ in 0..ALLOWED {
            assert!(!guesses.refuses(address("10.0.0.1"), start));
            guesses.wrong(address("10.0.0.1"), start);
        }
        assert!(guesses.refuses(address("10.0.0.1"), start));
        assert!(guesses.refuses(address("::ffff:10.0.0.1"), start), "the same, as a socket of both families shows it");
        assert!(!guesses.refuses(address("10.0.0.2"), start));
        assert!(!guesses.refuses(address("10.0.0.1"), start + WINDOW));
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for host in 0..ALLOWED {
            guesses.wrong(address(&format!("fd00::{host:x}")), now);
        }
        assert!(guesses.refuses(address("fd00::ffff"), now));
        assert!(!guesses.refuses(address("fd00:0:0:1::1"), now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        for host in 0..5000_u32 {
            guesses.wrong(IpAddr::from(host.to_be_bytes()), start + Duration::from_millis(host.into()));
        }
        assert_eq!(guesses.0.len(), ADDRESSES);
        guesses.wrong(address("10.0.0.1"), start + WINDOW * 3);
        assert_eq!(guesses.0.len(), 1);
    }
}
