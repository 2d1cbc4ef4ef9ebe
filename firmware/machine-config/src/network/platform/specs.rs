//! The form that META holds for metal (key 10): what a layer wants, as the resources of the network's specs have it.
//!
//! What those resources say of scopes, flags, protocols and layers is the node's own affair and not looked at.

use std::collections::BTreeMap;

use super::{NetworkConfig, Reader};
use crate::{
    Problems,
    network::{Address, Bridge, Link, LinkKind, Route, VlanProtocol, Which},
    take::{flag, number, text, texts},
    tree::Node,
};

/// Reads what META's key 10 holds.
///
/// # Errors
/// Everything that is wrong with it, each with its line.
pub fn platform_specs(text: &str) -> Result<NetworkConfig, Problems> {
    let mut reader = Reader::new();
    if let Some(root) = reader.document(text) {
        reader.specs(&root);
    }
    reader.finish()
}

impl Reader {
    fn specs(&mut self, root: &Node) {
        let known = ["addresses", "links", "routes", "hostnames", "resolvers", "timeServers", "operators", "externalIPs", "metadata"];
        self.only(root, "", &known);
        self.links_of_specs(root);
        for (at, node) in self.items(root.get("addresses"), "addresses").into_iter().enumerate() {
            let path = format!("addresses[{at}].address");
            let Some(address) = node.get("address").and_then(|address| self.address(address, None, &path)) else { continue };
            let metric = number(node.get("priority")).filter(|metric| *metric > 0);
            if let Some(link) = self.link_of(node, "linkName", &format!("addresses[{at}]")) {
                link.addresses.push(Address { metric, ..address });
            }
        }
        for (at, node) in self.items(root.get("routes"), "routes").into_iter().enumerate() {
            let path = format!("routes[{at}]");
            let route = self.route_of_specs(node, &path);
            if let Some(link) = self.link_of(node, "outLinkName", &path) {
                link.routes.push(route);
            }
        }
        for (at, node) in self.items(root.get("operators"), "operators").into_iter().enumerate() {
            self.operator(node, &format!("operators[{at}]"));
        }
        for node in self.items(root.get("resolvers"), "resolvers") {
            let servers = self.items(node.get("dnsServers"), "resolvers.dnsServers");
            self.name_servers(&servers, "resolvers.dnsServers");
            let domains = self.items(node.get("searchDomains"), "resolvers.searchDomains");
            self.search_domains(&domains);
        }
        for node in self.items(root.get("timeServers"), "timeServers") {
            self.network.time_servers.extend(texts(node.get("timeServers")));
        }
        for (at, node) in self.items(root.get("hostnames"), "hostnames").into_iter().enumerate() {
            let (name, domain) = (text(node.get("hostname")), text(node.get("domainname")));
            let full = if domain.is_empty() { name } else { format!("{name}.{domain}") };
            if !crate::validate::is_host_name(&full) {
                self.problem(node, &format!("hostnames[{at}].hostname"), "this is not a host name");
            }
            self.network.hostname = Some(full);
        }
    }

    /// Links with what they are; those that are part of others are said to be so by themselves.
    fn links_of_specs(&mut self, root: &Node) {
        let mut ports: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        for (at, node) in self.items(root.get("links"), "links").into_iter().enumerate() {
            let path = format!("links[{at}]");
            let name = text(node.get("name"));
            if name.is_empty() {
                self.problem(node, &format!("{path}.name"), "this is required");
                continue;
            }
            if let Some(master) = node.get("masterName").and_then(Node::text).filter(|master| !master.is_empty()) {
                let place = number(node.get("slaveIndex")).unwrap_or(0);
                ports.entry(master.to_owned()).or_default().push((place, name.clone()));
            }
            let Some(kind) = self.kind_of_specs(node, &path) else { continue };
            let link = Link::new(Which::Named(name), kind);
            let (up, mtu) = (flag(node.get("up")).unwrap_or(true), self.taker.mtu(node.get("mtu"), &path));
            let hardware_addr = self.taker.mac(node.get("hardwareAddr"), &format!("{path}.hardwareAddr"));
            self.add(Link { line: node.line, up, mtu, hardware_addr, ..link }, &path);
        }
        for (master, mut members) in ports {
            members.sort();
            let found = self.network.links.iter_mut().find(|link| link.which.name() == Some(&master));
            match found {
                Some(link) => link.ports = members.into_iter().map(|(_, name)| Which::Named(name)).collect(),
                None => self.taker.problems.add(0, "links", format!("{master:?} has parts and is not described")),
            }
        }
    }

    /// `None` for one that is not made here.
    fn kind_of_specs(&mut self, node: &Node, path: &str) -> Option<LinkKind> {
        if flag(node.get("logical")) != Some(true) {
            return Some(LinkKind::Existing);
        }
        Some(match text(node.get("kind")).as_str() {
            "bond" => LinkKind::Bond(Box::new(self.bond(node.get("bondMaster"), &format!("{path}.bondMaster")))),
            "bridge" => {
                let stp = node.get("bridgeMaster").and_then(|bridge| bridge.get("stp")).and_then(|stp| stp.get("enabled"));
                LinkKind::Bridge(Bridge { stp: flag(stp).unwrap_or(false), vlan_filtering: false })
            }
            "vlan" => {
                let vlan = node.get("vlan");
                let id = self.taker.vlan_id(vlan.and_then(|vlan| vlan.get("vlanID")), &format!("{path}.vlan.vlanID"));
                let protocol = match vlan.and_then(|vlan| vlan.get("vlanProtocol")).and_then(Node::text) {
                    Some("802.1ad") => VlanProtocol::Dot1Ad,
                    _ => VlanProtocol::Dot1Q,
                };
                LinkKind::Vlan { parent: Which::Named(text(node.get("parentName"))), id, protocol }
            }
            "dummy" => LinkKind::Dummy,
            _ => {
                self.warn(node.line, &format!("{path}.kind"), "links of this kind are not made");
                return None;
            }
        })
    }

    fn route_of_specs(&mut self, node: &Node, path: &str) -> Route {
        // Empty texts stand for nothing; one that leads everywhere may say so.
        let network: Option<ipnet::IpNet> = self.taker.one(node.get("dst"), &format!("{path}.dst"), "a network (10.0.0.0/8)");
        Route {
            network: network.filter(|network| network.prefix_len() > 0).map(|network| network.trunc()),
            gateway: self.taker.one(node.get("gateway"), &format!("{path}.gateway"), "an address"),
            source: self.taker.one(node.get("src"), &format!("{path}.src"), "an address"),
            metric: number(node.get("priority")).filter(|metric| *metric > 0),
            mtu: self.taker.mtu(node.get("mtu"), path),
            table: self.taker.table(node.get("table"), &format!("{path}.table")),
        }
    }

    fn operator(&mut self, node: &Node, path: &str) {
        let name = text(node.get("linkName"));
        let six = match node.get("operator").and_then(Node::text) {
            Some("dhcp4") => false,
            Some("dhcp6") => true,
            _ => return self.warn(node.line, &format!("{path}.operator"), "this is not acted on (dhcp4 and dhcp6 are)"),
        };
        if name.is_empty() {
            return self.problem(node, &format!("{path}.linkName"), "this is required");
        }
        self.dhcp(&Which::Named(name), six, None);
        let options = node.get(if six { "dhcp6" } else { "dhcp4" });
        if let (Some(dhcp), Some(options)) = (self.network.dhcp.last_mut(), options) {
            dhcp.metric = number(options.get("routeMetric")).filter(|metric| *metric > 0);
            dhcp.ignore_hostname = flag(options.get("skipHostnameRequest")).unwrap_or(false);
        }
    }

    /// The link that something belongs to; one that nothing else is said of is there already.
    fn link_of(&mut self, node: &Node, key: &str, path: &str) -> Option<&mut Link> {
        let name = text(node.get(key));
        if name.is_empty() {
            self.problem(node, &format!("{path}.{key}"), "this is required");
            return None;
        }
        let at = match self.network.links.iter().position(|link| link.which.name() == Some(&name)) {
            Some(at) => at,
            None => {
                let link = Link { line: node.line, ..Link::new(Which::Named(name), LinkKind::Existing) };
                self.add(link, path);
                self.network.links.len().checked_sub(1)?
            }
        };
        self.network.links.get_mut(at)
    }
}
