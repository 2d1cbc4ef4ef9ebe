use std::net::IpAddr;

use machine_config::network::{Bond, BondMode};
use proptest::prelude::*;
use resource::kinds::network::{
    AddressSpecSpec, BondMasterSpec, ConfigLayer, LinkSpecSpec, RouteSpecSpec, RoutingRuleSpecSpec, VlanSpec, family, route_type,
    routing_rule_action, routing_table, vlan_protocol,
};

use super::*;
use crate::net::{
    bond,
    model::{Address, Route, Rule},
};

/// A kernel that does what Linux does with the steps, and refuses what Linux refuses.
#[derive(Clone, Debug, Default)]
struct Model {
    actual: Actual,
    next: u32,
}

impl Model {
    fn new() -> Self {
        let mut model = Self { actual: Actual::default(), next: 1 };
        for name in ["lo", "eth0", "eth1", "eth2"] {
            let index = model.add(name, "");
            let link = model.link(index);
            (link.physical, link.loopback) = (name != "lo", name == "lo");
        }
        model
    }

    fn add(&mut self, name: &str, kind: &str) -> u32 {
        let index = self.next;
        self.next += 1;
        assert!(!self.actual.links.iter().any(|link| link.name == name), "{name} is there");
        let mac = vec![2, 0, 0, 0, 0, u8::try_from(index % 256).unwrap()];
        let link = Link { index, name: name.into(), kind: kind.into(), mac, mtu: 1500, carrier: true, multicast: true, ..Link::default() };
        self.actual.links.push(link);
        index
    }

    #[track_caller]
    fn link(&mut self, index: u32) -> &mut Link {
        self.actual.links.iter_mut().find(|link| link.index == index).unwrap_or_else(|| panic!("no link {index}"))
    }

    fn remove(&mut self, index: u32) {
        let peer = self.actual.links.iter().find(|link| link.index == index && link.kind == "veth").map(|link| link.parent);
        self.actual.links.retain(|link| link.index != index);
        let ports: Vec<u32> = self.actual.links.iter().filter(|link| link.master == index).map(|link| link.index).collect();
        for port in ports {
            let link = self.link(port);
            (link.master, link.up) = (0, false);
            self.actual.routes.retain(|route| route.link != Some(port));
        }
        self.actual.addresses.retain(|address| address.link != index);
        self.actual.routes.retain(|route| route.link != Some(index));
        self.actual.tunnels.remove(&index);
        self.actual.mtus_before.remove(&index);
        let above: Vec<u32> =
            self.actual.links.iter().filter(|link| link.kind == "vlan" && link.parent == index).map(|link| link.index).collect();
        for other in above.into_iter().chain(peer) {
            if self.actual.links.iter().any(|link| link.index == other) {
                self.remove(other);
            }
        }
    }

    fn make(&mut self, spec: &LinkSpecSpec, parent: Option<u32>) {
        let index = self.add(&spec.name, &spec.kind);
        if spec.kind == "veth" {
            let peer = self.add(&spec.veth.peer_name, "veth");
            let link = self.link(peer);
            (link.parent, link.ours) = (index, true);
            self.link(index).parent = peer;
        }
        let link = self.link(index);
        link.ours = true;
        if let Some(parent) = parent {
            link.parent = parent;
        }
        link.details.vlan = spec.vlan.clone();
        link.details.bridge = spec.bridge_master.clone();
        link.details.vrf = spec.vrf_master.clone();
        link.details.bond = spec.bond_master.clone();
        link.details.bond.primary.clear();
        link.details.bond.primary_index = None;
        if spec.mtu > 0 {
            link.mtu = spec.mtu;
        }
        if !spec.hardware_addr.0.is_empty() {
            link.mac.clone_from(&spec.hardware_addr.0);
        }
    }

    fn port(&mut self, index: u32, master: Option<u32>) {
        let Some(master) = master else {
            let of = self.link(index).master;
            let bond = self.actual.links.iter().any(|link| link.index == of && link.kind == "bond");
            let link = self.link(index);
            link.master = 0;
            // A bond closes the link that it lets go.
            link.up &= !bond;
            if bond {
                self.actual.routes.retain(|route| route.link != Some(index));
            }
            return;
        };
        let bond = self.link(master).kind == "bond";
        let link = self.link(index);
        assert!(!(bond && link.up), "a bond takes only links that are down: {}", link.name);
        link.master = master;
        if bond {
            link.up = true;
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::AllowIpv6 { .. } => {}
            Action::MakeLink { spec, parent } => self.make(&spec, parent),
            Action::RemoveLink { link, .. } => {
                // What goes with another is gone already: the kernel says so, and that is no failure.
                if let Some(found) = self.actual.links.iter().find(|one| one.index == link) {
                    assert!(found.ours, "removed {}", found.name);
                    self.remove(link);
                }
            }
            Action::Up { link } => self.link(link).up = true,
            Action::Down { link } => {
                self.link(link).up = false;
                self.actual.routes.retain(|route| route.link != Some(link));
            }
            Action::Mtu { link, from, mtu } => {
                self.actual.mtus_before.entry(link).or_insert(from);
                self.link(link).mtu = mtu;
            }
            Action::Multicast { link, on } => self.link(link).multicast = on,
            Action::HardwareAddress { link, mac } => self.link(link).mac = mac,
            Action::Bond { link, from, to, primary } => {
                let (options, down) = bond::changes(&from, &to, primary);
                let link = self.link(link);
                assert!(!options.is_empty(), "nothing to change");
                assert!(!(down && link.up), "{options:?}");
                let old = link.details.bond.primary_index;
                link.details.bond = *to;
                link.details.bond.primary_index = primary.or(old);
            }
            Action::Bridge { link, to, .. } => self.link(link).details.bridge = to,
            Action::Port { link, master } => self.port(link, master),
            Action::GiveName { link, name } => {
                self.link(link).alt_names.push(name.clone());
                self.actual.given_names.insert((link, name));
            }
            Action::TakeName { link, name } => {
                self.link(link).alt_names.retain(|one| *one != name);
                self.actual.given_names.remove(&(link, name));
            }
            Action::Tunnel { link, to, .. } => {
                self.actual.tunnels.insert(link, *to);
            }
            Action::RemoveAddress { link, net } => {
                let before = self.actual.addresses.len();
                self.actual.addresses.retain(|one| !(one.link == link && one.net == net && one.ours));
                assert_eq!(self.actual.addresses.len() + 1, before, "one of ours");
            }
            Action::AddAddress { link, net, metric, .. } => {
                self.link(link);
                self.actual.addresses.push(Address { link, net, metric, ours: true, settled: true, usable: true });
            }
            Action::RemoveRoute(route) => self.actual.routes.retain(|one| *one != route),
            Action::AddRoute(route) => {
                assert!(route.link.is_none_or(|link| self.link(link).up), "a route needs a link that is up");
                self.actual.routes.push(route);
            }
            Action::RemoveRule(rule) => self.actual.rules.retain(|one| *one != rule),
            Action::AddRule(rule) => self.actual.rules.push(rule),
        }
    }

    /// Rounds until nothing is left to do.
    #[track_caller]
    fn settle(&mut self, wanted: &Merged, aliases: &BTreeMap<String, String>) -> usize {
        for round in 0..10 {
            let Plan { actions, .. } = plan(wanted, aliases, &self.actual);
            if actions.is_empty() {
                return round;
            }
            for action in actions {
                self.act(action);
            }
        }
        panic!("it does not settle: {:#?}", plan(wanted, aliases, &self.actual).actions);
    }
}

fn spec(name: &str, kind: &str) -> LinkSpecSpec {
    LinkSpecSpec { name: name.into(), kind: kind.into(), logical: !kind.is_empty(), up: true, ..LinkSpecSpec::default() }
}

fn vlan(name: &str, parent: &str, vid: u32) -> LinkSpecSpec {
    LinkSpecSpec { parent_name: parent.into(), vlan: VlanSpec { vid, protocol: vlan_protocol(0x8100_u32) }, ..spec(name, "vlan") }
}

fn bonded(port: &str, master: &str) -> LinkSpecSpec {
    let mut spec = spec(port, "");
    spec.bond_slave.master_name = master.into();
    spec
}

fn bond_spec(mode: BondMode) -> BondMasterSpec {
    bond::spec(&Bond { mode, miimon_ms: Some(100), ..Bond::default() })
}

fn wanted(links: Vec<LinkSpecSpec>) -> Merged {
    Merged { links: links.into_iter().map(|link| (link.name.clone(), link)).collect(), ..Merged::default() }
}

fn address(link: &str, net: &str) -> (String, AddressSpecSpec) {
    let spec = AddressSpecSpec { address: net.parse().ok(), link_name: link.into(), ..AddressSpecSpec::default() };
    (format!("{link}/{net}"), spec)
}

fn names(model: &Model) -> Vec<&str> {
    model.actual.links.iter().map(|link| link.name.as_str()).collect()
}

#[test]
fn a_stack_is_built_and_taken_down() {
    let mut model = Model::new();
    let none = BTreeMap::new();
    let mut bond = spec("bond0", "bond");
    bond.bond_master = bond_spec(BondMode::ActiveBackup);
    let mut port = vlan("bond0.5", "bond0", 5);
    port.bridge_slave.master_name = "br0".into();
    let mut all = wanted(vec![bonded("eth0", "bond0"), bonded("eth1", "bond0"), bond, port, spec("br0", "bridge")]);
    all.addresses.extend([address("br0", "10.0.0.2/24")]);
    let rounds = model.settle(&all, &none);
    assert!(rounds <= 4, "{rounds}");
    let link = |name: &str| model.actual.links.iter().find(|link| link.name == name).unwrap();
    assert_eq!(link("eth1").master, link("bond0").index);
    assert_eq!(link("bond0.5").master, link("br0").index);
    assert!(model.actual.links.iter().all(|link| link.up || matches!(link.name.as_str(), "lo" | "eth2")));
    model.settle(&Merged::default(), &none);
    assert_eq!(names(&model), ["lo", "eth0", "eth1", "eth2"]);
    assert!(model.actual.addresses.is_empty());
}

#[test]
fn what_cannot_be_changed_is_made_anew() {
    let mut model = Model::new();
    let none = BTreeMap::new();
    model.settle(&wanted(vec![spec("eth0", ""), vlan("v", "eth0", 5)]), &none);
    let before = model.actual.links.iter().find(|link| link.name == "v").unwrap().index;
    model.settle(&wanted(vec![spec("eth0", ""), vlan("v", "eth0", 6)]), &none);
    let after = model.actual.links.iter().find(|link| link.name == "v").unwrap();
    assert!(after.index != before && after.details.vlan.vid == 6);
    model.settle(&wanted(vec![spec("eth0", ""), spec("v", "dummy")]), &none);
    assert_eq!(model.actual.links.iter().find(|link| link.name == "v").unwrap().kind, "dummy");
}

#[test]
fn a_bonds_options_change_live_or_while_it_is_down() {
    let mut model = Model::new();
    let none = BTreeMap::new();
    let mut bond = spec("bond0", "bond");
    bond.bond_master = bond_spec(BondMode::Lacp);
    model.settle(&wanted(vec![bond.clone(), bonded("eth0", "bond0")]), &none);
    let index = model.actual.links.iter().find(|link| link.name == "bond0").unwrap().index;
    bond.bond_master.miimon = 50;
    let live = plan(&wanted(vec![bond.clone(), bonded("eth0", "bond0")]), &none, &model.actual).actions;
    assert!(matches!(live.as_slice(), [Action::Bond { .. }]), "{live:?}");
    bond.bond_master.lacp_rate.number = 1;
    let down = plan(&wanted(vec![bond.clone(), bonded("eth0", "bond0")]), &none, &model.actual).actions;
    assert!(matches!(down.as_slice(), [Action::Down { .. }, Action::Bond { .. }, Action::AllowIpv6 { .. }, Action::Up { .. }]), "{down:?}");
    model.settle(&wanted(vec![bond.clone(), bonded("eth0", "bond0")]), &none);
    bond.bond_master = bond_spec(BondMode::RoundRobin);
    model.settle(&wanted(vec![bond, bonded("eth0", "bond0")]), &none);
    let made = model.actual.links.iter().find(|link| link.name == "bond0").unwrap();
    assert!(made.index != index, "another mode takes another bond");
    assert_eq!(model.actual.links.iter().find(|link| link.name == "eth0").unwrap().master, made.index);
}

#[test]
fn what_others_made_stays() {
    let mut model = Model::new();
    let none = BTreeMap::new();
    let bridge = model.add("cni0", "bridge");
    let tap = model.add("tap0", "tun");
    model.link(tap).master = bridge;
    let net = "10.1.0.1/24".parse().unwrap();
    model.actual.addresses.push(Address { link: bridge, net, metric: 0, ours: false, settled: true, usable: true });
    let plan = plan(&wanted(vec![spec("cni0", "dummy")]), &none, &model.actual);
    assert_eq!(plan.actions, [], "{plan:?}");
    assert!(plan.conflicts[0].starts_with("cni0: a bridge that the node did not make"), "{plan:?}");
    model.settle(&wanted(vec![spec("cni0", "bridge"), spec("eth0", "")]), &none);
    model.settle(&Merged::default(), &none);
    assert_eq!(names(&model), ["lo", "eth0", "eth1", "eth2", "cni0", "tap0"]);
    assert_eq!(model.actual.addresses.len(), 1);
    assert_eq!(model.link(tap).master, bridge);
}

#[test]
fn steps_come_in_an_order_that_works() {
    let mut model = Model::new();
    let mut all = wanted(vec![spec("lo", ""), spec("eth0", "")]);
    all.addresses.extend([address("eth0", "10.0.2.15/24")]);
    let route = RouteSpecSpec {
        family: family(2_u32),
        gateway: "10.0.2.2".parse().ok(),
        out_link_name: "eth0".into(),
        table: routing_table(254_u32),
        priority: 1024,
        kind: route_type(1_u32),
        ..RouteSpecSpec::default()
    };
    all.routes.insert("r".into(), route.clone());
    let none = BTreeMap::new();
    let eth0 = 2;
    let net = "10.0.2.15/24".parse().unwrap();
    let first = plan(&all, &none, &model.actual).actions;
    assert_eq!(
        first,
        [
            Action::Up { link: 1 },
            Action::AllowIpv6 { name: "eth0".to_owned() },
            Action::Up { link: eth0 },
            Action::AddAddress { link: eth0, net, metric: 0, host: false },
        ],
        "routes wait for the link"
    );
    assert_eq!(model.settle(&all, &none), 2);
    let onlink = |gateway: &str| {
        let mut all = all.clone();
        all.routes.insert("r".into(), RouteSpecSpec { gateway: gateway.parse().ok(), ..route.clone() });
        let plan = plan(&all, &none, &model.actual);
        plan.actions.iter().any(|action| matches!(action, Action::AddRoute(route) if route.onlink))
    };
    assert!(onlink("172.16.0.1"), "a next hop outside all prefixes");
    assert!(!onlink("10.0.2.9"));
}

#[test]
fn names_and_tunnels_are_told_once() {
    let mut model = Model::new();
    let mut tunnel = spec("wg0", "wireguard");
    tunnel.wireguard.listen_port = 51820;
    let aliases = BTreeMap::from([("net0".to_owned(), "eth0".to_owned())]);
    model.settle(&wanted(vec![tunnel.clone()]), &aliases);
    assert_eq!(model.actual.links[1].alt_names, ["net0"]);
    tunnel.wireguard.firewall_mark = 7;
    let actions = plan(&wanted(vec![tunnel]), &BTreeMap::new(), &model.actual).actions;
    assert!(matches!(actions.as_slice(), [Action::TakeName { .. }, Action::Tunnel { from: Some(_), .. }]), "{actions:?}");
}

#[test]
fn an_mtu_that_nobody_wants_any_more_is_what_it_was() {
    let mut model = Model::new();
    let mtu = |model: &mut Model, mtu: u32| {
        model.settle(&wanted(vec![LinkSpecSpec { mtu, ..spec("eth0", "") }]), &BTreeMap::new());
        model.actual.links[1].mtu
    };
    assert_eq!(mtu(&mut model, 9000), 9000);
    assert_eq!(mtu(&mut model, 1400), 1400);
    assert_eq!(mtu(&mut model, 0), 1500);
    // Without any word of the link, too.
    assert_eq!(mtu(&mut model, 1280), 1280);
    model.settle(&wanted(Vec::new()), &BTreeMap::new());
    assert_eq!(model.actual.links[1].mtu, 1500);
}

/// Random configurations: links of all kinds that stand on each other, addresses, routes, rules, names.
fn configuration() -> impl Strategy<Value = (Merged, BTreeMap<String, String>)> {
    let kinds = proptest::collection::vec((0_usize..8, 0_usize..3, 1_u32..4, any::<bool>()), 0..5);
    let ports = proptest::collection::vec(0_usize..6, 3);
    let addresses = proptest::collection::vec((0_usize..8, 1_u8..5, 0_u32..2), 0..5);
    let routes = proptest::collection::vec((0_usize..8, 1_u8..4, any::<bool>(), 100_u32..102), 0..4);
    let rules = proptest::collection::vec((1_u32..4, any::<bool>()), 0..3);
    (kinds, ports, addresses, routes, rules, any::<bool>()).prop_map(|(kinds, ports, addresses, routes, rules, alias)| {
        let mut links: Vec<LinkSpecSpec> = Vec::new();
        for (at, (kind, parent, number, up)) in kinds.into_iter().enumerate() {
            let name = format!("x{at}");
            let mut link = match kind {
                0 | 1 => vlan(&name, &if parent == 2 && at > 0 { "x0".to_owned() } else { format!("eth{parent}") }, number),
                2 => {
                    let mut bond = spec(&name, "bond");
                    let mode = [BondMode::RoundRobin, BondMode::ActiveBackup, BondMode::Lacp, BondMode::Tlb][number as usize];
                    bond.bond_master = bond_spec(mode);
                    bond.bond_master.min_links = u32::from(up);
                    bond.bond_master.lacp_rate.number = u32::from(up);
                    bond
                }
                3 => {
                    let mut bridge = spec(&name, "bridge");
                    bridge.bridge_master.stp.enabled = up;
                    bridge
                }
                4 => spec(&name, "dummy"),
                5 => {
                    let mut vrf = spec(&name, "vrf");
                    vrf.vrf_master.table = routing_table(number);
                    vrf
                }
                6 => {
                    let mut near = spec(&name, "veth");
                    near.veth.peer_name = format!("{name}p");
                    let mut far = spec(&near.veth.peer_name, "veth");
                    far.veth.peer_name.clone_from(&name);
                    links.push(far);
                    near
                }
                _ => {
                    let mut tunnel = spec(&name, "wireguard");
                    tunnel.wireguard.listen_port = number.into();
                    tunnel
                }
            };
            if link.kind == "vlan" && link.parent_name == link.name {
                link.parent_name = "eth0".into();
            }
            link.mtu = if number == 3 { 1400 } else { 0 };
            link.up = up || link.kind == "bond";
            link.layer = ConfigLayer::Configuration;
            links.push(link);
        }
        for (at, to) in ports.into_iter().enumerate() {
            let mut port = spec(&format!("eth{at}"), "");
            port.mtu = if to == 5 { 9000 } else { 0 };
            let of = links.iter().find(|link| link.name == format!("x{to}") && matches!(link.kind.as_str(), "bond" | "bridge" | "vrf"));
            let on_it = |of: &LinkSpecSpec| links.iter().any(|link| link.parent_name == port.name && link.name == of.name);
            if let Some(of) = of.filter(|of| !on_it(of)) {
                match of.kind.as_str() {
                    "bond" => port.bond_slave.master_name.clone_from(&of.name),
                    "bridge" => port.bridge_slave.master_name.clone_from(&of.name),
                    _ => port.vrf_slave.master_name.clone_from(&of.name),
                }
            }
            links.push(port);
        }
        let mut all = wanted(links);
        let name = |at: usize| if at < 3 { format!("eth{at}") } else { format!("x{}", at - 3) };
        for (at, last, metric) in addresses {
            let (id, mut spec) = address(&name(at), &format!("10.{at}.0.{last}/24"));
            spec.priority = metric;
            all.addresses.insert(id, spec);
        }
        for (at, network, gateway, table) in routes {
            let route = RouteSpecSpec {
                family: family(2_u32),
                destination: format!("192.168.{network}.0/24").parse().ok(),
                gateway: gateway.then(|| IpAddr::from([10, u8::try_from(at).unwrap(), 0, 254])),
                out_link_name: name(at),
                table: routing_table(table),
                priority: 1024,
                kind: route_type(1_u32),
                ..RouteSpecSpec::default()
            };
            all.routes.insert(format!("{at}/{network}/{table}"), route);
        }
        for (priority, six) in rules {
            let rule = RoutingRuleSpecSpec {
                family: family(if six { 10_u32 } else { 2 }),
                table: routing_table(100_u32),
                priority,
                action: routing_rule_action(1_u32),
                fw_mark: priority,
                ..RoutingRuleSpecSpec::default()
            };
            all.rules.insert(format!("{six}/{priority}"), rule);
        }
        let aliases = if alias { BTreeMap::from([("net0".to_owned(), "eth2".to_owned())]) } else { BTreeMap::new() };
        (all, aliases)
    })
}

/// Everything that is wanted of links that can be is there.
fn holds(model: &Model, all: &Merged) -> Result<(), TestCaseError> {
    let links = &model.actual.links;
    let find = |name: &str| links.iter().find(|link| link.name == name);
    for spec in all.links.values() {
        let stands = spec.kind != "vlan" || find(&spec.parent_name).is_some();
        prop_assert_eq!(find(&spec.name).is_some(), stands, "{}", &spec.name);
        let Some(link) = find(&spec.name) else { continue };
        prop_assert_eq!(&link.kind, &spec.kind);
        let of = crate::net::specs::master(spec).and_then(find).map_or(0, |of| of.index);
        prop_assert_eq!(link.master, of, "{} is part of {:?}", &spec.name, crate::net::specs::master(spec));
        prop_assert_eq!(link.up, spec.up, "{}", &spec.name);
    }
    for spec in all.addresses.values() {
        let Some(link) = find(&spec.link_name) else { continue };
        prop_assert!(model.actual.addresses.iter().any(|have| have.link == link.index && Some(have.net) == spec.address));
    }
    let up = |spec: &&RouteSpecSpec| find(&spec.out_link_name).is_some_and(|link| link.up);
    prop_assert_eq!(model.actual.routes.len(), all.routes.values().filter(up).count());
    prop_assert_eq!(model.actual.rules.len(), all.rules.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// From any configuration to any other: a few rounds reach it, nothing is left to do, what others made is untouched, and
    /// without a configuration nothing of ours is left.
    #[test]
    fn the_steps_converge(before in configuration(), after in configuration()) {
        let mut model = Model::new();
        let foreign = model.add("cni0", "bridge");
        let net = "172.16.0.1/24".parse().unwrap();
        model.actual.addresses.push(Address { link: foreign, net, metric: 0, ours: false, settled: true, usable: true });
        model.settle(&before.0, &before.1);
        holds(&model, &before.0)?;
        model.settle(&after.0, &after.1);
        holds(&model, &after.0)?;
        prop_assert!(model.actual.addresses.iter().any(|have| have.link == foreign));
        model.settle(&Merged::default(), &BTreeMap::new());
        prop_assert!(model.actual.links.iter().all(|link| link.mtu == 1500), "an MTU was not put back: {:?}", model.actual.links);
        prop_assert_eq!(names(&model), ["lo", "eth0", "eth1", "eth2", "cni0"]);
        prop_assert!(model.actual.routes.is_empty() && model.actual.rules.is_empty() && model.actual.given_names.is_empty());
        prop_assert_eq!(model.actual.addresses.len(), 1);
    }
}

#[test]
fn a_route_reads_as_people_write_it() {
    let route = Route {
        link: Some(2),
        destination: "10.0.0.0/8".parse().unwrap(),
        gateway: "172.16.0.1".parse().ok(),
        onlink: true,
        source: None,
        metric: 7,
        table: 254,
        mtu: 0,
        kind: 1,
    };
    assert_eq!(Action::AddRoute(route).to_string(), "add route 10.0.0.0/8 via 172.16.0.1 onlink dev 2 metric 7");
    assert_eq!(Action::RemoveRule(Rule { priority: 9, ..Rule::default() }).to_string(), "remove rule 9");
}
