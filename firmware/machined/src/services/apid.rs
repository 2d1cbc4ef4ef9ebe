//! The service apid: a process of its own, restarted when it ends or when what it was told is no longer so.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use linux::process::{self, Child, Exit, Signal, Spec};
use pki::Secret;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    apid_plan::{ConfigText, Inputs, Plan, is_stale, plan},
    board::Board,
};
use crate::{
    logs::{Logs, Ring},
    node::{ActiveConfig, ApiStatus, Node, ServiceState},
};

/// Name of the service.
pub const ID: &str = "apid";
/// Pause before a service that ended by itself is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(5);
/// How long the first start waits for an address: without one nobody can reach the API anyway.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);
/// Changes that come together cause one restart.
const SETTLE: Duration = Duration::from_millis(300);
/// Health check: pause until the first success, then between checks, and the limit of one.
const FIRST_CHECK: Duration = Duration::from_millis(20);
const CHECK_PERIOD: Duration = Duration::from_secs(5);
const CHECK_LIMIT: Duration = Duration::from_millis(500);
/// A failure is reported only after this long, because a process takes a moment to listen.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);
/// Between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);

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
    /// Where it listens.
    pub listen: SocketAddr,
    /// machined's socket.
    pub socket: PathBuf,
}

/// What ended a run of the process.
enum Ended {
    ByItself(Exit),
    Stop,
    Changed,
}

/// The service.
pub struct Apid {
    pub(super) settings: ApidSettings,
    pub(super) node: Arc<Node>,
    pub(super) board: Arc<Board>,
    pub(super) logs: Arc<Logs>,
    pub(super) stop: CancellationToken,
}

impl Apid {
    /// Keeps the process running until told to stop.
    pub async fn run(self) {
        self.board.state(ID, ServiceState::Waiting, "Waiting for an address");
        let mut inputs = Inputs::default();
        let first = async {
            // The sender lives in the node.
            let _ = self.node.network.subscribe().wait_for(|network| network.addresses().next().is_some()).await;
        };
        tokio::select! {
            () = self.stop.cancelled() => return self.board.state(ID, ServiceState::Finished, "Service was never started"),
            _ = timeout(ADDRESS_WAIT, first) => {}
        }
        let mut key = None;
        loop {
            let active = self.refresh(&mut inputs);
            self.board.state(ID, ServiceState::Preparing, "Making certificates");
            let ended = match self.start(&inputs, active, &mut key).await {
                Ok(child) => self.watch(child, &inputs).await,
                Err(problem) => {
                    self.board.state(ID, ServiceState::Failed, &problem);
                    self.pause().await
                }
            };
            match ended {
                Ended::Stop => return self.board.state(ID, ServiceState::Finished, "Service finished successfully"),
                Ended::Changed => {}
                Ended::ByItself(exit) => {
                    let last = self.logs.ring(ID).tail(1).pop().unwrap_or_default();
                    self.board.state(ID, ServiceState::Failed, &format!("Process ended: {exit}; last line: {last}"));
                    if let Ended::Stop = self.pause().await {
                        return self.board.state(ID, ServiceState::Finished, "Service finished successfully");
                    }
                }
            }
        }
    }

    /// Waits before the next start; the word to stop ends it.
    async fn pause(&self) -> Ended {
        self.board.state(ID, ServiceState::Waiting, &format!("Restarting in {} s", RESTART_PAUSE.as_secs()));
        tokio::select! {
            () = self.stop.cancelled() => Ended::Stop,
            () = sleep(RESTART_PAUSE) => Ended::Changed,
        }
    }

    /// Brings the inputs up to date; returns the active configuration that they speak of.
    fn refresh(&self, inputs: &mut Inputs) -> Option<Arc<ActiveConfig>> {
        let active = self.node.config.borrow().active.clone();
        inputs.config = active.as_ref().map(|active| ConfigText(active.text.clone().into()));
        let network = self.node.network.borrow();
        inputs.add_addresses(network.addresses());
        inputs.hostname.clone_from(&network.hostname);
        active
    }

    /// Starts the process. Keys are made and the program is read from the disk: not in the reactor.
    async fn start(&self, inputs: &Inputs, active: Option<Arc<ActiveConfig>>, key: &mut Option<Secret>) -> Result<Child, String> {
        let (settings, inputs, output) = (self.settings.clone(), inputs.clone(), self.logs.ring(ID));
        let known = key.take();
        let job = move || launch(&settings, &inputs, active.as_deref(), known.as_ref(), output);
        let launched = tokio::task::spawn_blocking(job).await;
        let Launched { child, fingerprint, warning, key: used } = launched.map_err(|_| "the start failed unexpectedly".to_owned())??;
        *key = Some(used);
        if let Some(warning) = warning {
            self.node.warnings.push(warning);
        }
        self.board.pid(ID, Some(child.pid));
        let port = Some(self.settings.listen.port());
        self.node.api.send_replace(ApiStatus { port, maintenance_fingerprint: fingerprint });
        let program = self.settings.program.display();
        self.board.state(ID, ServiceState::Running, &format!("Process {program} started with PID {}", child.pid));
        Ok(child)
    }

    /// Watches a running process: health, changes, the word to stop.
    async fn watch(&self, mut child: Child, inputs: &Inputs) -> Ended {
        let (started, made) = (Instant::now(), SystemTime::now());
        let mut next_check = started + FIRST_CHECK;
        let mut healthy = false;
        // Outside the loop: a pause in it must not begin anew with every health check.
        let changed = self.changed(inputs);
        tokio::pin!(changed);
        let ended = loop {
            tokio::select! {
                () = self.stop.cancelled() => break Ended::Stop,
                exit = &mut child.exit => break Ended::ByItself(exit.unwrap_or(Exit::Code(255))),
                () = &mut changed => break Ended::Changed,
                () = sleep_until(next_check) => {
                    let result = check(self.settings.listen.port()).await;
                    healthy = healthy || result.is_ok();
                    if healthy || started.elapsed() > CHECK_PATIENCE {
                        self.board.health(ID, result);
                    }
                    if is_stale(made, SystemTime::now()) {
                        break Ended::Changed;
                    }
                    next_check = Instant::now() + if healthy { CHECK_PERIOD } else { FIRST_CHECK };
                }
            }
        };
        if !matches!(ended, Ended::ByItself(_)) {
            let why = if matches!(ended, Ended::Stop) { "Sending SIGTERM" } else { "Sending SIGTERM to start anew with new settings" };
            self.board.state(ID, ServiceState::Stopping, why);
            terminate(child).await;
        }
        self.board.pid(ID, None);
        ended
    }

    /// Waits until apid should be started anew. Cancel-safe: it compares, it does not count changes.
    async fn changed(&self, inputs: &Inputs) {
        let mut network = self.node.network.subscribe();
        let mut config = self.node.config.subscribe();
        loop {
            let mut now = inputs.clone();
            self.refresh(&mut now);
            if now != *inputs {
                return sleep(SETTLE).await;
            }
            let open = tokio::select! {
                changed = network.changed() => changed,
                changed = config.changed() => changed,
            };
            if open.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// A process that was started and what people are told about it.
struct Launched {
    child: Child,
    fingerprint: Option<String>,
    warning: Option<&'static str>,
    key: Secret,
}

/// Makes certificates and starts the process with them.
fn launch(
    settings: &ApidSettings,
    inputs: &Inputs,
    active: Option<&ActiveConfig>,
    key: Option<&Secret>,
    output: Arc<Ring>,
) -> Result<Launched, String> {
    let config = active.map(|active| &active.config);
    let Plan { config, fingerprint, warning, key } = plan(inputs, config, key, settings.listen, &settings.socket, SystemTime::now())
        .map_err(|error| format!("make certificates: {}", daemon::report(&error)))?;
    let stdin = serde_json::to_vec(&config).map_err(|error| format!("encode the start configuration: {error}"))?;
    let spec = Spec {
        program: settings.program.clone(),
        user: settings.user,
        cgroup: settings.cgroup.clone(),
        oom_score_adj: settings.oom_score,
        no_new_privs: true,
        drop_capabilities: true,
        stdin: Some(stdin),
        output: Some(output),
        ..Spec::default()
    };
    let child = process::spawn(&spec).map_err(|error| daemon::report(&error).to_string())?;
    Ok(Launched { child, fingerprint, warning, key })
}

/// SIGTERM, a grace period, SIGKILL; returns once the process is collected.
async fn terminate(mut child: Child) {
    for (signal, grace) in [(Signal::SIGTERM, STOP_GRACE), (Signal::SIGKILL, STOP_GRACE)] {
        if let Err(error) = process::signal(child.pid, signal) {
            log::warn!(target: "services", "stop {ID}: {}", daemon::report(&error));
        }
        if timeout(grace, &mut child.exit).await.is_ok() {
            return;
        }
    }
    log::error!(target: "services", "{ID} (pid {}) does not die", child.pid);
}

async fn check(port: u16) -> Result<(), String> {
    match timeout(CHECK_LIMIT, TcpStream::connect(("127.0.0.1", port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("connect to port {port}: {error}")),
        Err(_) => Err(format!("connect to port {port}: no answer within {} ms", CHECK_LIMIT.as_millis())),
    }
}
