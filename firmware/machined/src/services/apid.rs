//! The service apid: a process of its own. It is told what has changed (addresses, host name, certificates) while it
//! runs; it is started anew when it ends, and when maintenance ends or begins.

use std::{
    io::PipeWriter,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use linux::process::{self, Child, Exit, Input, Signal, Spec};
use pki::Secret;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, unix::pipe},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::apid_config::ApidConfig;

use super::{
    apid_plan::{Inputs, Plan, is_stale, plan},
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
/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);
/// Longest wait for apid to take what it is told; one that does not is started anew.
const TELL_LIMIT: Duration = Duration::from_secs(5);
/// Health check: pause until the first success (clients who wait for the API are served meanwhile), then between checks, and the
/// limit of one.
const FIRST_CHECK: Duration = Duration::from_millis(250);
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
        let mut inputs = Inputs::default();
        let mut key = None;
        loop {
            self.board.state(ID, ServiceState::Preparing, "Starting the process");
            let ended = match self.start(&mut inputs, &mut key).await {
                Ok((child, orders)) => self.watch(child, orders, &mut inputs, &mut key).await,
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
        inputs.config = active.as_ref().map(|active| active.text.clone());
        let network = self.node.network.borrow();
        inputs.add_addresses(network.addresses());
        inputs.hostname.clone_from(&network.hostname);
        active
    }

    /// Makes certificates for the inputs and tells people what they have to know. Not in the reactor: keys take time.
    async fn plan(&self, inputs: &Inputs, active: Option<Arc<ActiveConfig>>, key: &mut Option<Secret>) -> Result<ApidConfig, String> {
        let (settings, inputs, known) = (self.settings.clone(), inputs.clone(), key.take());
        let job = move || {
            let config = active.as_deref().map(|active| &active.config);
            plan(&inputs, config, known.as_ref(), settings.listen, &settings.socket, SystemTime::now())
        };
        let planned = tokio::task::spawn_blocking(job).await.map_err(|_| "making certificates failed unexpectedly".to_owned())?;
        let Plan { config, fingerprint, warning, key: used } =
            planned.map_err(|error| format!("make certificates: {}", daemon::report(&error)))?;
        *key = Some(used);
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

    /// Starts the process and tells it its first configuration. On the first boot of the node the process gets ready while
    /// boot still looks for the configuration. The program is read from the disk: not in the reactor.
    async fn start(&self, inputs: &mut Inputs, key: &mut Option<Secret>) -> Result<(Child, pipe::Sender), String> {
        let spec = spec(&self.settings, self.logs.ring(ID));
        let spawned = tokio::task::spawn_blocking(move || process::spawn(&spec)).await;
        let spawned = spawned.map_err(|_| "the start failed unexpectedly".to_owned())?;
        let mut child = spawned.map_err(|error| daemon::report(&error).to_string())?;
        match self.first_order(&mut child, inputs, key).await {
            Ok(orders) => {
                self.board.pid(ID, Some(child.pid));
                let program = self.settings.program.display();
                self.board.state(ID, ServiceState::Running, &format!("Process {program} started with PID {}", child.pid));
                Ok((child, orders))
            }
            Err(problem) => {
                terminate(child).await;
                let last = self.logs.ring(ID).tail(1).pop().unwrap_or_default();
                Err(format!("{problem}; last line: {last}"))
            }
        }
    }

    /// Waits until it is known whether there is a configuration, then tells the process.
    async fn first_order(&self, child: &mut Child, inputs: &mut Inputs, key: &mut Option<Secret>) -> Result<pipe::Sender, String> {
        let mut orders = sender(child.stdin.take().ok_or("no pipe to the process")?)?;
        let mut config = self.node.config.subscribe();
        tokio::select! {
            () = self.stop.cancelled() => return Err("told to stop before it was started".to_owned()),
            // The sender lives in the node.
            _ = config.wait_for(|config| config.settled) => {}
        }
        let active = self.refresh(inputs);
        let order = self.plan(inputs, active, key).await?;
        tell(&mut orders, &order).await?;
        Ok(orders)
    }

    /// Watches a running process: health, changes, the word to stop.
    async fn watch(&self, mut child: Child, mut orders: pipe::Sender, inputs: &mut Inputs, key: &mut Option<Secret>) -> Ended {
        let started = Instant::now();
        let mut made = SystemTime::now();
        let mut next_check = started + FIRST_CHECK;
        let mut healthy = false;
        let ended = 'running: loop {
            // Outside the inner loop: a pause in it must not begin anew with every health check.
            let seen = inputs.clone();
            let changed = self.changed(&seen);
            tokio::pin!(changed);
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => break 'running Ended::Stop,
                    exit = &mut child.exit => break 'running Ended::ByItself(exit.unwrap_or(Exit::Code(255))),
                    () = &mut changed => break,
                    () = sleep_until(next_check) => {
                        let result = check(self.settings.listen.port()).await;
                        healthy = healthy || result.is_ok();
                        if healthy || started.elapsed() > CHECK_PATIENCE {
                            self.board.health(ID, result);
                        }
                        next_check = Instant::now() + if healthy { CHECK_PERIOD } else { FIRST_CHECK };
                        if is_stale(made, SystemTime::now()) {
                            break;
                        }
                    }
                }
            }
            let active = self.refresh(inputs);
            if inputs.config.is_some() != seen.config.is_some() {
                break Ended::Changed;
            }
            made = SystemTime::now();
            let told = match self.plan(inputs, active, key).await {
                Ok(config) => tell(&mut orders, &config).await,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = told {
                log::warn!(target: "services", "{ID} is started anew: {problem}");
                break Ended::Changed;
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

    /// Waits until apid should be told something new. Cancel-safe: it compares, it does not count changes.
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

/// How the process is started.
fn spec(settings: &ApidSettings, output: Arc<Ring>) -> Spec {
    Spec {
        program: settings.program.clone(),
        user: settings.user,
        cgroup: settings.cgroup.clone(),
        oom_score_adj: settings.oom_score,
        no_new_privs: true,
        drop_capabilities: true,
        stdin: Input::Pipe,
        output: Some(output),
        ..Spec::default()
    }
}

fn sender(stdin: PipeWriter) -> Result<pipe::Sender, String> {
    pipe::Sender::from_owned_fd(stdin.into()).map_err(|error| format!("use the pipe to the process: {error}"))
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
