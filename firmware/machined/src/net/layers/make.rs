//! Specs from plain values.

use std::net::IpAddr;

use ipnet::IpNet;
use resource::kinds::network::{
    AddressSpecSpec, ConfigLayer, HostnameSpecSpec, LinkSpecSpec, NameServerSpec, ResolverSpecSpec, RouteSpecSpec, address_flags, family,
    link_type, route_flags, route_protocol, route_type, routing_table, scope,
};

use crate::net::model::{INET, INET6, MAIN_TABLE};

/// `ARPHRD_ETHER`, `ARPHRD_NONE`.
const ETHER: u32 = 1;
/// `RTN_UNICAST`.
pub(super) const UNICAST: u32 = 1;
/// `RT_SCOPE_UNIVERSE`, `RT_SCOPE_LINK`.
const UNIVERSE: u32 = 0;
const ON_LINK: u32 = 253;
/// `RTPROT_STATIC`: what clients are shown; in the kernel routes carry the node's own mark.
const STATIC: u32 = 4;

/// Who is speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(pub ConfigLayer);

impl Source {
    pub(super) fn link(self, name: &str) -> LinkSpecSpec {
        LinkSpecSpec { name: name.to_owned(), up: true, kind_of_hardware: link_type(ETHER), layer: self.0, ..LinkSpecSpec::default() }
    }

    pub(super) fn address(self, link: &str, net: IpNet, metric: u32) -> AddressSpecSpec {
        AddressSpecSpec {
            address: Some(net),
            link_name: link.to_owned(),
            family: family_of(net.addr()),
            scope: scope(UNIVERSE),
            flags: address_flags(0),
            announce_with_arp: false,
            priority: metric,
            layer: self.0,
        }
    }

    /// A route by a link; `destination` `None` is everywhere.
    pub(super) fn route(self, link: &str, destination: Option<IpNet>, gateway: Option<IpAddr>, metric: u32) -> RouteSpecSpec {
        let four = destination.map(|net| net.addr()).or(gateway).is_none_or(|address| address.is_ipv4());
        RouteSpecSpec {
            family: family(if four { INET } else { INET6 }),
            destination: destination.filter(|net| net.prefix_len() > 0).map(|net| net.trunc()),
            gateway,
            out_link_name: link.to_owned(),
            table: routing_table(MAIN_TABLE),
            priority: metric,
            scope: scope(if gateway.is_some() { UNIVERSE } else { ON_LINK }),
            kind: route_type(UNICAST),
            flags: route_flags(0),
            protocol: route_protocol(STATIC),
            layer: self.0,
            ..RouteSpecSpec::default()
        }
    }

    /// Everywhere by a gateway.
    pub(super) fn default_route(self, link: &str, gateway: IpAddr, metric: u32) -> RouteSpecSpec {
        self.route(link, None, Some(gateway), metric)
    }

    pub(super) fn hostname(self, name: &str) -> HostnameSpecSpec {
        let (hostname, domain) = name.split_once('.').unwrap_or((name, ""));
        HostnameSpecSpec { hostname: hostname.to_owned(), domainname: domain.to_owned(), layer: self.0 }
    }

    /// Name servers, each once, and search domains.
    pub(super) fn resolvers(self, servers: impl IntoIterator<Item = NameServerSpec>, search: Vec<String>) -> ResolverSpecSpec {
        let mut name_servers: Vec<NameServerSpec> = Vec::new();
        for server in servers {
            if !name_servers.iter().any(|known| known.address == server.address) {
                name_servers.push(server);
            }
        }
        ResolverSpecSpec {
            dns_servers: name_servers.iter().filter_map(|server| server.address).collect(),
            name_servers,
            layer: self.0,
            search_domains: search,
            search_domains_overridden: false,
        }
    }
}

/// A name server that is asked in the usual way.
pub(super) fn plain(address: IpAddr) -> NameServerSpec {
    NameServerSpec { address: Some(address), ..NameServerSpec::default() }
}

pub(super) fn family_of(address: IpAddr) -> resource::Code {
    family(if address.is_ipv4() { INET } else { INET6 })
}
