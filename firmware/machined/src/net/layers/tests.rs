use std::time::Duration;

use machine_config::network::{Address, ClientId, DeviceSelector, Dhcp, Link as Wanted, LinkKind, Route};

use super::*;
use crate::net::specs::Merged;

pub(super) fn link(index: u32, name: &str) -> Link {
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
        ..Link::default()
    }
}

fn lease(address: &str, router: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        routers: vec![router.parse().unwrap()],
        routes: vec![],
        resolvers: vec!["10.0.2.3".parse().unwrap()],
        search: vec!["lan".to_owned()],
        hostname: Some("leased".to_owned()),
        time_servers: vec!["10.0.2.123".to_owned()],
        mtu: None,
        server: router.parse().unwrap(),
        lifetime: Duration::from_secs(600),
    }
}

fn merged(line: &str, config: &Network, leases: &[(&str, Lease)]) -> (Merged, Specs) {
    merged_on(&Network::default(), line, config, leases)
}

/// As [`merged`], on a platform that says something.
fn merged_on(platform: &Network, line: &str, config: &Network, leases: &[(&str, Lease)]) -> (Merged, Specs) {
    let links = [link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(4, "veth0")];
    let leases = leases.iter().map(|(link, lease)| (format!("dhcp4/{link}"), lease.clone())).collect();
    let line = CommandLine::parse(line);
    let specs =
        all(&Sources { links: &links, line: &line, platform, config, leases: &leases, automatic: Some("keelson-1"), pods_dns: &[] });
    (specs.merge(), specs)
}

/// Who asks, addresses, and routes as `LINK DESTINATION GATEWAY METRIC`.
#[track_caller]
fn check(line: &str, config: &Network, leases: &[(&str, Lease)], asks: &[&str], addresses: &[&str], routes: &[&str]) {
    let (merged, _) = merged(line, config, leases);
    let found: Vec<&str> = merged.operators.keys().map(String::as_str).collect();
    assert_eq!(found, asks, "who asks: {line}");
    let found: Vec<&str> = merged.addresses.keys().map(String::as_str).collect();
    assert_eq!(found, addresses, "addresses: {line}");
    let mut found: Vec<String> = merged
        .routes
        .values()
        .map(|route| {
            let text = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
            let gateway = text(route.gateway.map(|gateway| gateway.to_string()));
            format!("{} {} {gateway} {}", route.out_link_name, text(route.destination.map(|net| net.to_string())), route.priority)
        })
        .collect();
    found.sort();
    assert_eq!(found, routes, "routes: {line}");
}

fn configured(links: Vec<Wanted>) -> Network {
    Network { links, ..Network::default() }
}

fn named(name: &str) -> Wanted {
    Wanted::new(Which::Named(name.to_owned()), LinkKind::Existing)
}

fn with_address(name: &str, address: &str) -> Wanted {
    Wanted { addresses: vec![Address { net: address.parse().unwrap(), metric: None }], ..named(name) }
}

#[test]
fn what_nobody_mentions_asks_by_itself() {
    let none = Network::default();
    check("", &none, &[], &["dhcp4/eth0", "dhcp4/eth1"], &[], &[]);
    check("ip=off", &none, &[], &[], &[], &[]);
    check("ip=eth1:dhcp", &none, &[], &["dhcp4/eth0", "dhcp4/eth1"], &[], &[]);
    check("ip=veth0:dhcp talos.network.interface.ignore=eth0", &none, &[], &["dhcp4/eth1", "dhcp4/veth0"], &[], &[]);
    check("ip=10.0.2.15::10.0.2.2:24::eth1", &none, &[], &["dhcp4/eth0"], &["eth1/10.0.2.15/24"], &["eth1 - 10.0.2.2 1024"]);
    check("ip=10.9.9.9:::32", &none, &[], &["dhcp4/eth1"], &["eth0/10.9.9.9/32"], &[]);
    let static_one = configured(vec![with_address("eth1", "192.168.1.5/24")]);
    check("", &static_one, &[], &["dhcp4/eth0"], &["eth1/192.168.1.5/24"], &[]);
    // A document about any link says that there are no others.
    check("", &Network { explicit: true, ..static_one }, &[], &[], &["eth1/192.168.1.5/24"], &[]);
    check("", &Network { explicit: true, ..Network::default() }, &[], &[], &[], &[]);
}

#[test]
fn layers_add_up_but_for_links_to_leave_alone() {
    let mut config = configured(vec![with_address("eth1", "192.168.1.5/24")]);
    let gateway = Route {
        network: "0.0.0.0/0".parse().ok(),
        gateway: "192.168.1.1".parse().ok(),
        source: None,
        metric: Some(7),
        mtu: None,
        table: 254,
    };
    config.links[0].routes.push(gateway);
    check(
        "ip=eth1:dhcp",
        &config,
        &[("eth1", lease("10.0.2.15/24", "10.0.2.2"))],
        &["dhcp4/eth0", "dhcp4/eth1"],
        &["eth1/10.0.2.15/24", "eth1/192.168.1.5/24"],
        &["eth1 - 10.0.2.2 1024", "eth1 - 192.168.1.1 7"],
    );
    let ignored = configured(vec![Wanted { ignore: true, ..named("eth0") }]);
    let held = [("eth0", lease("10.0.2.15/24", "10.0.2.2"))];
    check("ip=eth0:dhcp", &ignored, &held, &["dhcp4/eth1"], &[], &[]);
}

#[test]
fn leases_become_addresses_routes_and_names() {
    let none = Network::default();
    let both = [("eth1", lease("10.0.3.15/24", "10.0.3.2")), ("eth0", lease("10.0.2.15/24", "10.0.2.2"))];
    check(
        "",
        &none,
        &both,
        &["dhcp4/eth0", "dhcp4/eth1"],
        &["eth0/10.0.2.15/24", "eth1/10.0.3.15/24"],
        &["eth0 - 10.0.2.2 1024", "eth1 - 10.0.3.2 1025"],
    );
    // Classless routes replace the router.
    let mut classless = lease("10.0.2.15/24", "10.0.2.2");
    classless.routes =
        vec![("0.0.0.0/0".parse().unwrap(), "10.0.2.9".parse().unwrap()), ("10.8.1.1/8".parse().unwrap(), "0.0.0.0".parse().unwrap())];
    let routes = ["eth0 - 10.0.2.9 1024", "eth0 10.0.0.0/8 - 1024"];
    check("ip=eth1:off", &none, &[("eth0", classless)], &["dhcp4/eth0"], &["eth0/10.0.2.15/24"], &routes);
    let (merged, _) = merged("", &none, &both);
    assert_eq!(
        (merged.hostname.hostname.as_str(), merged.time_servers.ntp_servers.as_slice()),
        ("leased", ["10.0.2.123".to_owned()].as_slice())
    );
    assert_eq!((merged.resolvers.dns_servers.len(), merged.resolvers.search_domains.as_slice()), (1, ["lan".to_owned()].as_slice()));
}

#[test]
fn options_of_a_client_hold() {
    let dhcp = Dhcp {
        which: Which::Named("eth0".into()),
        six: false,
        metric: Some(50),
        ignore_hostname: true,
        ignore_routes: true,
        client_id: ClientId::None,
    };
    let config = Network { dhcp: vec![dhcp.clone()], ..Network::default() };
    let held = [("eth0", lease("10.0.2.15/24", "10.0.2.2"))];
    check("", &config, &held, &["dhcp4/eth0", "dhcp4/eth1"], &["eth0/10.0.2.15/24"], &[]);
    let (merged_, _) = merged("", &config, &held);
    assert_eq!(merged_.hostname.hostname, "keelson-1");
    let config = Network { dhcp: vec![Dhcp { ignore_routes: false, ..dhcp }], ..Network::default() };
    check("", &config, &held, &["dhcp4/eth0", "dhcp4/eth1"], &["eth0/10.0.2.15/24"], &["eth0 - 10.0.2.2 50"]);
}

#[test]
fn mtu_from_dhcp_is_held_to_what_makes_sense() {
    for (offered, wanted) in [(1400, 1400), (68, 0)] {
        let mut lease = lease("10.0.2.15/24", "10.0.2.2");
        lease.mtu = Some(offered);
        let (merged, _) = merged("", &Network::default(), &[("eth0", lease)]);
        assert_eq!(merged.links["eth0"].mtu, wanted, "{offered}");
        assert!(merged.links["eth0"].up, "a lease brings no link down");
    }
}

#[test]
fn names_come_from_the_strongest() {
    let name = |line: &str, config: Option<&str>| {
        let config = Network { hostname: config.map(str::to_owned), ..Network::default() };
        let (merged, specs) = merged(line, &config, &[("eth0", lease("10.0.2.15/24", "10.0.2.2"))]);
        let own = crate::net::names::own_hostname(&specs);
        (format!("{}.{}", merged.hostname.hostname, merged.hostname.domainname), own)
    };
    let own = |name: &str| Some(name.to_owned());
    assert_eq!(name("", None), ("leased.".to_owned(), None), "a server is not told the name that it gave");
    assert_eq!(name("ip=::::cmd1::dhcp", None), ("cmd1.".to_owned(), own("cmd1")));
    assert_eq!(name("ip=::::cmd1::dhcp talos.hostname=cmd2", None), ("cmd2.".to_owned(), own("cmd2")));
    assert_eq!(name("talos.hostname=cmd2", Some("node.example.com")), ("node.example.com".to_owned(), own("node")));
}

#[test]
fn the_command_line_makes_links() {
    let none = Network::default();
    let line = "bond=bond0:eth0,eth1:mode=active-backup vlan=bond0.5:bond0 ip=10.5.0.2:::24::bond0.5";
    check(line, &none, &[], &[], &["bond0.5/10.5.0.2/24"], &[]);
    let (merged, _) = merged(line, &none, &[]);
    assert_eq!((merged.links["bond0"].kind.as_str(), merged.links["bond0"].bond_master.mode.number), ("bond", 1));
    assert_eq!(merged.links["eth1"].bond_slave.master_name, "bond0");
    assert_eq!((merged.links["bond0.5"].parent_name.as_str(), merged.links["bond0.5"].vlan.vid), ("bond0", 5));
}

#[test]
fn links_are_chosen_by_hardware_and_alias() {
    let selector = DeviceSelector { hardware_addr: "02:*:03".into(), physical: Some(true), ..DeviceSelector::default() };
    let mut by_hardware = named("x");
    by_hardware.which = Which::Matching(selector);
    by_hardware.addresses.push(Address { net: "10.1.0.1/24".parse().unwrap(), metric: None });
    let bond =
        Wanted { ports: vec![Which::Named("uplink".into())], ..Wanted::new(Which::Named("bond0".into()), LinkKind::Bond(Box::default())) };
    let expression = |text: &str| machine_config::network::Expression::parse(text).unwrap();
    let alias = |name: &str, text: &str| machine_config::network::Alias { name: name.into(), selector: expression(text) };
    let config = Network {
        aliases: vec![
            alias("uplink", "mac(link.hardware_addr) == '02:00:00:00:00:02'"),
            alias("unclear", "link.mtu == 1500 && link.name != 'eth0' || link.name != 'eth1'"),
            alias("rest%d", "link.link_state"),
        ],
        ..configured(vec![by_hardware, bond])
    };
    let (merged, specs) = merged("", &config, &[]);
    assert!(merged.addresses.contains_key("eth1/10.1.0.1/24"));
    assert_eq!(merged.links["eth0"].bond_slave.master_name, "bond0", "the alias means the link");
    let aliases: Vec<_> = specs.aliases.iter().map(|(alias, name)| format!("{alias}={name}")).collect();
    assert_eq!(
        aliases,
        ["rest0=eth1", "unclear=eth1", "uplink=eth0"].iter().filter(|text| !text.starts_with("rest")).copied().collect::<Vec<_>>()
    );
    assert_eq!(merged.operators.len(), 0, "all are mentioned");
}

#[test]
fn the_name_server_for_pods_is_on_loopback() {
    let links = [link(1, "lo"), link(2, "eth0")];
    let [four, six]: [IpAddr; 2] = ["169.254.116.108", "fd54:616c:6f73:0:204f:5320:444e:531"].map(|text| text.parse().unwrap());
    let (line, config, leases) = (CommandLine::parse(""), Network::default(), BTreeMap::new());
    let sources = Sources {
        links: &links,
        line: &line,
        platform: &config,
        config: &config,
        leases: &leases,
        automatic: Some("n"),
        pods_dns: &[four, six],
    };
    let merged = all(&sources).merge();
    let found: Vec<_> = merged.addresses.iter().map(|(id, spec)| (id.as_str(), spec.scope.name(), spec.layer)).collect();
    let layer = ConfigLayer::Operator;
    let six = "lo/fd54:616c:6f73:0:204f:5320:444e:531/128";
    assert_eq!(found, [("lo/169.254.116.108/32", "host".into(), layer), (six, "host".into(), layer)]);
    let none = all(&Sources { pods_dns: &[], ..sources });
    assert!(none.addresses.is_empty());
}

#[test]
fn a_platform_is_stronger_than_the_command_line_and_weaker_than_the_configuration() {
    let text = "network:
  version: 2
  ethernets:
    lan: {match: {macaddress: '02:00:00:00:00:03'}, set-name: lan0, addresses: [10.1.0.5/24], gateway4: 10.1.0.1, nameservers: {addresses: [10.1.0.53]}}
  vlans:
    store: {id: 7, link: lan, addresses: [10.7.0.5/24]}
";
    let mut platform = machine_config::network::platform::network_config(text).unwrap().network;
    platform.hostname = Some("n1.lab".into());
    let name = |line: &str, config: Option<&str>| {
        let config = Network { hostname: config.map(str::to_owned), ..Network::default() };
        let (merged, specs) = merged_on(&platform, line, &config, &[("eth0", lease("10.0.2.15/24", "10.0.2.2"))]);
        (merged.hostname.hostname, crate::net::names::own_hostname(&specs))
    };
    assert_eq!(name("talos.hostname=cmd", None), ("n1".into(), Some("n1".into())), "no lease's name for a node that has one");
    assert_eq!(name("", Some("own")), ("own".into(), Some("own".into())));
    let (merged, specs) = merged_on(&platform, "", &Network::default(), &[]);
    assert_eq!(merged.addresses.keys().collect::<Vec<_>>(), ["eth1/10.1.0.5/24", "store/10.7.0.5/24"]);
    assert_eq!(merged.operators.keys().collect::<Vec<_>>(), ["dhcp4/eth0"], "what it does not mention asks by itself");
    assert_eq!(
        (merged.links["store"].parent_name.as_str(), merged.links["store"].layer),
        ("eth1", resource::kinds::network::ConfigLayer::Platform)
    );
    assert_eq!(specs.aliases, BTreeMap::from([("lan0".to_owned(), "eth1".to_owned())]));
    let configured = configured(vec![with_address("lan0", "192.0.2.5/24")]);
    let (_, specs) = merged_on(&platform, "", &configured, &[]);
    let at = specs.addresses.iter().find(|address| address.address == "192.0.2.5/24".parse().ok()).unwrap();
    assert_eq!(at.link_name, "eth1", "a configuration may use the name that a platform gave");
}
