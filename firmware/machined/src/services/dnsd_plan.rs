//! What dnsd is told, decided from the configuration and the network. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use machine_config::{Config, HostDns};
use resource::kinds::network::{DnsProtocol, NameServerSpec};
use wire::dnsd::DnsdConfig;

use crate::{
    net::names,
    node::{ConfigStatus, HostDnsSettings, NetworkSpecs, NetworkStatus},
};

/// Where pods ask it, one address a family; the reference's, as pods' configurations hold them.
const PODS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 116, 108)), IpAddr::V6(Ipv6Addr::new(0xfd54, 0x616c, 0x6f73, 0, 0x204f, 0x5320, 0x444e, 0x531))];
/// Port of DNS.
const PORT: u16 = 53;
/// How much it keeps: names that a busy node asks for, within a part of the memory that it may have.
const CACHE: (usize, usize) = (4096, 2 << 20);

/// How it is wanted. Without a configuration it runs, so that a node in maintenance is as one that is configured; before it is known
/// whether there is one it does not.
pub(super) fn settings(config: &ConfigStatus, local: SocketAddr) -> HostDnsSettings {
    if !config.settled {
        return HostDnsSettings::default();
    }
    let active = config.active.as_ref().map(|active| &active.config);
    let wish = active.map_or(HostDns { enabled: true, ..HostDns::default() }, Config::host_dns);
    if !wish.enabled {
        return HostDnsSettings::default();
    }
    let families = |family: &IpAddr| active.is_some_and(|config| serves(config, family.is_ipv4()));
    let pods = PODS.into_iter().filter(|address| wish.forward_pods && families(address)).collect();
    HostDnsSettings { enabled: true, local: Some(local), pods, member_names: wish.member_names }
}

/// Whether pods have addresses of a family.
fn serves(config: &Config, four: bool) -> bool {
    config.cluster().pod_subnets.iter().any(|subnet| subnet.addr().is_ipv4() == four)
}

/// What it is told, and the servers that it cannot ask as the configuration wants: they are asked in no other way.
pub(super) fn plan(settings: &HostDnsSettings, network: &NetworkStatus, specs: &NetworkSpecs) -> (DnsdConfig, Vec<IpAddr>) {
    let port = settings.local.map_or(PORT, |local| local.port());
    let listen: Vec<SocketAddr> = settings.local.into_iter().chain(settings.pods.iter().map(|pods| SocketAddr::new(*pods, port))).collect();
    let servers = &specs.merged.resolvers.name_servers;
    let (plain, special): (Vec<_>, Vec<_>) = servers.iter().partition(|server| server.protocol == DnsProtocol::Default);
    let config = DnsdConfig {
        listen,
        upstreams: addresses(&plain).map(|address| SocketAddr::new(address, PORT)).collect(),
        hosts: hosts(network, specs),
        // Who searches the root wants names of one label to be asked for as they are.
        single_labels: network.search.iter().any(|domain| domain == "."),
        cache_entries: CACHE.0,
        cache_bytes: CACHE.1,
    };
    (config, addresses(&special).collect())
}

fn addresses(servers: &[&NameServerSpec]) -> impl Iterator<Item = IpAddr> {
    servers.iter().filter_map(|server| server.address)
}

/// The node's own name and those of the hosts file.
fn hosts(network: &NetworkStatus, specs: &NetworkSpecs) -> Vec<(IpAddr, Vec<String>)> {
    let names = names::Names { hostname: network.hostname.clone(), domain: network.domain.clone(), ..names::Names::default() };
    let mut own = vec![names.full(), names.hostname];
    own.dedup();
    let address = names::first_address(network.addresses()).filter(|_| !network.hostname.is_empty());
    address.map(|address| (address, own)).into_iter().chain(specs.specs.hosts.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::node::{ActiveConfig, LinkStatus};

    fn local() -> SocketAddr {
        ([127, 0, 0, 53], PORT).into()
    }

    fn configured(change: impl Fn(&str) -> String) -> ConfigStatus {
        let now = std::time::SystemTime::now();
        let secrets = pki::SecretsBundle::generate(now).unwrap();
        let input = machine_config::GenerateInput::new("test", "https://10.0.2.15:6443", &secrets, now);
        let text = change(machine_config::generate(&input).unwrap().worker.expose());
        let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).config;
        let active = ActiveConfig { text: text.into(), source: "api", config };
        ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() }
    }

    #[test]
    fn it_runs_without_a_configuration_and_as_one_says() {
        assert_eq!(settings(&ConfigStatus::default(), local()), HostDnsSettings::default(), "nobody knows yet");
        let maintenance = settings(&ConfigStatus { settled: true, ..ConfigStatus::default() }, local());
        assert_eq!((maintenance.enabled, maintenance.pods.as_slice()), (true, [].as_slice()));
        let new = settings(&configured(str::to_owned), local());
        assert_eq!((new.enabled, new.pods.as_slice()), (true, &PODS[..1]), "pods have addresses of IPv4 only");
        let off = settings(&configured(without_dns), local());
        assert_eq!(off, HostDnsSettings::default());
    }

    /// Without the document that has it.
    fn without_dns(text: &str) -> String {
        text.split("---\n").filter(|document| !document.contains("kind: ResolverConfig")).collect::<Vec<_>>().join("---\n")
    }

    #[test]
    fn what_it_is_told() {
        let settings = HostDnsSettings { enabled: true, local: Some(local()), pods: PODS.to_vec(), member_names: false };
        let link = |addresses: &[&str]| LinkStatus {
            name: "eth0".into(),
            mac: String::new(),
            up: true,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            source: String::new(),
        };
        let mut network = NetworkStatus { hostname: "n".into(), domain: "lan".into(), ..NetworkStatus::default() };
        network.links = vec![link(&["fd00::2/64", "10.0.0.2/24"])];
        let mut specs = NetworkSpecs::default();
        specs.specs.hosts = vec![([10, 0, 0, 9].into(), vec!["db.lan".into()])];
        let server = |last: u8, protocol| NameServerSpec { address: Some([10, 0, 0, last].into()), protocol, ..NameServerSpec::default() };
        specs.merged.resolvers.name_servers =
            vec![server(1, DnsProtocol::Default), server(2, DnsProtocol::Tls), server(3, DnsProtocol::Default)];
        let (config, special) = plan(&settings, &network, &specs);
        let text = |list: &[SocketAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text(&config.listen), "127.0.0.53:53 169.254.116.108:53 [fd54:616c:6f73:0:204f:5320:444e:531]:53");
        assert_eq!((text(&config.upstreams).as_str(), special.as_slice()), ("10.0.0.1:53 10.0.0.3:53", &[IpAddr::from([10, 0, 0, 2])][..]));
        let names: Vec<_> = config.hosts.iter().map(|(address, names)| format!("{address} {}", names.join(" "))).collect();
        assert_eq!(names, ["10.0.0.2 n.lan n", "10.0.0.9 db.lan"]);
        assert!(!config.single_labels);
        network.search = vec!["lan".into(), ".".into()];
        network.domain.clear();
        let (config, _) = plan(&settings, &network, &specs);
        assert!(config.single_labels);
        assert_eq!(config.hosts[0].1, ["n"]);
        network.links.clear();
        assert_eq!(plan(&settings, &network, &specs).0.hosts.len(), 1, "a name without an address leads nowhere");
    }
}
