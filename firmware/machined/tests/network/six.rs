//! DHCPv6: a node on a cable with a server of RFC 8415 that is told what to do.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use machined::node::Node;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{LinkUnspec, LinkVeth};

use super::{LATER, SOON, connect, end, has, index, links::active, paths, runtime, until};

/// What the server gives.
const LEASED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x15);
const RESOLVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);
/// Seconds: when it is renewed, asked of all servers, and over.
const TIMES: [u32; 3] = [2, 4, 8];
/// All servers on the link.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

#[test]
fn an_address_of_dhcpv6() {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: it needs root");
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWUTS).unwrap();
        runtime().block_on(run());
    })
    .join()
    .unwrap();
}

/// A message that the server saw: its type and the client's identifier.
type Seen = (u8, Vec<u8>);

/// Serves in a namespace of its own on `link` for as long as the process lives.
async fn server(handle: &rtnetlink::Handle, link: &'static str, silent: Arc<AtomicBool>) -> mpsc::Receiver<Seen> {
    let (ready, tid) = mpsc::channel();
    let (moved, go) = mpsc::channel();
    let (done, bound) = mpsc::channel();
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        ready.send(nix::unistd::gettid()).unwrap();
        go.recv().unwrap();
        // Its own address is usable at once.
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{link}/accept_dad"), "0").unwrap();
        let index = runtime().block_on(async {
            let handle = connect();
            let index = index(&handle, link).await;
            handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.unwrap();
            index
        });
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 547)).unwrap();
        setsockopt(&socket, sockopt::BindToDevice, &link.into()).unwrap();
        socket.join_multicast_v6(&SERVERS, index).unwrap();
        done.send(()).unwrap();
        serve(&socket, &silent, &sender);
    });
    let tid = u32::try_from(tid.recv().unwrap().as_raw()).unwrap();
    handle.link().set(LinkUnspec::new_with_name(link).setns_by_pid(tid).build()).execute().await.unwrap();
    moved.send(()).unwrap();
    bound.recv().unwrap();
    seen
}

fn serve(socket: &UdpSocket, silent: &AtomicBool, sender: &mpsc::Sender<Seen>) {
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let (head, options) = buffer[..length].split_at(4);
        let client = option(options, 1).unwrap_or_default().to_vec();
        if sender.send((head[0], client.clone())).is_err() {
            return;
        }
        let kind = match head[0] {
            1 => 2,
            3 | 5 | 6 => 7,
            _ => continue,
        };
        if silent.load(Ordering::SeqCst) {
            continue;
        }
        let association = option(options, 3).unwrap();
        let mut answer = vec![kind, head[1], head[2], head[3]];
        push(&mut answer, 1, &client);
        push(&mut answer, 2, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 9]);
        let mut address = LEASED.octets().to_vec();
        address.extend(TIMES[2].to_be_bytes());
        address.extend(TIMES[2].to_be_bytes());
        let mut body = association[..4].to_vec();
        body.extend(TIMES[0].to_be_bytes());
        body.extend(TIMES[1].to_be_bytes());
        push(&mut body, 5, &address);
        push(&mut answer, 3, &body);
        push(&mut answer, 23, &RESOLVER.octets());
        let SocketAddr::V6(from) = from else { continue };
        socket.send_to(&answer, from).unwrap();
    }
}

fn option(mut options: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [a, b, c, d, rest @ ..] = options {
        let (value, after) = rest.split_at(usize::from(u16::from_be_bytes([*c, *d])));
        if u16::from_be_bytes([*a, *b]) == wanted {
            return Some(value);
        }
        options = after;
    }
    None
}

fn push(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_be_bytes());
    out.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    out.extend(value);
}

async fn run() {
    let handle = connect();
    handle.link().add(LinkVeth::new("eth0", "srv0").build()).execute().await.unwrap();
    let silent = Arc::new(AtomicBool::new(false));
    let seen = server(&handle, "srv0", Arc::clone(&silent)).await;
    let folder = tempfile::tempdir().unwrap();
    let (node, _commands) = Node::new();
    let duid = [0, 4, 1, 2, 3, 4, 5, 6, 7, 8];
    node.config.send_replace(active(
        "---\napiVersion: v1alpha1\nkind: DHCPv6Config\nname: eth0\nclientIdentifier: duid\nduidRaw: 00:04:01:02:03:04:05:06:07:08\n",
    ));
    machined::net::start_with(&node, paths(folder.path(), "quiet\n"));

    let leased = LEASED.to_string();
    let status = until(&node, "the leased address", LATER, |status| has(status, &leased)).await;
    assert!(status.links[0].addresses.contains(&format!("{leased}/128").parse().unwrap()), "{status:?}");
    until(&node, "its resolver", SOON, |status| status.resolvers.contains(&RESOLVER.into())).await;
    let (kind, client) = seen.recv_timeout(SOON).unwrap();
    assert_eq!((kind, client.as_slice()), (1, duid.as_slice()), "a look for servers under the name that was given");
    // Renewals keep it for longer than it was given for.
    let renewed = std::thread::spawn(move || {
        let mut renewals = 0;
        while renewals < 3 {
            renewals += u8::from(seen.recv_timeout(LATER).expect("a renewal").0 == 5);
        }
        seen
    });
    // The server lives as long as somebody listens to it.
    let _seen = tokio::task::spawn_blocking(move || renewed.join().unwrap()).await.unwrap();
    assert!(has(&node.network.borrow(), &leased), "renewed");

    silent.store(true, Ordering::SeqCst);
    until(&node, "the lease run out", LATER, |status| !has(status, &leased)).await;
    silent.store(false, Ordering::SeqCst);
    until(&node, "an address again", LATER * 2, |status| has(status, &leased)).await;
    node.config.send_replace(active("---\napiVersion: v1alpha1\nkind: LinkConfig\nname: eth0\n"));
    until(&node, "nobody asks any more", SOON, |status| !has(status, &leased)).await;
    end(&node).await;
}
