//! From the configuration to chains. Pure. Structure and numbers are the reference's, but for what [`protocols`] adds.

use std::net::IpAddr;

use ipnet::IpNet;
use linux::nft::{Addresses, Chain, ESTABLISHED, Hook, INVALID, NEW, RELATED, Rule, Table, Transport, Verdict};
use machine_config::{Config, DefaultAction, Ingress, IngressRule, Protocol};

use super::ranges::ranges;

/// The table. Nothing that clients see has its name.
pub const TABLE: &str = "keelson";
/// Chain for what is meant for this node.
pub const INGRESS: &str = "ingress";
/// Chain for what comes in and may be on its way to a workload.
pub const PREROUTING: &str = "prerouting";

/// Before everybody else's filters (mangle + 10).
const INGRESS_PRIORITY: i32 = -150 + 10;
/// Before addresses are translated (dstnat - 10), so that ports of services are seen as they came.
const PREROUTING_PRIORITY: i32 = -100 - 10;

/// Links whose other end is this node, or has proved who it is.
const TRUSTED: [&str; 3] = ["lo", "siderolink", "kubespan"];

/// `IPPROTO_*`.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// ICMP messages that tell strangers about this node: timestamp and address mask, asked and answered.
const TELLTALE: [u8; 4] = [13, 14, 17, 18];
/// ICMPv6 messages without which IPv6 does not work: routers and neighbours, asked and answered.
const NEIGHBOURS: [u8; 4] = [133, 134, 135, 136];
/// Port of name servers.
const DNS: u16 = 53;
/// Other ICMP messages a second.
const PINGS: u64 = 5;

/// What decides about the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The configuration's firewall.
    pub ingress: Ingress,
    /// Ranges of pods and services.
    pub cluster: Vec<IpNet>,
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
    /// Where pods ask the node's own name server.
    pub name_server: Vec<IpAddr>,
}

impl Inputs {
    /// Of a configuration, the node's present addresses, and those of its name server for pods. Addresses do not matter while nothing is
    /// filtered.
    #[must_use]
    pub fn new(config: Option<&Config>, addresses: impl Iterator<Item = IpAddr>, name_server: &[IpAddr]) -> Self {
        let Some(config) = config else { return Self::default() };
        let ingress = config.ingress().clone();
        if !is_wanted(&ingress) {
            return Self { ingress, ..Self::default() };
        }
        let cluster = config.cluster();
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort_unstable();
        addresses.dedup();
        let name_server = name_server.to_vec();
        Self { ingress, cluster: cluster.pod_subnets.iter().chain(&cluster.service_subnets).copied().collect(), addresses, name_server }
    }
}

fn is_wanted(ingress: &Ingress) -> bool {
    ingress.default_action == DefaultAction::Block || !ingress.rules.is_empty()
}

/// The table for these inputs: without chains when there is nothing to filter.
#[must_use]
pub fn table(inputs: &Inputs) -> Table {
    let chains = if is_wanted(&inputs.ingress) { vec![ingress(inputs), prerouting(inputs)] } else { Vec::new() };
    Table { name: TABLE.to_owned(), chains }
}

fn ingress(inputs: &Inputs) -> Chain {
    let block = inputs.ingress.default_action == DefaultAction::Block;
    let mut rules = preamble();
    if block {
        rules.extend(protocols());
        rules.extend(pings());
        rules.extend(names(inputs));
        rules.extend(among(&inputs.cluster));
    }
    rules.extend(inputs.ingress.rules.iter().filter_map(|rule| configured(rule, block)));
    let policy = if block { Verdict::Drop } else { Verdict::Accept };
    Chain { name: INGRESS.to_owned(), hook: Hook::Input, priority: INGRESS_PRIORITY, policy, rules }
}

/// Ports of services are translated to pods, and never reach the other chain.
fn prerouting(inputs: &Inputs) -> Chain {
    let block = inputs.ingress.default_action == DefaultAction::Block;
    let mut rules = preamble();
    if block {
        rules.extend(protocols());
        rules.extend(names(inputs));
        rules.extend(among(&inputs.cluster));
    }
    rules.extend(inputs.ingress.rules.iter().filter_map(|rule| configured(rule, block)));
    if block {
        let own: Vec<IpNet> = inputs.addresses.iter().map(|address| IpNet::from(*address)).collect();
        rules.extend([TCP, UDP].map(|protocol| Rule {
            states: NEW,
            destination: Some(Addresses { ranges: ranges(&own, &[]), invert: false }),
            transport: Some(all_of(protocol)),
            count: true,
            verdict: Some(Verdict::Drop),
            ..Rule::default()
        }));
    }
    Chain { name: PREROUTING.to_owned(), hook: Hook::Prerouting, priority: PREROUTING_PRIORITY, policy: Verdict::Accept, rules }
}

/// Trusted links; what belongs to a connection, and what belongs to none.
fn preamble() -> Vec<Rule> {
    vec![
        Rule { links: TRUSTED.map(str::to_owned).to_vec(), ..accept() },
        Rule { states: ESTABLISHED | RELATED, ..accept() },
        Rule { states: INVALID, count: true, verdict: Some(Verdict::Drop), ..Rule::default() },
    ]
}

/// What a node needs to have addresses at all, and which connection tracking does not take for answers: they come from another
/// address than was asked. Without them a node that blocks loses its lease, and its IPv6 neighbours when they come in crowds.
fn protocols() -> Vec<Rule> {
    let ports = |source, destination| Transport { source, destination, ..all_of(UDP) };
    let local: [IpNet; 1] = ["fe80::/10".parse().unwrap_or_default()];
    vec![
        Rule { transport: Some(Transport { types: NEIGHBOURS.to_vec(), ..all_of(ICMPV6) }), ..accept() },
        Rule { transport: Some(ports(vec![(67, 67)], vec![(68, 68)])), ..accept() },
        Rule {
            source: Some(Addresses { ranges: ranges(&local, &[]), invert: false }),
            transport: Some(ports(vec![(547, 547)], vec![(546, 546)])),
            ..accept()
        },
    ]
}

/// ICMP: little, and nothing that tells about the node.
fn pings() -> Vec<Rule> {
    let telltale = Transport { types: TELLTALE.to_vec(), ..all_of(ICMP) };
    vec![
        Rule { transport: Some(telltale), count: true, verdict: Some(Verdict::Drop), ..Rule::default() },
        Rule { transport: Some(all_of(ICMP)), per_second: PINGS, ..accept() },
        Rule { transport: Some(all_of(ICMPV6)), per_second: PINGS, ..accept() },
    ]
}

/// Pods' questions to the node's own name server.
fn names(inputs: &Inputs) -> Vec<Rule> {
    let own: Vec<IpNet> = inputs.name_server.iter().map(|address| IpNet::from(*address)).collect();
    let (pods, own) = (ranges(&inputs.cluster, &[]), ranges(&own, &[]));
    if pods.is_empty() || own.is_empty() {
        return Vec::new();
    }
    let rule = |protocol| Rule {
        source: Some(Addresses { ranges: pods.clone(), invert: false }),
        destination: Some(Addresses { ranges: own.clone(), invert: false }),
        transport: Some(Transport { destination: vec![(DNS, DNS)], ..all_of(protocol) }),
        ..accept()
    };
    [UDP, TCP].map(rule).into()
}

/// Pods and services among themselves.
fn among(cluster: &[IpNet]) -> Option<Rule> {
    let all = Addresses { ranges: ranges(cluster, &[]), invert: false };
    (!all.ranges.is_empty()).then(|| Rule { source: Some(all.clone()), destination: Some(all), ..accept() })
}

/// A rule of the configuration. Where everything is dropped it lets its addresses in; where everything is let in it drops all
/// others.
fn configured(rule: &IngressRule, block: bool) -> Option<Rule> {
    let subnets: Vec<_> = rule.peers.iter().map(|peers| peers.subnet).collect();
    let except: Vec<_> = rule.peers.iter().filter_map(|peers| peers.except).collect();
    let source = Addresses { ranges: ranges(&subnets, &except), invert: !block };
    // Lets nobody in: that is what is so without it.
    if block && source.ranges.is_empty() {
        return None;
    }
    let protocol = match rule.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Icmp => ICMP,
        Protocol::Icmpv6 => ICMPV6,
    };
    let destination = rule.ports.iter().map(|ports| (ports.first, ports.last)).collect();
    let verdict = if block { Verdict::Accept } else { Verdict::Drop };
    Some(Rule {
        source: Some(source),
        transport: Some(Transport { destination, ..all_of(protocol) }),
        count: true,
        verdict: Some(verdict),
        ..Rule::default()
    })
}

fn accept() -> Rule {
    Rule { verdict: Some(Verdict::Accept), ..Rule::default() }
}

fn all_of(protocol: u8) -> Transport {
    Transport { protocol, source: Vec::new(), destination: Vec::new(), types: Vec::new() }
}

#[cfg(test)]
mod tests;
