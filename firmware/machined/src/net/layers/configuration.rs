//! What the machine configuration wants.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use machine_config::network::{
    ClientId, Dhcp, Link as Wanted, LinkKind, NameServer, NameServerProtocol, Network, Route, Rule, VlanProtocol, Wireguard,
};
use resource::{
    HardwareAddress, SecretText,
    kinds::network::{
        BridgeMasterSpec, BridgeVlanSpec, ClientIdentifier, ClientIdentifierSpec, ConfigLayer, Dhcp4OperatorSpec, Dhcp6OperatorSpec,
        DnsProtocol, LinkSpecSpec, NameServerSpec, Operator, OperatorSpecSpec, PortSpec, RouteSpecSpec, RoutingRuleSpecSpec, StpSpec,
        TimeServerSpecSpec, VethSpec, VlanSpec, VrfMasterSpec, WireguardPeer, WireguardSpec, family, link_type, route_type,
        routing_rule_action, routing_table, vlan_protocol,
    },
};

use super::{METRIC, Source, Sources, canonical, make::family_of, names};
use crate::net::{
    bond,
    model::{INET, INET6, Link},
    specs::Specs,
};

/// `RTN_BLACKHOLE`.
const BLACKHOLE: u32 = 6;
/// `ARPHRD_NONE`: a tunnel has no hardware address.
const NO_HARDWARE: u32 = 65_534;

/// What the configuration wants.
#[must_use]
pub fn configuration_layer(sources: &Sources<'_>) -> Specs {
    layer(Source(ConfigLayer::Configuration), sources.config, sources.links, known_aliases(sources))
}

/// What the platform wants.
#[must_use]
pub fn platform_layer(sources: &Sources<'_>) -> Specs {
    layer(Source(ConfigLayer::Platform), sources.platform, sources.links, aliases(sources.platform, sources.links))
}

fn layer(by: Source, config: &Network, links: &[Link], aliases: BTreeMap<String, String>) -> Specs {
    let mut maker = Maker { by, links, aliases, wanted: BTreeMap::new(), specs: Specs::default() };
    for link in &config.links {
        maker.link(link);
    }
    let mut metric = METRIC;
    for dhcp in &config.dhcp {
        maker.asks(dhcp, &mut metric);
    }
    for rule in &config.rules {
        maker.rule(rule);
    }
    for blackhole in &config.blackholes {
        let route = maker.by.route("", Some(blackhole.network), None, blackhole.metric.unwrap_or(METRIC));
        let scope = resource::kinds::network::scope(0_u32);
        maker.specs.routes.push(RouteSpecSpec { kind: route_type(BLACKHOLE), scope, ..route });
    }
    let Maker { by, aliases, wanted, mut specs, .. } = maker;
    specs.links = wanted.into_values().collect();
    specs.aliases = aliases;
    specs.hosts = config.hosts.iter().map(|host| (host.ip, host.aliases.clone())).collect();
    specs.hostnames.extend(config.hostname.as_deref().map(|name| by.hostname(name)));
    if !config.name_servers.is_empty() || !config.search_domains.is_empty() || config.search_only {
        let mut resolvers = by.resolvers(config.name_servers.iter().map(server), config.search_domains.clone());
        resolvers.search_domains_overridden = config.search_only;
        specs.resolvers.push(resolvers);
    }
    if !config.time_servers.is_empty() {
        let ntp_servers = config.time_servers.clone();
        specs.time_servers.push(TimeServerSpecSpec { ntp_servers, use_nts: config.use_nts, layer: by.0 });
    }
    specs
}

/// What a configuration may call links: its own aliases and, where it has none of that name, the platform's.
pub(super) fn known_aliases(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let mut known = aliases(sources.platform, sources.links);
    known.extend(aliases(sources.config, sources.links));
    known
}

/// Other names of links: alias to name. An alias without `%d` is for exactly one link; a link has one alias, the first one.
fn aliases(config: &Network, links: &[Link]) -> BTreeMap<String, String> {
    let mut aliases: BTreeMap<String, String> = BTreeMap::new();
    for alias in &config.aliases {
        let free = |link: &&Link| link.physical && !aliases.values().any(|name| *name == link.name);
        let mut found: Vec<&Link> = links.iter().filter(free).filter(|link| link.fits(&alias.selector)).collect();
        match (alias.name.contains("%d"), found.as_slice()) {
            (true, _) => {
                found.sort_by(|one, other| one.mac.cmp(&other.mac));
                let numbered = found.iter().enumerate();
                let pairs: Vec<_> = numbered.map(|(at, link)| (alias.name.replace("%d", &at.to_string()), link.name.clone())).collect();
                aliases.extend(pairs);
            }
            (false, [link]) => {
                let name = link.name.clone();
                aliases.insert(alias.name.clone(), name);
            }
            // None yet, or it is not clear which.
            (false, _) => {}
        }
    }
    aliases
}

/// What a layer other than the configuration says of links in the same way.
pub(super) fn described(by: Source, wanted: &[Wanted], links: &[Link]) -> Specs {
    let mut maker = Maker { by, links, aliases: BTreeMap::new(), wanted: BTreeMap::new(), specs: Specs::default() };
    for link in wanted {
        maker.link(link);
    }
    Specs { links: maker.wanted.into_values().collect(), ..maker.specs }
}

struct Maker<'a> {
    by: Source,
    links: &'a [Link],
    aliases: BTreeMap<String, String>,
    /// One a link: several parts of a configuration may say something about it.
    wanted: BTreeMap<String, LinkSpecSpec>,
    specs: Specs,
}

impl Maker<'_> {
    fn spec(&mut self, name: &str) -> &mut LinkSpecSpec {
        let by = self.by;
        self.wanted.entry(name.to_owned()).or_insert_with(|| by.link(name))
    }

    fn link(&mut self, wanted: &Wanted) {
        for name in names(&wanted.which, self.links, &self.aliases) {
            self.one(&name, wanted);
        }
        if let (Some(master), Some(kind)) = (wanted.which.name(), Master::of(&wanted.kind)) {
            let ports: Vec<String> = wanted.ports.iter().flat_map(|port| names(port, self.links, &self.aliases)).collect();
            for (at, port) in ports.into_iter().filter(|port| port != master).enumerate() {
                kind.enslave(self.spec(&port), master, at);
            }
        }
    }

    fn one(&mut self, name: &str, wanted: &Wanted) {
        let parent = match &wanted.kind {
            LinkKind::Vlan { parent, .. } => names(parent, self.links, &self.aliases).into_iter().next().unwrap_or_default(),
            _ => String::new(),
        };
        let by = self.by;
        let spec = self.spec(name);
        spec.up = wanted.up;
        spec.mtu = wanted.mtu.unwrap_or(0);
        spec.multicast = wanted.multicast;
        spec.hardware_addr = HardwareAddress(wanted.hardware_addr.map(|mac| mac.to_vec()).unwrap_or_default());
        spec.parent_name = parent;
        kind(spec, &wanted.kind);
        for address in &wanted.addresses {
            self.specs.addresses.push(by.address(name, address.net, address.metric.unwrap_or(0)));
        }
        for route in &wanted.routes {
            self.specs.routes.push(self.route(name, route));
        }
    }

    fn route(&self, link: &str, route: &Route) -> RouteSpecSpec {
        let spec = self.by.route(link, route.network, route.gateway, route.metric.unwrap_or(METRIC));
        RouteSpecSpec { source: route.source, table: routing_table(route.table), mtu: route.mtu.unwrap_or(0), ..spec }
    }

    fn asks(&mut self, dhcp: &Dhcp, metric: &mut u32) {
        let layer = self.by.0;
        for name in names(&dhcp.which, self.links, &self.aliases) {
            // It must be up to ask.
            self.spec(&name);
            let route_metric = dhcp.metric.unwrap_or_else(|| {
                let next = *metric;
                *metric += u32::from(!dhcp.six);
                next
            });
            let (skip_hostname_request, client_identifier) = (dhcp.ignore_hostname, identifier(&dhcp.client_id));
            let base = OperatorSpecSpec { link_name: name, require_up: true, layer, ..OperatorSpecSpec::default() };
            self.specs.operators.push(if dhcp.six {
                let dhcp6 = Dhcp6OperatorSpec { route_metric, skip_hostname_request, client_identifier };
                OperatorSpecSpec { operator: Operator::Dhcp6, dhcp6, ..base }
            } else {
                let skip_routes = dhcp.ignore_routes;
                let dhcp4 = Dhcp4OperatorSpec { route_metric, skip_hostname_request, client_identifier, skip_routes };
                OperatorSpecSpec { operator: Operator::Dhcp4, dhcp4, ..base }
            });
        }
    }

    /// One without networks is for both families.
    fn rule(&mut self, rule: &Rule) {
        let named = rule.source.or(rule.destination).map(|net| family_of(net.addr()));
        let families = named.map_or_else(|| vec![family(INET), family(INET6)], |family| vec![family]);
        for family in families {
            self.specs.rules.push(RoutingRuleSpecSpec {
                family,
                source: rule.source.map(|net| net.trunc()),
                destination: rule.destination.map(|net| net.trunc()),
                table: routing_table(rule.table),
                priority: rule.priority,
                action: routing_rule_action(rule.action as u32),
                iif_name: canonical_or_empty(&rule.iif, self.links, &self.aliases),
                oif_name: canonical_or_empty(&rule.oif, self.links, &self.aliases),
                fw_mark: rule.mark,
                fw_mask: rule.mask,
                layer: self.by.0,
            });
        }
    }
}

fn canonical_or_empty(name: &str, links: &[Link], aliases: &BTreeMap<String, String>) -> String {
    if name.is_empty() { String::new() } else { canonical(name, links, aliases) }
}

/// What links can be part of.
#[derive(Clone, Copy)]
enum Master {
    Bond,
    Bridge,
    Vrf,
}

impl Master {
    const fn of(kind: &LinkKind) -> Option<Self> {
        match kind {
            LinkKind::Bond(_) => Some(Self::Bond),
            LinkKind::Bridge(_) => Some(Self::Bridge),
            LinkKind::Vrf { .. } => Some(Self::Vrf),
            _ => None,
        }
    }

    fn enslave(self, port: &mut LinkSpecSpec, master: &str, at: usize) {
        let master_name = master.to_owned();
        match self {
            Self::Bond => {
                port.bond_slave.master_name = master_name;
                port.bond_slave.slave_index = i64::try_from(at).unwrap_or(i64::MAX);
            }
            Self::Bridge => port.bridge_slave = PortSpec { master_name },
            Self::Vrf => port.vrf_slave = PortSpec { master_name },
        }
    }
}

fn kind(spec: &mut LinkSpecSpec, kind: &LinkKind) {
    spec.logical = !matches!(kind, LinkKind::Existing);
    let name = match kind {
        LinkKind::Existing => "",
        LinkKind::Vlan { id, protocol, .. } => {
            let protocol = match protocol {
                VlanProtocol::Dot1Q => 0x8100_u32,
                VlanProtocol::Dot1Ad => 0x88a8,
            };
            spec.vlan = VlanSpec { vid: u32::from(*id), protocol: vlan_protocol(protocol) };
            "vlan"
        }
        LinkKind::Bond(bond) => {
            spec.bond_master = bond::spec(bond);
            "bond"
        }
        LinkKind::Bridge(bridge) => {
            spec.bridge_master = BridgeMasterSpec {
                stp: StpSpec { enabled: bridge.stp },
                vlan: BridgeVlanSpec { filtering_enabled: bridge.vlan_filtering },
            };
            "bridge"
        }
        LinkKind::Dummy => "dummy",
        LinkKind::Veth { peer } => {
            spec.veth = VethSpec { peer_name: peer.clone() };
            "veth"
        }
        LinkKind::Vrf { table } => {
            spec.vrf_master = VrfMasterSpec { table: routing_table(*table) };
            "vrf"
        }
        LinkKind::Wireguard(tunnel) => {
            spec.kind_of_hardware = link_type(NO_HARDWARE);
            spec.wireguard = wireguard(tunnel);
            "wireguard"
        }
    };
    name.clone_into(&mut spec.kind);
}

fn wireguard(tunnel: &Wireguard) -> WireguardSpec {
    let secret = |key: &machine_config::network::Key| SecretText(key.expose().to_owned().into());
    let peer = |peer: &machine_config::network::WireguardPeer| WireguardPeer {
        public_key: peer.public_key.clone(),
        preshared_key: secret(&peer.preshared_key),
        endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default(),
        persistent_keepalive: peer.keepalive,
        allowed_ips: peer.allowed_ips.iter().map(IpNet::trunc).collect(),
    };
    WireguardSpec {
        private_key: secret(&tunnel.private_key),
        public_key: String::new(),
        listen_port: tunnel.listen_port.map_or(0, i64::from),
        firewall_mark: i64::from(tunnel.firewall_mark),
        peers: tunnel.peers.iter().map(peer).collect(),
    }
}

fn identifier(id: &ClientId) -> ClientIdentifierSpec {
    let (client_identifier, duid_raw_hex) = match id {
        ClientId::None => (ClientIdentifier::None, String::new()),
        ClientId::Mac => (ClientIdentifier::Mac, String::new()),
        ClientId::Duid(bytes) => {
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (ClientIdentifier::Duid, pairs.join(":"))
        }
    };
    ClientIdentifierSpec { client_identifier, duid_raw_hex }
}

fn server(server: &NameServer) -> NameServerSpec {
    let protocol = match server.protocol {
        NameServerProtocol::Plain => DnsProtocol::Default,
        NameServerProtocol::Tls => DnsProtocol::Tls,
        NameServerProtocol::Https => DnsProtocol::Http,
    };
    let address: IpAddr = server.address;
    NameServerSpec { address: Some(address), protocol, tls_server_name: server.tls_name.clone() }
}
