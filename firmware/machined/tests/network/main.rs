//! The network in namespaces of its own: a veth pair, the node on one end, a DHCP server on the other. Needs root.

mod links;
mod server;
mod six;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use machined::{
    net::{Paths, start_with},
    node::{DiskStatus, HostDnsSettings, HostDnsStatus, NetworkStatus, Node, PartitionStatus},
};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkUnspec, LinkVeth,
    packet_route::address::{AddressAttribute, AddressMessage, AddressScope},
};
use server::{Orders, SERVER, Server, serve};

/// For everything that is bound to happen without a timer of the protocol.
const SOON: Duration = Duration::from_secs(10);
/// For what takes a lease's lifetime and a client's back-off.
const LATER: Duration = Duration::from_secs(40);

#[test]
fn a_node_on_a_cable() {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: it needs root");
    // Namespaces belong to threads: this one is left before the test process ends.
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS).unwrap();
        runtime().block_on(node());
    })
    .join()
    .unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn connect() -> Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

async fn index(handle: &Handle, name: &str) -> u32 {
    use futures_util::TryStreamExt;
    let found = handle.link().get().match_name(name).execute().try_next().await;
    found.unwrap().unwrap_or_else(|| panic!("no link {name}")).header.index
}

/// Moves `link` into a new namespace, gives it the server's address and serves there. The second value brings the
/// server's end down (false) and up (true).
async fn far_end(handle: &Handle, link: &'static str, orders: Orders) -> (Server, std::sync::mpsc::Sender<bool>) {
    let (ready, tid) = std::sync::mpsc::channel();
    let (moved, go) = std::sync::mpsc::channel();
    let (done, server) = std::sync::mpsc::channel();
    let (cable, plugs) = std::sync::mpsc::channel::<bool>();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ready.send(nix::unistd::gettid()).unwrap();
        go.recv().unwrap();
        runtime().block_on(async {
            let handle = connect();
            let index = index(&handle, link).await;
            handle.address().add(index, SERVER.into(), 24).execute().await.unwrap();
            handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.unwrap();
            done.send(serve(link, orders)).unwrap();
            while let Ok(plugged) = plugs.recv() {
                let change = LinkUnspec::new_with_index(index);
                let change = if plugged { change.up() } else { change.down() };
                handle.link().set(change.build()).execute().await.unwrap();
            }
        });
    });
    let tid = u32::try_from(tid.recv().unwrap().as_raw()).unwrap();
    let change = LinkUnspec::new_with_name(link).setns_by_pid(tid).build();
    handle.link().set(change).execute().await.unwrap();
    moved.send(()).unwrap();
    (server.recv().unwrap(), cable)
}

/// Waits until the node's network looks as wanted.
async fn until(node: &Node, what: &str, limit: Duration, wanted: impl FnMut(&NetworkStatus) -> bool) -> NetworkStatus {
    let mut network = node.network.subscribe();
    match tokio::time::timeout(limit, network.wait_for(wanted)).await {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!("not within {limit:?}: {what}; {:#?} {:?}", *node.network.borrow(), node.warnings.list()),
    }
}

fn has(status: &NetworkStatus, address: &str) -> bool {
    status.addresses().any(|one| one == address.parse::<IpAddr>().unwrap())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

async fn mtu(handle: &Handle, name: &str) -> u32 {
    use futures_util::TryStreamExt;
    use rtnetlink::packet_route::link::LinkAttribute;
    let message = handle.link().get().match_name(name).execute().try_next().await.unwrap().unwrap();
    message.attributes.iter().find_map(|one| if let LinkAttribute::Mtu(mtu) = one { Some(*mtu) } else { None }).unwrap()
}

async fn node() {
    let handle = connect();
    handle.link().add(LinkVeth::new("eth0", "srv0").build()).execute().await.unwrap();
    let orders = Orders { address: Ipv4Addr::new(10, 7, 0, 15), lease_seconds: 8, silent: false };
    let (mut server, cable) = far_end(&handle, "srv0", orders).await;

    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path(), "quiet ip=10.9.0.2:::24::eth1 root=/dev/dm-0\n");
    let (node, _commands) = Node::new();
    node.disk.send_replace(mounted(&paths));
    let began = Instant::now();
    start_with(&node, paths.clone());

    first_lease(&node, &handle, &mut server, &paths, began).await;
    hot_plug(&node, &handle).await;
    name_server(&node, &handle, &paths).await;
    foreign_address(&node, &handle).await;
    server.wait_for("renewal", SOON, |seen| seen.kind == 3 && seen.uses == Ipv4Addr::new(10, 7, 0, 15)).await;
    refusal(&node, &server).await;
    cable_out_and_in(&node, &mut server, &cable).await;
    silence(&node, &server, &paths).await;

    end(&node).await;
    next_boot(&mut server, &paths).await;
}

/// A machine with this command line and eth0 as its hardware.
fn paths(folder: &Path, cmdline: &str) -> Paths {
    let paths = Paths {
        cmdline: folder.join("cmdline"),
        sys_net: folder.join("sys"),
        proc_net: "/proc/sys/net".into(),
        etc: folder.join("etc"),
        pods: folder.join("pods"),
        state: folder.join("state"),
    };
    std::fs::create_dir_all(paths.sys_net.join("eth0/device")).unwrap();
    std::fs::write(&paths.cmdline, cmdline).unwrap();
    paths
}

/// STATE, mounted in time.
fn mounted(paths: &Paths) -> DiskStatus {
    let state = PartitionStatus { mounted_on: Some(paths.state.clone()), ..PartitionStatus::default() };
    DiskStatus { partitions: vec![state], settled: true, ..DiskStatus::default() }
}

async fn end(node: &Node) {
    node.stop.cancel();
    node.tasks.close();
    tokio::time::timeout(SOON, node.tasks.wait()).await.expect("every task ends when the node stops");
}

/// After a reboot the last address is asked for, without a look for servers.
async fn next_boot(server: &mut Server, paths: &Paths) {
    while server.seen.try_recv().is_ok() {}
    let (node, _commands) = Node::new();
    node.disk.send_replace(mounted(paths));
    start_with(&node, paths.clone());
    let first = server.wait_for("first message", SOON, |_| true).await;
    let last = Ipv4Addr::new(10, 7, 0, 99);
    assert_eq!((first.kind, first.wants, first.uses), (3, Some(last), Ipv4Addr::UNSPECIFIED), "{first:?}");
    until(&node, "the last address", SOON, |status| has(status, "10.7.0.99")).await;
    end(&node).await;
}

async fn first_lease(node: &Arc<Node>, handle: &Handle, server: &mut Server, paths: &Paths, began: Instant) {
    let status = until(node, "first lease", SOON, |status| has(status, "10.7.0.15") && status.etc_files).await;
    println!("leased {} ms after the start", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    let discover = server.wait_for("discover", SOON, |seen| seen.kind == 1).await;
    assert_eq!(discover.client_id.len(), 7);
    assert_eq!(discover.client_id[0], 1, "the client id is the hardware address");
    let link = status.links.iter().find(|link| link.name == "eth0").unwrap();
    assert!(link.up && link.source == "dhcp", "{link:?}");
    let status = until(node, "default route", SOON, |status| status.gateways == [IpAddr::V4(SERVER)]).await;
    assert_eq!(status.resolvers, [IpAddr::V4(SERVER)]);
    assert_eq!(status.hostname, "leased");
    assert_eq!(nix::unistd::gethostname().unwrap(), "leased");
    assert_eq!(read(&paths.etc.join("resolv.conf")), "search example.com\nnameserver 10.7.0.1\n");
    assert!(read(&paths.etc.join("hosts")).contains("10.7.0.15 leased\n"));
    assert_eq!(mtu(handle, "eth0").await, 1400);
    // The loopback link answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
}

/// Programs and pods are sent to the node's own name server while it answers; what pods ask is on loopback while it is wanted.
async fn name_server(node: &Arc<Node>, handle: &Handle, paths: &Paths) {
    let (programs, pods) = (paths.etc.join("resolv.conf"), paths.pods.join("resolv.conf"));
    let servers =
        |path: &Path| read(path).lines().filter_map(|line| line.strip_prefix("nameserver ").map(str::to_owned)).collect::<Vec<_>>();
    let direct = servers(&programs);
    assert!(!direct.is_empty() && servers(&pods) == direct);
    let own: IpAddr = "169.254.116.108".parse().unwrap();
    node.host_dns.send_modify(|dns| {
        dns.settings = HostDnsSettings {
            enabled: true,
            local: Some("127.0.0.53:53".parse().unwrap()),
            pods: vec![own, "fd54:616c:6f73:0:204f:5320:444e:531".parse().unwrap()],
            member_names: false,
        };
    });
    soon("the address on loopback", async || on_loopback(handle).await.contains(&(own, AddressScope::Host))).await;
    assert_eq!(servers(&programs), direct, "it does not answer yet");
    node.host_dns.send_modify(|dns| dns.serving = true);
    soon("resolv.conf with the own server", async || servers(&programs) == ["127.0.0.53"]).await;
    soon("the same for pods", async || servers(&pods) == ["169.254.116.108", "fd54:616c:6f73:0:204f:5320:444e:531"]).await;
    node.host_dns.send_modify(|dns| dns.serving = false);
    soon("resolv.conf as before", async || servers(&programs) == direct && servers(&pods) == direct).await;
    node.host_dns.send_replace(HostDnsStatus::default());
    soon("no address on loopback", async || on_loopback(handle).await.iter().all(|(address, _)| address.is_loopback())).await;
}

async fn on_loopback(handle: &Handle) -> Vec<(IpAddr, AddressScope)> {
    use futures_util::TryStreamExt;
    let all: Vec<_> = handle.address().get().set_link_index_filter(1).execute().try_collect().await.unwrap();
    let address = |message: &AddressMessage| {
        message.attributes.iter().find_map(|one| if let AddressAttribute::Address(address) = one { Some(*address) } else { None })
    };
    all.iter().filter_map(|message| Some((address(message)?, message.header.scope))).collect()
}

/// Waits for what nobody tells.
async fn soon(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let look = async {
        while !wanted().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, look).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"));
}

/// A link that appears later and that the command line names.
async fn hot_plug(node: &Arc<Node>, handle: &Handle) {
    handle.link().add(LinkVeth::new("eth1", "peer1").build()).execute().await.unwrap();
    let status = until(node, "static address", SOON, |status| has(status, "10.9.0.2")).await;
    let link = status.links.iter().find(|link| link.name == "eth1").unwrap();
    assert_eq!(link.source, "cmdline");
    handle.link().del(index(handle, "eth1").await).execute().await.unwrap();
    until(node, "the unplugged link gone", SOON, |status| !has(status, "10.9.0.2")).await;
}

/// Somebody else's address on our link is shown and never taken away (checked again after the lease changed).
async fn foreign_address(node: &Arc<Node>, handle: &Handle) {
    let eth0 = index(handle, "eth0").await;
    let message = AddressMessageBuilder::<Ipv4Addr>::new().index(eth0).address(Ipv4Addr::new(10, 7, 0, 200), 32).build();
    let mut request = handle.address().add(eth0, Ipv4Addr::new(10, 7, 0, 200).into(), 32);
    *request.message_mut() = message;
    request.execute().await.unwrap();
    until(node, "the foreign address", SOON, |status| has(status, "10.7.0.200")).await;
}

/// The server changes its mind: the lease is refused, another one is granted.
async fn refusal(node: &Arc<Node>, server: &Server) {
    server.order(|orders| orders.address = Ipv4Addr::new(10, 7, 0, 99));
    let status = until(node, "the other address", LATER, |status| has(status, "10.7.0.99")).await;
    assert!(!has(&status, "10.7.0.15") && has(&status, "10.7.0.200"), "{status:?}");
}

/// A cable that was out: the lease is verified, not asked for anew.
async fn cable_out_and_in(node: &Arc<Node>, server: &mut Server, cable: &std::sync::mpsc::Sender<bool>) {
    let carrier = |status: &NetworkStatus, up| status.links.iter().any(|link| link.name == "eth0" && link.up == up);
    cable.send(false).unwrap();
    until(node, "no carrier", SOON, |status| carrier(status, false)).await;
    while server.seen.try_recv().is_ok() {}
    cable.send(true).unwrap();
    until(node, "carrier", SOON, |status| carrier(status, true)).await;
    let seen = server.wait_for("verification", SOON, |_| true).await;
    assert_eq!(seen.kind, 3, "a request for the known address, not a discover: {seen:?}");
}

/// A silent server: the lease runs out, the node keeps asking, and has an address again when the server is back.
async fn silence(node: &Arc<Node>, server: &Server, paths: &Paths) {
    server.order(|orders| orders.silent = true);
    until(node, "the lease run out", LATER, |status| !has(status, "10.7.0.99") && status.gateways.is_empty()).await;
    assert!(!read(&paths.etc.join("resolv.conf")).contains("10.7.0.1\n"));
    server.order(|orders| orders.silent = false);
    until(node, "an address again", LATER * 2, |status| has(status, "10.7.0.99")).await;
}
