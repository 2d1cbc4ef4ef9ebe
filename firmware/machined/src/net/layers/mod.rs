//! What each layer wants, from what it knows. Pure.
//!
//! - [`default_layer`]: what a node does when nobody says anything: every physical link that nobody mentions asks by DHCP;
//! - [`cmdline_layer`]: `ip=` and its kin; [`operator_layer`]: leases; [`configuration_layer`]: the machine configuration;
//! - [`all`] adds where pods ask the node's own name server.
//! - [`platform_layer`]: what the place that the machine is in wants, in the terms of a configuration.

mod configuration;
mod lease;
mod make;
mod unsaid;

pub use configuration::{configuration_layer, platform_layer};
pub use lease::operator_layer;
pub use make::Source;
pub use unsaid::{cmdline_layer, default_layer};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use machine_config::network::{Network, Which};
use resource::kinds::network::{AddressSpecSpec, ConfigLayer, scope};

use super::{
    cmdline::CommandLine,
    model::{Lease, Link},
    specs::{Layered, Specs},
};

/// Metric of routes that name none; further links get the next numbers so that their default routes can coexist.
pub const METRIC: u32 = 1024;
/// `RT_SCOPE_HOST`.
const HOST: u32 = 254;

/// Everything that layers are made from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Links as the kernel has them.
    pub links: &'a [Link],
    /// The kernel command line.
    pub line: &'a CommandLine,
    /// What the platform says of the network.
    pub platform: &'a Network,
    /// The network part of the configuration.
    pub config: &'a Network,
    /// What DHCP gave, by id of its operator.
    pub leases: &'a BTreeMap<String, Lease>,
    /// The host name that the node takes by itself, if it does.
    pub automatic: Option<&'a str>,
    /// Where pods ask the node's own name server.
    pub pods_dns: &'a [IpAddr],
}

/// All layers. Links that are to be left alone are in none.
#[must_use]
pub fn all(sources: &Sources<'_>) -> Specs {
    let configuration = configuration_layer(sources);
    let cmdline = cmdline_layer(sources);
    let platform = platform_layer(sources);
    let mentioned = mentioned(sources, &[&configuration, &platform, &cmdline]);
    let mut specs = default_layer(sources, &mentioned);
    specs.add(cmdline);
    specs.add(platform);
    specs.add(configuration);
    let ignored = ignored(sources);
    let keep = |name: &str| !ignored.contains(name);
    specs.links.retain(|link| keep(&link.name));
    specs.addresses.retain(|address| keep(&address.link_name));
    specs.routes.retain(|route| keep(&route.out_link_name));
    specs.operators.retain(|operator| keep(&operator.link_name));
    // Only what still asks is given something: the lease of a link that is to be left alone is none.
    let asking: BTreeSet<String> = specs.operators.iter().map(Layered::id).collect();
    specs.add(operator_layer(sources, &asking, &specs));
    specs.add(name_server(sources));
    specs
}

/// Loopback has the addresses of the node's own name server. Only this host may use them; the layer is the reference's.
fn name_server(sources: &Sources<'_>) -> Specs {
    let by = Source(ConfigLayer::Operator);
    let loopback = sources.links.iter().filter(|link| link.loopback);
    let addresses = loopback.flat_map(|link| {
        let own = |address: &IpAddr| AddressSpecSpec { scope: scope(HOST), ..by.address(&link.name, (*address).into(), 0) };
        sources.pods_dns.iter().map(own)
    });
    Specs { addresses: addresses.collect(), ..Specs::default() }
}

/// Names of the links that a layer says anything about.
fn mentioned(sources: &Sources<'_>, layers: &[&Specs]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ignored(sources);
    for layer in layers {
        names.extend(layer.links.iter().map(|link| link.name.clone()));
        names.extend(layer.links.iter().map(|link| link.parent_name.clone()));
        names.extend(layer.operators.iter().map(|operator| operator.link_name.clone()));
    }
    names
}

/// Names of the links that are to be left alone.
fn ignored(sources: &Sources<'_>) -> BTreeSet<String> {
    let aliases = configuration::known_aliases(sources);
    let by_config = sources.config.links.iter().filter(|link| link.ignore);
    let by_config = by_config.flat_map(|link| names(&link.which, sources.links, &aliases));
    sources.line.ignored.iter().cloned().chain(by_config).collect()
}

/// The links that are meant: one by its name, its other names or an alias, whether it is there or not; or all that match.
pub(super) fn names(which: &Which, links: &[Link], aliases: &BTreeMap<String, String>) -> Vec<String> {
    match which {
        Which::Named(name) => vec![canonical(name, links, aliases)],
        Which::Matching(selector) => {
            let found = links.iter().filter(|link| !link.loopback && link.matches(selector));
            found.map(|link| link.name.clone()).collect()
        }
    }
}

/// A link's own name.
pub(super) fn canonical(name: &str, links: &[Link], aliases: &BTreeMap<String, String>) -> String {
    let own = links.iter().find(|link| link.name == name);
    let other = || links.iter().find(|link| link.alt_names.iter().any(|other| other == name));
    match (own.or_else(other), aliases.get(name)) {
        (Some(link), _) => link.name.clone(),
        (None, Some(aliased)) => aliased.clone(),
        (None, None) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
