//! The service apid: a process of its own. It is told what has changed (addresses, host name, certificates) while it
//! runs; it is started anew when it ends, and when maintenance ends or begins.

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
    io::AsyncWriteExt,
    net::{TcpStream, unix::pipe},
    sync::{Mutex, oneshot},
    time::{sleep, timeout},
};
use wire::apid_config::ApidConfig;

use super::{
    apid_plan::{Inputs, Plan, is_stale, plan},
    apid_sandbox, machined,
    process::{Verdict, runner},
    service::Service,
};
use crate::{
    logs::{Logs, Ring},
    node::{ActiveConfig, ApiStatus, Node},
};

/// Name of the service.
pub const ID: &str = "apid";
/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);
/// Longest wait for apid to take what it is told; one that does not is started anew.
const TELL_LIMIT: Duration = Duration::from_secs(5);
/// How often the certificate's age is looked at.
const AGE_PERIOD: Duration = Duration::from_secs(5);
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
}

/// What outlives a run of the process: certificates only grow until the next start of the node, and people compare the fingerprint
/// of maintenance's key.
#[derive(Default)]
struct Memory {
    inputs: Inputs,
    key: Option<Arc<Secret>>,
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
        let Memory { inputs, key } = &mut *memory;
        // On the first boot of the node the process gets ready while boot still looks for the configuration. The sender lives in the node.
        drop(self.node.config.subscribe().wait_for(|config| config.settled).await);
        // Nobody is to get in before the rules about that are in force; they follow the configuration at once.
        let mut firewall = self.node.firewall.subscribe();
        if timeout(FIREWALL_LIMIT, firewall.wait_for(|firewall| firewall.settled)).await.is_err() {
            log::warn!(target: "services", "{ID} does not wait for the firewall any longer");
        }
        let mut made = match self.tell(&mut stdin, inputs, key).await {
            Ok(made) => made,
            Err(problem) => return Verdict::Broken(problem),
        };
        // Who started the process may have been told to stop it.
        let _ = taken.send(());
        loop {
            let configured = inputs.config.is_some();
            tokio::select! {
                () = self.changed(inputs) => {}
                () = stale(made) => {}
            }
            if self.node.config.borrow().active.is_some() != configured {
                return Verdict::Anew("starting anew with new settings");
            }
            made = match self.tell(&mut stdin, inputs, key).await {
                Ok(made) => made,
                Err(problem) => return Verdict::Broken(problem),
            };
        }
    }

    /// Tells the process how things are now; returns since when its certificate is.
    async fn tell(&self, stdin: &mut pipe::Sender, inputs: &mut Inputs, key: &mut Option<Arc<Secret>>) -> Result<SystemTime, String> {
        let active = self.refresh(inputs);
        let made = SystemTime::now();
        let config = self.plan(inputs, active, key).await?;
        tell(stdin, &config).await?;
        Ok(made)
    }

    /// Brings the inputs up to date; returns the active configuration that they speak of.
    fn refresh(&self, inputs: &mut Inputs) -> Option<Arc<ActiveConfig>> {
        let active = self.node.config.borrow().active.clone();
        inputs.config = active.as_ref().map(|active| active.text.clone());
        inputs.time_epoch = self.node.time.borrow().epoch;
        let network = self.node.network.borrow();
        inputs.add_addresses(network.addresses());
        inputs.hostname.clone_from(&network.hostname);
        active
    }

    /// Makes certificates for the inputs and tells people what they have to know. Not in the reactor: keys take time.
    async fn plan(&self, inputs: &Inputs, active: Option<Arc<ActiveConfig>>, key: &mut Option<Arc<Secret>>) -> Result<ApidConfig, String> {
        let (settings, inputs, known) = (self.settings.clone(), inputs.clone(), key.clone());
        let job = move || {
            let config = active.as_deref().map(|active| &active.config);
            plan(&inputs, config, known.as_deref(), settings.listen, &settings.socket, SystemTime::now())
        };
        let planned = tokio::task::spawn_blocking(job).await.map_err(|_| "making certificates failed unexpectedly".to_owned())?;
        let Plan { config, fingerprint, warning, key: used } =
            planned.map_err(|error| format!("make certificates: {}", daemon::report(&error)))?;
        *key = Some(Arc::new(used));
        if let Some(warning) = warning {
            self.node.warnings.push(warning);
        }
        let status = ApiStatus { port: Some(self.settings.listen.port()), maintenance_fingerprint: fingerprint };
        self.node.api.send_if_modified(|known| {
            let other = *known != status;
            *known = status;
            other
        });
        Ok(config)
    }

    /// Waits until apid should be told something new. Cancel-safe: it compares, it does not count changes.
    async fn changed(&self, inputs: &Inputs) {
        let mut network = self.node.network.subscribe();
        let mut config = self.node.config.subscribe();
        let mut time = self.node.time.subscribe();
        loop {
            let mut now = inputs.clone();
            self.refresh(&mut now);
            if now != *inputs {
                return sleep(SETTLE).await;
            }
            let open = tokio::select! {
                changed = network.changed() => changed,
                changed = config.changed() => changed,
                changed = time.changed() => changed,
            };
            if open.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Waits until a certificate made then has to be replaced. The clock may jump: it is asked, not waited for.
async fn stale(made: SystemTime) {
    while !is_stale(made, SystemTime::now()) {
        sleep(AGE_PERIOD).await;
    }
}

/// Writes a configuration to the process.
async fn tell(orders: &mut pipe::Sender, config: &ApidConfig) -> Result<(), String> {
    let line = config.to_line().map_err(|error| format!("encode the configuration: {error}"))?;
    match timeout(TELL_LIMIT, orders.write_all(&line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("tell the process its configuration: {error}")),
        Err(_) => Err(format!("the process did not take its configuration within {} s", TELL_LIMIT.as_secs())),
    }
}
