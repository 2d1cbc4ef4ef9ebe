//! What DHCP gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use resource::kinds::network::{ConfigLayer, Dhcp4OperatorSpec, Dhcp6OperatorSpec, Operator, OperatorSpecSpec, TimeServerSpecSpec};

use super::{METRIC, Source, Sources, make::plain};
use crate::net::{
    model::Lease,
    names::own_hostname,
    specs::{Specs, merge},
};

/// The least an IPv4 link must carry; a smaller MTU from DHCP is a mistake.
const LEAST_MTU: u32 = 576;

/// What the leases of those that are asking want. Within the layer the first link's name wins, servers add up.
#[must_use]
pub fn operator_layer(sources: &Sources<'_>, asking: &BTreeSet<String>, others: &Specs) -> Specs {
    let by = Source(ConfigLayer::Operator);
    let operators: BTreeMap<String, OperatorSpecSpec> = merge(&others.operators);
    let mut specs = Specs::default();
    let (mut servers, mut search, mut times) = (Vec::new(), Vec::<String>::new(), Vec::<String>::new());
    // A node with a name of its own tells it to servers and takes none of theirs.
    let named = own_hostname(others).is_some();
    // In the order of links, so that a name does not depend on who answered first.
    let mut held: Vec<(&String, &Lease, &OperatorSpecSpec)> = sources
        .leases
        .iter()
        .filter(|(id, _)| asking.contains(*id))
        .filter_map(|(id, lease)| Some((id, lease, operators.get(id)?)))
        .collect();
    let place = |name: &str| sources.links.iter().position(|link| link.name == name);
    held.sort_by_key(|(_, _, operator)| (place(&operator.link_name), operator.operator as u8));
    for (_, lease, operator) in held {
        let options = Options::of(operator);
        one(by, &operator.link_name, lease, &options, &mut specs);
        servers.extend(lease.resolvers.iter().copied().map(plain));
        for domain in &lease.search {
            if !search.contains(domain) {
                search.push(domain.clone());
            }
        }
        for server in lease.time_servers.iter().cloned() {
            if !times.contains(&server) {
                times.push(server);
            }
        }
        if let (false, [], Some(name)) = (options.skip_hostname || named, specs.hostnames.as_slice(), lease.hostname.as_deref()) {
            specs.hostnames.push(by.hostname(name));
        }
    }
    if !servers.is_empty() || !search.is_empty() {
        specs.resolvers.push(by.resolvers(servers, search));
    }
    if !times.is_empty() {
        specs.time_servers.push(TimeServerSpecSpec { ntp_servers: times, use_nts: false, layer: by.0 });
    }
    specs
}

/// What both kinds of client have.
struct Options {
    metric: u32,
    skip_hostname: bool,
    skip_routes: bool,
}

impl Options {
    fn of(operator: &OperatorSpecSpec) -> Self {
        let metric = |metric: u32| if metric == 0 { METRIC } else { metric };
        match operator.operator {
            Operator::Dhcp6 => {
                let Dhcp6OperatorSpec { route_metric, skip_hostname_request, .. } = operator.dhcp6;
                Self { metric: metric(route_metric), skip_hostname: skip_hostname_request, skip_routes: true }
            }
            Operator::Dhcp4 | Operator::Vip => {
                let Dhcp4OperatorSpec { route_metric, skip_hostname_request, skip_routes, .. } = operator.dhcp4;
                Self { metric: metric(route_metric), skip_hostname: skip_hostname_request, skip_routes }
            }
        }
    }
}

fn one(by: Source, link: &str, lease: &Lease, options: &Options, specs: &mut Specs) {
    specs.addresses.push(by.address(link, lease.address, 0));
    if let Some(mtu) = lease.mtu.map(u32::from).filter(|mtu| *mtu >= LEAST_MTU) {
        let mut spec = by.link(link);
        spec.mtu = mtu;
        specs.links.push(spec);
    }
    if options.skip_routes {
        return;
    }
    if lease.routes.is_empty() {
        // Only the first router: a second one with the same metric would be spread over, not fallen back to.
        specs.routes.extend(lease.routers.first().map(|router| by.default_route(link, (*router).into(), options.metric)));
    }
    for (destination, router) in &lease.routes {
        let gateway = (!router.is_unspecified()).then_some(IpAddr::V4(*router));
        specs.routes.push(by.route(link, Some((*destination).into()), gateway, options.metric));
    }
}
