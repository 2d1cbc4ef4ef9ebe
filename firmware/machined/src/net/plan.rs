//! Decisions: which links are ours, what they should have, and the steps from what is to what should be. Pure.
//!
//! Strength, rising: every physical link by DHCP, `ip=` on the command line, the machine configuration. A link that a
//! stronger layer names is taken out of the weaker ones. Only addresses and routes that this module set are ever removed.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::{IpNet, Ipv4Net};

use super::{
    cmdline::{CommandLine, Method},
    model::{Actual, Lease, Link, Route, Wanted, WantedLink},
};

/// Metric of routes that name none; further links get the next numbers so that their default routes can coexist.
pub const METRIC: u32 = 1024;
/// The least an IPv4 link must carry; a smaller MTU from DHCP is a mistake.
const LEAST_MTU: u32 = 576;

/// What a link of ours should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Ask for an address by DHCP.
    pub dhcp: bool,
    /// Addresses.
    pub addresses: Vec<IpNet>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Largest packet in bytes, when somebody says.
    pub mtu: Option<u32>,
    /// Who decided: `config`, `cmdline`, `dhcp`.
    pub source: &'static str,
}

/// A step towards what should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Allow IPv6 to configure itself on the link, also when the node forwards packets.
    AllowIpv6 {
        /// Kernel name.
        name: String,
    },
    /// Bring the link up.
    Up {
        /// Kernel index.
        link: u32,
    },
    /// Set its MTU.
    Mtu {
        /// Kernel index.
        link: u32,
        /// Bytes.
        mtu: u32,
    },
    /// Remove an address of ours.
    RemoveAddress {
        /// Kernel index.
        link: u32,
        /// Address with prefix.
        net: IpNet,
    },
    /// Add an address.
    AddAddress {
        /// Kernel index.
        link: u32,
        /// Address with prefix.
        net: IpNet,
    },
    /// Remove a route of ours.
    RemoveRoute(Route),
    /// Add a route.
    AddRoute(Route),
}

/// Which links are ours and what they should have, by kernel index. `leases` are by kernel index too.
#[must_use]
pub fn desired(links: &[Link], line: &CommandLine, wanted: &Wanted, leases: &BTreeMap<u32, Lease>) -> BTreeMap<u32, Desired> {
    let mut all = BTreeMap::new();
    let mut metric = METRIC;
    for link in links.iter().filter(|link| !link.loopback) {
        let Some(mut own) = one(link, links, line, wanted) else { continue };
        if own.dhcp {
            let by_config = of_config(link, wanted).and_then(|config| config.dhcp_metric);
            if let Some(lease) = leases.get(&link.index) {
                add_lease(&mut own, link, lease, by_config.unwrap_or(metric));
            }
            metric += 1;
        }
        own.mtu = own.mtu.map(|mtu| if link.mtu_limit > 0 { mtu.min(link.mtu_limit) } else { mtu });
        all.insert(link.index, own);
    }
    all
}

/// What a link should have before DHCP answered; `None` when it is not ours.
fn one(link: &Link, links: &[Link], line: &CommandLine, wanted: &Wanted) -> Option<Desired> {
    if line.ignored.contains(&link.name) {
        return None;
    }
    if let Some(config) = of_config(link, wanted) {
        return (!config.ignore).then(|| from_config(link, config));
    }
    let mut own = Desired { source: "cmdline", ..Desired::default() };
    let mut named = false;
    for argument in &line.ip {
        let applies = match (&argument.device, &argument.method) {
            (Some(device), _) => device.matches(&link.name, &link.mac),
            (None, Method::Static { .. }) => first_physical(links) == Some(link.index),
            (None, _) => link.physical,
        };
        if !applies {
            continue;
        }
        named = true;
        match &argument.method {
            Method::Dhcp => own.dhcp = true,
            Method::None => {}
            Method::Static { address, gateway } => {
                own.addresses.push(*address);
                own.routes.extend(gateway.map(|gateway| default_route(link.index, gateway, &[*address], METRIC)));
            }
        }
    }
    match (named, link.physical) {
        (true, _) => Some(own),
        (false, true) => Some(Desired { dhcp: true, source: "dhcp", ..Desired::default() }),
        (false, false) => None,
    }
}

fn of_config<'a>(link: &Link, wanted: &'a Wanted) -> Option<&'a WantedLink> {
    wanted.links.iter().find(|config| config.selector.matches(&link.name, &link.mac))
}

fn from_config(link: &Link, config: &WantedLink) -> Desired {
    let routes = config
        .routes
        .iter()
        .map(|(destination, gateway, metric)| Route {
            link: link.index,
            destination: destination.trunc(),
            gateway: *gateway,
            onlink: gateway.is_some_and(|gateway| off_link(gateway, &config.addresses)),
            metric: metric.unwrap_or(METRIC),
        })
        .collect();
    Desired { dhcp: config.dhcp, addresses: config.addresses.clone(), routes, mtu: config.mtu, source: "config" }
}

fn add_lease(own: &mut Desired, link: &Link, lease: &Lease, metric: u32) {
    let address = IpNet::V4(lease.address);
    if !own.addresses.contains(&address) {
        own.addresses.push(address);
    }
    let lease_only = [address];
    if lease.routes.is_empty() {
        // Only the first router: a second one with the same metric would be spread over, not fallen back to.
        own.routes.extend(lease.routers.first().map(|router| default_route(link.index, (*router).into(), &lease_only, metric)));
    }
    for (destination, router) in &lease.routes {
        let gateway = (!router.is_unspecified()).then_some(IpAddr::V4(*router));
        own.routes.push(Route {
            link: link.index,
            destination: destination.trunc().into(),
            gateway,
            onlink: gateway.is_some_and(|gateway| off_link(gateway, &lease_only)),
            metric,
        });
    }
    own.mtu = own.mtu.or(lease.mtu.map(u32::from).filter(|mtu| *mtu >= LEAST_MTU));
}

fn default_route(link: u32, gateway: IpAddr, addresses: &[IpNet], metric: u32) -> Route {
    let destination = match gateway {
        IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    };
    Route { link, destination, gateway: Some(gateway), onlink: off_link(gateway, addresses), metric }
}

/// A next hop outside all prefixes: the kernel takes it only with the word that it is on the link.
fn off_link(gateway: IpAddr, addresses: &[IpNet]) -> bool {
    let link_local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
    !link_local && !addresses.iter().any(|net| net.contains(&gateway))
}

fn first_physical(links: &[Link]) -> Option<u32> {
    links.iter().find(|link| link.physical).map(|link| link.index)
}

/// The steps from `actual` to `desired`, in an order that works: what must go before what comes, links before
/// addresses before routes. Empty when nothing is to be done.
#[must_use]
pub fn actions(actual: &Actual, desired: &BTreeMap<u32, Desired>) -> Vec<Action> {
    let mut steps = Vec::new();
    for link in &actual.links {
        link_steps(link, desired.get(&link.index), &mut steps);
    }
    let wanted = |link: u32| desired.get(&link);
    for route in &actual.routes {
        if !wanted(route.link).is_some_and(|own| own.routes.contains(route)) {
            steps.push(Action::RemoveRoute(route.clone()));
        }
    }
    for address in actual.addresses.iter().filter(|address| address.ours) {
        if !wanted(address.link).is_some_and(|own| own.addresses.contains(&address.net)) {
            steps.push(Action::RemoveAddress { link: address.link, net: address.net });
        }
    }
    for (index, own) in desired {
        for net in &own.addresses {
            if !actual.addresses.iter().any(|have| have.link == *index && have.net == *net) {
                steps.push(Action::AddAddress { link: *index, net: *net });
            }
        }
    }
    // The kernel takes routes only on links that are up: they follow in the round that the change of the link starts.
    let up = |index: u32| actual.links.iter().any(|link| link.index == index && link.up);
    for (index, own) in desired.iter().filter(|(index, _)| up(**index)) {
        for route in own.routes.iter().filter(|route| !actual.routes.contains(route)) {
            debug_assert_eq!(route.link, *index);
            steps.push(Action::AddRoute(route.clone()));
        }
    }
    steps
}

fn link_steps(link: &Link, own: Option<&Desired>, steps: &mut Vec<Action>) {
    if own.is_none() && !link.loopback {
        return;
    }
    if let Some(mtu) = own.and_then(|own| own.mtu).filter(|mtu| *mtu != link.mtu) {
        steps.push(Action::Mtu { link: link.index, mtu });
    }
    if !link.up {
        if !link.loopback {
            steps.push(Action::AllowIpv6 { name: link.name.clone() });
        }
        steps.push(Action::Up { link: link.index });
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
