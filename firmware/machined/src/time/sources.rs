//! Which servers there are, and which are asked next. Pure.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use machine_config::Time;

/// The server when nobody names one (behaviour of the reference).
pub const DEFAULT_SERVER: &str = "time.cloudflare.com";
/// Most servers asked in one round.
const ASKED: usize = 4;
/// Most addresses of one server that are tried in a round.
const ADDRESSES: usize = 4;
/// Delays that are remembered of a server.
const DELAYS: usize = 8;
/// A server that asked to be left alone is left alone for this long.
const REST: Duration = Duration::from_secs(2 * 2048);
/// A server that refuses to serve is not asked for this long.
const BAN: Duration = Duration::from_secs(24 * 3600);

/// The servers to use: the configuration's, else those that the network names, else the default one.
#[must_use]
pub fn servers(config: Option<&Time>, network: &[String]) -> Vec<String> {
    let configured = config.map(|time| &time.servers[..]).unwrap_or_default();
    let chosen = [configured, network].into_iter().find(|servers| !servers.is_empty());
    let mut unique: Vec<String> = Vec::new();
    for server in chosen.unwrap_or_default() {
        if !unique.contains(server) {
            unique.push(server.clone());
        }
    }
    if unique.is_empty() { vec![DEFAULT_SERVER.to_owned()] } else { unique }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As it was named.
    pub name: String,
    /// Its addresses, the one to begin with first.
    pub addresses: Vec<SocketAddr>,
    failures: u32,
    rests_until: Duration,
    delays: VecDeque<Duration>,
}

impl Source {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), addresses: Vec::new(), failures: 0, rests_until: Duration::ZERO, delays: VecDeque::new() }
    }

    /// Its addresses as they were just found; the one that answered last stays the first.
    pub fn resolved(&mut self, mut addresses: Vec<SocketAddr>) {
        if let Some(at) = self.addresses.first().and_then(|known| addresses.iter().position(|address| address == known)) {
            addresses.swap(0, at);
        }
        addresses.truncate(ADDRESSES);
        self.addresses = addresses;
    }

    /// An answer took so much longer than usual that the next may be better.
    #[must_use]
    pub fn is_slow(&self, delay: Duration) -> bool {
        self.delays.iter().min().is_some_and(|usual| delay > *usual * 3 + Duration::from_millis(20))
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Makes them those of `names`; what is known of a server that stays is kept. Gives whether anything changed.
    pub fn set(&mut self, names: &[String]) -> bool {
        if self.0.iter().map(|source| &source.name).eq(names) {
            return false;
        }
        let mut known = std::mem::take(&mut self.0);
        self.0 = names
            .iter()
            .map(|name| match known.iter().position(|source| source.name == *name) {
                Some(at) => known.swap_remove(at),
                None => Source::new(name),
            })
            .collect();
        true
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who is to be asked at `now` (since the node's start): those that answer before those that do not, each in the order in which
    /// they were named.
    #[must_use]
    pub fn next(&self, now: Duration) -> Vec<Source> {
        let mut awake: Vec<_> = self.0.iter().filter(|source| source.rests_until <= now).collect();
        awake.sort_by_key(|source| source.failures);
        awake.into_iter().take(ASKED).cloned().collect()
    }

    /// A server has answered from `address`.
    pub fn answered(&mut self, name: &str, addresses: Vec<SocketAddr>, address: SocketAddr, delay: Duration) {
        let Some(source) = self.find(name) else { return };
        source.addresses = addresses;
        if let Some(at) = source.addresses.iter().position(|known| *known == address) {
            source.addresses.swap(0, at);
        }
        source.failures = 0;
        if source.delays.len() == DELAYS {
            source.delays.pop_front();
        }
        source.delays.push_back(delay);
    }

    /// A server has not answered. `wish` is what it wants instead, if it said so.
    pub fn failed(&mut self, name: &str, wish: Option<Wish>, now: Duration) {
        let Some(source) = self.find(name) else { return };
        source.failures = source.failures.saturating_add(1);
        // What the name stands for may have changed.
        source.addresses.clear();
        source.rests_until = match wish {
            Some(Wish::Less) => now + REST,
            Some(Wish::Never) => now + BAN,
            None => source.rests_until,
        };
    }

    fn find(&mut self, name: &str) -> Option<&mut Source> {
        self.0.iter_mut().find(|source| source.name == name)
    }
}

/// What a server that does not serve wants (RFC 5905, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To be asked less often.
    Less,
    /// Not to be asked.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_strongest_layer_wins() {
        let config = |servers: &[&str]| Time { servers: names(servers), ..Time::default() };
        assert_eq!(servers(Some(&config(&["a", "b", "a"])), &names(&["dhcp"])), ["a", "b"]);
        assert_eq!(servers(Some(&config(&[])), &names(&["dhcp"])), ["dhcp"]);
        assert_eq!(servers(None, &[]), [DEFAULT_SERVER]);
    }

    #[track_caller]
    fn check(sources: &Sources, now: u64, wanted: &[&str]) {
        let found: Vec<_> = sources.next(Duration::from_secs(now)).into_iter().map(|source| source.name).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn those_that_answer_are_asked_first() {
        let mut sources = Sources::default();
        assert!(sources.set(&names(&["a", "b", "c", "d", "e"])));
        check(&sources, 0, &["a", "b", "c", "d"]);
        sources.failed("b", None, Duration::ZERO);
        check(&sources, 0, &["a", "c", "d", "e"]);
        sources.failed("a", Some(Wish::Less), Duration::ZERO);
        sources.failed("c", Some(Wish::Never), Duration::ZERO);
        check(&sources, 1, &["d", "e", "b"]);
        check(&sources, 4096, &["d", "e", "a", "b"]);
        check(&sources, 86400, &["d", "e", "a", "b"]);
        sources.answered("b", vec![], "10.0.0.1:123".parse().unwrap(), Duration::ZERO);
        assert!(!sources.set(&names(&["a", "b", "c", "d", "e"])));
        assert!(sources.set(&names(&["b", "a", "f"])));
        check(&sources, 4096, &["b", "f", "a"]);
    }

    #[test]
    fn the_address_that_answers_is_tried_first_and_slow_answers_are_noticed() {
        let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 123));
        let mut sources = Sources::default();
        sources.set(&names(&["a"]));
        let [mut source]: [Source; 1] = sources.next(Duration::ZERO).try_into().unwrap();
        source.resolved((1..9).map(address).collect());
        assert_eq!(source.addresses.len(), ADDRESSES);
        assert!(!source.is_slow(Duration::from_secs(9)), "nothing is known yet");
        sources.answered("a", source.addresses, address(3), Duration::from_millis(10));
        let [mut source]: [Source; 1] = sources.next(Duration::ZERO).try_into().unwrap();
        assert_eq!(source.addresses[0], address(3));
        source.resolved(vec![address(7), address(3)]);
        assert_eq!(source.addresses, [address(3), address(7)]);
        assert!(!source.is_slow(Duration::from_millis(50)) && source.is_slow(Duration::from_millis(51)));
    }
}
