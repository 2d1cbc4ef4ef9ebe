use proptest::prelude::*;

use super::*;
use crate::network::{BondMode, DeviceSelector, LinkKind, XmitHashPolicy};

fn mac(address: &str) -> Which {
    Which::Matching(DeviceSelector { permanent_addr: address.into(), physical: Some(true), ..DeviceSelector::default() })
}

fn named(name: &str) -> Which {
    Which::Named(name.into())
}

#[track_caller]
fn good(text: &str) -> NetworkConfig {
    network_config(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Links as `WHICH ADDRESSES | DESTINATION VIA METRIC, ...`.
fn shown(network: &Network) -> Vec<String> {
    let which = |which: &Which| match which {
        Which::Named(name) => name.clone(),
        Which::Matching(selector) => format!("{}{}{}", selector.name, selector.permanent_addr, selector.driver),
    };
    let links = network.links.iter().map(|link| {
        let addresses: Vec<String> = link.addresses.iter().map(|address| address.net.to_string()).collect();
        let routes = link.routes.iter().map(|route| {
            let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
            let (network, gateway) = (route.network.map(|net| net.to_string()), route.gateway.map(|via| via.to_string()));
            format!("{} {} {}", text(network), text(gateway), route.metric.unwrap_or(0))
        });
        format!("{} {} | {}", which(&link.which), addresses.join(" "), routes.collect::<Vec<_>>().join(", "))
    });
    links.collect()
}

/// As cloud-init's documentation has it, with what is used in practice.
const ONE: &str = "version: 1
config:
  - type: physical
    name: uplink0
    mac_address: '52:54:00:12:34:56'
    mtu: 1450
    subnets:
      - type: static
        address: 10.0.0.5
        netmask: 255.255.255.0
        gateway: 10.0.0.1
        dns_nameservers: [10.0.0.53, 10.0.0.54]
        dns_search: lab.example
        routes:
          - network: 10.8.0.0
            netmask: 255.248.0.0
            gateway: 10.0.0.9
            metric: 7
      - {type: static6, address: '2001:db8::5/64', gateway: '2001:db8::1'}
  - type: physical
    name: eth1
    subnets: [{type: dhcp4}, {type: ipv6_dhcpv6-stateful}]
  - type: physical
    name: eth2
    subnets: [{type: manual}]
  - type: bond
    name: bond0
    bond_interfaces: [uplink0, eth2]
    params: {bond-mode: 802.3ad, bond_miimon: 100, bond-xmit_hash_policy: layer3+4, bond-arp_ip_target: '10.0.0.1, 10.0.0.2'}
  - type: vlan
    name: bond0.7
    vlan_link: bond0
    vlan_id: 7
    subnets: [{type: static, address: 10.7.0.5/24}]
  - {type: nameserver, address: 10.0.0.53, search: [lab.example, b.example]}
  - {type: route, destination: 172.16.0.0/12, gateway: 10.7.0.1}
";

#[test]
fn version_1() {
    let NetworkConfig { network, warnings } = good(ONE);
    assert_eq!(warnings, []);
    assert_eq!(
        shown(&network),
        [
            "52:54:00:12:34:56 10.0.0.5/24 2001:db8::5/64 | - 10.0.0.1 0, 10.8.0.0/13 10.0.0.9 7, - 2001:db8::1 0",
            "eth1  | ",
            "eth2  | ",
            "bond0  | ",
            "bond0.7 10.7.0.5/24 | 172.16.0.0/12 10.7.0.1 0",
        ]
    );
    let uplink = mac("52:54:00:12:34:56");
    assert_eq!(network.links[3].ports, [uplink.clone(), named("eth2")], "the file's names are not the kernel's");
    let LinkKind::Bond(bond) = &network.links[3].kind else { panic!("{:?}", network.links[3]) };
    assert_eq!((bond.mode, bond.miimon_ms, bond.xmit_hash_policy), (BondMode::Lacp, Some(100), Some(XmitHashPolicy::Layer34)));
    assert_eq!(bond.arp_ip_targets.len(), 2);
    let servers: Vec<String> = network.name_servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!((servers.join(" "), network.search_domains.join(" ")), ("10.0.0.53 10.0.0.54".into(), "lab.example b.example".into()));
    let asks: Vec<_> = network.dhcp.iter().map(|dhcp| (dhcp.which.clone(), dhcp.six)).collect();
    assert_eq!(asks, [(named("eth1"), false), (named("eth1"), true)]);
    assert_eq!((network.links[0].mtu, network.aliases[0].name.as_str(), network.explicit), (Some(1450), "uplink0", false));
}

const TWO: &str = "network:
  version: 2
  renderer: networkd
  ethernets:
    lan:
      match: {macaddress: '52:54:00:12:34:56'}
      set-name: lan0
      mtu: 9000
      addresses: [10.0.0.5/24, '2001:db8::5/64', 10.0.1.5/24: {label: second}]
      gateway4: 10.0.0.1
      nameservers: {addresses: [10.0.0.53], search: [lab.example]}
      routes:
        - {to: 10.8.0.0/13, via: 10.0.0.9, metric: 7, on-link: true}
        - {to: default, via: 'fe80::1'}
    others: {match: {name: 'en*', driver: virtio_net}, dhcp4: true, dhcp4-overrides: {route-metric: 300, use-hostname: no}}
    eth7: {dhcp6: on, optional: yes}
  vlans:
    store: {id: 12, link: aggregate, addresses: [10.12.0.5/24]}
  bonds:
    aggregate:
      interfaces: [lan, eth7]
      parameters: {mode: active-backup, primary: lan, mii-monitor-interval: 100}
  bridges:
    br0: {interfaces: [store], parameters: {stp: false}}
  wifis: {}
";

#[test]
fn version_2() {
    let NetworkConfig { network, warnings } = good(TWO);
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["line 25: network.wifis: this is not acted on"]);
    assert_eq!(
        shown(&network),
        [
            "52:54:00:12:34:56 10.0.0.5/24 2001:db8::5/64 10.0.1.5/24 | - 10.0.0.1 0, 10.8.0.0/13 10.0.0.9 7, - fe80::1 0",
            "en*virtio_net  | ",
            "eth7  | ",
            "aggregate  | ",
            "br0  | ",
            "store 10.12.0.5/24 | ",
        ]
    );
    let LinkKind::Vlan { parent, id, .. } = &network.links[5].kind else { panic!("{:?}", network.links[5]) };
    assert_eq!((parent, *id), (&named("aggregate"), 12));
    assert_eq!(network.links[3].ports, [mac("52:54:00:12:34:56"), named("eth7")]);
    assert_eq!(network.aliases.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>(), ["lan0"]);
    let asks: Vec<_> = network.dhcp.iter().map(|dhcp| (dhcp.six, dhcp.metric, dhcp.ignore_hostname)).collect();
    assert_eq!(asks, [(false, Some(300), true), (true, None, false)]);
    assert_eq!(network.name_servers.len(), 1);
    assert!(network.chooses_by_hardware());
}

const SPECS: &str = "addresses:
  - {address: 147.75.61.43/31, linkName: bond0, family: inet4, scope: global, flags: permanent, layer: platform}
  - {address: 10.7.0.5/24, linkName: bond0.7, layer: platform}
  - {address: 192.0.2.5/24, linkName: eth2, layer: platform}
links:
  - {name: eth1, logical: false, up: true, mtu: 0, kind: '', type: netrom, masterName: bond0, slaveIndex: 1, layer: platform}
  - {name: eth0, logical: false, up: true, mtu: 0, kind: '', type: netrom, masterName: bond0, layer: platform}
  - name: bond0
    logical: true
    up: true
    mtu: 9000
    kind: bond
    type: ether
    bondMaster: {mode: 802.3ad, xmitHashPolicy: layer3+4, lacpRate: slow, miimon: 100, updelay: 200, useCarrier: true, tlbLogicalLb: 1}
    layer: platform
  - {name: bond0.7, logical: true, up: true, kind: vlan, parentName: bond0, vlan: {vlanID: 7, vlanProtocol: 802.1q}}
  - {name: tunnel, logical: true, kind: wireguard}
routes:
  - {family: inet4, dst: '', src: '', gateway: 147.75.61.42, outLinkName: bond0, table: main, priority: 1024, scope: global, type: unicast}
  - {family: inet4, dst: 10.0.0.0/8, gateway: 10.7.0.1, outLinkName: bond0.7, priority: 7}
hostnames:
  - {hostname: blue-2, domainname: lab.example, layer: platform}
resolvers:
  - {dnsServers: [8.8.8.8, 1.1.1.1], layer: platform}
timeServers:
  - {timeServers: [time.lab.example], layer: platform}
operators:
  - {operator: dhcp4, linkName: eth3, requireUp: true, dhcp4: {routeMetric: 512}, layer: default}
externalIPs: []
";

#[test]
fn specs() {
    let NetworkConfig { network, warnings } = platform_specs(SPECS).unwrap_or_else(|problems| panic!("{problems}"));
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let odd = "line 14: links[2].bondMaster.tlbLogicalLb: this is not acted on";
    assert_eq!(warnings, [odd, "line 17: links[4].kind: links of this kind are not made"]);
    assert_eq!(
        shown(&network),
        [
            "eth1  | ",
            "eth0  | ",
            "bond0 147.75.61.43/31 | - 147.75.61.42 1024",
            "bond0.7 10.7.0.5/24 | 10.0.0.0/8 10.7.0.1 7",
            "eth2 192.0.2.5/24 | ",
        ]
    );
    assert_eq!(network.links[2].ports, [named("eth0"), named("eth1")]);
    let LinkKind::Bond(bond) = &network.links[2].kind else { panic!("{:?}", network.links[2]) };
    assert_eq!((bond.mode, bond.xmit_hash_policy, bond.updelay_ms), (BondMode::Lacp, Some(XmitHashPolicy::Layer34), Some(200)));
    assert_eq!((network.hostname.as_deref(), network.time_servers.len(), network.name_servers.len()), (Some("blue-2.lab.example"), 1, 2));
    assert_eq!(network.dhcp.iter().map(|dhcp| dhcp.metric).collect::<Vec<_>>(), [Some(512)]);
    for (text, wanted) in [
        ("addresses: [{address: 10.0.0.1/24}]", "line 1: addresses[0].linkName: this is required"),
        ("links: [{name: eth0, masterName: bond0}]", "\"bond0\" has parts and is not described"),
        ("hostnames: [{hostname: a_b}]", "hostnames[0].hostname: this is not a host name"),
        ("routes: [{gateway: x, outLinkName: eth0}]", "routes[0].gateway"),
    ] {
        let problems = platform_specs(text).expect_err("a problem").to_string();
        assert!(problems.contains(wanted), "no {wanted:?} in {problems}");
    }
}

#[test]
fn nothing_is_nothing() {
    for text in ["", "# nothing\n", "network: {config: disabled}\n"] {
        assert_eq!(good(text), NetworkConfig::default(), "{text:?}");
    }
}

#[track_caller]
fn bad(text: &str, wanted: &[&str]) {
    let problems = network_config(text).expect_err("a problem").to_string();
    for part in wanted {
        assert!(problems.contains(part), "no {part:?} in {problems}");
    }
}

#[test]
fn problems_have_lines() {
    bad("version: 3\n", &["line 1: version: this must be 1 or 2"]);
    bad("[1]", &["this must be a map"]);
    bad("version: 2\n---\nversion: 2\n", &["line 3: one document is expected"]);
    bad("version: 1\nconfig:\n- type: wifi\n", &["line 3: config[0].type"]);
    bad("version: 1\nconfig:\n- {type: physical}\n", &["config[0]: this needs a name or a mac_address"]);
    bad(
        "version: 1\nconfig:\n- type: physical\n  name: eth0\n  subnets:\n  - {type: static, address: 10.0.0.300}\n",
        &["line 6", "10.0.0.300"],
    );
    bad("version: 1\nconfig:\n- {type: route, destination: 10.0.0.0/8, gateway: 10.9.9.9}\n", &["no address of a link described before"]);
    bad("version: 2\nethernets:\n  eth0: {addresses: [x]}\n", &["line 3: ethernets.eth0.addresses[0]: \"x\" is not an address"]);
    bad("version: 2\nethernets:\n  eth0: {dhcp4: maybe}\n", &["ethernets.eth0.dhcp4: this must be true or false"]);
    bad("version: 2\nethernets:\n  eth0: {gateway4: '2001:db8::1'}\n", &["of the other family"]);
    bad("version: 2\nethernets:\n  eth0: {match: {macaddress: '52'}}\n", &["six bytes"]);
    bad("version: 2\nethernets:\n  eth0: {match: {name: 'e[0-9]'}}\n", &["* and ? stand for others"]);
    bad("version: 2\nethernets:\n  a: {match: {macaddress: '52:54:00:12:34:56'}, set-name: 'a b'}\n", &["not a name of a link"]);
    bad("version: 2\nbonds:\n  b: {interfaces: [b]}\n", &["cannot be part of itself"]);
    bad("version: 2\nbonds:\n  b: {parameters: {mode: fastest}}\n", &["bonds.b.parameters.mode: this is none of the kernel's words"]);
    bad("version: 2\nvlans:\n  a: {id: 4095, link: eth0}\n", &["line 3: vlans.a.id"]);
    bad("version: 2\nethernets:\n  eth0: {routes: [{via: 10.0.0.1}]}\n", &["routes[0].to: this is required"]);
    bad(&"#".repeat(MOST_BYTES + 1), &["at most"]);
    let many: String = (0..=MOST_LINKS).map(|at| format!("  eth{at}: {{}}\n")).collect();
    bad(&format!("version: 2\nethernets:\n{many}"), &["at most 128 links"]);
}

#[test]
fn meta_data_of_a_machine() {
    let data =
        meta_data("instance-id: i-1\nlocal-hostname: node7.lab.example\nhostname: other\npublic-keys: [a]\nregion: eu\nzone: eu-1\n");
    let wanted = MetaData {
        hostname: "node7.lab.example".into(),
        instance_id: "i-1".into(),
        region: "eu".into(),
        zone: "eu-1".into(),
        ..MetaData::default()
    };
    assert_eq!(data.as_ref(), Ok(&wanted));
    assert_eq!(
        meta_data("{\"instance-id\": \"i-2\", \"hostname\": \"n\"}").map(|data| (data.instance_id, data.hostname)),
        Ok(("i-2".into(), "n".into()))
    );
    assert_eq!(meta_data(""), Ok(MetaData::default()));
    for (text, wanted) in [
        ("local-hostname: a_b\n", "line 1: local-hostname: \"a_b\" is not a host name"),
        ("instance-id: [1]\n", "line 1: instance-id: this must be one line"),
        ("- a\n", "this must be a map"),
        ("a: [", "not valid YAML"),
    ] {
        let problems = meta_data(text).expect_err("a problem").to_string();
        assert!(problems.contains(wanted), "no {wanted:?} in {problems}");
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        let _ = (network_config(&text), meta_data(&text), platform_specs(&text));
    }

    /// Lines of right files, some lost, some twice, some cut.
    #[test]
    fn any_mixture_of_lines_is_survived(which in 0..3_usize, picks in prop::collection::vec((0..40_usize, 0..60_usize), 0..40)) {
        let lines: Vec<&str> = [ONE, TWO, SPECS][which].lines().collect();
        let picked = picks.iter().filter_map(|(at, cut)| lines.get(*at).map(|line| line.get(..*cut).unwrap_or(line)));
        let text = picked.collect::<Vec<_>>().join("\n");
        let _ = (network_config(&text), meta_data(&text), platform_specs(&text));
    }

    /// What is taken fits the limits.
    #[test]
    fn what_is_taken_is_bounded(count in 0..300_usize) {
        let items: String = (0..count).map(|at| format!("10.0.{}.{}/32, ", at / 250, at % 250)).collect();
        let taken = network_config(&format!("version: 2\nethernets: {{eth0: {{addresses: [{items}]}}}}"));
        prop_assert_eq!(taken.is_ok(), count <= MOST_ITEMS);
    }
}
