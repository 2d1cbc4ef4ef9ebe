//! Version 1: a list of things, each with its `type`.

use ipnet::IpNet;

use super::Reader;
use crate::{
    network::{Alias, Bridge, DeviceSelector, Expression, Link, LinkKind, MAIN_TABLE, Route, VlanProtocol, Which, is_link_name},
    take::{flag, number, text},
    tree::Node,
};

impl Reader {
    pub(super) fn version_1(&mut self, node: &Node) {
        self.only(node, "network", &["version", "config"]);
        for (at, item) in self.items(node.get("config"), "config").into_iter().enumerate() {
            let path = format!("config[{at}]");
            match item.get("type").and_then(Node::text) {
                Some("physical") => self.physical(item, &path),
                Some("bond") => {
                    let bond = self.bond(item.get("params"), &format!("{path}.params"));
                    self.made(item, LinkKind::Bond(Box::new(bond)), "bond_interfaces", &path);
                }
                Some("bridge") => {
                    let params = item.get("params");
                    let stp = flag(params.and_then(|params| params.get("bridge_stp"))).unwrap_or(false);
                    self.made(item, LinkKind::Bridge(Bridge { stp, vlan_filtering: false }), "bridge_interfaces", &path);
                }
                Some("vlan") => {
                    let id = self.taker.vlan_id(item.get("vlan_id"), &format!("{path}.vlan_id"));
                    let parent = self.named(&text(item.get("vlan_link")));
                    self.made(item, LinkKind::Vlan { parent, id, protocol: VlanProtocol::Dot1Q }, "", &path);
                }
                Some("loopback") => self.servers(item, &path),
                Some("nameserver") => self.servers(item, &path),
                Some("route") => self.lone_route(item, &path),
                _ => self.problem(item, &format!("{path}.type"), "this must be physical, bond, bridge, vlan, nameserver or route"),
            }
        }
    }

    /// One that is there already, chosen by its hardware address if there is one; then its name is another name of it.
    fn physical(&mut self, node: &Node, path: &str) {
        self.only(node, path, &["type", "name", "mac_address", "mtu", "subnets", "accept-ra"]);
        let name = text(node.get("name"));
        let which = match (self.mac_text(node.get("mac_address"), &format!("{path}.mac_address")), name.is_empty()) {
            (Some(mac), _) => {
                self.also_called(&name, &[format!("mac(link.permanent_addr) == \"{mac}\"")], node, path);
                let which = Which::Matching(DeviceSelector { permanent_addr: mac, physical: Some(true), ..DeviceSelector::default() });
                self.called.insert(name, which.clone());
                which
            }
            (None, false) => Which::Named(name),
            (None, true) => return self.problem(node, path, "this needs a name or a mac_address"),
        };
        self.common(node, Link::new(which, LinkKind::Existing), path);
    }

    fn made(&mut self, node: &Node, kind: LinkKind, ports: &str, path: &str) {
        self.only(
            node,
            path,
            &["type", "name", "mac_address", "mtu", "subnets", "params", "vlan_id", "vlan_link", "bond_interfaces", "bridge_interfaces"],
        );
        let name = text(node.get("name"));
        if name.is_empty() {
            return self.problem(node, &format!("{path}.name"), "this is required");
        }
        let members = if ports.is_empty() { Vec::new() } else { self.items(node.get(ports), &format!("{path}.{ports}")) };
        let members = members.into_iter().filter_map(Node::text).map(|name| self.named(name)).collect();
        let hardware_addr = self.taker.mac(node.get("mac_address"), &format!("{path}.mac_address"));
        self.common(node, Link { ports: members, hardware_addr, ..Link::new(Which::Named(name), kind) }, path);
    }

    /// What all links may say.
    fn common(&mut self, node: &Node, link: Link, path: &str) {
        let mut link = Link { line: node.line, mtu: self.taker.mtu(node.get("mtu"), path), ..link };
        for (at, subnet) in self.items(node.get("subnets"), &format!("{path}.subnets")).into_iter().enumerate() {
            self.subnet(subnet, &mut link, &format!("{path}.subnets[{at}]"));
        }
        self.add(link, path);
    }

    fn subnet(&mut self, node: &Node, link: &mut Link, path: &str) {
        match node.get("type").and_then(Node::text) {
            Some("dhcp" | "dhcp4") => self.dhcp(&link.which, false, None),
            Some("dhcp6" | "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless") => self.dhcp(&link.which, true, None),
            // The kernel listens to routers by itself.
            Some("ipv6_slaac" | "manual") => {}
            Some("static" | "static6") => match node.get("address") {
                Some(address) => link.addresses.extend(self.address(address, node.get("netmask"), &format!("{path}.address"))),
                None => self.problem(node, &format!("{path}.address"), "this is required"),
            },
            _ => self.problem(node, &format!("{path}.type"), "this must be dhcp, dhcp6, static, static6, ipv6_slaac or manual"),
        }
        if let Some(gateway) = node.get("gateway").filter(|gateway| gateway.text().is_some_and(|text| !text.is_empty())) {
            let gateway = self.taker.one(Some(gateway), &format!("{path}.gateway"), "an address");
            link.routes.extend(gateway.map(|gateway| Route { gateway: Some(gateway), ..nowhere() }));
        }
        for (at, route) in self.items(node.get("routes"), &format!("{path}.routes")).into_iter().enumerate() {
            link.routes.extend(self.route_1(route, &format!("{path}.routes[{at}]")));
        }
        let servers = self.items(node.get("dns_nameservers"), &format!("{path}.dns_nameservers"));
        self.name_servers(&servers, &format!("{path}.dns_nameservers"));
        let domains = self.items(node.get("dns_search"), &format!("{path}.dns_search"));
        self.search_domains(&domains);
    }

    fn route_1(&mut self, node: &Node, path: &str) -> Option<Route> {
        let destination = node.get("network").or_else(|| node.get("destination"));
        let network = match destination {
            Some(to) => Some(self.net(to, node.get("netmask"), &format!("{path}.network"))?),
            None => None,
        };
        let gateway = self.taker.one(node.get("gateway"), &format!("{path}.gateway"), "an address");
        Some(Route { network: network.map(|net: IpNet| net.trunc()), gateway, metric: number(node.get("metric")), ..nowhere() })
    }

    /// A route that names no link belongs to the link whose address is next to its gateway.
    fn lone_route(&mut self, node: &Node, path: &str) {
        let Some(route) = self.route_1(node, path) else { return };
        let near =
            |link: &&mut Link| route.gateway.is_some_and(|gateway| link.addresses.iter().any(|address| address.net.contains(&gateway)));
        match self.network.links.iter_mut().find(near) {
            Some(link) => link.routes.push(route),
            None => self.problem(node, &format!("{path}.gateway"), "no address of a link described before is in the gateway's network"),
        }
    }

    fn servers(&mut self, node: &Node, path: &str) {
        let servers = self.items(node.get("address"), &format!("{path}.address"));
        self.name_servers(&servers, &format!("{path}.address"));
        let domains = self.items(node.get("search"), &format!("{path}.search"));
        self.search_domains(&domains);
    }

    /// The link that was described under this name, which the kernel may call otherwise.
    pub(super) fn named(&self, name: &str) -> Which {
        self.called.get(name).cloned().unwrap_or_else(|| Which::Named(name.to_owned()))
    }

    /// A hardware address in the usual form; `None` when there is none.
    pub(super) fn mac_text(&mut self, node: Option<&Node>, path: &str) -> Option<String> {
        let mac = self.taker.mac(node, path)?;
        Some(mac.map(|octet| format!("{octet:02x}")).join(":"))
    }

    /// Another name for the links that meet all `conditions`.
    pub(super) fn also_called(&mut self, name: &str, conditions: &[String], node: &Node, path: &str) {
        if name.is_empty() || conditions.is_empty() {
            return;
        }
        if !is_link_name(name) {
            return self.problem(node, path, "this is not a name of a link (1 to 15 characters, no space, slash or colon)");
        }
        match Expression::parse(&conditions.join(" && ")) {
            Ok(selector) => self.network.aliases.push(Alias { name: name.to_owned(), selector }),
            Err(problem) => self.problem(node, path, problem),
        }
    }
}

/// A route that says nothing yet.
pub(super) const fn nowhere() -> Route {
    Route { network: None, gateway: None, source: None, metric: None, mtu: None, table: MAIN_TABLE }
}
