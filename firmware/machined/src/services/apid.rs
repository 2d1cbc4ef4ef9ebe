//! The service apid: a process of its own. It is told what has changed (addresses, host name, certificates) while it
//! runs; it is started anew when it ends, and when maintenance ends or begins. On a worker it serves once a control plane has signed its
//! certificate.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use linux::{
    process::{self, Capabilities, Input},
    sandbox::Sandbox,
};
use pki::Secret;
use supervise::{HealthCheck, Kind, Spec};
use tokio::{
    net::{TcpStream, unix::pipe},
    sync::{Mutex, oneshot},
    time::{sleep, timeout},
};
use wire::{apid_config::ApidConfig, orders::to_line};

use super::{
    apid_plan::{Inputs, Plan, Signer, Subject, own_key, plan},
    apid_sandbox,
    join::{self, Signed, Terms},
    machined,
    process::{Verdict, runner},
    service::Service,
    told::{changed, refresh, stale, tell},
};
use crate::{
    logs::{Logs, Ring},
    node::{ActiveConfig, ApiStatus, Node},
};

/// Name of the service.
pub const ID: &str = "apid";
/// A certificate that an authority signed which is about to be replaced is asked for anew after this long.
const PROVISIONAL: Duration = Duration::from_secs(60);
/// Between SIGTERM and SIGKILL. The reference's figure.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// Clients who wait for the API are served by the first success, so until then it is asked for often; that nobody listens yet is no news
/// for a moment.
const HEALTH: HealthCheck = HealthCheck {
    initial_delay: Duration::from_millis(250),
    period: Duration::from_secs(5),
    eager_period: Duration::from_millis(250),
    timeout: Duration::from_millis(500),
    patience: Duration::from_secs(3),
};
/// Longest wait for the firewall: a node that nobody can reach is worse.
const FIREWALL_LIMIT: Duration = Duration::from_secs(10);

/// How the process is started.
#[derive(Clone, Debug)]
pub struct ApidSettings {
    /// The program.
    pub program: PathBuf,
    /// Who it runs as; `None` stays the user of this process (tests).
    pub user: Option<process::User>,
    /// Control group folder; `None` stays in ours (tests).
    pub cgroup: Option<PathBuf>,
    /// Out-of-memory score; `None` keeps ours (tests: a lower one takes privileges).
    pub oom_score: Option<i16>,
    /// What it sees of the node; `None` for all of it (tests).
    pub sandbox: Option<Sandbox>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// machined's socket.
    pub socket: PathBuf,
    /// Where control planes sign for workers.
    pub trustd_port: u16,
}

/// What outlives a run of the process: certificates only grow until the next start of the node, and people compare the fingerprint
/// of maintenance's key.
#[derive(Default)]
struct Memory {
    inputs: Inputs,
    key: Option<Arc<Secret>>,
    /// A worker's certificate.
    signed: Option<Signed>,
}

/// What apid's orders are made of.
struct Apid {
    settings: ApidSettings,
    node: Arc<Node>,
    /// Held for a run, and there is one at a time.
    memory: Mutex<Memory>,
}

/// The service. It does not wait for machined's socket, so that its process gets ready while boot still looks for the configuration.
pub(super) fn service(settings: ApidSettings, node: Arc<Node>, logs: &Logs) -> Service {
    let port = settings.listen.port();
    let (started, output) = (settings.clone(), logs.ring(ID));
    let apid = Arc::new(Apid { settings, node, memory: Mutex::default() });
    let orders = move |stdin, taken| {
        let apid = Arc::clone(&apid);
        async move { apid.orders(stdin, taken).await }.boxed()
    };
    let spec =
        Spec { stops_before: vec![machined::ID.into()], health: Some(HEALTH), stop_grace: STOP_GRACE, ..Spec::new(ID, Kind::Process) };
    Service::new(spec, runner(move || process_spec(&started, Arc::clone(&output)), Some(Arc::new(orders)))).healthy_when(
        move || async move {
            let connected = TcpStream::connect(("127.0.0.1", port)).await;
            connected.map(drop).map_err(|error| format!("connect to port {port}: {error}"))
        },
    )
}

/// How the process is started.
fn process_spec(settings: &ApidSettings, output: Arc<Ring>) -> process::Spec {
    process::Spec {
        program: settings.program.clone(),
        user: settings.user,
        cgroup: settings.cgroup.clone(),
        oom_score_adj: settings.oom_score,
        no_new_privs: true,
        capabilities: Some(Capabilities::NONE),
        rlimits: settings.sandbox.iter().flat_map(|_| apid_sandbox::LIMITS).collect(),
        sandbox: settings.sandbox.clone(),
        stdin: Input::Pipe,
        output: Some(output),
        ..process::Spec::default()
    }
}

impl Apid {
    /// Tells a process what it is to do, first and whenever that changes, for as long as it can do that.
    async fn orders(&self, mut stdin: pipe::Sender, taken: oneshot::Sender<()>) -> Verdict {
        let mut memory = self.memory.lock().await;
        // On the first boot of the node the process gets ready while boot still looks for the configuration. The sender lives in the node.
        drop(self.node.config.subscribe().wait_for(|config| config.settled).await);
        // Nobody is to get in before the rules about that are in force; they follow the configuration at once.
        let mut firewall = self.node.firewall.subscribe();
        if timeout(FIREWALL_LIMIT, firewall.wait_for(|firewall| firewall.settled)).await.is_err() {
            log::warn!(target: "services", "{ID} does not wait for the firewall any longer");
        }
        let (mut taken, configured) = (Some(taken), self.node.config.borrow().active.is_some());
        loop {
            let made = match self.tell(&mut stdin, &mut memory).await {
                Ok(made) => made,
                Err(problem) => return Verdict::Broken(problem),
            };
            if let Some(made) = made {
                if let Some(taken) = taken.take() {
                    // Who started the process may have been told to stop it.
                    let _ = taken.send(());
                }
                let provisional = memory.signed.as_ref().is_some_and(|signed| signed.provisional);
                tokio::select! {
                    () = changed(&self.node, &memory.inputs) => {}
                    () = stale(made) => {}
                    () = sleep(PROVISIONAL), if provisional => {}
                }
            }
            if self.node.config.borrow().active.is_some() != configured {
                return Verdict::Anew("starting anew with new settings");
            }
        }
    }

    /// Tells the process how things are now; returns since when its certificate is. `None`: a worker waited for its certificate, and
    /// meanwhile things became different.
    async fn tell(&self, stdin: &mut pipe::Sender, memory: &mut Memory) -> Result<Option<SystemTime>, String> {
        let active = refresh(&self.node, &mut memory.inputs);
        let worker = active.as_ref().filter(|active| own_key(&active.config).is_none());
        let mut made = SystemTime::now();
        if let Some(active) = worker {
            let subject = Subject::of(&memory.inputs, Some(&active.config));
            let terms = Terms::of(subject, &active.config, memory.inputs.time_epoch);
            if !memory.signed.as_ref().is_some_and(|signed| signed.serves(&terms, made)) {
                // Control planes may be away for long: what there is serves meanwhile, with all else that is new.
                if memory.signed.as_ref().is_some_and(|signed| signed.is_valid(made)) {
                    let config = self.plan(memory, Some(Arc::clone(active))).await?;
                    tell(stdin, to_line(&config)).await?;
                }
                let former = memory.signed.as_ref();
                let signed = tokio::select! {
                    signed = join::certificate(&self.node, &active.config, &terms, former, self.settings.trustd_port) => signed,
                    () = changed(&self.node, &memory.inputs) => return Ok(None),
                };
                memory.signed = Some(signed);
            }
            made = memory.signed.as_ref().map_or(made, |signed| signed.made);
        } else {
            memory.signed = None;
        }
        let config = self.plan(memory, active).await?;
        tell(stdin, to_line(&config)).await?;
        Ok(Some(made))
    }

    /// Makes certificates for the inputs and tells people what they have to know. Not in the reactor: keys take time.
    async fn plan(&self, memory: &mut Memory, active: Option<Arc<ActiveConfig>>) -> Result<ApidConfig, String> {
        let (settings, inputs, known) = (self.settings.clone(), memory.inputs.clone(), memory.key.clone());
        let signed = memory.signed.clone();
        let job = move || {
            let signer = match (active.as_deref().map(|active| &active.config), &signed) {
                (None, _) => Signer::Maintenance(known.as_deref()),
                (Some(config), Some(signed)) => Signer::Trustd(config, &signed.identity),
                (Some(config), None) => Signer::Own(config, own_key(config).ok_or(pki::Error::KeyMismatch)?),
            };
            plan(&inputs, signer, settings.listen, &settings.socket, SystemTime::now())
        };
        let planned = tokio::task::spawn_blocking(job).await.map_err(|_| "making certificates failed unexpectedly".to_owned())?;
        let Plan { config, fingerprint, key } = planned.map_err(|error| format!("make certificates: {}", daemon::report(&error)))?;
        memory.key = Some(Arc::new(key));
        let told = Some(Arc::new(config.clone()));
        let status = ApiStatus { port: Some(self.settings.listen.port()), maintenance_fingerprint: fingerprint, told };
        self.node.api.send_if_modified(|known| {
            let other = *known != status;
            *known = status;
            other
        });
        Ok(config)
    }
}
