//! Networks of the firewall.

use std::net::IpAddr;

use ipnet::IpNet;
use machined::firewall::ranges::ranges;

use super::seeds;
use crate::target::{Target, text, words};

/// Networks less other networks.
pub const RANGES: Target = Target {
    name: "ranges",
    bytes: "networks, one a line; those behind a `!` are taken out",
    from: "configurations",
    property: "ranges are sorted and apart; an address is in one when it is in a network and in none that is taken out",
    words: || {
        words(&["10.0.0.0/8\n", "!10.1.0.0/16\n", "::/0\n", "!fd00::/8\n", "0.0.0.0/0\n", "255.255.255.255/32\n", "ffff:ffff::/128\n"])
    },
    seeds: || seeds(&["10.0.0.0/8\n!10.1.0.0/16\n!10.0.0.0/32\n", "::/0\n!fd00::/8\n0.0.0.0/0\n!255.255.255.255/32\n"]),
    check: |input| {
        let text = text(input);
        let (mut include, mut exclude): (Vec<IpNet>, Vec<IpNet>) = (Vec::new(), Vec::new());
        for line in text.lines().take(64) {
            let (list, line) = match line.strip_prefix('!') {
                Some(line) => (&mut exclude, line),
                None => (&mut include, line),
            };
            list.extend(line.parse::<IpNet>());
        }
        let found = ranges(&include, &exclude);
        assert!(found.iter().all(|(low, high)| low <= high && low.is_ipv4() == high.is_ipv4()), "{found:?}");
        assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].0), "{found:?}");
        // The edges of everything, and what is beside them.
        let edges = include.iter().chain(&exclude).flat_map(|net| [net.network(), net.broadcast()]);
        for address in edges.flat_map(|address| [Some(address), beside(address, true), beside(address, false)]).flatten() {
            let wanted = include.iter().any(|net| net.contains(&address)) && !exclude.iter().any(|net| net.contains(&address));
            assert_eq!(found.iter().any(|(low, high)| *low <= address && address <= *high), wanted, "{address}");
        }
    },
    ..Target::PLAIN
};

fn beside(address: IpAddr, above: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let number = u32::from(address);
            if above { number.checked_add(1) } else { number.checked_sub(1) }.map(|number| IpAddr::V4(number.into()))
        }
        IpAddr::V6(address) => {
            let number = u128::from(address);
            if above { number.checked_add(1) } else { number.checked_sub(1) }.map(|number| IpAddr::V6(number.into()))
        }
    }
}
