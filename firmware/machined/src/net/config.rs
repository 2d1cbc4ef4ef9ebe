//! From the machine configuration to what `net` understands.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use machine_config::Config;

use super::{
    cmdline::Selector,
    model::{Wanted, WantedLink},
};

/// The network part of a configuration. Links chosen by anything but their name are left to the layers below.
pub(super) fn wanted(config: &Config) -> Wanted {
    let network = config.network();
    let links = network
        .interfaces
        .iter()
        .filter(|interface| !interface.name.is_empty())
        .map(|interface| WantedLink {
            selector: Selector::Name(interface.name.clone()),
            ignore: interface.ignore,
            dhcp: interface.dhcp,
            dhcp_metric: None,
            addresses: interface.addresses.clone(),
            routes: interface
                .routes
                .iter()
                .map(|route| (route.network.unwrap_or_else(|| any(route.gateway)), route.gateway, route.metric))
                .collect(),
            mtu: interface.mtu,
        })
        .collect();
    Wanted {
        hostname: config.hostname().map(str::to_owned),
        resolvers: network.name_servers.clone(),
        search: network.search_domains.clone(),
        hosts: network.extra_hosts.iter().map(|host| (host.ip, host.aliases.clone())).collect(),
        links,
    }
}

/// Everywhere, in the gateway's family.
fn any(gateway: Option<IpAddr>) -> IpNet {
    match gateway {
        Some(IpAddr::V6(_)) => IpNet::V6(Ipv6Net::default()),
        _ => IpNet::V4(Ipv4Net::default()),
    }
}
