//! The default layer and the command line.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use resource::kinds::network::{
    ClientIdentifier, ClientIdentifierSpec, ConfigLayer, Dhcp4OperatorSpec, Operator, OperatorSpecSpec, TimeServerSpecSpec,
};

use super::{METRIC, Source, Sources, configuration::described, make::plain};
use crate::net::{
    cmdline::{IpArgument, Method},
    model::Link,
    specs::Specs,
};

/// Name servers when nobody names one.
const NAME_SERVERS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))];
/// The time server when nobody names one.
const TIME_SERVER: &str = "time.cloudflare.com";

/// What the node does by itself. `mentioned` are links that somebody says something about.
#[must_use]
pub fn default_layer(sources: &Sources<'_>, mentioned: &BTreeSet<String>) -> Specs {
    let by = Source(ConfigLayer::Default);
    let mut specs = Specs {
        hostnames: sources.automatic.map(|name| by.hostname(name)).into_iter().collect(),
        resolvers: vec![by.resolvers(NAME_SERVERS.map(plain), Vec::new())],
        time_servers: vec![TimeServerSpecSpec { ntp_servers: vec![TIME_SERVER.to_owned()], use_nts: false, layer: by.0 }],
        ..Specs::default()
    };
    specs.links.extend(sources.links.iter().filter(|link| link.loopback).map(|link| {
        let mut spec = by.link(&link.name);
        spec.kind_of_hardware = resource::kinds::network::link_type(772_u32);
        spec
    }));
    if sources.config.explicit {
        return specs;
    }
    let free = |link: &&Link| link.physical && !mentioned.contains(&link.name);
    for (link, metric) in sources.links.iter().filter(free).zip(METRIC..) {
        specs.links.push(by.link(&link.name));
        specs.operators.push(dhcp4(by, &link.name, metric));
    }
    specs
}

/// What the command line wants.
#[must_use]
pub fn cmdline_layer(sources: &Sources<'_>) -> Specs {
    let by = Source(ConfigLayer::Cmdline);
    let mut specs = described(by, &sources.line.links, sources.links);
    let mut metric = METRIC;
    for argument in &sources.line.ip {
        for name in targets(argument, sources.links) {
            if !specs.links.iter().any(|link| link.name == name) {
                specs.links.push(by.link(&name));
            }
            match &argument.method {
                Method::Dhcp => {
                    specs.operators.push(dhcp4(by, &name, metric));
                    metric += 1;
                }
                Method::None => {}
                Method::Static { address, gateway } => {
                    specs.addresses.push(by.address(&name, *address, 0));
                    specs.routes.extend(gateway.map(|gateway| by.default_route(&name, gateway, METRIC)));
                }
            }
        }
    }
    let given = sources.line.ip.iter().find_map(|argument| argument.hostname.as_deref());
    specs.hostnames.extend(sources.line.hostname.as_deref().or(given).map(|name| by.hostname(name)));
    let servers: Vec<_> = sources.line.ip.iter().flat_map(|argument| argument.resolvers.iter().copied().map(plain)).collect();
    if !servers.is_empty() {
        specs.resolvers.push(by.resolvers(servers, Vec::new()));
    }
    let times: Vec<String> = sources.line.ip.iter().filter_map(|argument| argument.time_server.clone()).collect();
    if !times.is_empty() {
        specs.time_servers.push(TimeServerSpecSpec { ntp_servers: times, use_nts: false, layer: by.0 });
    }
    specs
}

/// Names of the links that an argument is about. One that names its link is about it before it is there.
fn targets(argument: &IpArgument, links: &[Link]) -> Vec<String> {
    use crate::net::cmdline::Selector;
    let all = || links.iter().filter(|link| !link.loopback);
    let names = |links: Vec<&Link>| links.into_iter().map(|link| link.name.clone()).collect();
    match (&argument.device, &argument.method) {
        (Some(Selector::Name(name)), _) => vec![name.clone()],
        (Some(device), _) => names(all().filter(|link| device.matches(&link.name, &link.mac)).collect()),
        (None, Method::Static { .. }) => names(all().find(|link| link.physical).into_iter().collect()),
        (None, _) => names(all().filter(|link| link.physical).collect()),
    }
}

/// Something that asks for an IPv4 address in the usual way.
pub(super) fn dhcp4(by: Source, link: &str, metric: u32) -> OperatorSpecSpec {
    OperatorSpecSpec {
        operator: Operator::Dhcp4,
        link_name: link.to_owned(),
        require_up: true,
        dhcp4: Dhcp4OperatorSpec { route_metric: metric, client_identifier: mac(), ..Dhcp4OperatorSpec::default() },
        layer: by.0,
        ..OperatorSpecSpec::default()
    }
}

fn mac() -> ClientIdentifierSpec {
    ClientIdentifierSpec { client_identifier: ClientIdentifier::Mac, duid_raw_hex: String::new() }
}
