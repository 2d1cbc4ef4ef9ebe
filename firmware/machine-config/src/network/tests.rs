//! Documents and sections of the network, good and bad.

use proptest::prelude::*;

use super::*;
use crate::Config;

/// The rest of a configuration.
fn around(section: &str, documents: &str) -> String {
    let ca = pki::encode_base64(crate::tests::authority());
    format!(
        "machine:\n  type: worker\n  token: a.b\n  ca: {{crt: {ca}}}\n  network:\n    disableSearchDomain: false\n{section}\
         cluster: {{controlPlane: {{endpoint: 'https://10.0.0.1:6443'}}}}\n{documents}"
    )
}

/// `kind: text` for each document, with the rest of it in flow style.
fn documents(all: &[(&str, &str)]) -> String {
    all.iter().map(|(kind, rest)| format!("---\napiVersion: v1alpha1\nkind: {kind}\n{rest}\n")).collect()
}

fn taken(section: &str, all: &[(&str, &str)]) -> Network {
    let text = around(section, &documents(all));
    Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}")).config.network().clone()
}

#[track_caller]
fn bad(section: &str, all: &[(&str, &str)], wanted: &str) {
    let problems = Config::parse(&around(section, &documents(all))).expect_err(wanted);
    let found: Vec<_> = problems.list().iter().map(|problem| format!("{}: {}", problem.path, problem.text)).collect();
    assert_eq!(found, [wanted]);
}

fn named(name: &str) -> Which {
    Which::Named(name.to_owned())
}

/// 32 bytes of one value.
fn key(byte: u8) -> String {
    pki::encode_base64(&char::from(byte).to_string().repeat(32))
}

#[test]
fn every_kind_of_link() {
    let wireguard = format!(
        "name: wg0\nprivateKey: {}\nlistenPort: 51820\nfirewallMark: 7\npeers:\n  - publicKey: {}\n    endpoint: '[fd00::1]:51820'\n    \
         persistentKeepaliveInterval: 25s\n    allowedIPs: [10.9.0.0/24]",
        key(b'a'),
        key(b'b')
    );
    let network = taken(
        "",
        &[
            (
                "LinkConfig",
                "name: eth0\nup: false\nmtu: 9000\nmulticast: false\naddresses: [{address: 10.0.0.2/24, routePriority: 7}]\nroutes: [{gateway: 10.0.0.1, metric: 5, table: '100', source: 10.0.0.2, mtu: 1400}]",
            ),
            ("VLANConfig", "name: v5\nvlanID: 5\nvlanMode: 802.1ad\nparent: eth0"),
            (
                "BondConfig",
                "name: bond0\nbondMode: 802.3ad\nlinks: [eth1, eth2]\nmiimon: 100\nlacpRate: fast\nadLACPActive: off\nhardwareAddr: '02:00:00:00:00:01'",
            ),
            ("BridgeConfig", "name: br0\nlinks: [bond0]\nstp: {enabled: true}\nvlan: {filtering: true}"),
            ("DummyLinkConfig", "name: d0"),
            ("VRFConfig", "name: blue\nlinks: [eth3]\ntable: '10'"),
            ("VethConfig", "name: a\npeer: {name: b, mtu: 1400}"),
            ("WireguardConfig", &wireguard),
        ],
    );
    assert!(network.explicit);
    let kinds: Vec<_> = network.links.iter().map(|link| (link.which.name().unwrap(), &link.kind)).collect();
    let bond = Bond {
        mode: BondMode::Lacp,
        miimon_ms: Some(100),
        lacp_rate: Some(LacpRate::Fast),
        ad_lacp_active: Some(false),
        ..Bond::default()
    };
    assert_eq!(kinds[0], ("eth0", &LinkKind::Existing));
    assert_eq!(kinds[1], ("v5", &LinkKind::Vlan { parent: named("eth0"), id: 5, protocol: VlanProtocol::Dot1Ad }));
    assert_eq!(kinds[2], ("bond0", &LinkKind::Bond(Box::new(bond))));
    assert_eq!(kinds[3], ("br0", &LinkKind::Bridge(Bridge { stp: true, vlan_filtering: true })));
    assert_eq!(kinds[4], ("d0", &LinkKind::Dummy));
    assert_eq!(kinds[5], ("blue", &LinkKind::Vrf { table: 10 }));
    assert_eq!(kinds[6], ("a", &LinkKind::Veth { peer: "b".into() }));
    assert_eq!(kinds[7], ("b", &LinkKind::Veth { peer: "a".into() }));
    let LinkKind::Wireguard(tunnel) = kinds[8].1 else { panic!("{:?}", kinds[8]) };
    assert_eq!((tunnel.listen_port, tunnel.firewall_mark), (Some(51820), 7));
    assert_eq!((tunnel.peers[0].keepalive.as_secs(), tunnel.peers[0].endpoint), (25, "[fd00::1]:51820".parse().ok()));
    assert!(!format!("{network:?}").contains(&key(b'a')), "the key is not shown");

    let eth0 = &network.links[0];
    assert_eq!((eth0.up, eth0.mtu, eth0.multicast), (false, Some(9000), Some(false)));
    assert_eq!(eth0.addresses, [Address { net: "10.0.0.2/24".parse().unwrap(), metric: Some(7) }]);
    let route = &eth0.routes[0];
    assert_eq!((route.metric, route.table, route.mtu, route.source), (Some(5), 100, Some(1400), "10.0.0.2".parse().ok()));
    assert_eq!(network.links[2].hardware_addr, Some([2, 0, 0, 0, 0, 1]));
    assert_eq!((network.links[2].ports.len(), network.links[7].mtu), (2, Some(1400)));
}

#[test]
fn the_older_section_means_the_same() {
    let wireguard = key(b'a');
    let section = format!(
        "    interfaces:\n      - interface: br0\n        bridge: {{interfaces: [eth3], vlan: {{vlanFiltering: yes}}}}\n      \
         - interface: eth4\n        bridgePort: {{master: br0}}\n      \
         - deviceSelector: {{driver: 'virtio*', physical: true}}\n        dhcp: true\n        dhcpOptions: {{ipv6: true, routeMetric: 9, duidv6: 000300}}\n      \
         - interface: bond1\n        bond: {{interfaces: [eth1], deviceSelectors: [{{busPath: '0000:*'}}], mode: active-backup, primary: eth1}}\n        \
         vlans: [{{vlanId: 7, addresses: [10.7.0.1/24], dhcp: true}}]\n      \
         - interface: wg1\n        wireguard: {{privateKey: {wireguard}}}\n      \
         - interface: d1\n        dummy: true\n        cidr: 10.8.0.1/32\n      - interface: eth9\n        ignore: true\n        dhcp: true\n"
    );
    let network = taken(&section, &[]);
    assert!(!network.explicit, "links nobody mentions ask by themselves");
    let find = |name: &str| network.links.iter().find(|link| link.which.name() == Some(name)).unwrap();
    assert_eq!(find("br0").kind, LinkKind::Bridge(Bridge { stp: false, vlan_filtering: true }));
    assert_eq!(find("br0").ports, [named("eth3"), named("eth4")]);
    assert_eq!(find("bond1").ports.len(), 2);
    assert_eq!(find("bond1.7").kind, LinkKind::Vlan { parent: named("bond1"), id: 7, protocol: VlanProtocol::Dot1Q });
    assert_eq!((&find("d1").kind, find("d1").addresses.len(), find("eth9").ignore), (&LinkKind::Dummy, 1, true));
    assert!(matches!(find("wg1").kind, LinkKind::Wireguard(_)));
    let asks: Vec<_> = network.dhcp.iter().map(|dhcp| (dhcp.six, dhcp.metric, dhcp.which.name())).collect();
    assert_eq!(asks, [(true, Some(9), None), (false, Some(9), None), (false, None, Some("bond1.7"))]);
    assert_eq!(network.dhcp[0].client_id, ClientId::Duid(vec![0, 3, 0]));
}

#[test]
fn everything_else() {
    let network = taken(
        "",
        &[
            ("DHCPv4Config", "name: eth0\nrouteMetric: 50\nignoreHostname: true\nignoreRoutes: true\nclientIdentifier: none"),
            ("DHCPv6Config", "name: eth0\nclientIdentifier: duid\nduidRaw: '00:01'"),
            (
                "ResolverConfig",
                "nameservers: [{address: 10.0.0.53}, {address: 1.1.1.1, protocol: DoT, tlsServerName: one.one}]\nhostDNS: {enabled: true}\nsearchDomains: {domains: [a.b], disableDefault: true}",
            ),
            ("StaticHostConfig", "name: 10.0.0.9\nhostnames: [db]"),
            ("TimeSyncConfig", "ntp: {servers: [10.0.0.123]}"),
            ("RoutingRuleConfig", "name: '1000'\nsrc: 10.0.0.0/8\ntable: '100'\naction: prohibit\nfwMark: 1\niifName: eth0"),
            ("BlackholeRouteConfig", "name: 10.255.0.0/16\nmetric: 9"),
            ("LinkAliasConfig", "name: net%d\nselector: {match: 'link.driver == \"virtio_net\"'}"),
        ],
    );
    assert!(!network.explicit);
    let four = &network.dhcp[0];
    assert_eq!((four.metric, four.ignore_hostname, four.ignore_routes, &four.client_id), (Some(50), true, true, &ClientId::None));
    assert_eq!((network.dhcp[1].six, &network.dhcp[1].client_id), (true, &ClientId::Duid(vec![0, 1])));
    assert_eq!((network.name_servers[1].protocol, network.search_only), (NameServerProtocol::Tls, true));
    assert_eq!((network.hosts[0].aliases.len(), network.time_servers.len()), (1, 1));
    let rule = &network.rules[0];
    assert_eq!((rule.priority, rule.table, rule.action, rule.mark), (1000, 100, RuleAction::Prohibit, 1));
    assert_eq!(network.blackholes, [Blackhole { network: "10.255.0.0/16".parse().unwrap(), metric: Some(9) }]);
    assert_eq!(network.aliases[0].name, "net%d");
}

#[test]
fn mistakes_are_named() {
    let link = |rest: &str, wanted: &str| bad("", &[("LinkConfig", &format!("name: eth0\n{rest}"))], wanted);
    link("routes: [{metric: 1}]", "link \"eth0\".routes: a route needs a network or a gateway");
    link("routes: [{gateway: 10.0.0.1, source: 'fd00::1'}]", "link \"eth0\".routes: network, gateway and source are of different families");
    link(
        "routes: [{gateway: 10.0.0.1, table: blue}]",
        "LinkConfig.routes[0].table: this must be the number of a table, or main, local, default",
    );
    link("mtu: 70000", "LinkConfig.mtu: this must be a number from 0 to 65536");
    bad(
        "",
        &[("DummyLinkConfig", "name: a-name-that-is-too-long")],
        "link \"a-name-that-is-too-long\": \"a-name-that-is-too-long\" is not a link name (1 to 15 characters, no space, slash or colon)",
    );
    bad("", &[("VLANConfig", "name: v\nvlanID: 4095\nparent: eth0")], "VLANConfig.vlanID: this must be a number from 1 to 4094");
    bad("", &[("WireguardConfig", "name: wg0\nprivateKey: short")], "WireguardConfig.privateKey: this must be a key: base64 of 32 bytes");
    bad(
        "",
        &[("RoutingRuleConfig", "name: '32500'\ntable: '1'")],
        "RoutingRuleConfig.name: this must be the rule's priority, a number from 1 to 32765 that the system does not use itself",
    );
    bad(
        "",
        &[("DHCPv4Config", "name: eth0\nclientIdentifier: duid")],
        "DHCPv4Config.duidRaw: this is required with clientIdentifier: duid",
    );
    bad(
        "",
        &[("BondConfig", "name: b\nlinks: [x]\nbondMode: balance-rr\nmiimon: 1\narpInterval: 1")],
        "BondConfig.arpInterval: this and miimon exclude each other",
    );
    bad(
        "    nameservers: [1.1.1.1]\n",
        &[("ResolverConfig", "nameservers: [{address: 10.0.0.1}]")],
        "ResolverConfig.nameservers: the main document sets machine.network.nameservers already: remove it there",
    );
    bad(
        "",
        &[("BridgeConfig", "name: a\nlinks: [x]"), ("BridgeConfig", "name: b\nlinks: [x]")],
        "link \"b\": \"x\" is part of link \"a\" already",
    );
    bad(
        "",
        &[("BridgeConfig", "name: a\nlinks: [v]"), ("VLANConfig", "name: v\nvlanID: 1\nparent: a")],
        ": links stand on each other in a circle",
    );
    bad("    interfaces: [{dhcp: true}]\n", &[], "machine.network.interfaces[0]: interface or deviceSelector is required");
}

proptest! {
    /// Whatever a document of the network says, reading it ends, with a configuration or with problems.
    #[test]
    fn no_document_breaks_the_reader(
        kind in proptest::sample::select(KINDS.as_slice()),
        fields in proptest::collection::vec(("(name|links|peers|vlanID|table|routes|addresses|peer|mtu|bondMode|selector|ntp)", "[^\\x00]{0,30}"), 0..6),
    ) {
        let rest: String = fields.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        let _ = Config::parse(&around("", &documents(&[(kind, &rest)])));
    }
}
