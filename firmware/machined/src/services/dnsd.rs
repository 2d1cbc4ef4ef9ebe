//! The service dnsd: the node's own name server, a process of its own. It is told what has changed (servers, names, addresses) while
//! it runs. It begins after the API's first answers, and ends when the configuration does not want it.
//!
//! Programs are sent to it (`resolv.conf`, written by `net`) only while it answers, so a node whose dnsd is broken still resolves
//! names (docs/decisions/0029).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use linux::process::LineSink;
use supervise::{Allowed, HealthCheck, Kind, Spec};
use tokio::{
    net::{UdpSocket, unix::pipe},
    sync::oneshot,
    time::sleep,
};
use wire::{
    dnsd::{DnsdConfig, DnsdStatus},
    orders::to_line,
};

use super::{
    Handle, conditions,
    dnsd_plan::{plan, settings},
    dnsd_sandbox,
    process::{Verdict, runner},
    service::Service,
    settings::{DaemonSettings, make_group},
    told::tell,
};
use crate::{
    logs::{Logs, Ring},
    node::{Node, ServiceState},
};

/// Name of the service.
pub const ID: &str = "dnsd";
/// Name of its log, as clients know it.
const LOG: &str = "dns-resolve-cache";
/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);
/// It is asked often until it answers: programs are sent to it then.
const HEALTH: HealthCheck = HealthCheck {
    initial_delay: Duration::from_millis(50),
    period: Duration::from_secs(5),
    eager_period: Duration::from_millis(250),
    timeout: Duration::from_millis(500),
    patience: Duration::from_secs(3),
};
/// A question that it answers by itself: `localhost`, IPv4 address, class internet, number 0x4b4c.
const QUESTION: &[u8] = b"\x4b\x4c\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01";

/// The service. `keep` is to run beside it.
pub(super) fn service(settings: DaemonSettings, node: &Arc<Node>, logs: &Logs) -> Service {
    // People look for a service's log under its name, clients under theirs.
    let ring = logs.ring(LOG);
    logs.also(ID, &ring);
    let output = Arc::new(Output { ring, node: Arc::clone(node) });
    let (started, group, listen) = (settings.clone(), settings.cgroup, settings.listen);
    let (teller, wanted) = (Arc::clone(node), Arc::clone(node));
    let orders = move |stdin, taken| {
        let node = Arc::clone(&teller);
        async move { orders(&node, stdin, taken).await }.boxed()
    };
    let spec = Spec {
        conditions: vec![conditions::API.into()],
        health: Some(HEALTH),
        allowed: Allowed { restart: true, ..Allowed::default() },
        ..Spec::new(ID, Kind::Process)
    };
    Service::new(
        spec,
        runner(move || started.spec(dnsd_sandbox::CAPABILITIES, &dnsd_sandbox::LIMITS, output.clone()), Some(Arc::new(orders))),
    )
    .prepared_by(move || prepare(Arc::clone(&wanted), group))
    .healthy_when(move || answers(listen))
}

/// Makes its control group. `false`: it is not wanted.
async fn prepare(node: Arc<Node>, group: Option<&'static str>) -> Result<bool, String> {
    // The sender lives in the node.
    drop(node.config.subscribe().wait_for(|config| config.settled).await);
    if !settings(&node.config.borrow(), (Ipv4Addr::LOCALHOST, 0).into()).enabled {
        return Ok(false);
    }
    make_group(group).await.map(|()| true)
}

/// It answers what it knows by itself.
async fn answers(listen: SocketAddr) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("ask {listen}: {error}");
    let anywhere: IpAddr = if listen.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((anywhere, 0)).await.map_err(failed)?;
    socket.connect(listen).await.map_err(failed)?;
    socket.send(QUESTION).await.map_err(failed)?;
    let mut reply = [0; 64];
    let length = socket.recv(&mut reply).await.map_err(failed)?;
    // The same number; a response without an error; one question, one answer.
    match reply.get(..length) {
        Some([0x4b, 0x4c, flags, result, 0, 1, 0, 1, ..]) if flags & 0x80 != 0 && result & 0x0f == 0 => Ok(()),
        _ => Err(format!("ask {listen}: it does not know localhost")),
    }
}

/// Its output: lines of the log, and what it says of itself.
struct Output {
    ring: Arc<Ring>,
    node: Arc<Node>,
}

impl LineSink for Output {
    fn line(&self, text: &[u8]) {
        match DnsdStatus::from_line(text) {
            None => self.ring.line(text),
            Some(Ok(report)) => self.node.host_dns.send_modify(|dns| dns.report = report),
            Some(Err(error)) => self.ring.line(format!("error machined: understand its status: {error}").as_bytes()),
        }
    }
}

/// Tells a process what it is to do, first and whenever that changes.
async fn orders(node: &Node, mut stdin: pipe::Sender, taken: oneshot::Sender<()>) -> Verdict {
    let mut taken = Some(taken);
    let mut refused: Vec<IpAddr> = Vec::new();
    loop {
        let (config, special) = current(node);
        for address in special.iter().filter(|address| !refused.contains(address)) {
            let text = format!("name server {address} is to be asked over TLS or HTTPS, which this version does not do: it is not asked");
            log::warn!(target: "services", "{text}");
            node.warnings.push(text);
        }
        refused.clone_from(&special);
        if let Err(problem) = tell(&mut stdin, to_line(&config)).await {
            return Verdict::Broken(problem);
        }
        if let Some(taken) = taken.take() {
            // Who started the process may have been told to stop it.
            let _ = taken.send(());
        }
        changed(node, &(config, special)).await;
    }
}

fn current(node: &Node) -> (DnsdConfig, Vec<IpAddr>) {
    plan(&node.host_dns.borrow().settings, &node.network.borrow(), &node.network_specs.borrow())
}

/// Waits until it should be told something new. Cancel-safe: it compares, it does not count changes.
async fn changed(node: &Node, told: &(DnsdConfig, Vec<IpAddr>)) {
    let (mut dns, mut network, mut specs) = (node.host_dns.subscribe(), node.network.subscribe(), node.network_specs.subscribe());
    while current(node) == *told {
        let open = tokio::select! {
            changed = dns.changed() => changed,
            changed = network.changed() => changed,
            changed = specs.changed() => changed,
        };
        if open.is_err() {
            return std::future::pending().await;
        }
    }
    sleep(SETTLE).await;
}

/// Follows the configuration and the service: says how the name server is wanted and whether it answers, and has it started and
/// stopped. Whatever was missed meanwhile, it is made what it should be.
pub(super) async fn keep(node: Arc<Node>, handle: Handle, local: SocketAddr) {
    let (mut config, mut services) = (node.config.subscribe(), node.services.subscribe());
    let mut ran = false;
    loop {
        let settled = config.borrow_and_update().settled;
        let wanted = settings(&config.borrow(), local);
        let service = services.borrow_and_update().iter().find(|service| service.id == ID).map(|known| (known.state, known.healthy));
        let (state, healthy) = service.unwrap_or_default();
        let runs = state == ServiceState::Running;
        let (enabled, ended) = (wanted.enabled, ran && !runs);
        ran = runs;
        node.host_dns.send_if_modified(|dns| {
            let before = dns.clone();
            dns.serving = enabled && runs && healthy == Some(true);
            dns.settings = wanted;
            if ended {
                dns.report = DnsdStatus::default();
            }
            *dns != before
        });
        match state {
            ServiceState::Skipped | ServiceState::Finished if settled && enabled => handle.start(ID, "").await,
            ServiceState::Running if settled && !enabled => handle.stop(ID, "").await,
            _ => {}
        }
        let open = tokio::select! {
            changed = config.changed() => changed,
            changed = services.changed() => changed,
        };
        if open.is_err() {
            return;
        }
    }
}
