use machine_config::{Peers, Ports};
use proptest::prelude::*;

use super::*;

/// A packet that comes in.
#[derive(Clone, Debug)]
struct Packet {
    link: &'static str,
    state: u32,
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    ports: (u16, u16),
    kind: u8,
}

fn packet(protocol: u8, from: &str, port: u16) -> Packet {
    let from: IpAddr = from.parse().unwrap();
    let to = if from.is_ipv4() { "10.0.0.2" } else { "fd00::2" }.parse().unwrap();
    Packet { link: "eth0", state: NEW, from, to, protocol, ports: (40000, port), kind: 8 }
}

/// What the kernel does with rules, without its limits: they are not reached.
fn fits(rule: &Rule, packet: &Packet) -> bool {
    let among = |addresses: &Option<Addresses>, address: IpAddr| {
        addresses.as_ref().is_none_or(|known| known.invert != known.ranges.iter().any(|(low, high)| *low <= address && address <= *high))
    };
    let between = |list: &[(u16, u16)], port: u16| list.is_empty() || list.iter().any(|(low, high)| (*low..=*high).contains(&port));
    let transport = rule.transport.as_ref().is_none_or(|transport| {
        transport.protocol == packet.protocol
            && between(&transport.source, packet.ports.0)
            && between(&transport.destination, packet.ports.1)
            && (transport.types.is_empty() || transport.types.contains(&packet.kind))
    });
    (rule.links.is_empty() || rule.links.iter().any(|link| link == packet.link))
        && (rule.states == 0 || rule.states & packet.state != 0)
        && among(&rule.source, packet.from)
        && among(&rule.destination, packet.to)
        && transport
}

/// Whether a packet for this node gets through both chains.
fn passes(inputs: &Inputs, packet: &Packet) -> bool {
    table(inputs).chains.iter().all(|chain| {
        let decided = chain.rules.iter().filter(|rule| fits(rule, packet)).find_map(|rule| rule.verdict);
        decided.unwrap_or(chain.policy) == Verdict::Accept
    })
}

fn rule(name: &str, protocol: Protocol, ports: &[(u16, u16)], peers: &[(&str, Option<&str>)]) -> IngressRule {
    IngressRule {
        name: name.to_owned(),
        protocol,
        ports: ports.iter().map(|(first, last)| Ports { first: *first, last: *last }).collect(),
        peers: peers
            .iter()
            .map(|(subnet, except)| Peers { subnet: subnet.parse().unwrap(), except: except.map(|net| net.parse().unwrap()) })
            .collect(),
    }
}

fn inputs(default_action: DefaultAction) -> Inputs {
    let rules = vec![
        rule("api", Protocol::Tcp, &[(50000, 50001)], &[("10.0.0.0/8", Some("10.9.0.0/16")), ("fd00::/8", None)]),
        rule("nobody", Protocol::Tcp, &[(7, 7)], &[]),
        rule("ping", Protocol::Icmp, &[], &[("10.7.0.0/16", None)]),
    ];
    Inputs {
        ingress: Ingress { default_action, rules },
        cluster: vec!["10.244.0.0/16".parse().unwrap()],
        addresses: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        name_server: vec!["169.254.116.108".parse().unwrap()],
    }
}

#[test]
fn nothing_is_filtered_unless_somebody_wants_it() {
    assert!(table(&Inputs::default()).chains.is_empty());
    let chains = table(&inputs(DefaultAction::Accept)).chains;
    let shape: Vec<_> = chains.iter().map(|chain| (chain.name.as_str(), chain.hook, chain.priority, chain.policy)).collect();
    assert_eq!(shape, [("ingress", Hook::Input, -140, Verdict::Accept), ("prerouting", Hook::Prerouting, -110, Verdict::Accept)]);
    assert_eq!(table(&inputs(DefaultAction::Block)).chains[0].policy, Verdict::Drop);
}

#[test]
fn a_node_that_blocks_lets_in_what_its_rules_name() {
    let inputs = inputs(DefaultAction::Block);
    let open = |packet: &Packet| passes(&inputs, packet);
    assert!(open(&packet(TCP, "10.1.0.1", 50000)) && open(&packet(TCP, "fd00::7", 50001)));
    assert!(!open(&packet(TCP, "10.9.0.1", 50000)), "an exception");
    assert!(!open(&packet(TCP, "192.168.0.1", 50000)) && !open(&packet(UDP, "10.1.0.1", 50000)) && !open(&packet(TCP, "10.1.0.1", 7)));
    assert!(open(&Packet { link: "lo", ..packet(TCP, "127.0.0.1", 9) }));
    assert!(open(&Packet { state: ESTABLISHED, ..packet(TCP, "192.168.0.1", 9) }));
    assert!(!open(&Packet { state: INVALID, ..packet(TCP, "10.1.0.1", 50000) }));
    assert!(open(&packet(ICMP, "192.168.0.1", 0)) && !open(&Packet { kind: 13, ..packet(ICMP, "192.168.0.1", 0) }));
    assert!(open(&Packet { kind: 135, ..packet(ICMPV6, "fe80::1", 0) }));
    assert!(open(&Packet { ports: (67, 68), ..packet(UDP, "192.168.0.1", 68) }) && !open(&packet(UDP, "192.168.0.1", 68)));
    assert!(open(&Packet { ports: (547, 546), ..packet(UDP, "fe80::1", 546) }));
    assert!(!open(&Packet { ports: (547, 546), ..packet(UDP, "2001:db8::1", 546) }));
    assert!(open(&Packet { to: "10.244.1.1".parse().unwrap(), ..packet(TCP, "10.244.0.1", 80) }), "pods among themselves");
    let asks = |protocol, from, port| Packet { to: "169.254.116.108".parse().unwrap(), ..packet(protocol, from, port) };
    assert!(open(&asks(UDP, "10.244.0.1", 53)) && open(&asks(TCP, "10.244.0.1", 53)), "pods look for names");
    assert!(!open(&asks(UDP, "10.1.0.1", 53)) && !open(&asks(UDP, "10.244.0.1", 54)));
    let through = Packet { to: "10.244.1.1".parse().unwrap(), ..packet(TCP, "192.168.0.1", 80) };
    let prerouting = &table(&inputs).chains[1];
    assert!(!prerouting.rules.iter().any(|rule| fits(rule, &through)), "what is not for this node is not this chain's");
}

#[test]
fn a_node_that_accepts_keeps_out_whom_its_rules_do_not_name() {
    let inputs = inputs(DefaultAction::Accept);
    let open = |packet: &Packet| passes(&inputs, packet);
    assert!(open(&packet(TCP, "10.1.0.1", 50000)) && open(&packet(TCP, "192.168.0.1", 22)) && open(&packet(UDP, "192.168.0.1", 50000)));
    assert!(
        !open(&packet(TCP, "192.168.0.1", 50000)) && !open(&packet(TCP, "10.9.0.1", 50000)) && !open(&packet(TCP, "2001:db8::1", 50000))
    );
    assert!(!open(&packet(TCP, "10.1.0.1", 7)) && !open(&packet(ICMP, "10.1.0.1", 0)) && open(&packet(ICMP, "10.7.0.1", 0)));
}

proptest! {
    /// Whatever the rules are: a new TCP or UDP packet from outside passes a node that blocks exactly when a rule names it, and one
    /// that accepts exactly when no rule about its port leaves it out.
    #[test]
    fn rules_mean_what_they_say(
        block: bool,
        list in proptest::collection::vec((any::<bool>(), 1_u16..40, 0_u16..20, proptest::collection::vec((0_u8..8, 9_u8..33, any::<bool>()), 0..3)), 0..4),
        tcp: bool, from in 0_u8..8, last: u8, port in 1_u16..64,
    ) {
        let rules: Vec<_> = list.iter().enumerate().map(|(at, (tcp, first, more, peers))| IngressRule {
            name: at.to_string(),
            protocol: if *tcp { Protocol::Tcp } else { Protocol::Udp },
            ports: vec![Ports { first: *first, last: first + more }],
            peers: peers.iter().map(|(second, length, has)| {
                let subnet = IpNet::new([172, *second, 0, 0].into(), *length).unwrap().trunc();
                let except = has.then(|| IpNet::new(subnet.addr(), (length + 1).min(32)).unwrap());
                Peers { subnet, except }
            }).collect(),
        }).collect();
        let default_action = if block { DefaultAction::Block } else { DefaultAction::Accept };
        let address = IpAddr::from([172, from, 0, last]);
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        let about = |rule: &&IngressRule| rule.protocol == protocol && rule.ports.iter().any(|ports| (ports.first..=ports.last).contains(&port));
        let names = |rule: &IngressRule| {
            rule.peers.iter().any(|peers| peers.subnet.contains(&address))
                && !rule.peers.iter().any(|peers| peers.except.is_some_and(|except| except.contains(&address)))
        };
        let wanted = if block { rules.iter().filter(about).any(names) } else { rules.iter().filter(about).all(names) };
        let inputs = Inputs { ingress: Ingress { default_action, rules }, ..inputs(DefaultAction::Block) };
        let packet = Packet { from: address, ..packet(if tcp { TCP } else { UDP }, "10.0.0.1", port) };
        prop_assert_eq!(passes(&inputs, &packet), wanted);
    }
}
