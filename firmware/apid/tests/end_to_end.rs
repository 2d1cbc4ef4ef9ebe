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
    node::Node,
    services::Handle,
};
use pki::{Authority, AuthorityKind, ClientRequest, Identity, ServerRequest};
use prost::Message;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, transport::Channel};
use wire::{
    apid_config::{ApidConfig, Mode},
    machine::{LogsRequest, ReadRequest, machine_service_client::MachineServiceClient},
    tls,
};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct World {
    folder: TempDir,
    ca: Authority,
    server: Identity,
    port: u16,
    config: ApidConfig,
    changer: apid::Changer,
    sources: Sources,
    stop: CancellationToken,
    machined: Option<JoinHandle<()>>,
}

async fn world(mode: Mode) -> World {
    let now = SystemTime::now();
    let ca = Authority::generate(AuthorityKind::Os, now).expect("authority");
    let addresses: [IpAddr; 1] = ["127.0.0.1".parse().expect("address")];
    let request = ServerRequest { common_name: "node-1", names: &[], addresses: &addresses, life: DAY };
    let server = ca.issue_server(&request, now).expect("certificate");
    let folder = tempfile::tempdir().expect("folder");
    let (node, _) = Node::new();
    let sources = Sources { node, logs: Logs::new(), events: Events::new(), services: Handle::of_nobody() };
    let config = ApidConfig {
        mode,
        listen: "127.0.0.1:0".parse().expect("address"),
        server_chain_pem: server.cert_pem.clone(),
        server_key_pem: Zeroizing::new(server.key_pem.expose().to_owned()),
        client_ca_pem: Some(ca.cert_pem().to_owned()),
        local_addresses: addresses.to_vec(),
        hostname: "node-1".into(),
        socket: folder.path().join("s"),
    };
    let stop = CancellationToken::new();
    let gateway = apid::Gateway::bind(config.clone()).await.expect("bound");
    let port = gateway.address().port();
    let changer = gateway.changer();
    tokio::spawn(gateway.serve(TaskTracker::new(), stop.clone()));
    let mut world = World { folder, ca, server, port, config, changer, sources, stop, machined: None };
    world.start_machined();
    world
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
        let endpoint = tls::endpoint("127.0.0.1", self.port).expect("endpoint");
        tls::connect(endpoint, "127.0.0.1", self.port, config).await.map(MachineServiceClient::new)
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
    let config = ApidConfig { client_ca_pem: Some(other.cert_pem().to_owned()), hostname: "node-2".into(), ..world.config.clone() };
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
async fn node_metadata_names_this_node_or_nothing() {
    let world = world(Mode::Running).await;
    let mut client = world.client(Some(world.client_identity("os:reader"))).await.expect("connected");
    for (node, wanted) in [("127.0.0.1", Code::Ok), ("node-1", Code::Ok), ("10.9.9.9", Code::Unimplemented)] {
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
