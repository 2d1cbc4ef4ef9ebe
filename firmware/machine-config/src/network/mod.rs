//! `machine.network` and the documents about the network, typed.
//!
//! Older settings and documents become the same values, [`Network`]: whoever acts on them need not know how they were
//! written. `links` takes what all links have in common and each kind of link, `bond` and `wireguard` the two large
//! kinds, `section` the main document's section, `names` names, servers and time, `routing` rules and routes without a
//! link, [`platform`] what a platform says in other formats, `select` and `expression` say which link is meant, `values` reads single values, `validate` looks at meanings.
//!
//! **Absent so far:** virtual addresses, probes, BGP, KubeSpan, the firewall, and settings of drivers (`EthernetConfig`).

mod bond;
mod expression;
mod links;
mod names;
pub mod platform;
mod routing;
mod section;
mod select;
mod types;
mod validate;
mod values;
mod wireguard;

pub use bond::{AdSelect, ArpAllTargets, ArpValidate, Bond, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy};
pub use expression::{Expression, FIELDS, Value};
pub use pki::Secret as Key;
pub use select::{DeviceSelector, Which, glob};
pub use types::{
    Address, Alias, AutoHostname, Blackhole, Bridge, ClientId, Dhcp, ExtraHost, Link, LinkKind, MAIN_TABLE, NameServer, NameServerProtocol,
    Network, Route, Rule, RuleAction, VlanProtocol,
};
pub use validate::is_link_name;
pub use wireguard::{Wireguard, WireguardPeer};

use crate::{stream::Document, take::Taker};

/// Kinds of documents that are taken here.
pub(crate) const KINDS: [&str; 16] = [
    "BlackholeRouteConfig",
    "BondConfig",
    "BridgeConfig",
    "DHCPv4Config",
    "DHCPv6Config",
    "DummyLinkConfig",
    "LinkAliasConfig",
    "LinkConfig",
    "ResolverConfig",
    "RoutingRuleConfig",
    "StaticHostConfig",
    "TimeSyncConfig",
    "VLANConfig",
    "VRFConfig",
    "VethConfig",
    "WireguardConfig",
];

impl Taker {
    /// Adds what the documents say to what the main document says.
    pub fn network_documents(&mut self, network: &mut Network, documents: &[&Document]) {
        for Document { kind, node } in documents.iter().copied() {
            match kind.as_str() {
                "LinkConfig" | "BondConfig" | "BridgeConfig" | "DummyLinkConfig" | "VLANConfig" | "VRFConfig" | "VethConfig"
                | "WireguardConfig" => {
                    network.explicit = true;
                    let links = self.link_documents(kind, node);
                    network.links.extend(links);
                }
                "DHCPv4Config" | "DHCPv6Config" => network.dhcp.extend(self.dhcp_document(kind, node)),
                "LinkAliasConfig" => network.aliases.extend(self.alias(node)),
                "RoutingRuleConfig" => network.rules.extend(self.rule(node)),
                "BlackholeRouteConfig" => network.blackholes.extend(self.blackhole(node)),
                "ResolverConfig" => self.resolvers(network, node),
                "StaticHostConfig" => network.hosts.extend(self.static_host(node)),
                "TimeSyncConfig" => Self::time_servers(network, node),
                _ => {}
            }
        }
        self.check_network(network);
    }
}

#[cfg(test)]
mod tests;
