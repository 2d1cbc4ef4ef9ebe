use proptest::prelude::*;
use resource::kinds::network::NameServerSpec;

use super::*;

fn link(layer: ConfigLayer, mtu: u32, up: bool) -> LinkSpecSpec {
    LinkSpecSpec { name: "eth0".into(), up, mtu, layer, ..LinkSpecSpec::default() }
}

/// MTU and whether it is up.
#[track_caller]
fn check(links: &[LinkSpecSpec], mtu: u32, up: bool) {
    let merged = merge(links);
    assert_eq!((merged["eth0"].mtu, merged["eth0"].up), (mtu, up));
}

#[test]
fn links_are_merged_setting_by_setting() {
    use ConfigLayer::{Cmdline, Configuration, Default, Operator};
    check(&[link(Default, 0, true), link(Operator, 1400, false)], 1400, true);
    check(&[link(Configuration, 0, false), link(Operator, 1400, true)], 1400, false);
    check(&[link(Configuration, 9000, true), link(Operator, 1400, true), link(Cmdline, 0, false)], 9000, true);
    let mut vlan = link(Cmdline, 0, true);
    (vlan.logical, vlan.kind, vlan.vlan.vid) = (true, "vlan".into(), 5);
    let merged = merge(&[link(Configuration, 1300, true), vlan]);
    assert_eq!((merged["eth0"].kind.as_str(), merged["eth0"].vlan.vid, merged["eth0"].mtu), ("vlan", 5, 1300));
}

fn resolvers(layer: ConfigLayer, servers: &[&str], search: &[&str]) -> ResolverSpecSpec {
    let addresses: Vec<IpAddr> = servers.iter().map(|text| text.parse().unwrap()).collect();
    ResolverSpecSpec {
        name_servers: addresses.iter().map(|address| NameServerSpec { address: Some(*address), ..NameServerSpec::default() }).collect(),
        dns_servers: addresses,
        layer,
        search_domains: search.iter().map(|text| (*text).to_owned()).collect(),
        search_domains_overridden: false,
    }
}

#[test]
fn resolvers_are_replaced_family_by_family_and_search_domains_add_up() {
    use ConfigLayer::{Configuration, Default, Operator};
    let specs = |all: &[ResolverSpecSpec]| Specs { resolvers: all.to_vec(), ..Specs::default() }.merge().resolvers;
    let base = resolvers(Default, &["1.1.1.1", "8.8.8.8"], &[]);
    let lease = resolvers(Operator, &["2001:db8::53"], &["a.example", "b.example"]);
    let merged = specs(&[base.clone(), lease.clone()]);
    let text: Vec<_> = merged.dns_servers.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["2001:db8::53", "1.1.1.1", "8.8.8.8"]);
    let merged = specs(&[resolvers(Configuration, &["9.9.9.9"], &["z"]), base.clone(), lease.clone()]);
    assert_eq!(merged.dns_servers, ["9.9.9.9".parse::<IpAddr>().unwrap()], "the configuration's replace all");
    assert_eq!(merged.search_domains, ["z", "a.example", "b.example"]);
    let mut only = resolvers(Configuration, &[], &["z"]);
    only.search_domains_overridden = true;
    let merged = specs(&[only, base, lease]);
    assert_eq!((merged.dns_servers.len(), merged.search_domains.as_slice()), (3, ["z".to_owned()].as_slice()));
}

#[test]
fn ids_are_those_that_clients_know() {
    use resource::kinds::network::{family, routing_table};
    let id = |table: u32, six: bool| {
        let family = family(if six { 10_u32 } else { 2 });
        let gateway = if six { "fe80::1" } else { "10.0.2.2" };
        route_id(family, routing_table(table), "eth0", gateway.parse().ok(), "10.0.0.0/8".parse().ok().filter(|_| !six), 1024)
    };
    assert_eq!(id(254, false), "inet4/10.0.2.2/10.0.0.0/8/1024");
    assert_eq!(id(100, false), "100/inet4/10.0.2.2/10.0.0.0/8/1024");
    assert_eq!(id(254, true), "eth0/inet6/fe80::1//1024");
    assert_eq!(rule_id(family(2_u32), 1000), "inet4/01000");
}

proptest! {
    /// Whatever order layers speak in, the strongest wins.
    #[test]
    fn the_order_of_layers_does_not_matter(mut layers in proptest::sample::subsequence(vec![0_usize, 1, 2, 3, 4], 1..=5).prop_shuffle()) {
        let all = [ConfigLayer::Default, ConfigLayer::Cmdline, ConfigLayer::Platform, ConfigLayer::Operator, ConfigLayer::Configuration];
        let specs: Vec<_> = layers.iter().map(|layer| HostnameSpecSpec {
            hostname: layer.to_string(),
            domainname: String::new(),
            layer: all[*layer],
        }).collect();
        layers.sort_unstable();
        prop_assert_eq!(&merge(&specs)[HOSTNAME].hostname, &layers.last().unwrap().to_string());
    }
}
