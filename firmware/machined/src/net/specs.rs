//! What is wanted of the network: each layer says it for itself, and the strongest wins. Pure.
//!
//! The values are those that clients read as resources. An id says what competes: of all specs with one id the strongest
//! layer's holds; a link is merged setting by setting, resolvers family by family (reference, behaviour (j)).

use std::{collections::BTreeMap, net::IpAddr};

use resource::{
    Code,
    kinds::network::{
        AddressSpecSpec, ConfigLayer, HOSTNAME, HostnameSpecSpec, LinkSpecSpec, OperatorSpecSpec, RESOLVERS, ResolverSpecSpec,
        RouteSpecSpec, RoutingRuleSpecSpec, TIME_SERVERS, TimeServerSpecSpec,
    },
};

use super::model::MAIN_TABLE;

/// Name servers beyond this are left out; the C library looks at fewer (see `names`).
const RESOLVERS_KEPT: usize = 8;
/// Search domains beyond this are left out.
const SEARCH_KEPT: usize = 6;

/// What layers want; the order of layers does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Specs {
    /// Links.
    pub links: Vec<LinkSpecSpec>,
    /// Addresses.
    pub addresses: Vec<AddressSpecSpec>,
    /// Routes.
    pub routes: Vec<RouteSpecSpec>,
    /// Rules that choose tables of routes.
    pub rules: Vec<RoutingRuleSpecSpec>,
    /// Host names.
    pub hostnames: Vec<HostnameSpecSpec>,
    /// Name servers.
    pub resolvers: Vec<ResolverSpecSpec>,
    /// Time servers.
    pub time_servers: Vec<TimeServerSpecSpec>,
    /// What asks others.
    pub operators: Vec<OperatorSpecSpec>,
    /// Other names of links: alias to name.
    pub aliases: BTreeMap<String, String>,
    /// Names in the hosts file.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
}

/// What the strongest layers want, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// Links by name.
    pub links: BTreeMap<String, LinkSpecSpec>,
    /// Addresses.
    pub addresses: BTreeMap<String, AddressSpecSpec>,
    /// Routes.
    pub routes: BTreeMap<String, RouteSpecSpec>,
    /// Rules.
    pub rules: BTreeMap<String, RoutingRuleSpecSpec>,
    /// The host name.
    pub hostname: HostnameSpecSpec,
    /// The name servers.
    pub resolvers: ResolverSpecSpec,
    /// The time servers.
    pub time_servers: TimeServerSpecSpec,
    /// What asks others.
    pub operators: BTreeMap<String, OperatorSpecSpec>,
}

impl Specs {
    /// Adds what another layer wants.
    pub fn add(&mut self, layer: Self) {
        self.links.extend(layer.links);
        self.addresses.extend(layer.addresses);
        self.routes.extend(layer.routes);
        self.rules.extend(layer.rules);
        self.hostnames.extend(layer.hostnames);
        self.resolvers.extend(layer.resolvers);
        self.time_servers.extend(layer.time_servers);
        self.operators.extend(layer.operators);
        self.aliases.extend(layer.aliases);
        self.hosts.extend(layer.hosts);
    }

    /// What wins.
    #[must_use]
    pub fn merge(&self) -> Merged {
        let mut resolvers = merge(&self.resolvers).remove(RESOLVERS).unwrap_or_default();
        resolvers.dns_servers.truncate(RESOLVERS_KEPT);
        resolvers.name_servers.truncate(RESOLVERS_KEPT);
        resolvers.search_domains.truncate(SEARCH_KEPT);
        Merged {
            links: merge(&self.links),
            addresses: merge(&self.addresses),
            routes: merge(&self.routes),
            rules: merge(&self.rules),
            hostname: merge(&self.hostnames).remove(HOSTNAME).unwrap_or_default(),
            resolvers,
            time_servers: merge(&self.time_servers).remove(TIME_SERVERS).unwrap_or_default(),
            operators: merge(&self.operators),
        }
    }
}

/// A spec of a layer.
pub trait Layered: Clone {
    /// What it competes by.
    fn id(&self) -> String;
    /// Who wants it.
    fn layer(&self) -> ConfigLayer;
    /// This one, where a weaker one with the same id wants something, too.
    #[must_use]
    fn over(self, weaker: &Self) -> Self {
        let _ = weaker;
        self
    }
}

/// Of all specs with one id the strongest; within a layer the later one.
#[must_use]
pub fn merge<T: Layered>(specs: &[T]) -> BTreeMap<String, T> {
    let mut sorted: Vec<&T> = specs.iter().collect();
    sorted.sort_by_key(|spec| spec.layer() as u8);
    let mut merged: BTreeMap<String, T> = BTreeMap::new();
    for spec in sorted {
        let id = spec.id();
        let winner = match merged.get(&id) {
            Some(weaker) => spec.clone().over(weaker),
            None => spec.clone(),
        };
        merged.insert(id, winner);
    }
    merged
}

impl Layered for LinkSpecSpec {
    fn id(&self) -> String {
        self.name.clone()
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }

    /// What the stronger one leaves open is the weaker one's. DHCP knows of sizes only: it brings no link up or down.
    fn over(mut self, weaker: &Self) -> Self {
        if self.layer == ConfigLayer::Operator {
            self.up = weaker.up;
        }
        if !self.logical && weaker.logical {
            let Self { logical, kind, parent_name, vlan, bond_master, bridge_master, vrf_master, wireguard, veth, .. } = weaker.clone();
            self = Self { logical, kind, parent_name, vlan, bond_master, bridge_master, vrf_master, wireguard, veth, ..self };
        }
        if self.mtu == 0 {
            self.mtu = weaker.mtu;
        }
        if self.hardware_addr.0.is_empty() {
            self.hardware_addr = weaker.hardware_addr.clone();
        }
        if master(&self).is_none() {
            self.bond_slave = weaker.bond_slave.clone();
            self.bridge_slave = weaker.bridge_slave.clone();
            self.vrf_slave = weaker.vrf_slave.clone();
        }
        self.multicast = self.multicast.or(weaker.multicast);
        self
    }
}

/// Name of what a link is part of.
#[must_use]
pub fn master(link: &LinkSpecSpec) -> Option<&str> {
    let names = [&link.bond_slave.master_name, &link.bridge_slave.master_name, &link.vrf_slave.master_name];
    names.into_iter().map(String::as_str).find(|name| !name.is_empty())
}

impl Layered for AddressSpecSpec {
    fn id(&self) -> String {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        format!("{}/{address}", self.link_name)
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }
}

impl Layered for RouteSpecSpec {
    fn id(&self) -> String {
        route_id(self.family, self.table, &self.out_link_name, self.gateway, self.destination, self.priority)
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }
}

/// As clients know routes: `inet4/10.0.2.2//1024`, with the table in front when it is not the main one, and with the link
/// for IPv6, which has the same route on several.
#[must_use]
pub fn route_id(family: Code, table: Code, link: &str, gateway: Option<IpAddr>, destination: Option<ipnet::IpNet>, metric: u32) -> String {
    let table = if table.number == MAIN_TABLE { String::new() } else { format!("{}/", table.name()) };
    let link = if family.number == super::model::INET6 { format!("{link}/") } else { String::new() };
    let gateway = gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
    let destination = destination.map(|destination| destination.to_string()).unwrap_or_default();
    format!("{table}{link}{}/{gateway}/{destination}/{metric}", family.name())
}

impl Layered for RoutingRuleSpecSpec {
    fn id(&self) -> String {
        rule_id(self.family, self.priority)
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }
}

/// `inet4/01000`: in the order in which they are asked.
#[must_use]
pub fn rule_id(family: Code, priority: u32) -> String {
    format!("{}/{priority:05}", family.name())
}

impl Layered for HostnameSpecSpec {
    fn id(&self) -> String {
        HOSTNAME.to_owned()
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }
}

impl Layered for ResolverSpecSpec {
    fn id(&self) -> String {
        RESOLVERS.to_owned()
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }

    /// Servers of a family replace the weaker ones of that family; the configuration's replace all. Search domains add up,
    /// the stronger first, unless they are to be the only ones.
    fn over(mut self, weaker: &Self) -> Self {
        let all = self.layer == ConfigLayer::Configuration && !self.dns_servers.is_empty();
        for four in [true, false] {
            let own = self.name_servers.iter().any(|server| server.address.is_some_and(|address| address.is_ipv4() == four));
            if own || all {
                continue;
            }
            let of_family = |address: &IpAddr| address.is_ipv4() == four;
            self.dns_servers.extend(weaker.dns_servers.iter().copied().filter(of_family));
            self.name_servers.extend(weaker.name_servers.iter().filter(|server| server.address.as_ref().is_some_and(of_family)).cloned());
        }
        if !self.search_domains_overridden {
            for domain in &weaker.search_domains {
                if !self.search_domains.contains(domain) {
                    self.search_domains.push(domain.clone());
                }
            }
        }
        self
    }
}

impl Layered for TimeServerSpecSpec {
    fn id(&self) -> String {
        TIME_SERVERS.to_owned()
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }
}

impl Layered for OperatorSpecSpec {
    fn id(&self) -> String {
        format!("{}/{}", self.operator.as_str(), self.link_name)
    }

    fn layer(&self) -> ConfigLayer {
        self.layer
    }
}

#[cfg(test)]
#[path = "specs_tests.rs"]
mod tests;
