//! Tables in network namespaces of their own, with real connections through them. Needs root, and a kernel with nf_tables.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    thread,
    time::Duration,
};

use linux::nft::{Addresses, Chain, ESTABLISHED, FilterError, Hook, RELATED, Rule, Table, Transport, Verdict, read, replace};
use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket},
};

/// A connection that is let through takes no time; one that is dropped takes this long.
const LIMIT: Duration = Duration::from_millis(400);

/// Runs `test` in a namespace whose loopback link is up.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: it needs root");
    // Namespaces belong to threads: this one is left with its thread.
    let run = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        up();
        if let Err(FilterError::Socket { source }) = read("probe") {
            println!("skipped: this kernel has no nf_tables ({source})");
            return;
        }
        test();
    });
    run.join().unwrap();
}

/// `RTM_NEWLINK` for the link with index 1: its flag IFF_UP, and that this flag is to change.
fn up() {
    let mut message = [0_u8; 32];
    for (at, value) in [(0, 32_u32), (4, 16 | 1 << 16), (8, 1), (20, 1), (24, 1), (28, 1)] {
        message[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let route = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute).unwrap();
    sendto(route.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).unwrap();
}

fn tcp(ports: &[(u16, u16)]) -> Option<Transport> {
    Some(Transport { protocol: 6, source: vec![], destination: ports.to_vec(), types: vec![] })
}

fn from(first: &str, last: &str) -> Option<Addresses> {
    Some(Addresses { ranges: vec![(first.parse().unwrap(), last.parse().unwrap())], invert: false })
}

fn accept(rule: Rule) -> Rule {
    Rule { verdict: Some(Verdict::Accept), ..rule }
}

fn table(rules: Vec<Rule>) -> Table {
    let chain = Chain { name: "ingress".to_owned(), hook: Hook::Input, priority: -140, policy: Verdict::Drop, rules };
    Table { name: "test".to_owned(), chains: vec![chain] }
}

/// Whether a connection from `source` is taken.
fn reaches(source: &str, target: SocketAddr) -> bool {
    let own: IpAddr = source.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((own, 0).into()).unwrap();
        matches!(tokio::time::timeout(LIMIT, socket.connect(target)).await, Ok(Ok(_)))
    })
}

#[test]
fn packets_are_filtered_and_open_connections_live_on() {
    in_namespace(|| {
        let (open, shut) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (open_at, shut_at) = (open.local_addr().unwrap(), shut.local_addr().unwrap());
        assert!(reaches("127.0.0.1", open_at) && reaches("127.0.0.1", shut_at), "nothing is filtered yet");
        let established = accept(Rule { states: ESTABLISHED | RELATED, ..Rule::default() });
        let own = |last: &str| {
            let port = open_at.port();
            accept(Rule { source: from("127.0.0.1", last), transport: tcp(&[(port, port)]), count: true, ..Rule::default() })
        };
        replace(&table(vec![established.clone(), own("127.0.0.5")])).unwrap();
        assert!(reaches("127.0.0.1", open_at) && reaches("127.0.0.5", open_at), "let in by a rule");
        assert!(!reaches("127.0.0.6", open_at), "another address");
        assert!(!reaches("127.0.0.1", shut_at), "another port");

        // An open connection outlives the rule that let it in.
        let mut client = TcpStream::connect(open_at).unwrap();
        let (mut server, _) = loop {
            let (stream, peer) = open.accept().unwrap();
            if peer == client.local_addr().unwrap() {
                break (stream, peer);
            }
        };
        replace(&table(vec![established])).unwrap();
        assert!(!reaches("127.0.0.1", open_at), "the rule is gone");
        client.write_all(b"still").unwrap();
        let mut said = [0; 5];
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        server.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"still");

        replace(&Table { name: "test".to_owned(), chains: vec![] }).unwrap();
        assert!(reaches("127.0.0.1", shut_at), "the table is gone");
        assert!(read("test").unwrap().chains.is_empty());
    });
}

#[test]
fn a_refused_batch_keeps_the_old_rules_and_names_the_rule() {
    in_namespace(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        replace(&table(vec![accept(Rule { transport: tcp(&[(target.port(), target.port())]), ..Rule::default() })])).unwrap();
        let before = read("test").unwrap();
        // Two overlapping intervals: the kernel has no such sets.
        let twice = Addresses {
            ranges: [("10.0.0.0", "10.0.0.9"), ("10.0.0.5", "10.0.0.20")].map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).to_vec(),
            invert: false,
        };
        let bad = Rule { source: Some(twice), ..Rule::default() };
        let error = replace(&table(vec![Rule::default(), bad])).unwrap_err();
        let FilterError::Refused { what, .. } = &error else { panic!("{error:?}") };
        assert_eq!(what, "chain ingress, rule 2", "{error:?}");
        assert_eq!(read("test").unwrap(), before);
    });
}

#[test]
fn everything_that_a_rule_can_say_is_taken() {
    in_namespace(|| {
        let ranges = [("10.0.0.0", "10.255.255.255"), ("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
        let ranges: Vec<_> = ranges.iter().map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap())).collect();
        let rules = vec![
            Rule { links: vec!["lo".to_owned(), "siderolink".to_owned()], ..Rule::default() },
            Rule { source: Some(Addresses { ranges: ranges.clone(), invert: true }), count: true, ..Rule::default() },
            Rule { destination: Some(Addresses { ranges, invert: false }), per_second: 5, ..Rule::default() },
            Rule {
                transport: Some(Transport { protocol: 1, source: vec![], destination: vec![], types: vec![13, 14] }),
                ..Rule::default()
            },
            Rule { transport: tcp(&[(1, 65535)]), verdict: Some(Verdict::Drop), ..Rule::default() },
        ];
        let mut wanted = table(rules.clone());
        let chain = Chain { name: "prerouting".to_owned(), hook: Hook::Prerouting, priority: -110, policy: Verdict::Accept, rules };
        wanted.chains.push(chain);
        replace(&wanted).unwrap();
        let seen = read("test").unwrap();
        let rules: Vec<Vec<&str>> = seen.chains[1].rules.iter().map(|rule| rule.iter().map(String::as_str).collect()).collect();
        assert_eq!(rules.len(), 7, "two of the rules are for both families");
        assert_eq!(rules[1], ["meta", "cmp", "payload", "lookup", "counter"]);
        // As large as the configuration lets it become.
        let many: Vec<_> = (0..256_u16).map(|at| (at * 4 + 1, at * 4 + 2)).collect();
        let address = |at: u32| IpAddr::from((0x0a00_0000 + at * 4).to_be_bytes());
        let source = Addresses { ranges: (0..256).map(|at| (address(at), address(at))).collect(), invert: false };
        let rule = Rule { source: Some(source), transport: tcp(&many), count: true, verdict: Some(Verdict::Accept), ..Rule::default() };
        replace(&table(vec![rule; 256])).unwrap();
    });
}
