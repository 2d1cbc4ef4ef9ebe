//! The firewall's chains as resources.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use linux::nft::{self, Addresses, Chain, Rule, Transport};
use reconcile::Output;
use resource::kinds::firewall::{
    Hook, NfTablesAddressMatch, NfTablesChainSpec, NfTablesConntrackStateMatch, NfTablesIcmpTypeMatch, NfTablesIfNameMatch,
    NfTablesLayer4Match, NfTablesLimitMatch, NfTablesPortMatch, NfTablesRule, Operator, PortRange, Verdict, icmp_type, protocol, state,
};

use super::mirror::Mirror;
use crate::{firewall::FirewallStatus, node::Node};

pub(super) fn reconciler(node: &Node) -> Mirror<FirewallStatus> {
    Mirror::new("network.firewall", &node.firewall, vec![Output::exclusive::<NfTablesChainSpec>()], |firewall, context| {
        context.keep(firewall.chains.iter().map(|known| (known.name.clone(), chain(known))))?;
        Ok(())
    })
}

fn chain(chain: &Chain) -> NfTablesChainSpec {
    NfTablesChainSpec {
        purpose: "filter".to_owned(),
        hook: match chain.hook {
            nft::Hook::Prerouting => Hook::Prerouting,
            nft::Hook::Input => Hook::Input,
        },
        priority: chain.priority.into(),
        policy: verdict(chain.policy),
        rules: chain.rules.iter().map(rule).collect(),
    }
}

fn verdict(verdict: nft::Verdict) -> Verdict {
    match verdict {
        nft::Verdict::Drop => Verdict::Drop,
        nft::Verdict::Accept => Verdict::Accept,
    }
}

fn rule(rule: &Rule) -> NfTablesRule {
    let names = rule.links.clone();
    let states = [nft::NEW, nft::RELATED, nft::ESTABLISHED, nft::INVALID].into_iter().filter(|one| rule.states & one != 0).map(state);
    NfTablesRule {
        in_link: (!names.is_empty()).then_some(NfTablesIfNameMatch { names, operator: Operator::Equal }),
        connection: (rule.states != 0).then(|| NfTablesConntrackStateMatch { states: states.collect() }),
        source: rule.source.as_ref().map(addresses),
        destination: rule.destination.as_ref().map(addresses),
        transport: rule.transport.as_ref().map(transport),
        limit: (rule.per_second > 0).then_some(NfTablesLimitMatch { per_second: rule.per_second }),
        counter: rule.count,
        // Every rule of ours decides.
        verdict: rule.verdict.map(verdict).unwrap_or_default(),
    }
}

/// Ranges as networks: exceptions are taken out already.
fn addresses(addresses: &Addresses) -> NfTablesAddressMatch {
    let networks = addresses.ranges.iter().flat_map(|range| -> Vec<IpNet> {
        match range {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(*first, *last, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(*first, *last, 0).map(IpNet::V6).collect(),
            _ => Vec::new(),
        }
    });
    NfTablesAddressMatch { include: networks.collect(), exclude: Vec::new(), invert: addresses.invert }
}

fn transport(transport: &Transport) -> NfTablesLayer4Match {
    let ports = |list: &[(u16, u16)]| {
        let ranges = list.iter().map(|(low, high)| PortRange { low: (*low).into(), high: (*high).into() }).collect();
        (!list.is_empty()).then_some(NfTablesPortMatch { ranges })
    };
    let types = transport.types.iter().map(|kind| icmp_type((*kind).into())).collect();
    NfTablesLayer4Match {
        protocol: protocol(transport.protocol.into()),
        source: ports(&transport.source),
        destination: ports(&transport.destination),
        icmp: (!transport.types.is_empty()).then_some(NfTablesIcmpTypeMatch { types }),
    }
}

#[cfg(test)]
mod tests {
    use resource::Value;

    use super::*;

    #[test]
    fn a_chain_is_told_as_clients_know_it() {
        let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
        let tcp = Transport { protocol: 6, source: vec![], destination: vec![(50000, 50000)], types: vec![] };
        let timestamps = Transport { protocol: 1, source: vec![], destination: vec![], types: vec![13] };
        let rules = vec![
            Rule { states: nft::ESTABLISHED | nft::RELATED, verdict: Some(nft::Verdict::Accept), ..Rule::default() },
            Rule {
                source: Some(Addresses { ranges: vec![range("10.0.0.0", "10.0.0.191"), range("fd00::", "fd00::1")], invert: true }),
                transport: Some(tcp),
                count: true,
                verdict: Some(nft::Verdict::Drop),
                ..Rule::default()
            },
            Rule {
                links: vec!["lo".to_owned()],
                transport: Some(timestamps),
                per_second: 5,
                verdict: Some(nft::Verdict::Accept),
                ..Rule::default()
            },
        ];
        let known = Chain { name: "ingress".to_owned(), hook: nft::Hook::Input, priority: -140, policy: nft::Verdict::Drop, rules };
        let expect = "type: filter\nhook: input\npriority: -140\npolicy: drop\nrules:\n\
            - matchConntrackState:\n    states:\n    - related\n    - established\n  verdict: accept\n\
            - matchSourceAddress:\n    includeSubnets:\n    - 10.0.0.0/25\n    - 10.0.0.128/26\n    - fd00::/127\n    invert: true\n  \
              matchLayer4:\n    protocol: tcp\n    matchDestinationPort:\n      ranges:\n      - lo: 50000\n        hi: 50000\n  \
              anonymousCounter: true\n  verdict: drop\n\
            - matchIIfName:\n    interfaceName:\n    - lo\n    operator: ==\n  matchLayer4:\n    protocol: icmp\n    matchICMPType:\n      \
              types:\n      - timestamp-request\n  matchLimit:\n    packetRatePerSecond: 5\n  verdict: accept\n";
        assert_eq!(chain(&known).form().to_yaml().unwrap(), expect);
    }
}
