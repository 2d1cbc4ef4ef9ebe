//! The network as resources.

use std::collections::BTreeSet;

use ipnet::IpNet;
use reconcile::Output;
use resource::kinds::network::{
    AddressSortAlgorithm, DnsProtocol, HOSTNAME, HostnameStatusSpec, NameServerSpec, NodeAddressFilterSpec, NodeAddressSpec, RESOLVERS,
    ResolverStatusSpec, STATUS, StatusSpec,
};

use super::mirror::Mirror;
use crate::node::{LinkStatus, NetworkStatus, Node};

/// Most addresses that are remembered after they are gone; a bound, not a goal.
const REMEMBERED: usize = 256;

pub(super) fn status(node: &Node) -> Mirror<NetworkStatus> {
    let outputs =
        vec![Output::exclusive::<HostnameStatusSpec>(), Output::exclusive::<ResolverStatusSpec>(), Output::exclusive::<StatusSpec>()];
    Mirror::new("network.status", &node.network, outputs, |network, context| {
        context.keep(hostname(network))?;
        context.keep([(RESOLVERS.to_owned(), resolvers(network))])?;
        context.keep([(STATUS.to_owned(), ready(network))])?;
        Ok(())
    })
}

pub(super) fn addresses(node: &Node) -> Mirror<NetworkStatus> {
    let mut addresses = Addresses::default();
    Mirror::new(
        "network.addresses",
        &node.network,
        vec![Output::exclusive::<NodeAddressSpec>(), Output::exclusive::<NodeAddressFilterSpec>()],
        move |network: &NetworkStatus, context| {
            let filters = filters(&network.kubernetes);
            context.keep(filtered(addresses.sets(&network.links), &filters))?;
            context.keep(filters)?;
            Ok(())
        },
    )
}

fn hostname(network: &NetworkStatus) -> Option<(String, HostnameStatusSpec)> {
    let spec = HostnameStatusSpec { hostname: network.hostname.clone(), domainname: network.domain.clone() };
    (!network.hostname.is_empty()).then(|| (HOSTNAME.to_owned(), spec))
}

fn resolvers(network: &NetworkStatus) -> ResolverStatusSpec {
    let server = |address: &std::net::IpAddr| NameServerSpec {
        address: Some(*address),
        protocol: DnsProtocol::Default,
        tls_server_name: String::new(),
    };
    ResolverStatusSpec {
        dns_servers: network.resolvers.clone(),
        name_servers: network.resolvers.iter().map(server).collect(),
        search_domains: network.search.clone(),
    }
}

fn ready(network: &NetworkStatus) -> StatusSpec {
    StatusSpec {
        address_ready: network.addresses().next().is_some(),
        connectivity_ready: !network.gateways.is_empty(),
        hostname_ready: !network.hostname.is_empty(),
        etc_files_ready: network.etc_files,
    }
}

/// `k8s` are the addresses of pods and services, `no-k8s` the others; without ranges there are neither.
fn filters(kubernetes: &[IpNet]) -> Vec<(String, NodeAddressFilterSpec)> {
    if kubernetes.is_empty() {
        return Vec::new();
    }
    let ranges = || kubernetes.to_vec();
    let within = NodeAddressFilterSpec { include_subnets: ranges(), exclude_subnets: Vec::new() };
    let without = NodeAddressFilterSpec { include_subnets: Vec::new(), exclude_subnets: ranges() };
    vec![("k8s".to_owned(), within), ("no-k8s".to_owned(), without)]
}

/// Each set as it is and through each filter: `current`, `current-k8s`, `current-no-k8s`.
fn filtered(
    sets: Vec<(String, NodeAddressSpec)>,
    filters: &[(String, NodeAddressFilterSpec)],
) -> impl Iterator<Item = (String, NodeAddressSpec)> {
    let passes = |net: &IpNet, filter: &NodeAddressFilterSpec| {
        let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&net.addr()));
        (filter.include_subnets.is_empty() || within(&filter.include_subnets)) && !within(&filter.exclude_subnets)
    };
    let through = move |(id, set): (String, NodeAddressSpec)| {
        let parts: Vec<_> = filters
            .iter()
            .map(|(name, filter)| {
                let addresses = set.addresses.iter().filter(|net| passes(net, filter)).copied().collect();
                (format!("{id}-{name}"), NodeAddressSpec { addresses, sort_algorithm: set.sort_algorithm })
            })
            .collect();
        std::iter::once((id, set)).chain(parts)
    };
    sets.into_iter().flat_map(through)
}

/// The sets of the node's addresses; what was there is remembered.
#[derive(Debug, Default)]
struct Addresses {
    /// Stays as long as the node has it.
    default: Option<IpNet>,
    ever: BTreeSet<IpNet>,
}

impl Addresses {
    /// `default`, `current`, `routed`, `accumulative`: links without carrier do not count, order is that of addresses
    /// (reference, behaviour (j)).
    fn sets(&mut self, links: &[LinkStatus]) -> Vec<(String, NodeAddressSpec)> {
        let mut up: Vec<&LinkStatus> = links.iter().filter(|link| link.up).collect();
        up.sort_by(|one, other| one.name.cmp(&other.name));
        let current: BTreeSet<IpNet> = up.iter().flat_map(|link| link.addresses.iter().copied()).collect();
        if self.default.is_none_or(|default| !current.contains(&default)) {
            let first = |link: &&LinkStatus| link.addresses.iter().min().copied();
            self.default = up.iter().find_map(first).or(self.default);
        }
        for address in &current {
            if self.ever.len() < REMEMBERED {
                self.ever.insert(*address);
            }
        }
        let set =
            |id: &str, addresses: Vec<IpNet>| (id.to_owned(), NodeAddressSpec { addresses, sort_algorithm: AddressSortAlgorithm::V1 });
        let mut sets: Vec<_> = self.default.map(|default| set("default", vec![default])).into_iter().collect();
        let now: Vec<IpNet> = current.into_iter().collect();
        sets.extend([set("current", now.clone()), set("routed", now), set("accumulative", self.ever.iter().copied().collect())]);
        sets
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn link(name: &str, up: bool, addresses: &[&str]) -> LinkStatus {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        LinkStatus { name: name.into(), mac: String::new(), up, addresses, source: String::new() }
    }

    #[track_caller]
    fn check(addresses: &mut Addresses, links: &[LinkStatus], expect: &[(&str, &str)]) {
        let sets = addresses.sets(links);
        let text = |spec: &NodeAddressSpec| spec.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let sets: Vec<_> = sets.iter().map(|(id, spec)| (id.as_str(), text(spec))).collect();
        let expect: Vec<_> = expect.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
        assert_eq!(sets, expect);
    }

    #[test]
    fn addresses_come_and_go() {
        let mut addresses = Addresses::default();
        check(&mut addresses, &[link("eth0", true, &[])], &[("current", ""), ("routed", ""), ("accumulative", "")]);
        let both = [link("eth1", true, &["10.0.0.1/24", "2001:db8::1/64"]), link("eth0", false, &["10.1.0.1/24"])];
        let one = "10.0.0.1/24 2001:db8::1/64";
        check(&mut addresses, &both, &[("default", "10.0.0.1/24"), ("current", one), ("routed", one), ("accumulative", one)]);
        // An earlier link comes up: the default stays.
        let both = [link("eth0", true, &["10.1.0.1/24"]), link("eth1", true, &["10.0.0.1/24"])];
        let now = "10.0.0.1/24 10.1.0.1/24";
        let ever = "10.0.0.1/24 10.1.0.1/24 2001:db8::1/64";
        check(&mut addresses, &both, &[("default", "10.0.0.1/24"), ("current", now), ("routed", now), ("accumulative", ever)]);
        let moved = [link("eth0", true, &["10.1.0.1/24"])];
        let now = "10.1.0.1/24";
        check(&mut addresses, &moved, &[("default", now), ("current", now), ("routed", now), ("accumulative", ever)]);
        check(&mut addresses, &[], &[("default", now), ("current", ""), ("routed", ""), ("accumulative", ever)]);
    }

    #[test]
    fn sets_are_filtered_by_kubernetes_ranges() {
        let ranges: Vec<IpNet> = ["10.244.0.0/16", "10.96.0.0/12"].map(|text| text.parse().unwrap()).into();
        let sets = Addresses::default().sets(&[link("eth0", true, &["192.0.2.5/24", "10.244.0.1/32"])]);
        let all: BTreeMap<String, NodeAddressSpec> = filtered(sets.clone(), &filters(&ranges)).collect();
        let text = |id: &str| all[id].addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!((text("current"), text("current-k8s")), ("10.244.0.1/32 192.0.2.5/24".into(), "10.244.0.1/32".into()));
        assert_eq!((text("routed-no-k8s"), all.len()), ("192.0.2.5/24".into(), 12));
        assert_eq!(filtered(sets, &filters(&[])).count(), 4, "a node without a configuration has no ranges");
    }

    #[test]
    fn what_is_ready() {
        let mut network = NetworkStatus::default();
        assert_eq!(ready(&network), StatusSpec::default());
        assert_eq!(hostname(&network), None);
        (network.hostname, network.domain) = ("a".into(), "b.c".into());
        network.links = vec![link("eth0", true, &["10.0.0.1/24"])];
        network.gateways = vec!["10.0.0.254".parse().unwrap()];
        (network.resolvers, network.search) = (vec!["10.0.0.53".parse().unwrap()], vec!["b.c".into()]);
        let all = StatusSpec { address_ready: true, connectivity_ready: true, hostname_ready: true, etc_files_ready: false };
        assert_eq!(ready(&network), all);
        let spec = HostnameStatusSpec { hostname: "a".into(), domainname: "b.c".into() };
        assert_eq!(hostname(&network), Some(("hostname".into(), spec)));
        let known = resolvers(&network);
        assert_eq!(
            (known.dns_servers.len(), known.name_servers[0].address, known.search_domains.len()),
            (1, network.resolvers.first().copied(), 1)
        );
    }
}
