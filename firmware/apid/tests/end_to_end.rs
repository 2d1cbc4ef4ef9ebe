//! A real client against apid on loopback, in front of machined's API on a temporary socket.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use machined::{
    api::{Server, Sources},
    events::Events,
    logs::Logs,
    node::{ActiveConfig, ConfigText, Node},
    services::Handle,
};
use pki::{Authority, AuthorityKind, ClientRequest, Identity, Role, ServerRequest};
use prost::Message;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, transport::Channel};
use wire::{
    apid_config::{ApidConfig, Impersonator, Mode},
    cluster::{ClusterInfo, HealthCheckRequest, cluster_service_client::ClusterServiceClient},
    machine::{LogsRequest, ReadRequest, machine_service_client::MachineServiceClient},
    tls,
};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct World {
    folder: TempDir,
    ca: Arc<Authority>,
    server: Identity,
    address: IpAddr,
    port: u16,
    config: ApidConfig,
    changer: apid::Changer,
    sources: Sources,
    stop: CancellationToken,
    machined: Option<JoinHandle<()>>,
}

/// A node of its own.
async fn world(mode: Mode) -> World {
    let ca = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    node(mode, Arc::new(ca), "127.0.0.1", 0, true).await
}

/// A node of the cluster with this authority: the others listen on its port, on other addresses of this host.
async fn node(mode: Mode, ca: Arc<Authority>, address: &str, port: u16, control_plane: bool) -> World {
    let now = SystemTime::now();
    let address: IpAddr = address.parse().expect("address");
    let request = ServerRequest { common_name: "node-1", names: &[], addresses: &[address], life: DAY };
    let server = ca.issue_server(&request, now).expect("certificate");
    let folder = tempfile::tempdir().expect("folder");
    let (node, _) = Node::new();
    let sources = Sources { node, logs: Logs::new(), events: Events::new(), services: Handle::of_nobody() };
    let config = ApidConfig {
        mode,
        listen: (address, port).into(),
        server_chain_pem: server.cert_pem.clone(),
        server_key_pem: Zeroizing::new(server.key_pem.expose().to_owned()),
        client_ca_pem: Some(ca.cert_pem().to_owned()),
        impersonator: control_plane.then(|| impersonator(&ca)),
        local_addresses: vec![address],
        local_names: vec![format!("node-{address}")],
        resolvers: Vec::new(),
        socket: folder.path().join("s"),
    };
    let stop = CancellationToken::new();
    let gateway = apid::Gateway::bind(config.clone()).await.expect("bound");
    let port = gateway.address().port();
    let changer = gateway.changer();
    tokio::spawn(gateway.serve(TaskTracker::new(), stop.clone()));
    let mut world = World { folder, ca, server, address, port, config, changer, sources, stop, machined: None };
    world.start_machined();
    world
}

fn impersonator(ca: &Authority) -> Impersonator {
    let request = ClientRequest { common_name: Some("node-1"), organization: Role::Impersonator.as_str(), life: DAY };
    let Identity { cert_pem, key_pem } = ca.issue_client(&request, SystemTime::now()).expect("certificate");
    Impersonator { chain_pem: cert_pem, key_pem: Zeroizing::new(key_pem.expose().to_owned()) }
}

impl World {
    fn start_machined(&mut self) {
        let path = self.folder.path().join("s");
        let _ = std::fs::remove_file(&path);
        let server = Server::bind_for_tests(&path, self.sources.clone()).expect("bound");
        self.machined = Some(tokio::spawn(server.serve(self.stop.clone())));
    }

    fn client_identity(&self, organization: &str) -> Identity {
        let request = ClientRequest { common_name: None, organization, life: DAY };
        self.ca.issue_client(&request, SystemTime::now()).expect("certificate")
    }

    async fn client(&self, identity: Option<Identity>) -> Result<MachineServiceClient<Channel>, tls::ConnectError> {
        let identity = identity.map(|id| tls::Identity::from_pem(&id.cert_pem, id.key_pem.expose()).expect("usable"));
        let roots = tls::roots("the authority", self.ca.cert_pem()).expect("roots");
        self.connect(tls::client_config(roots, identity).expect("settings")).await
    }

    async fn connect(&self, config: Arc<rustls::ClientConfig>) -> Result<MachineServiceClient<Channel>, tls::ConnectError> {
        self.open(config).await.map(MachineServiceClient::new)
    }

    async fn open(&self, config: Arc<rustls::ClientConfig>) -> Result<Channel, tls::ConnectError> {
        let host = self.address.to_string();
        tls::connect(tls::endpoint(&host, self.port).expect("endpoint"), &host, self.port, config).await
    }

    async fn channel(&self, identity: Identity) -> Channel {
        let identity = tls::Identity::from_pem(&identity.cert_pem, identity.key_pem.expose()).expect("usable");
        let roots = tls::roots("the authority", self.ca.cert_pem()).expect("roots");
        self.open(tls::client_config(roots, Some(identity)).expect("settings")).await.expect("connected")
    }

    /// Whether a client with this certificate gets as far as a reply.
    async fn gets_in(&self, identity: Option<Identity>) -> bool {
        let Ok(mut client) = self.client(identity).await else { return false };
        client.version(()).await.is_ok()
    }
}

#[tokio::test]
async fn an_admin_reads_and_follows() {
    let world = world(Mode::Running).await;
    let mut client = world.client(Some(world.client_identity("os:admin"))).await.expect("connected");
    let version = client.version(()).await.expect("version").into_inner();
    assert_eq!(version.messages.len(), 1);
    assert!(version.messages[0].version.as_ref().expect("present").tag.starts_with("v1.14.0+keelson."));
    assert!(version.messages[0].metadata.is_none());

    let path = "/proc/sys/kernel/random/boot_id".to_owned();
    let mut file = client.read(ReadRequest { path }).await.expect("opened").into_inner();
    assert_eq!(file.message().await.expect("read").expect("data").bytes.len(), 37);
    assert!(file.message().await.expect("trailers").is_none());

    let ring = world.sources.logs.ring("machined");
    let request = LogsRequest { namespace: "system".into(), id: "machined".into(), follow: true, ..Default::default() };
    let mut logs = client.logs(request).await.expect("logs").into_inner();
    for line in ["one\n", "two\n"] {
        ring.push(line.trim_end().as_bytes());
        let data = timeout(LIMIT, logs.message()).await.expect("in time").expect("data").expect("open");
        assert_eq!(&data.bytes[..], line.as_bytes());
    }
    // Errors arrive with their code and text.
    let status = client.read(ReadRequest { path: "/nowhere".into() }).await.expect_err("missing");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn certificates_decide_who_gets_in() {
    let world = world(Mode::Running).await;
    assert!(world.gets_in(Some(world.client_identity("os:reader"))).await);
    assert!(!world.gets_in(None).await, "no certificate");
    assert!(!world.gets_in(Some(world.server.clone())).await, "a server's certificate");
    let foreign = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    let request = ClientRequest { common_name: None, organization: "os:admin", life: DAY };
    let foreign = foreign.issue_client(&request, SystemTime::now()).expect("certificate");
    assert!(!world.gets_in(Some(foreign)).await, "a foreign authority");
    let late = SystemTime::now() - DAY * 2;
    let expired = world.ca.issue_client(&ClientRequest { common_name: None, organization: "os:admin", life: DAY }, late);
    assert!(!world.gets_in(Some(expired.expect("certificate"))).await, "expired");
}

#[tokio::test]
async fn a_change_keeps_open_connections() {
    let world = world(Mode::Running).await;
    let mut early = world.client(Some(world.client_identity("os:admin"))).await.expect("connected");
    early.version(()).await.expect("version");

    // Another authority for clients, another name for the node.
    let other = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    let config =
        ApidConfig { client_ca_pem: Some(other.cert_pem().to_owned()), local_names: vec!["node-2".into()], ..world.config.clone() };
    world.changer.change(&config).expect("changed");
    let mut request = Request::new(());
    request.metadata_mut().insert("node", "node-2".parse().expect("value"));
    early.version(request).await.expect("the connection is open and the new name known");
    assert!(!world.gets_in(Some(world.client_identity("os:admin"))).await, "the former authority");
    let admin = other.issue_client(&ClientRequest { common_name: None, organization: "os:admin", life: DAY }, SystemTime::now());
    assert!(world.gets_in(Some(admin.expect("certificate"))).await, "the new authority");

    // What cannot be used, or is fixed, changes nothing.
    for broken in [
        ApidConfig { mode: Mode::Maintenance, ..config.clone() },
        ApidConfig { listen: "127.0.0.1:1".parse().expect("address"), ..config.clone() },
        ApidConfig { client_ca_pem: None, ..config.clone() },
        ApidConfig { server_chain_pem: "rubbish".into(), ..config.clone() },
    ] {
        world.changer.change(&broken).expect_err("refused");
    }
    early.version(()).await.expect("still open");
}

#[tokio::test]
async fn roles_come_from_the_certificate_only() {
    let world = world(Mode::Running).await;
    let mut client = world.client(Some(world.client_identity("os:reader"))).await.expect("connected");
    let mut request = Request::new(ReadRequest { path: "/proc/version".into() });
    request.metadata_mut().insert("talos-role", "os:admin".parse().expect("value"));
    assert_eq!(client.read(request).await.expect_err("a reader").code(), Code::PermissionDenied);
    let mut nobody = world.client(Some(world.client_identity("os:unknown"))).await.expect("connected");
    assert_eq!(nobody.version(()).await.expect_err("no role").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_node_without_a_client_certificate_forwards_nothing() {
    let ca = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    let world = node(Mode::Running, Arc::new(ca), "127.0.0.1", 0, false).await;
    let mut client = world.client(Some(world.client_identity("os:reader"))).await.expect("connected");
    for (node, wanted) in [("127.0.0.1", Code::Ok), ("node-127.0.0.1", Code::Ok), ("10.9.9.9", Code::PermissionDenied)] {
        let mut request = Request::new(());
        request.metadata_mut().insert("node", node.parse().expect("value"));
        let answer = client.version(request).await;
        assert_eq!(answer.err().map_or(Code::Ok, |status| status.code()), wanted, "{node}");
    }
}

#[tokio::test]
async fn maintenance_asks_for_no_certificate_and_gives_a_reader() {
    let world = world(Mode::Maintenance).await;
    let config = tls::insecure_client_config(None).expect("settings");
    let mut client = world.connect(config).await.expect("connected");
    let mut request = Request::new(());
    request.metadata_mut().insert("node", "10.9.9.9".parse().expect("value"));
    assert!(client.version(request).await.is_ok());
    let status = client.read(ReadRequest { path: "/proc/version".into() }).await.expect_err("a reader");
    assert_eq!(status.code(), Code::PermissionDenied);

    let leaf = &pki::read_chain(&world.server.cert_pem).expect("chain")[0];
    let pin: tls::SpkiFingerprint = pki::spki_fingerprint(leaf).expect("fingerprint").parse().expect("fingerprint");
    let pinned = tls::insecure_client_config(Some(pin)).expect("settings");
    assert!(world.connect(pinned).await.expect("connected").version(()).await.is_ok());
    let other = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().expect("fingerprint");
    assert!(world.connect(tls::insecure_client_config(Some(other)).expect("settings")).await.is_err());
}

#[tokio::test]
async fn a_stalled_handshake_holds_up_nobody() {
    let world = world(Mode::Running).await;
    let _stalled = tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.expect("connected");
    assert!(timeout(LIMIT, world.gets_in(Some(world.client_identity("os:reader")))).await.expect("in time"));
}

#[tokio::test]
async fn machined_may_come_back() {
    let mut world = world(Mode::Running).await;
    let mut client = world.client(Some(world.client_identity("os:reader"))).await.expect("connected");
    client.version(()).await.expect("version");
    let machined = world.machined.take().expect("running");
    machined.abort();
    let _ = machined.await;
    std::fs::remove_file(world.folder.path().join("s")).expect("removed");
    assert_eq!(client.version(()).await.expect_err("gone").code(), Code::Unavailable);
    world.start_machined();
    let back = async { while client.version(()).await.is_err() {} };
    timeout(LIMIT, back).await.expect("in time");
}

/// Frames pass untouched through the raw codec: what a merging proxy is built on.
#[tokio::test]
async fn raw_frames_pass() {
    let world = world(Mode::Maintenance).await;
    let endpoint = tls::endpoint("127.0.0.1", world.port).expect("endpoint");
    let config = tls::insecure_client_config(None).expect("settings");
    let channel = tls::connect(endpoint, "127.0.0.1", world.port, config).await.expect("connected");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("ready");
    let path = http::uri::PathAndQuery::from_static("/machine.MachineService/Hostname");
    let reply = client.unary(Request::new(bytes::Bytes::new()), path, wire::raw::Raw).await.expect("answered").into_inner();
    let decoded = wire::machine::HostnameResponse::decode(reply.clone()).expect("a message");
    assert_eq!((decoded.messages.len(), decoded.encode_to_vec()), (1, reply.to_vec()));
}

/// Calls that nobody reads the replies of fill their windows; the others must not notice.
#[tokio::test]
async fn clients_that_do_not_read_hold_up_nobody() {
    const STALLED: usize = 40;
    let world = world(Mode::Running).await;
    let big = world.folder.path().join("big");
    std::fs::File::create(&big).and_then(|file| file.set_len(1 << 30)).expect("sparse file");
    let path = big.display().to_string();
    let mut slow = world.client(Some(world.client_identity("os:admin"))).await.expect("connected");
    let mut held = Vec::new();
    for _ in 0..STALLED {
        let stream = timeout(LIMIT, slow.read(ReadRequest { path: path.clone() })).await.expect("in time");
        held.push(stream.expect("opened").into_inner());
    }
    let mut other = world.client(Some(world.client_identity("os:admin"))).await.expect("connected");
    let request = ReadRequest { path: "/proc/sys/kernel/random/boot_id".into() };
    let mut file = timeout(LIMIT, other.read(request)).await.expect("in time").expect("opened").into_inner();
    let data = timeout(LIMIT, file.message()).await.expect("in time").expect("data").expect("open");
    assert_eq!(data.bytes.len(), 37);
    assert!(timeout(LIMIT, other.version(())).await.expect("in time").is_ok());
}

/// Three nodes of one cluster: two control planes and a worker.
async fn cluster() -> [World; 3] {
    let ca = Arc::new(Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority"));
    let first = node(Mode::Running, Arc::clone(&ca), "127.0.0.1", 0, true).await;
    let second = node(Mode::Running, Arc::clone(&ca), "127.0.0.2", first.port, true).await;
    let worker = node(Mode::Running, ca, "127.0.0.3", first.port, false).await;
    for (world, name) in [(&first, "one"), (&second, "two"), (&worker, "three")] {
        world.sources.node.network.send_modify(|network| network.hostname = name.into());
        world.sources.logs.ring("machined").push(name.as_bytes());
    }
    [first, second, worker]
}

fn aimed<T>(message: T, key: &'static str, nodes: &[&str]) -> Request<T> {
    let mut request = Request::new(message);
    for node in nodes {
        request.metadata_mut().append(key, node.parse().expect("value"));
    }
    request
}

#[tokio::test]
async fn any_node_is_reached_through_a_control_plane() {
    let [first, _second, worker] = cluster().await;
    let mut client = first.client(Some(first.client_identity("os:admin"))).await.expect("connected");
    for (node, wanted) in [("127.0.0.1", "one"), ("127.0.0.2", "two"), ("127.0.0.3", "three")] {
        let reply = client.hostname(aimed((), "node", &[node])).await.expect(node).into_inner();
        assert_eq!((reply.messages[0].hostname.as_str(), &reply.messages[0].metadata), (wanted, &None), "{node}");
    }
    // A stream, an error with its code, and nobody at home.
    let request = LogsRequest { namespace: "system".into(), id: "machined".into(), tail_lines: -1, ..Default::default() };
    let mut logs = client.logs(aimed(request, "node", &["127.0.0.3"])).await.expect("logs").into_inner();
    assert_eq!(&logs.message().await.expect("data").expect("open").bytes[..], b"three\n");
    let missing = client.read(aimed(ReadRequest { path: "/nowhere".into() }, "node", &["127.0.0.2"])).await.expect_err("missing");
    assert_eq!(missing.code(), Code::NotFound);
    let nobody = client.hostname(aimed((), "node", &["127.0.0.9"])).await.expect_err("nobody there");
    assert_eq!(nobody.code(), Code::Unavailable);
    let name = client.hostname(aimed((), "node", &["nobody.lan"])).await.expect_err("no name servers");
    assert_eq!(name.code(), Code::Unavailable);
    // Through the worker to nobody else.
    let mut client = worker.client(Some(worker.client_identity("os:admin"))).await.expect("connected");
    let refused = client.hostname(aimed((), "node", &["127.0.0.2"])).await.expect_err("a worker");
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "no request forwarding"));
}

#[tokio::test]
async fn roles_go_along_to_other_nodes_and_are_believed_from_nodes_only() {
    let [first, second, _worker] = cluster().await;
    let file = || ReadRequest { path: "/proc/version".into() };
    let mut reader = first.client(Some(first.client_identity("os:reader"))).await.expect("connected");
    assert!(reader.hostname(aimed((), "node", &["127.0.0.2"])).await.is_ok());
    let mut forged = aimed(file(), "node", &["127.0.0.2"]);
    forged.metadata_mut().insert("talos-role", "os:admin".parse().expect("value"));
    assert_eq!(reader.read(forged).await.expect_err("a reader").code(), Code::PermissionDenied);
    let mut admin = first.client(Some(first.client_identity("os:admin"))).await.expect("connected");
    assert!(admin.read(aimed(file(), "node", &["127.0.0.2"])).await.is_ok());
    // What is forwarded once goes no further, whatever it asks for.
    let mut forwarded = aimed((), "node", &["127.0.0.3"]);
    forwarded.metadata_mut().insert("proxyfrom", "unknown".parse().expect("value"));
    let mut direct = second.client(Some(second.client_identity("os:admin"))).await.expect("connected");
    assert_eq!(direct.hostname(forwarded).await.expect("here").into_inner().messages[0].hostname, "two");
}

#[tokio::test]
async fn several_nodes_answer_as_one() {
    let [first, _second, _worker] = cluster().await;
    let mut client = first.client(Some(first.client_identity("os:admin"))).await.expect("connected");
    let all = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"];
    let mut reply = client.hostname(aimed((), "nodes", &all)).await.expect("merged").into_inner();
    reply.messages.sort_by_key(|message| message.metadata.as_ref().map(|metadata| metadata.hostname.clone()));
    let mut found = reply.messages.iter().map(|message| (message.metadata.as_ref().expect("metadata"), message.hostname.as_str()));
    for (node, wanted) in [("127.0.0.1", "one"), ("127.0.0.2", "two"), ("127.0.0.3", "three"), ("127.0.0.9", "")] {
        let (metadata, hostname) = found.next().expect("an entry");
        assert_eq!((metadata.hostname.as_str(), hostname), (node, wanted));
        let code = metadata.status.as_ref().map_or(Code::Ok, |status| status.code.into());
        assert_eq!(code, if wanted.is_empty() { Code::Unavailable } else { Code::Ok }, "{node}: {}", metadata.error);
    }
    let request = LogsRequest { namespace: "system".into(), id: "machined".into(), tail_lines: -1, ..Default::default() };
    let mut logs = client.logs(aimed(request, "nodes", &all)).await.expect("logs").into_inner();
    let mut lines = Vec::new();
    while let Some(data) = logs.message().await.expect("a merged stream does not fail") {
        let metadata = data.metadata.expect("metadata");
        let said = if metadata.error.is_empty() { data.bytes.to_vec() } else { b"error".to_vec() };
        lines.push((metadata.hostname, String::from_utf8(said).expect("text")));
    }
    lines.sort();
    let wanted = [("127.0.0.1", "one\n"), ("127.0.0.2", "two\n"), ("127.0.0.3", "three\n"), ("127.0.0.9", "error")];
    assert_eq!(lines, wanted.map(|(node, said)| (node.to_owned(), said.to_owned())));
    // Resources have another shape.
    let mut state = wire::cosi::state_client::StateClient::new(first.channel(first.client_identity("os:admin")).await);
    let refused = state.get(aimed(wire::cosi::GetRequest::default(), "nodes", &all)).await.expect_err("no merge");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// A follower of logs on another node that does not read: the node waits, others are served, and its going away is noticed there.
#[tokio::test]
async fn a_slow_client_slows_its_own_calls_only() {
    const STALLED: usize = 40;
    let [first, second, _worker] = cluster().await;
    let big = second.folder.path().join("big");
    std::fs::File::create(&big).and_then(|file| file.set_len(1 << 30)).expect("sparse file");
    let path = big.display().to_string();
    let mut slow = first.client(Some(first.client_identity("os:admin"))).await.expect("connected");
    let mut held = Vec::new();
    for at in 0..STALLED {
        let key = if at % 2 == 0 { "node" } else { "nodes" };
        let stream = timeout(LIMIT, slow.read(aimed(ReadRequest { path: path.clone() }, key, &["127.0.0.2"]))).await.expect("in time");
        held.push(stream.expect("opened").into_inner());
    }
    let mut other = first.client(Some(first.client_identity("os:admin"))).await.expect("connected");
    for key in ["node", "nodes"] {
        let answer = timeout(LIMIT, other.hostname(aimed((), key, &["127.0.0.2"]))).await.expect("in time").expect("answered");
        assert_eq!(answer.into_inner().messages[0].hostname, "two");
    }
}

#[tokio::test]
async fn the_authority_is_rotated_without_losing_access() {
    let [first, second, worker] = cluster().await;
    let new = Arc::new(Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority"));
    let old_admin = first.client_identity("os:admin");
    let new_admin = new.issue_client(&ClientRequest { common_name: None, organization: "os:admin", life: DAY }, SystemTime::now());
    let new_admin = new_admin.expect("certificate");
    let both = format!("{}{}", first.ca.cert_pem(), new.cert_pem());
    let everywhere = |client: &MachineServiceClient<Channel>| {
        let mut client = client.clone();
        async move {
            for node in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
                timeout(LIMIT, client.hostname(aimed((), "node", &[node]))).await.expect("in time").expect(node);
            }
        }
    };
    let change = |world: &World, accepted: &str, issuer: &Authority| {
        let request = ServerRequest { common_name: "node-1", names: &[], addresses: &[world.address], life: DAY };
        let server = issuer.issue_server(&request, SystemTime::now()).expect("certificate");
        let config = ApidConfig {
            server_chain_pem: server.cert_pem,
            server_key_pem: Zeroizing::new(server.key_pem.expose().to_owned()),
            client_ca_pem: Some(accepted.to_owned()),
            impersonator: world.config.impersonator.as_ref().map(|_| impersonator(issuer)),
            ..world.config.clone()
        };
        world.changer.change(&config).expect("changed");
    };
    let follow = || LogsRequest { namespace: "system".into(), id: "machined".into(), follow: true, ..Default::default() };
    let mut early = first.client(Some(old_admin.clone())).await.expect("connected");
    let mut cut = early.logs(follow()).await.expect("logs").into_inner();
    everywhere(&early).await;
    // One node after the other, and calls between: both accepted, then the new one issues, then the old one goes.
    for (accepted, issuer) in [(both.as_str(), &first.ca), (both.as_str(), &new)] {
        for world in [&worker, &second, &first] {
            change(world, accepted, issuer);
            everywhere(&early).await;
        }
    }
    let roots = tls::roots("the authority", new.cert_pem()).expect("roots");
    let identity = tls::Identity::from_pem(&new_admin.cert_pem, new_admin.key_pem.expose()).expect("usable");
    let late = first.connect(tls::client_config(roots, Some(identity)).expect("settings")).await.expect("connected");
    everywhere(&late).await;
    for world in [&worker, &second, &first] {
        change(world, new.cert_pem(), &new);
        everywhere(&late).await;
    }
    assert!(!first.gets_in(Some(old_admin)).await, "the former authority");
    // What it let in ends, while what the new one let in stays.
    let mut followed = late.clone().logs(follow()).await.expect("logs").into_inner();
    timeout(LIMIT * 3, cut.message()).await.expect("in time").expect_err("cut off");
    early.hostname(()).await.expect_err("the client's next connection is refused");
    first.sources.logs.ring("machined").push(b"later");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != &b"later\n"[..]) {
        lines.push(timeout(LIMIT, followed.message()).await.expect("in time").expect("data").expect("open").bytes);
    }
    everywhere(&late).await;
}

/// Gives a control plane the configuration that goes with its authority; without etcd.
fn configure(world: &World) {
    let pem = world.ca.to_pem().expect("PEM");
    let (crt, key) = (pki::encode_base64(&pem.cert_pem), pki::encode_base64(pem.key_pem.expect("a key").expose()));
    let secret = "yuLzx0UaJnbsmj9wZA0uOgpqEd3aaDBiz78MDkXc5xo=";
    let text = format!(
        "machine:\n  type: controlplane\n  token: yenrdj.gg4qykekla8zeyzm\n  ca: {{crt: {crt}, key: {key}}}\n\
         cluster:\n  id: {secret}\n  secret: {secret}\n  controlPlane: {{endpoint: https://10.0.0.10:6443}}\n"
    );
    let config = machine_config::Config::parse(&text).expect("valid").config;
    let active = ActiveConfig { text: ConfigText::from(text), source: "api", config };
    world.sources.node.config.send_modify(|status| status.active = Some(Arc::new(active)));
    world.sources.node.api.send_modify(|api| api.port = Some(world.port));
}

#[tokio::test]
async fn health_is_told_line_by_line_through_the_gateway() {
    let first = world(Mode::Running).await;
    let _second = node(Mode::Running, Arc::clone(&first.ca), "127.0.0.2", first.port, true).await;
    let mut client = ClusterServiceClient::new(first.channel(first.client_identity("os:reader")).await);
    let request = |planes: &[&str], workers: &[&str], seconds| HealthCheckRequest {
        wait_timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
        cluster_info: Some(ClusterInfo {
            control_plane_nodes: planes.iter().map(|name| (*name).to_owned()).collect(),
            worker_nodes: workers.iter().map(|name| (*name).to_owned()).collect(),
            force_endpoint: String::new(),
        }),
    };
    let refused = client.health_check(request(&[], &[], 60)).await.expect_err("no configuration");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    configure(&first);
    let refused = client.health_check(request(&[], &[], 0)).await.expect_err("no time");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    let mut told = client.health_check(request(&["127.0.0.1"], &["127.0.0.2"], 60)).await.expect("begun").into_inner();
    for wanted in [
        "discovered nodes: [\"127.0.0.1\" \"127.0.0.2\"]",
        "waiting for etcd to be healthy: ...",
        "waiting for etcd to be healthy: SKIP",
        "waiting for etcd members to be consistent across nodes: ...",
        "waiting for etcd members to be consistent across nodes: SKIP",
        "waiting for etcd members to be control plane nodes: ...",
        "waiting for etcd members to be control plane nodes: SKIP",
        "waiting for apid to be ready: ...",
        "waiting for apid to be ready: OK",
        "waiting for all nodes memory sizes: ...",
    ] {
        let line = timeout(LIMIT, told.message()).await.expect("in time").expect("a line").expect("open").message;
        assert_eq!(line, wanted);
    }

    // Nobody is there: it says so and ends with the time that it was given.
    let mut lines = client.health_check(request(&["127.0.0.9"], &[], 1)).await.expect("begun").into_inner();
    let mut seen = Vec::new();
    let ended = loop {
        match timeout(LIMIT, lines.message()).await.expect("in time") {
            Ok(line) => seen.push(line.expect("an end with a status").message),
            Err(status) => break status,
        }
    };
    assert_eq!((ended.code(), ended.message()), (Code::DeadlineExceeded, "context deadline exceeded"));
    let last = seen.last().expect("lines");
    assert!(
        last.starts_with("waiting for apid to be ready: 1 error occurred:\n\t* 127.0.0.9: rpc error: code = Unavailable desc = "),
        "{seen:?}"
    );

    // Without names it is about this node, which has no address here but the one that every host has.
    let mut lines = client.health_check(HealthCheckRequest { wait_timeout: None, cluster_info: None }).await.expect("begun").into_inner();
    let line = timeout(LIMIT, lines.message()).await.expect("in time").expect("a line").expect("open").message;
    assert_eq!(line, "discovered nodes: [\"127.0.0.1\"]");

    // Two are being told; two more are let in.
    let open = || HealthCheckRequest { wait_timeout: None, cluster_info: None };
    let _third = client.health_check(open()).await.expect("begun");
    let _fourth = client.health_check(open()).await.expect("begun");
    let refused = client.health_check(open()).await.expect_err("too many");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}
