//! Documents of links and of DHCP.

use super::{
    Address, Alias, Bridge, ClientId, Dhcp, Expression, Link, LinkKind, Route, VlanProtocol, Which,
    bond::{Spelling, bond},
    values::hex_bytes,
};
use crate::{
    take::{Taker, flag, number, text, texts},
    tree::Node,
};

/// Largest packet that a link can be told to carry, bytes.
const MOST_MTU: u32 = 65_536;
/// Largest VLAN number; 0 and 4095 mean something else.
pub(super) const MOST_VLAN: u32 = 4094;

impl Taker {
    /// The link of a document, and the other end if it is a cable.
    pub(super) fn link_documents(&mut self, kind: &str, node: &Node) -> Vec<Link> {
        let name = text(node.get("name"));
        let ports = || texts(node.get("links")).into_iter().map(Which::Named).collect::<Vec<_>>();
        let own = match kind {
            "LinkConfig" => LinkKind::Existing,
            "VLANConfig" => LinkKind::Vlan {
                parent: Which::Named(text(node.get("parent"))),
                id: self.vlan_id(node.get("vlanID"), "VLANConfig.vlanID"),
                protocol: match node.get("vlanMode").and_then(Node::text) {
                    Some("802.1ad") => VlanProtocol::Dot1Ad,
                    _ => VlanProtocol::Dot1Q,
                },
            },
            "BondConfig" => LinkKind::Bond(Box::new(bond(self, node, kind, Spelling::Document))),
            "BridgeConfig" => {
                let under = |section: &str, key: &str| flag(node.get(section).and_then(|section| section.get(key))).unwrap_or(false);
                LinkKind::Bridge(Bridge { stp: under("stp", "enabled"), vlan_filtering: under("vlan", "filtering") })
            }
            "DummyLinkConfig" => LinkKind::Dummy,
            "VRFConfig" => LinkKind::Vrf { table: self.table(node.get("table"), "VRFConfig.table") },
            "VethConfig" => return self.cable(&name, node),
            _ => LinkKind::Wireguard(Box::new(self.wireguard(node, kind))),
        };
        let mut link = self.common(node, kind, Which::Named(name), own);
        link.hardware_addr = self.mac(node.get("hardwareAddr"), &format!("{kind}.hardwareAddr"));
        link.ports = ports();
        vec![link]
    }

    fn cable(&mut self, name: &str, node: &Node) -> Vec<Link> {
        let Some(peer) = node.get("peer") else { return Vec::new() };
        let other = text(peer.get("name"));
        let near = self.common(node, "VethConfig", Which::Named(name.to_owned()), LinkKind::Veth { peer: other.clone() });
        let far = self.common(peer, "VethConfig.peer", Which::Named(other), LinkKind::Veth { peer: name.to_owned() });
        vec![near, far]
    }

    /// What every document of a link may say.
    fn common(&mut self, node: &Node, path: &str, which: Which, kind: LinkKind) -> Link {
        Link {
            line: node.line,
            up: flag(node.get("up")).unwrap_or(true),
            mtu: self.mtu(node.get("mtu"), path),
            multicast: flag(node.get("multicast")),
            addresses: self.each(node.get("addresses"), &format!("{path}.addresses"), |taker, node, path| {
                let net = taker.one(node.get("address"), &format!("{path}.address"), "an address with prefix (10.0.0.2/24)")?;
                Some(Address { net, metric: number(node.get("routePriority")) })
            }),
            routes: self
                .each(node.get("routes"), &format!("{path}.routes"), |taker, node, path| Some(taker.route(node, path, "destination"))),
            ..Link::new(which, kind)
        }
    }

    /// A route of a link; `destination` is what that field is called.
    pub(super) fn route(&mut self, node: &Node, path: &str, destination: &str) -> Route {
        Route {
            network: self.one(node.get(destination), &format!("{path}.{destination}"), "a network (10.0.0.0/8)"),
            gateway: self.one(node.get("gateway"), &format!("{path}.gateway"), "an address"),
            source: self.one(node.get("source"), &format!("{path}.source"), "an address"),
            metric: number(node.get("metric")).filter(|metric| *metric > 0),
            mtu: self.mtu(node.get("mtu"), path),
            table: self.table(node.get("table"), &format!("{path}.table")),
        }
    }

    /// A largest packet; 0 is none given.
    pub(super) fn mtu(&mut self, node: Option<&Node>, path: &str) -> Option<u32> {
        self.bounded(node, &format!("{path}.mtu"), 0, MOST_MTU).filter(|mtu| *mtu > 0)
    }

    pub(super) fn vlan_id(&mut self, node: Option<&Node>, path: &str) -> u16 {
        self.bounded(node, path, 1, MOST_VLAN).and_then(|id| id.try_into().ok()).unwrap_or_default()
    }

    pub(super) fn dhcp_document(&mut self, kind: &str, node: &Node) -> Option<Dhcp> {
        let name = node.get("name").and_then(Node::text)?;
        let duid = node.get("duidRaw").and_then(Node::text).filter(|duid| !duid.is_empty());
        let client_id = match (node.get("clientIdentifier").and_then(Node::text), duid) {
            (Some("none"), _) => ClientId::None,
            (Some("duid"), Some(duid)) => hex_bytes(duid).map_or(ClientId::Mac, ClientId::Duid),
            (Some("duid"), None) => {
                self.problems.add(node.line, format!("{kind}.duidRaw"), "this is required with clientIdentifier: duid");
                ClientId::Mac
            }
            _ => ClientId::Mac,
        };
        Some(Dhcp {
            which: Which::Named(name.to_owned()),
            six: kind == "DHCPv6Config",
            metric: number(node.get("routeMetric")).filter(|metric| *metric > 0),
            ignore_hostname: flag(node.get("ignoreHostname")).unwrap_or(false),
            ignore_routes: flag(node.get("ignoreRoutes")).unwrap_or(false),
            client_id,
        })
    }

    pub(super) fn alias(&mut self, node: &Node) -> Option<Alias> {
        let name = node.get("name").and_then(Node::text)?.to_owned();
        let selector = node.get("selector").and_then(|selector| selector.get("match"));
        let Some(word) = selector.and_then(Node::text).filter(|word| !word.trim().is_empty()) else {
            self.problems.add(node.line, "LinkAliasConfig.selector.match", "this is required: an expression about `link`");
            return None;
        };
        match Expression::parse(word) {
            Ok(selector) => Some(Alias { name, selector }),
            Err(problem) => {
                self.problems.add(node.line, "LinkAliasConfig.selector.match", problem);
                None
            }
        }
    }
}
