//! The service trustd, on control planes: a process of its own that signs the certificates of joining nodes. It begins once the time can
//! be relied on, because what it signs is dated, and is told what has changed while it runs.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use futures_util::FutureExt;
use linux::process::Capabilities;
use pki::{Authority, Identity};
use supervise::{HealthCheck, Kind, Spec};
use tokio::{
    net::{TcpStream, unix::pipe},
    sync::oneshot,
};
use wire::{orders::to_line, trustd_config::TrustdConfig};
use zeroize::Zeroizing;

use super::{
    Handle,
    apid_plan::{Inputs, Subject, own_key},
    conditions,
    process::{Verdict, runner},
    service::Service,
    settings::{DaemonSettings, make_group},
    told::{changed, refresh, stale, tell},
    trustd_sandbox,
};
use crate::{
    logs::Logs,
    node::{ActiveConfig, Node},
};

/// Name of the service.
pub const ID: &str = "trustd";

/// The service. [`keep`] is to run beside it.
pub(super) fn service(settings: DaemonSettings, node: &Arc<Node>, logs: &Logs) -> Service {
    let (port, group, listen) = (settings.listen.port(), settings.cgroup, settings.listen);
    let output = logs.ring(ID);
    let (teller, wanted) = (Arc::clone(node), Arc::clone(node));
    let orders = move |stdin, taken| {
        let node = Arc::clone(&teller);
        async move { orders(&node, listen, stdin, taken).await }.boxed()
    };
    let spec = Spec {
        conditions: vec![conditions::TIME.into(), conditions::NETWORK.into()],
        health: Some(HealthCheck::default()),
        ..Spec::new(ID, Kind::Process)
    };
    Service::new(spec, runner(move || settings.spec(Capabilities::NONE, &trustd_sandbox::LIMITS, output.clone()), Some(Arc::new(orders))))
        .prepared_by(move || prepare(Arc::clone(&wanted), group))
        .healthy_when(move || async move {
            let connected = TcpStream::connect(("127.0.0.1", port)).await;
            connected.map(drop).map_err(|error| format!("connect to port {port}: {error}"))
        })
}

/// Whether this node signs for others.
fn is_wanted(active: Option<&ActiveConfig>) -> bool {
    active.is_some_and(|active| own_key(&active.config).is_some())
}

/// Makes its control group. `false`: it is not wanted.
async fn prepare(node: Arc<Node>, group: Option<&'static str>) -> Result<bool, String> {
    // The sender lives in the node.
    drop(node.config.subscribe().wait_for(|config| config.settled).await);
    if !is_wanted(node.config.borrow().active.as_deref()) {
        return Ok(false);
    }
    make_group(group).await.map(|()| true)
}

/// Starts the service when a configuration comes that wants it: before, its start was skipped.
pub(super) async fn keep(node: Arc<Node>, services: Handle) {
    let mut config = node.config.subscribe();
    let mut known = is_wanted(config.borrow_and_update().active.as_deref());
    while config.changed().await.is_ok() {
        let wanted = is_wanted(config.borrow_and_update().active.as_deref());
        if wanted && !known {
            services.start(ID, "").await;
        }
        known = wanted;
    }
}

/// Tells a process what it is to sign with, first and whenever that changes, for as long as the node is a control plane.
async fn orders(node: &Node, listen: SocketAddr, mut stdin: pipe::Sender, taken: oneshot::Sender<()>) -> Verdict {
    let (mut inputs, mut taken) = (Inputs::default(), Some(taken));
    loop {
        let active = refresh(node, &mut inputs);
        let Some(active) = active.filter(|active| is_wanted(Some(active))) else {
            return Verdict::Anew("this node does not sign for others any more");
        };
        let made = SystemTime::now();
        let told = match plan(&inputs, active, listen, made).await {
            Ok(config) => tell(&mut stdin, to_line(&config)).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = told {
            return Verdict::Broken(problem);
        }
        if let Some(taken) = taken.take() {
            // Who started the process may have been told to stop it.
            let _ = taken.send(());
        }
        tokio::select! {
            () = changed(node, &inputs) => {}
            () = stale(made) => {}
        }
    }
}

/// What it is told, with a fresh certificate. Not in the reactor: keys take time.
async fn plan(inputs: &Inputs, active: Arc<ActiveConfig>, listen: SocketAddr, now: SystemTime) -> Result<TrustdConfig, String> {
    let subject = Subject::of(inputs, Some(&active.config));
    let job = move || {
        let config = &active.config;
        let ca = config.machine_ca();
        let Some(key) = own_key(config) else { return Err(pki::Error::KeyMismatch) };
        let Identity { cert_pem, key_pem } = Authority::from_pem(&ca.cert_pem, key)?.issue_server(&subject.request(), now)?;
        Ok(TrustdConfig {
            listen,
            server_chain_pem: cert_pem,
            server_key_pem: Zeroizing::new(key_pem.expose().to_owned()),
            authority_pem: ca.cert_pem.clone(),
            authority_key_pem: Zeroizing::new(key.expose().to_owned()),
            accepted_pem: config.client_cas_pem(),
            token: Zeroizing::new(config.token().expose().to_owned()),
        })
    };
    let planned = tokio::task::spawn_blocking(job).await.map_err(|_| "making a certificate failed unexpectedly".to_owned())?;
    planned.map_err(|error| format!("make a certificate: {}", daemon::report(&error)))
}
