//! Networks, and networks less other networks, as ranges of addresses. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// From the first address to the last.
pub type Range = (IpAddr, IpAddr);

/// All addresses of `include` that are in none of `exclude`: sorted, and apart from each other.
#[must_use]
pub fn ranges(include: &[IpNet], exclude: &[IpNet]) -> Vec<Range> {
    [true, false].into_iter().flat_map(|v4| family(include, exclude, v4)).collect()
}

fn family(include: &[IpNet], exclude: &[IpNet], v4: bool) -> Vec<Range> {
    let of = |list: &[IpNet]| merged(list.iter().filter(|net| net.addr().is_ipv4() == v4).map(numbers).collect());
    let mut left = of(include);
    for (low, high) in of(exclude) {
        left = left.into_iter().flat_map(|range| without(range, (low, high))).collect();
    }
    left.into_iter().map(|(low, high)| (address(low, v4), address(high, v4))).collect()
}

fn numbers(net: &IpNet) -> (u128, u128) {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    (number(net.network()), number(net.broadcast()))
}

fn address(number: u128, v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into() } else { Ipv6Addr::from(number).into() }
}

/// Sorted; those that touch or overlap are one.
fn merged(mut list: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    list.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::new();
    for (low, high) in list {
        match out.last_mut() {
            Some(before) if low <= before.1.saturating_add(1) => before.1 = before.1.max(high),
            _ => out.push((low, high)),
        }
    }
    out
}

/// What is left of a range on both sides of another.
fn without((low, high): (u128, u128), (from, to): (u128, u128)) -> impl Iterator<Item = (u128, u128)> {
    let apart = to < low || high < from;
    let whole = apart.then_some((low, high));
    let before = (!apart && low < from).then(|| (low, from - 1));
    let behind = (!apart && to < high).then(|| (to + 1, high));
    [whole, before, behind].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(include: &[&str], exclude: &[&str], wanted: &[(&str, &str)]) {
        let found: Vec<_> = ranges(&nets(include), &nets(exclude)).iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let wanted: Vec<_> = wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn networks_become_ranges() {
        check(&[], &["10.0.0.0/8"], &[]);
        check(&["10.0.0.0/9", "10.128.0.0/9", "9.0.0.0/8"], &[], &[("9.0.0.0", "10.255.255.255")]);
        check(&["10.0.0.0/24"], &["10.0.0.0/25"], &[("10.0.0.128", "10.0.0.255")]);
        check(&["10.0.0.0/24"], &["10.0.0.7/32"], &[("10.0.0.0", "10.0.0.6"), ("10.0.0.8", "10.0.0.255")]);
        check(&["10.0.0.0/24"], &["0.0.0.0/0"], &[]);
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        check(
            &["0.0.0.0/0", "::/0"],
            &["fd00::/8"],
            &[("0.0.0.0", "255.255.255.255"), ("::", "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("fe00::", last)],
        );
    }

    proptest! {
        #[test]
        fn an_address_is_in_it_when_it_is_in_a_network_and_in_no_other(
            include in proptest::collection::vec((any::<u8>(), 24_u8..=32), 0..5),
            exclude in proptest::collection::vec((any::<u8>(), 24_u8..=32), 0..5),
        ) {
            let net = |(last, length): &(u8, u8)| IpNet::new(IpAddr::from([10, 0, 0, *last]), *length).unwrap();
            let (include, exclude): (Vec<_>, Vec<_>) = (include.iter().map(net).collect(), exclude.iter().map(net).collect());
            let found = ranges(&include, &exclude);
            prop_assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].0), "{found:?}");
            for last in 0..=255 {
                let one = IpAddr::from([10, 0, 0, last]);
                let wanted = include.iter().any(|net| net.contains(&one)) && !exclude.iter().any(|net| net.contains(&one));
                prop_assert_eq!(found.iter().any(|(low, high)| *low <= one && one <= *high), wanted, "{}", one);
            }
        }
    }
}
