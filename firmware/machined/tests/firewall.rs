//! The node's own rules in the kernel: a node in one network namespace, somebody who asks in another. Needs root and nf_tables.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::Duration,
};

use linux::nft::{FilterError, read, replace};
use machine_config::{DefaultAction, Ingress, IngressRule, Peers, Ports, Protocol};
use machined::firewall::rules::{INGRESS, Inputs, PREROUTING, TABLE, table};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// A packet that is let in is answered at once, one that is dropped never.
const LIMIT: Duration = Duration::from_millis(700);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn connect() -> Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

/// An address for a link, which is then up.
async fn address(handle: &Handle, name: &str, own: Ipv4Addr) {
    use futures_util::TryStreamExt;
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await.unwrap();
    let index = found.unwrap_or_else(|| panic!("no link {name}")).header.index;
    handle.address().add(index, own.into(), 24).execute().await.unwrap();
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.unwrap();
}

/// Somebody in a namespace of their own, who tries every address that is sent and says whether somebody took the connection.
fn stranger() -> (u32, mpsc::Sender<SocketAddr>, mpsc::Receiver<bool>) {
    let (targets, orders) = mpsc::channel::<SocketAddr>();
    let (say, said) = mpsc::channel();
    let (ready, tid) = mpsc::channel();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ready.send(nix::unistd::gettid()).unwrap();
        let mut up = false;
        for target in orders {
            runtime().block_on(async {
                if !std::mem::replace(&mut up, true) {
                    address(&connect(), "far", STRANGER).await;
                }
                let attempt = tokio::time::timeout(LIMIT, tokio::net::TcpStream::connect(target)).await;
                say.send(matches!(attempt, Ok(Ok(_)))).unwrap();
            });
        }
    });
    (u32::try_from(tid.recv().unwrap().as_raw()).unwrap(), targets, said)
}

fn inputs(default_action: DefaultAction, port: u16, subnet: &str) -> Inputs {
    let rule = IngressRule {
        name: "apid".to_owned(),
        protocol: Protocol::Tcp,
        ports: vec![Ports { first: port, last: port }],
        peers: vec![Peers { subnet: subnet.parse().unwrap(), except: None }, Peers { subnet: "fd00::/8".parse().unwrap(), except: None }],
    };
    Inputs {
        ingress: Ingress { default_action, rules: vec![rule] },
        cluster: vec!["10.244.0.0/16".parse().unwrap(), "10.96.0.0/12".parse().unwrap()],
        addresses: vec![IpAddr::V4(NODE), "fd00::2".parse().unwrap()],
        name_server: vec!["169.254.116.108".parse().unwrap()],
    }
}

#[test]
fn the_kernel_does_what_the_rules_say() {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: it needs root");
    // Namespaces belong to threads: this one is left with its thread.
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        if let Err(FilterError::Socket { source }) = read(TABLE) {
            println!("skipped: this kernel has no nf_tables ({source})");
            return;
        }
        let (tid, targets, said) = stranger();
        runtime().block_on(async {
            let handle = connect();
            handle.link().add(LinkVeth::new("near", "far").build()).execute().await.unwrap();
            handle.link().set(LinkUnspec::new_with_name("far").setns_by_pid(tid).build()).execute().await.unwrap();
            address(&handle, "near", NODE).await;
        });
        let listeners: Vec<_> = (0..2).map(|_| TcpListener::bind((NODE, 0)).unwrap()).collect();
        let [open, other] = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
        let reaches = |target: SocketAddr| {
            targets.send(target).unwrap();
            said.recv().unwrap()
        };
        let apply = |inputs: &Inputs| replace(&table(inputs)).unwrap();
        // The link needs a moment until both ends are up.
        assert!((0..20).any(|_| reaches(open)), "nothing is filtered yet");

        apply(&inputs(DefaultAction::Block, open.port(), "172.30.0.1/32"));
        let names: Vec<_> = read(TABLE).unwrap().chains.into_iter().map(|chain| chain.name).collect();
        assert_eq!(names, [INGRESS, PREROUTING]);
        assert_eq!([reaches(open), reaches(other)], [true, false], "blocked: only what a rule names");
        apply(&inputs(DefaultAction::Block, open.port(), "192.0.2.0/24"));
        assert_eq!([reaches(open), reaches(other)], [false, false], "blocked: the rule is for others");
        apply(&inputs(DefaultAction::Accept, open.port(), "192.0.2.0/24"));
        assert_eq!([reaches(open), reaches(other)], [false, true], "open: but for those whom a rule leaves out");
        apply(&inputs(DefaultAction::Accept, open.port(), "172.30.0.0/24"));
        assert_eq!([reaches(open), reaches(other)], [true, true], "open: a rule that names the caller");
        apply(&Inputs::default());
        assert!(reaches(open) && read(TABLE).unwrap().chains.is_empty());
    })
    .join()
    .unwrap();
}
