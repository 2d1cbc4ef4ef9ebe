//! `machine.network` of the main document: the same values, said in the older way.

use super::{
    Address, Bridge, ClientId, Dhcp, ExtraHost, Link, LinkKind, NameServer, NameServerProtocol, Network, VlanProtocol, Which,
    bond::{Spelling, bond},
    values::hex_bytes,
};
use crate::{
    take::{Taker, flag, number, text, texts},
    tree::Node,
};

impl Taker {
    /// The section; the documents come on top.
    pub fn network(&mut self, node: &Node) -> Network {
        let path = "machine.network";
        let servers: Vec<std::net::IpAddr> = self.parsed(node.get("nameservers"), &format!("{path}.nameservers"), "an address");
        let mut network = Network {
            hostname: node.get("hostname").and_then(Node::text).filter(|name| !name.is_empty()).map(str::to_owned),
            name_servers: servers
                .into_iter()
                .map(|address| NameServer { address, protocol: NameServerProtocol::Plain, tls_name: String::new() })
                .collect(),
            search_domains: texts(node.get("searchDomains")),
            search_only: flag(node.get("disableSearchDomain")).unwrap_or(false),
            hosts: self.each(node.get("extraHostEntries"), &format!("{path}.extraHostEntries"), Self::extra_host),
            ..Network::default()
        };
        let interfaces = node.get("interfaces").map_or(&[][..], Node::items);
        for (at, node) in interfaces.iter().enumerate() {
            self.interface(&mut network, node, &format!("{path}.interfaces[{at}]"));
        }
        network
    }

    fn extra_host(&mut self, node: &Node, path: &str) -> Option<ExtraHost> {
        let ip = self.one(node.get("ip"), &format!("{path}.ip"), "an address")?;
        Some(ExtraHost { ip, aliases: texts(node.get("aliases")) })
    }

    fn interface(&mut self, network: &mut Network, node: &Node, path: &str) {
        let name = text(node.get("interface"));
        let which = match (node.get("deviceSelector"), name.is_empty()) {
            (Some(selector), true) => Which::Matching(self.selector(selector, &format!("{path}.deviceSelector"))),
            (Some(selector), false) => {
                self.problems.add(selector.line, format!("{path}.deviceSelector"), "this and interface exclude each other");
                Which::Named(name)
            }
            (None, false) => Which::Named(name),
            (None, true) => {
                self.problems.add(node.line, path, "interface or deviceSelector is required");
                return;
            }
        };
        let mut link = Link {
            line: node.line,
            ignore: flag(node.get("ignore")).unwrap_or(false),
            mtu: self.mtu(node.get("mtu"), path),
            addresses: self.addresses(node, path),
            routes: self.each(node.get("routes"), &format!("{path}.routes"), |taker, node, path| Some(taker.route(node, path, "network"))),
            ..Link::new(which.clone(), LinkKind::Existing)
        };
        self.section_kind(&mut link, node, path);
        if let Some(master) = node.get("bridgePort").and_then(|port| port.get("master")).and_then(Node::text) {
            let master = Which::Named(master.to_owned());
            match network.links.iter_mut().find(|link| link.which == master) {
                Some(bridge) => bridge.ports.push(which.clone()),
                // Said before the bridge itself is: it is found when all is read.
                None => network.links.push(Link { ports: vec![which.clone()], ..Link::new(master, LinkKind::Bridge(Bridge::default())) }),
            }
        }
        let earlier = network.links.iter().position(|other| {
            other.which == which && matches!(other.kind, LinkKind::Bridge(_)) && other.addresses.is_empty() && other.mtu.is_none()
        });
        if let Some(stub) = earlier.map(|at| network.links.remove(at)) {
            link.ports.extend(stub.ports);
        }
        let ignore = link.ignore;
        network.links.push(link);
        if !ignore {
            self.asks(network, node, &which, path);
        }
        for (at, vlan) in node.get("vlans").map_or(&[][..], Node::items).iter().enumerate() {
            self.vlan(network, &which, vlan, &format!("{path}.vlans[{at}]"));
        }
    }

    /// What the section says a link is: at most one thing.
    fn section_kind(&mut self, link: &mut Link, node: &Node, path: &str) {
        let mut kinds = Vec::new();
        if let Some(own) = node.get("bond") {
            let path = format!("{path}.bond");
            kinds.push(LinkKind::Bond(Box::new(bond(self, own, &path, Spelling::Section))));
            link.ports = self.ports(own, &path);
        }
        if let Some(own) = node.get("bridge") {
            let under = |section: &str, key: &str| flag(own.get(section).and_then(|section| section.get(key))).unwrap_or(false);
            kinds.push(LinkKind::Bridge(Bridge { stp: under("stp", "enabled"), vlan_filtering: under("vlan", "vlanFiltering") }));
            link.ports = self.ports(own, &format!("{path}.bridge"));
        }
        if flag(node.get("dummy")) == Some(true) {
            kinds.push(LinkKind::Dummy);
        }
        if let Some(own) = node.get("wireguard") {
            kinds.push(LinkKind::Wireguard(Box::new(self.wireguard(own, &format!("{path}.wireguard")))));
        }
        if kinds.len() > 1 {
            self.problems.add(node.line, path, "only one of bond, bridge, dummy and wireguard may be given");
        }
        if let Some(kind) = kinds.pop() {
            if link.which.name().is_none() {
                self.problems.add(node.line, path, "a link that is made needs a name (interface)");
            }
            link.kind = kind;
        }
    }

    fn ports(&mut self, node: &Node, path: &str) -> Vec<Which> {
        let mut ports: Vec<Which> = texts(node.get("interfaces")).into_iter().map(Which::Named).collect();
        ports.extend(self.each(node.get("deviceSelectors"), &format!("{path}.deviceSelectors"), |taker, node, path| {
            Some(Which::Matching(taker.selector(node, path)))
        }));
        ports
    }

    fn addresses(&mut self, node: &Node, path: &str) -> Vec<Address> {
        let wanted = "an address with prefix (10.0.0.2/24)";
        let mut nets: Vec<ipnet::IpNet> = self.parsed(node.get("addresses"), &format!("{path}.addresses"), wanted);
        nets.extend(self.one::<ipnet::IpNet>(node.get("cidr"), &format!("{path}.cidr"), wanted));
        nets.into_iter().map(|net| Address { net, metric: None }).collect()
    }

    /// `dhcp` with `dhcpOptions`.
    fn asks(&mut self, network: &mut Network, node: &Node, which: &Which, path: &str) {
        if flag(node.get("dhcp")) != Some(true) {
            return;
        }
        let options = node.get("dhcpOptions");
        let option = |key: &str| options.and_then(|options| options.get(key));
        let dhcp = Dhcp {
            which: which.clone(),
            six: false,
            metric: number(option("routeMetric")).filter(|metric| *metric > 0),
            ignore_hostname: false,
            ignore_routes: false,
            client_id: ClientId::Mac,
        };
        if flag(option("ipv6")) == Some(true) {
            let duid = option("duidv6").and_then(|node| Some((node, node.text().filter(|duid| !duid.is_empty())?)));
            let client_id = duid.map_or(ClientId::Mac, |(node, duid)| {
                hex_bytes(duid).or_else(|| plain_hex(duid)).map_or_else(
                    || {
                        self.problems.add(node.line, format!("{path}.dhcpOptions.duidv6"), "this must be hexadecimal digits");
                        ClientId::Mac
                    },
                    ClientId::Duid,
                )
            });
            network.dhcp.push(Dhcp { six: true, client_id, ..dhcp.clone() });
        }
        if flag(option("ipv4")) != Some(false) {
            network.dhcp.push(dhcp);
        }
    }

    fn vlan(&mut self, network: &mut Network, parent: &Which, node: &Node, path: &str) {
        let id = self.vlan_id(node.get("vlanId"), &format!("{path}.vlanId"));
        let Some(name) = parent.name().map(|parent| format!("{parent}.{id}")) else {
            self.problems.add(node.line, path, "VLANs need a link with a name (interface)");
            return;
        };
        let which = Which::Named(name);
        let link = Link {
            line: node.line,
            mtu: self.mtu(node.get("mtu"), path),
            addresses: self.addresses(node, path),
            routes: self.each(node.get("routes"), &format!("{path}.routes"), |taker, node, path| Some(taker.route(node, path, "network"))),
            ..Link::new(which.clone(), LinkKind::Vlan { parent: parent.clone(), id, protocol: VlanProtocol::Dot1Q })
        };
        network.links.push(link);
        self.asks(network, node, &which, path);
    }
}

/// Hexadecimal digits without anything between them.
fn plain_hex(word: &str) -> Option<Vec<u8>> {
    if !word.is_ascii() || word.len() % 2 == 1 {
        return None;
    }
    (0..word.len()).step_by(2).map(|at| u8::from_str_radix(word.get(at..at + 2)?, 16).ok()).collect()
}
