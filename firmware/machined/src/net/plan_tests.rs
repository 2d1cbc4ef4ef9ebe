use std::{net::Ipv4Addr, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::net::{cmdline::Selector, model::Address};

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
        loopback: name == "lo",
        physical: name.starts_with("eth"),
        up: true,
        carrier: true,
        mtu: 1500,
        mtu_limit: 9000,
    }
}

fn lease(address: &str, router: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        routers: vec![router.parse().unwrap()],
        routes: vec![],
        resolvers: vec![],
        search: vec![],
        hostname: None,
        mtu: None,
        server: router.parse().unwrap(),
        lifetime: Duration::from_secs(600),
    }
}

/// `DESTINATION via GATEWAY onlink metric N` as text, so that cases read well.
fn show(route: &Route) -> String {
    let via = route.gateway.map_or(String::new(), |gateway| format!(" via {gateway}"));
    let onlink = if route.onlink { " onlink" } else { "" };
    format!("{}{via}{onlink} dev {} metric {}", route.destination, route.link, route.metric)
}

#[track_caller]
fn check(line: &str, wanted: &Wanted, leases: &[(u32, Lease)], expected: &[(u32, bool, &[&str], &[&str])]) {
    let links = [link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(4, "veth0")];
    let all = desired(&links, &CommandLine::parse(line), wanted, &leases.iter().cloned().collect());
    let seen: Vec<_> = all
        .iter()
        .map(|(index, own)| {
            let addresses: Vec<_> = own.addresses.iter().map(ToString::to_string).collect();
            (*index, own.dhcp, addresses, own.routes.iter().map(show).collect::<Vec<_>>())
        })
        .collect();
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let expected: Vec<_> =
        expected.iter().map(|(index, dhcp, addresses, routes)| (*index, *dhcp, strings(addresses), strings(routes))).collect();
    assert_eq!(seen, expected, "{line}");
}

#[test]
fn layers_and_their_strength() {
    let none = Wanted::default();
    check("", &none, &[], &[(2, true, &[], &[]), (3, true, &[], &[])]);
    check("ip=off", &none, &[], &[(2, false, &[], &[]), (3, false, &[], &[])]);
    check("ip=eth1:dhcp", &none, &[], &[(2, true, &[], &[]), (3, true, &[], &[])]);
    check("ip=veth0:dhcp talos.network.interface.ignore=eth0", &none, &[], &[(3, true, &[], &[]), (4, true, &[], &[])]);
    check(
        "ip=10.0.2.15::10.0.2.2:24::eth1",
        &none,
        &[],
        &[(2, true, &[], &[]), (3, false, &["10.0.2.15/24"], &["0.0.0.0/0 via 10.0.2.2 dev 3 metric 1024"])],
    );
    check("ip=10.9.9.9:::32", &none, &[], &[(2, false, &["10.9.9.9/32"], &[]), (3, true, &[], &[])]);
    let config = WantedLink {
        selector: Selector::Mac([2, 0, 0, 0, 0, 3]),
        ignore: false,
        dhcp: false,
        dhcp_metric: None,
        addresses: vec!["192.168.1.5/24".parse().unwrap()],
        routes: vec![("0.0.0.0/0".parse().unwrap(), Some("192.168.1.1".parse().unwrap()), Some(7))],
        mtu: None,
    };
    let ignored = WantedLink { selector: Selector::Name("eth0".to_owned()), ignore: true, routes: vec![], ..config.clone() };
    let wanted = Wanted { links: vec![config, ignored], ..Wanted::default() };
    check("ip=eth1:dhcp", &wanted, &[], &[(3, false, &["192.168.1.5/24"], &["0.0.0.0/0 via 192.168.1.1 dev 3 metric 7"])]);
}

#[test]
fn leases_become_addresses_and_routes() {
    let none = Wanted::default();
    let both = [(2, lease("10.0.2.15/24", "10.0.2.2")), (3, lease("10.0.3.15/24", "10.0.3.2"))];
    check(
        "",
        &none,
        &both,
        &[
            (2, true, &["10.0.2.15/24"], &["0.0.0.0/0 via 10.0.2.2 dev 2 metric 1024"]),
            (3, true, &["10.0.3.15/24"], &["0.0.0.0/0 via 10.0.3.2 dev 3 metric 1025"]),
        ],
    );
    // A cloud's /32 with a router outside it.
    let cloud = lease("172.16.0.9/32", "172.16.0.1");
    check(
        "ip=eth1:off",
        &none,
        &[(2, cloud)],
        &[(2, true, &["172.16.0.9/32"], &["0.0.0.0/0 via 172.16.0.1 onlink dev 2 metric 1024"]), (3, false, &[], &[])],
    );
    // Classless routes replace the router.
    let mut classless = lease("10.0.2.15/24", "10.0.2.2");
    classless.routes =
        vec![("0.0.0.0/0".parse().unwrap(), "10.0.2.9".parse().unwrap()), ("10.8.1.1/8".parse().unwrap(), Ipv4Addr::UNSPECIFIED)];
    check(
        "ip=eth1:off",
        &none,
        &[(2, classless)],
        &[
            (2, true, &["10.0.2.15/24"], &["0.0.0.0/0 via 10.0.2.9 dev 2 metric 1024", "10.0.0.0/8 dev 2 metric 1024"]),
            (3, false, &[], &[]),
        ],
    );
}

#[test]
fn mtu_is_held_to_what_makes_sense() {
    for (offered, wanted) in [(1400, Some(1400)), (68, None), (65535, Some(9000))] {
        let mut lease = lease("10.0.2.15/24", "10.0.2.2");
        lease.mtu = Some(offered);
        let all = desired(&[link(2, "eth0")], &CommandLine::default(), &Wanted::default(), &[(2, lease)].into());
        assert_eq!(all[&2].mtu, wanted, "{offered}");
    }
}

#[test]
fn steps_come_in_an_order_that_works() {
    let down = Link { up: false, carrier: false, ..link(2, "eth0") };
    let lo = Link { up: false, ..link(1, "lo") };
    let line = CommandLine::parse("ip=10.0.2.15::10.0.2.2:24::eth0");
    let links = vec![lo, down, link(4, "veth0")];
    let wanted = desired(&links, &line, &Wanted::default(), &BTreeMap::new());
    let actual = Actual { links, ..Actual::default() };
    let address = "10.0.2.15/24".parse().unwrap();
    assert_eq!(
        actions(&actual, &wanted),
        [
            Action::Up { link: 1 },
            Action::AllowIpv6 { name: "eth0".to_owned() },
            Action::Up { link: 2 },
            Action::AddAddress { link: 2, net: address },
        ],
        "routes wait for the link"
    );
}

#[test]
fn a_lost_lease_takes_its_own_things_and_nothing_else() {
    let foreign = Address { link: 2, net: "10.0.2.99/32".parse().unwrap(), ours: false, usable: true };
    let own = Address { net: "10.0.2.15/24".parse().unwrap(), ours: true, ..foreign };
    let route = default_route(2, "10.0.2.2".parse().unwrap(), &[own.net], METRIC);
    let actual = Actual { links: vec![link(2, "eth0")], addresses: vec![foreign, own], routes: vec![route.clone()], gateways: vec![] };
    let wanted = desired(&actual.links, &CommandLine::default(), &Wanted::default(), &BTreeMap::new());
    assert_eq!(actions(&actual, &wanted), [Action::RemoveRoute(route), Action::RemoveAddress { link: 2, net: own.net }]);
}

/// Does what the kernel would do with the steps.
fn apply(actual: &mut Actual, steps: Vec<Action>) {
    for step in steps {
        match step {
            Action::AllowIpv6 { .. } => {}
            Action::Up { link } => actual.links.iter_mut().filter(|one| one.index == link).for_each(|one| one.up = true),
            Action::Mtu { link, mtu } => {
                actual.links.iter_mut().filter(|one| one.index == link).for_each(|one| one.mtu = mtu);
            }
            Action::RemoveAddress { link, net } => actual.addresses.retain(|one| !(one.link == link && one.net == net)),
            Action::AddAddress { link, net } => {
                actual.addresses.push(Address { link, net, ours: true, usable: true });
            }
            Action::RemoveRoute(route) => actual.routes.retain(|one| *one != route),
            Action::AddRoute(route) => actual.routes.push(route),
        }
    }
}

proptest! {
    /// From any state, two rounds reach what is wanted and a third has nothing to do; foreign addresses stay.
    #[test]
    fn the_steps_converge(
        up in any::<bool>(),
        leased in proptest::option::of(1_u8..200),
        old in proptest::collection::vec((1_u8..200, any::<bool>()), 0..4),
        static_address in proptest::option::of(1_u8..200),
    ) {
        let mut actual = Actual { links: vec![Link { up, ..link(2, "eth0") }, link(4, "veth0")], ..Actual::default() };
        for (last, ours) in &old {
            let net: IpNet = format!("10.1.{}.{last}/24", u8::from(*ours)).parse().unwrap();
            if !actual.addresses.iter().any(|have| have.net == net) {
                actual.addresses.push(Address { link: 2, net, ours: *ours, usable: true });
            }
        }
        let foreign: Vec<_> = actual.addresses.iter().filter(|one| !one.ours).copied().collect();
        let leases = leased.map(|last| (2, lease(&format!("10.0.0.{last}/24"), "10.0.0.254"))).into_iter().collect();
        let line = static_address.map_or(String::new(), |last| format!("ip=10.2.0.{last}::10.2.0.254:24::eth0 ip=eth0:dhcp"));
        let wanted = desired(&actual.links, &CommandLine::parse(&line), &Wanted::default(), &leases);
        for _ in 0..2 {
            let steps = actions(&actual, &wanted);
            apply(&mut actual, steps);
        }
        prop_assert_eq!(actions(&actual, &wanted), vec![]);
        for one in foreign {
            prop_assert!(actual.addresses.contains(&one));
        }
        for net in &wanted[&2].addresses {
            prop_assert!(actual.addresses.iter().any(|have| have.net == *net));
        }
    }
}
