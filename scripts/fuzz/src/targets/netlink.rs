//! Netlink: the kernel's answers in its own binary form.

use linux::fuzz;

use crate::target::{MIB, Target};

/// A message of a kind with attributes behind a head of its own.
fn message(kind: u16, sequence: u32, head: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let body = [head.to_vec(), list(attributes)].concat();
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &sequence.to_ne_bytes(), &[0; 4], &body].concat()
}

fn list(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let one = |(kind, value): &(u16, &[u8])| {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    attributes.iter().flat_map(one).collect()
}

/// Links, addresses, routes, rules.
pub const ROUTING: Target = Target {
    name: "routing",
    bytes: "a datagram of the routing interface",
    from: "the kernel; names and aliases in it from whoever made a link",
    property: "every message is understood or passed over",
    memory: 8 * MIB,
    seeds: || {
        let link = [0, 0, 1, 0, 2, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0];
        let address = [2, 24, 0x80, 0, 2, 0, 0, 0];
        let route = [2, 24, 0, 0, 254, 75, 0, 1, 0, 0, 0, 0];
        let kind = list(&[(1, b"bond\0"), (2, &list(&[(1, &[1]), (3, &[100, 0, 0, 0])]))]);
        vec![
            message(16, 1, &link, &[(3, b"eth0\0"), (1, &[2, 0, 0, 0, 0, 1]), (4, &[0xdc, 5, 0, 0]), (0x12, &kind)]),
            message(20, 1, &address, &[(1, &[10, 0, 2, 15]), (2, &[10, 0, 2, 15]), (8, &[0x80, 0, 0, 0])]),
            message(24, 1, &route, &[(1, &[10, 0, 0, 0]), (5, &[10, 0, 2, 2]), (4, &[2, 0, 0, 0]), (6, &[0, 4, 0, 0])]),
            message(32, 1, &route, &[(1, &[10, 0, 0, 0]), (15, &[254, 0, 0, 0]), (6, &[1, 0, 0, 0])]),
        ]
    },
    check: |input| drop(machined::fuzz::routing(input)),
    ..Target::PLAIN
};

/// WireGuard's settings.
pub const TUNNEL: Target = Target {
    name: "tunnel",
    bytes: "the kernel's answer about a WireGuard tunnel",
    from: "the kernel; endpoints from whoever sends to it",
    property: "no key but public ones is in what is read; networks are possible, endpoints are addresses",
    memory: 8 * MIB,
    seeds: || {
        let network = list(&[(1, &[2, 0]), (2, &[10, 0, 0, 0]), (3, &[8])]);
        let endpoint = [2, 0, 0xc8, 0xd5, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let peer =
            list(&[(1, &[7; 32]), (2, b"geheimgeheimgeheimgeheimgeheimge"), (4, &endpoint), (5, &[25, 0]), (9, &list(&[(0, &network)]))]);
        let device = [(3, &b"geheimgeheimgeheimgeheimgeheimge"[..]), (4, &[9; 32]), (6, &[0x6c, 0xca]), (8, &list(&[(0, &peer)]))];
        vec![message(30, 1, &[0, 1, 0, 0], &device), message(2, 1, &[0xff, 0xff, 0xff, 0xff], &[]), message(3, 1, &[0; 4], &[])]
    },
    check: |input| {
        let Ok(read) = machined::fuzz::tunnel(input, 1) else { return };
        assert!(read.private_key.0.is_empty() && read.peers.iter().all(|peer| peer.preshared_key.0.is_empty()), "a key was read");
        let possible = |endpoint: &str| endpoint.is_empty() || endpoint.parse::<std::net::SocketAddr>().is_ok();
        assert!(read.peers.iter().all(|peer| possible(&peer.endpoint)));
    },
    ..Target::PLAIN
};

/// The packet filter as the kernel has it.
pub const FILTER: Target = Target {
    name: "filter",
    bytes: "a datagram of the packet filter",
    from: "the kernel; other tables in it from whoever may set some",
    property: "no more messages than there is room for in the datagram",
    memory: 8 * MIB,
    seeds: || {
        let expressions = list(&[(1, &list(&[(1, b"meta\0"), (2, &[0; 4])])), (1, &list(&[(1, b"cmp\0")]))]);
        let rule = message(0xa06, 2, &[1, 0, 0, 0], &[(1, b"keelson\0"), (2, b"ingress\0"), (4, &expressions)]);
        vec![[rule, message(2, 2, &[0xfe, 0xff, 0xff, 0xff], &[])].concat()]
    },
    check: |input| {
        let read = fuzz::filter(input);
        assert!(read.len() <= input.len() / 16 && read.iter().all(|(_, _, names)| names.len() <= input.len() / 4));
    },
    ..Target::PLAIN
};
