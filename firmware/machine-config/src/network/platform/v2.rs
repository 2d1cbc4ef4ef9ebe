//! Version 2: links by kind and id, as netplan has them.

use super::Reader;
use crate::{
    network::{Bridge, DeviceSelector, Link, LinkKind, Route, VlanProtocol, Which, platform::v1::nowhere},
    take::{number, text},
    tree::{Entry, Node},
};

/// What all links may say.
const COMMON: [&str; 17] = [
    "addresses",
    "dhcp4",
    "dhcp6",
    "dhcp4-overrides",
    "dhcp6-overrides",
    "gateway4",
    "gateway6",
    "macaddress",
    "mtu",
    "nameservers",
    "optional",
    "renderer",
    "routes",
    "match",
    "set-name",
    "accept-ra",
    "wakeonlan",
];

impl Reader {
    pub(super) fn version_2(&mut self, node: &Node) {
        self.only(node, "network", &["version", "renderer", "ethernets", "bonds", "bridges", "vlans"]);
        let section = |key: &str| node.get(key).map_or(&[][..], Node::entries);
        // Others stand on them by their ids, whatever the order of the text.
        for entry in section("ethernets") {
            let which = self.ethernet(entry, &path("ethernets", entry));
            self.called.insert(entry.key.clone(), which);
        }
        for entry in section("ethernets") {
            let path = path("ethernets", entry);
            self.only(&entry.value, &path, &COMMON);
            let link = Link::new(self.named(&entry.key), LinkKind::Existing);
            self.link_2(&entry.value, link, &path);
        }
        for entry in section("bonds") {
            let path = path("bonds", entry);
            self.only(&entry.value, &path, &[&COMMON[..], &["interfaces", "parameters"]].concat());
            let bond = self.bond(entry.value.get("parameters"), &format!("{path}.parameters"));
            self.master(entry, LinkKind::Bond(Box::new(bond)), &path);
        }
        for entry in section("bridges") {
            let path = path("bridges", entry);
            self.only(&entry.value, &path, &[&COMMON[..], &["interfaces", "parameters"]].concat());
            let stp = entry.value.get("parameters").and_then(|parameters| parameters.get("stp"));
            // Netplan's bridges speak it unless they are told not to.
            let stp = stp.is_none() || self.on(stp, &format!("{path}.parameters.stp"));
            self.master(entry, LinkKind::Bridge(Bridge { stp, vlan_filtering: false }), &path);
        }
        for entry in section("vlans") {
            let path = path("vlans", entry);
            self.only(&entry.value, &path, &[&COMMON[..], &["id", "link"]].concat());
            let id = self.taker.vlan_id(entry.value.get("id"), &format!("{path}.id"));
            let parent = self.named(&text(entry.value.get("link")));
            self.link_2(&entry.value, made(entry, LinkKind::Vlan { parent, id, protocol: VlanProtocol::Dot1Q }), &path);
        }
    }

    /// Which links an id means: those that match, or the one of that name.
    fn ethernet(&mut self, entry: &Entry, path: &str) -> Which {
        let Some(wanted) = entry.value.get("match") else { return Which::Named(entry.key.clone()) };
        let path = format!("{path}.match");
        self.only(wanted, &path, &["name", "macaddress", "driver"]);
        let name = self.pattern(wanted.get("name"), &format!("{path}.name"));
        let driver = self.pattern(wanted.get("driver"), &format!("{path}.driver"));
        let mac = self.mac_text(wanted.get("macaddress"), &format!("{path}.macaddress"));
        let mut conditions = Vec::new();
        conditions.extend(mac.as_ref().map(|mac| format!("mac(link.permanent_addr) == \"{mac}\"")));
        conditions.extend((!name.is_empty()).then(|| format!("glob(\"{name}\", link.name)")));
        conditions.extend((!driver.is_empty()).then(|| format!("glob(\"{driver}\", link.driver)")));
        let set_name = entry.value.get("set-name");
        self.also_called(&text(set_name), &conditions, set_name.unwrap_or(wanted), &format!("{path}.set-name"));
        if mac.is_none() && driver.is_empty() && !name.is_empty() && !name.contains(['*', '?']) {
            return Which::Named(name);
        }
        let permanent_addr = mac.unwrap_or_default();
        Which::Matching(DeviceSelector { name, permanent_addr, driver, physical: Some(true), ..DeviceSelector::default() })
    }

    /// A pattern with `*` and `?`; empty when there is none.
    fn pattern(&mut self, node: Option<&Node>, path: &str) -> String {
        let Some(node) = node else { return String::new() };
        let pattern = text(Some(node));
        if pattern.is_empty() || pattern.len() > 64 || pattern.contains(['[', ']', '"', '\\', '\'']) || pattern.contains(char::is_control) {
            self.problem(node, path, "this must be a name in which * and ? stand for others");
            return String::new();
        }
        pattern
    }

    fn master(&mut self, entry: &Entry, kind: LinkKind, path: &str) {
        let members = self.items(entry.value.get("interfaces"), &format!("{path}.interfaces"));
        let ports = members.into_iter().filter_map(Node::text).map(|name| self.named(name)).collect();
        self.link_2(&entry.value, Link { ports, ..made(entry, kind) }, path);
    }

    fn link_2(&mut self, node: &Node, link: Link, path: &str) {
        let mut link = Link { line: node.line, mtu: self.taker.mtu(node.get("mtu"), path), ..link };
        link.hardware_addr = self.taker.mac(node.get("macaddress"), &format!("{path}.macaddress"));
        for (at, item) in self.items(node.get("addresses"), &format!("{path}.addresses")).into_iter().enumerate() {
            let path = format!("{path}.addresses[{at}]");
            link.addresses.extend(match item.entries() {
                [] => self.address(item, None, &path),
                // `10.0.0.2/24: {label: ...}`
                [labelled, ..] => match labelled.key.parse() {
                    Ok(net) => Some(crate::network::Address { net, metric: None }),
                    Err(_) => {
                        self.problem(item, &path, "this must be an address with its prefix (10.0.0.2/24)");
                        None
                    }
                },
            });
        }
        for (key, four) in [("gateway4", true), ("gateway6", false)] {
            let path = format!("{path}.{key}");
            let gateway: Option<std::net::IpAddr> = self.taker.one(node.get(key), &path, "an address");
            match gateway {
                Some(gateway) if gateway.is_ipv4() == four => link.routes.push(Route { gateway: Some(gateway), ..nowhere() }),
                Some(_) => self.problem(node, &path, "this is an address of the other family"),
                None => {}
            }
        }
        for (at, item) in self.items(node.get("routes"), &format!("{path}.routes")).into_iter().enumerate() {
            link.routes.extend(self.route_2(item, &format!("{path}.routes[{at}]")));
        }
        for (key, six) in [("dhcp4", false), ("dhcp6", true)] {
            if self.on(node.get(key), &format!("{path}.{key}")) {
                self.dhcp(&link.which, six, node.get(&format!("{key}-overrides")));
            }
        }
        if let Some(servers) = node.get("nameservers") {
            let path = format!("{path}.nameservers");
            let addresses = self.items(servers.get("addresses"), &path);
            self.name_servers(&addresses, &path);
            let domains = self.items(servers.get("search"), &path);
            self.search_domains(&domains);
        }
        self.add(link, path);
    }

    fn route_2(&mut self, node: &Node, path: &str) -> Option<Route> {
        // Whether the next hop is on the link the node sees for itself.
        self.only(node, path, &["to", "via", "from", "metric", "mtu", "table", "on-link"]);
        let gateway = self.taker.one(node.get("via"), &format!("{path}.via"), "an address");
        let network = match node.get("to") {
            Some(to) if matches!(to.text(), Some("default")) => None,
            Some(to) => Some(self.net(to, None, &format!("{path}.to"))?.trunc()),
            None => {
                self.problem(node, &format!("{path}.to"), "this is required");
                return None;
            }
        };
        Some(Route {
            network,
            gateway,
            source: self.taker.one(node.get("from"), &format!("{path}.from"), "an address"),
            metric: number(node.get("metric")),
            mtu: self.taker.mtu(node.get("mtu"), path),
            table: self.taker.table(node.get("table"), &format!("{path}.table")),
        })
    }
}

fn path(section: &str, entry: &Entry) -> String {
    format!("{section}.{}", entry.key.chars().take(40).collect::<String>())
}

fn made(entry: &Entry, kind: LinkKind) -> Link {
    Link::new(Which::Named(entry.key.clone()), kind)
}
