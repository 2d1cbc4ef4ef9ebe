//! dnsd under its supervisor, with a stand-in for apid and a name server beside it. This program is the test and dnsd, by `argv[0]`, as
//! the node's program is. It has a network namespace of its own, where port 53 is free: it needs root.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dnsd::message::{CLASS_IN, Name, Query, Question, Rcode, Response, kind, write};
use libtest_mimic::{Arguments, Trial};
use linux::process::User;
use machined::{
    events::Events,
    logs::Logs,
    node::{ActiveConfig, ConfigStatus, HostDnsStatus, Node, ServiceState, ServiceStatus},
    services::{ApidSettings, DaemonSettings, Settings, Supervisor},
};
use nix::sched::{CloneFlags, unshare};
use resource::kinds::network::NameServerSpec;
use supervise::Operation;
use tokio::{
    net::{TcpListener, UdpSocket},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longest wait for a state; more than the pause before a restart.
const LIMIT: Duration = Duration::from_secs(20);
/// Where the node's programs ask, and whom dnsd asks.
const OWN: ([u8; 4], u16) = ([127, 0, 0, 53], 53);
const SERVER: [u8; 4] = [127, 0, 0, 99];

/// Takes what it is told.
const APID: &str = "#!/bin/sh\nwhile IFS= read -r line; do :; done\n";

fn main() -> ExitCode {
    let arg0 = env::args().next().unwrap_or_default();
    if Path::new(&arg0).file_name().is_some_and(|name| name == "dnsd") {
        return dnsd::run();
    }
    let arguments = Arguments::from_args();
    let test = Trial::test("dnsd_runs_as_it_is_wanted", || {
        assert!(nix::unistd::geteuid().is_root(), "this test makes a network namespace: it needs root");
        // Namespaces belong to threads; those that are made from here on, and processes, are in this one.
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run());
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![test]).exit_code()
}

struct World {
    node: Arc<Node>,
    logs: Arc<Logs>,
    supervisor: Supervisor,
    asked: Arc<AtomicUsize>,
}

async fn run() {
    loopback().await;
    let folder = tempfile::tempdir().expect("folder");
    let (tasks, reaping) = (TaskTracker::new(), CancellationToken::new());
    linux::process::start_reaper(&tasks, reaping.clone()).expect("reaper");
    let world = World::start(folder.path()).await;
    answers(&world).await;
    changes(&world).await;
    dies(&world).await;
    is_switched(&world).await;
    timeout(LIMIT, world.supervisor.stop_all("")).await.expect("stopped in time");
    let states: Vec<_> = world.node.services.borrow().iter().map(|service| (service.id.clone(), service.state)).collect();
    assert!(states.contains(&("dnsd".to_owned(), ServiceState::Finished)), "{states:?}");
    world.node.stop.cancel();
    reaping.cancel();
}

async fn loopback() {
    let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
    tokio::spawn(connection);
    handle.link().set(rtnetlink::LinkUnspec::new_with_index(1).up().build()).execute().await.expect("loopback is up");
}

/// A name server that knows every name.
async fn server(asked: Arc<AtomicUsize>) {
    let socket = UdpSocket::bind((Ipv4Addr::from(SERVER), 53)).await.expect("bound");
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let query = Query::parse(&buffer[..length]).expect("a query");
            asked.fetch_add(1, Ordering::Relaxed);
            let answer = write::Answer::own(&query.question, Rcode::NoError, 300, &[(kind::A, vec![192, 0, 2, 1])]);
            let _ = socket.send_to(&answer.reply(&query, 0, 1232), client).await;
        }
    });
}

/// Records of the answer to a question for IPv4 addresses; `None` without an answer.
async fn ask(name: &str) -> Option<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let question = Question { name: Name::from_text(name).expect("a name"), kind: kind::A, class: CLASS_IN };
    socket.connect(SocketAddr::from(OWN)).await.expect("connected");
    socket.send(&write::query(1, &question, None, false)).await.ok()?;
    let mut buffer = [0; 1500];
    let length = timeout(Duration::from_secs(6), socket.recv(&mut buffer)).await.ok()?.ok()?;
    Response::parse(&buffer[..length]).ok().map(|response| response.records().len())
}

impl World {
    async fn start(folder: &Path) -> Self {
        let apid = folder.join("apid");
        fs::write(&apid, APID).expect("script");
        fs::set_permissions(&apid, fs::Permissions::from_mode(0o755)).expect("mode");
        symlink(env::current_exe().expect("own program"), folder.join("dnsd")).expect("link");
        // Somebody takes the connection of apid's health check.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let listen = listener.local_addr().expect("address");
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let asked = Arc::default();
        server(Arc::clone(&asked)).await;

        let (node, _commands) = Node::new();
        let (logs, events) = (Logs::new(), Events::new());
        let (user, oom_score, socket) = (None, None, folder.join("run/s"));
        let settings = Settings {
            socket: socket.clone(),
            peer: User { uid: 0, gid: 0 },
            apid: ApidSettings { program: apid, user, cgroup: None, oom_score, sandbox: None, listen, socket, trustd_port: 2 },
            // Of no node without a configuration.
            trustd: DaemonSettings::bare(folder.join("trustd"), ([0_u16; 8], 0)),
            dnsd: DaemonSettings::bare(folder.join("dnsd"), OWN),
        };
        let name_server = NameServerSpec { address: Some(SERVER.into()), ..NameServerSpec::default() };
        node.network_specs.send_modify(|specs| specs.merged.resolvers.name_servers = vec![name_server]);
        let supervisor = Supervisor::start(settings, &node, &logs, &events).expect("started");
        let world = Self { node, logs, supervisor, asked };
        world.service("waits for its turn", |service| service.state == ServiceState::Waiting).await;
        world.node.firewall.send_modify(|firewall| firewall.settled = true);
        world.node.config.send_modify(|config| config.settled = true);
        world
    }

    async fn service(&self, what: &str, wanted: impl Fn(&ServiceStatus) -> bool) -> ServiceStatus {
        let mut services = self.node.services.subscribe();
        let found = |list: &Vec<ServiceStatus>| list.iter().find(|service| service.id == "dnsd" && wanted(service)).cloned();
        let result = timeout(LIMIT, services.wait_for(|list| found(list).is_some())).await;
        let list = result.unwrap_or_else(|_| panic!("dnsd {what}: {:?}", self.node.services.borrow())).expect("node lives");
        found(&list).expect("just seen")
    }

    async fn dns(&self, what: &str, wanted: impl Fn(&HostDnsStatus) -> bool) {
        let mut dns = self.node.host_dns.subscribe();
        let result = timeout(LIMIT, dns.wait_for(|dns| wanted(dns))).await.map(drop);
        let log = self.logs.ring("dnsd").tail(20);
        assert!(result.is_ok(), "{what}: {:?} {:?} {log:?}", self.node.host_dns.borrow(), self.node.services.borrow());
    }

    async fn serving(&self) {
        self.dns("it answers", |dns| dns.serving && dns.report.listening.len() == 2 && dns.report.upstreams.len() == 1).await;
    }
}

/// It begins after the API, answers, and asks once.
async fn answers(world: &World) {
    world.serving().await;
    let local = world.node.host_dns.borrow().local();
    assert_eq!(local, Some(OWN.0.into()));
    assert_eq!((ask("www.example.org").await, ask("www.example.org").await), (Some(1), Some(1)));
    assert_eq!(world.asked.load(Ordering::Relaxed), 1);
    assert_eq!(world.logs.get("dns-resolve-cache").map(|ring| ring.tail(99)), world.logs.get("dnsd").map(|ring| ring.tail(99)));
}

/// What changes on the node is told to the same process.
async fn changes(world: &World) {
    let before = world.service("runs", |service| service.pid.is_some()).await.pid;
    assert_eq!(ask("db").await, Some(0));
    world.node.network_specs.send_modify(|specs| specs.specs.hosts = vec![([10, 0, 0, 9].into(), vec!["db".to_owned()])]);
    let known = async { while ask("db").await != Some(1) {} };
    timeout(LIMIT, known).await.expect("the host is known");
    let special = NameServerSpec {
        address: Some([10, 0, 0, 7].into()),
        protocol: resource::kinds::network::DnsProtocol::Tls,
        ..NameServerSpec::default()
    };
    world.node.network_specs.send_modify(|specs| specs.merged.resolvers.name_servers.push(special));
    let warned = async {
        while !world.node.warnings.list().iter().any(|warning| warning.text.contains("10.0.0.7")) {
            tokio::task::yield_now().await
        }
    };
    timeout(LIMIT, warned).await.expect("a server that cannot be asked is told");
    assert_eq!(world.service("runs", |service| service.pid.is_some()).await.pid, before);
}

/// Programs are not sent to it while it is not there; it comes back.
async fn dies(world: &World) {
    let before = world.service("runs", |service| service.pid.is_some()).await.pid.expect("pid");
    let killed = Instant::now();
    let pid = nix::unistd::Pid::from_raw(before.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    world.dns("nobody is sent to it", |dns| !dns.serving && dns.report.listening.is_empty()).await;
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    world.serving().await;
    assert_eq!(ask("www.example.org").await, Some(1));
    assert_ne!(world.service("runs", |service| service.pid.is_some()).await.pid, Some(before));
    // People may have it begin anew.
    let handle = world.supervisor.handle();
    let before = world.service("runs", |service| service.pid.is_some()).await.pid;
    handle.ask(Operation::Restart, "dnsd", "").await.expect("restarted");
    world.service("runs anew", |service| service.pid.is_some() && service.pid != before).await;
    world.serving().await;
    assert!(handle.ask(Operation::Stop, "dnsd", "").await.is_err());
}

/// The configuration has it end and begin.
async fn is_switched(world: &World) {
    let text = generated();
    world.node.config.send_replace(configured(&text, "enabled: false"));
    world.service("ends", |service| service.state == ServiceState::Finished).await;
    world.dns("it is off", |dns| *dns == HostDnsStatus::default()).await;
    assert_eq!(ask("www.example.org").await, None);
    world.node.config.send_replace(configured(&text, "enabled: true, forwardKubeDNSToHost: true"));
    // Also where pods ask, although that address is not there yet.
    world.dns("it is on again", |dns| dns.serving && dns.report.listening.len() == 4 && dns.pods().len() == 1).await;
    world.node.config.send_replace(ConfigStatus { settled: true, ..ConfigStatus::default() });
    world.serving().await;
}

/// A worker's configuration that says nothing about name servers.
fn generated() -> String {
    let now = std::time::SystemTime::now();
    let secrets = pki::SecretsBundle::generate(now).expect("secrets");
    let input = machine_config::GenerateInput::new("test", "https://10.0.2.15:6443", &secrets, now);
    let generated = machine_config::generate(&input).expect("generated");
    let others = generated.worker.expose().split("---\n").filter(|document| !document.contains("kind: ResolverConfig"));
    others.collect::<Vec<_>>().join("---\n")
}

fn configured(text: &str, dns: &str) -> ConfigStatus {
    let text = format!("{text}---\napiVersion: v1alpha1\nkind: ResolverConfig\nhostDNS: {{{dns}}}\n");
    let config = machine_config::Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).config;
    let active = ActiveConfig { text: text.into(), source: "api", config };
    ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() }
}
