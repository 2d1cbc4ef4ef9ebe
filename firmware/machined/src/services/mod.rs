//! The services of this node and their supervisor.
//!
//! - [`Supervisor`]: binds machined's socket, starts the services, stops them in the order in which they need each other;
//! - [`Handle`]: what may be asked of it, by API users and by sequences;
//! - `driver`: feeds the machine of crate `supervise` and does what it says; `board`: the only writer of `node.services`;
//! - `service`, `process`: what a service is, and how its work is run; `conditions`: what it may wait for beside others;
//! - `machined`, `apid`, `dnsd`, `trustd`: the services of this version, a file each. Another one is another value in [`Supervisor::start`]'s list;
//! - `told`, `join`: what processes are told, and where a worker's certificate comes from.
//!
//! Absent on purpose: what comes next for a service, which is decided in `supervise`.

mod apid;
mod apid_plan;
mod apid_sandbox;
mod board;
mod conditions;
mod dnsd;
mod dnsd_plan;
mod dnsd_sandbox;
mod driver;
mod join;
mod machined;
mod process;
mod service;
mod settings;
mod system_calls;
mod told;
mod trustd;
mod trustd_sandbox;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use apid::ApidSettings;
pub(crate) use apid_plan::{CERTIFICATE_LIFE as NODE_CERTIFICATE_LIFE, own_key};
pub(crate) use board::{wire_health, wire_time};
use linux::process::User;
pub use settings::DaemonSettings;
use supervise::{GraphError, Id, Operation, Refused};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{
    board::Board,
    driver::{Driver, Request},
};
use crate::{
    api::{BindError, Sources},
    events::Events,
    logs::Logs,
    node::Node,
};

/// User and group of apid.
pub const APID_USER: User = User { uid: 50, gid: 50 };
/// User and group of trustd.
const TRUSTD_USER: User = User { uid: 51, gid: 51 };
/// User and group of dnsd.
const DNSD_USER: User = User { uid: 52, gid: 52 };
/// Where the links to our program lie that make it apid, dnsd and trustd.
const APID_PROGRAM: &str = "/usr/libexec/keelson/apid";
const DNSD_PROGRAM: &str = "/usr/libexec/keelson/dnsd";
const TRUSTD_PROGRAM: &str = "/usr/libexec/keelson/trustd";
/// The same for the launcher.
const LAUNCHER: &str = "/usr/libexec/keelson/launcher";
/// Only containerd matters more when memory runs out.
const APID_OOM_SCORE: i16 = -998;
/// As apid's (the reference's figure).
const TRUSTD_OOM_SCORE: i16 = -998;
/// trustd's control group.
const TRUSTD_GROUP: &str = "system/trustd";
/// Every pod that looks for a name needs it, so it matters as much as the kubelet (design, section 3).
const DNSD_OOM_SCORE: i16 = -996;
/// dnsd's control group.
const DNSD_GROUP: &str = "system/dnsd";
/// Where the node's programs ask for names (behaviour (j) of the reference).
const DNSD_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 53], 53);
/// What can wait begins this long after the API is up: a client that waited for it is answered first.
const QUIET: Duration = Duration::from_secs(1);
/// Longest wait for the API.
const API_LIMIT: Duration = Duration::from_secs(10);
/// Callers of the API that may wait for the supervisor.
const REQUESTS: usize = 16;
/// Longest wait for the services to stop: more than their own bound (30 s for those that others need, 15 s of grace, 10 s after that).
const STOP_LIMIT: Duration = Duration::from_secs(58);
/// Longest wait for what is under way once they have: health checks.
const LEFT_LIMIT: Duration = Duration::from_secs(1);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// machined's socket; its folder is made.
    pub socket: PathBuf,
    /// Who may talk on the socket beside this process.
    pub peer: User,
    /// How apid is started.
    pub apid: ApidSettings,
    /// How dnsd is started.
    pub dnsd: DaemonSettings,
    /// How trustd is started.
    pub trustd: DaemonSettings,
}

impl Settings {
    /// Those of a node. `cgroup` is the folder of apid's control group, if control groups are there; those of others are made before
    /// they start.
    #[must_use]
    pub fn node(cgroup: Option<PathBuf>) -> Self {
        let socket = Path::new(wire::MACHINED_SOCKET).to_owned();
        Self {
            peer: APID_USER,
            apid: ApidSettings {
                program: APID_PROGRAM.into(),
                user: Some(APID_USER),
                cgroup,
                oom_score: Some(APID_OOM_SCORE),
                sandbox: Some(apid_sandbox::sandbox(LAUNCHER.as_ref(), &socket)),
                listen: ([0_u16; 8], wire::APID_PORT).into(),
                socket: socket.clone(),
                trustd_port: wire::TRUSTD_PORT,
            },
            trustd: DaemonSettings {
                program: TRUSTD_PROGRAM.into(),
                user: Some(TRUSTD_USER),
                cgroup: Some(TRUSTD_GROUP),
                oom_score: Some(TRUSTD_OOM_SCORE),
                sandbox: Some(trustd_sandbox::sandbox(LAUNCHER.as_ref())),
                listen: ([0_u16; 8], wire::TRUSTD_PORT).into(),
            },
            dnsd: DaemonSettings {
                program: DNSD_PROGRAM.into(),
                user: Some(DNSD_USER),
                cgroup: Some(DNSD_GROUP),
                oom_score: Some(DNSD_OOM_SCORE),
                sandbox: Some(dnsd_sandbox::sandbox(LAUNCHER.as_ref())),
                listen: DNSD_LISTEN.into(),
            },
            socket,
        }
    }
}

/// Waits until apid's health check has succeeded, at most for `limit`.
pub async fn api_up(node: &Node, limit: Duration) {
    let mut services = node.services.subscribe();
    let up = services.wait_for(|list| list.iter().any(|service| service.id == apid::ID && service.healthy == Some(true)));
    // Whatever comes first.
    drop(timeout(limit, up).await);
}

/// Waits until the API has answered its first callers, or has had its time: then is the turn of what it does not need.
pub async fn api_answered(node: &Node) {
    api_up(node, API_LIMIT).await;
    sleep(QUIET).await;
}

/// The services cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// machined's socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A mistake in the program.
    #[error("put the services in order")]
    Graph(#[from] GraphError),
}

/// What an API user asked for is not done.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Too many ask.
    #[error("too many requests about services are waiting; try again")]
    Busy,
    /// The services are down for good.
    #[error("the node is going down: its services have been stopped")]
    Gone,
}

/// What may be asked of the supervisor.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Request>);

impl Handle {
    /// A handle with nobody behind it (tests).
    #[doc(hidden)]
    #[must_use]
    pub fn of_nobody() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Starts, stops or restarts a service; returns once what was running has ended, if it has to. Its events carry `actor`.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, operation: Operation, id: &str, actor: &str) -> Result<(), AskError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Ask { operation, id: id.to_owned(), actor: actor.into(), reply };
        self.0.try_send(request).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Gone,
        })?;
        Ok(answer.await.map_err(|_| AskError::Gone)??)
    }

    /// No service is started any more, whoever asks: the node is about to go down.
    pub async fn deny_starts(&self) {
        // Without a driver nothing is started either.
        drop(self.0.send(Request::DenyStarts).await);
    }

    /// Starts a service unless it runs; returns at once.
    async fn start(&self, id: &str, actor: &str) {
        // Without a driver nothing is started.
        drop(self.0.send(Request::Start { id: id.into(), actor: actor.into() }).await);
    }

    /// Stops a service, after those that need it; returns once it has ended, within the bound of [`Supervisor::stop_all`].
    pub async fn stop(&self, id: &str, actor: &str) {
        let (reply, stopped) = oneshot::channel();
        if self.0.send(Request::Stop { id: id.into(), actor: actor.into(), reply }).await.is_ok() {
            // It answers, or it is gone.
            drop(stopped.await);
        }
    }
}

/// Owner of the services' tasks.
#[derive(Debug)]
pub struct Supervisor {
    handle: Handle,
    tasks: TaskTracker,
}

impl Supervisor {
    /// Binds machined's socket, then starts the services. Needs a tokio runtime and `linux::process::start_reaper`.
    ///
    /// # Errors
    /// When the socket cannot be bound, or services need what is not there.
    pub fn start(settings: Settings, node: &Arc<Node>, logs: &Arc<Logs>, events: &Arc<Events>) -> Result<Self, StartError> {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let handle = Handle(sender);
        let sources = Sources { node: Arc::clone(node), logs: Arc::clone(logs), events: Arc::clone(events), services: handle.clone() };
        let names = settings.dnsd.listen;
        let services = vec![
            machined::service(settings.socket, settings.peer, sources)?,
            apid::service(settings.apid, Arc::clone(node), logs),
            dnsd::service(settings.dnsd, node, logs),
            trustd::service(settings.trustd, node, logs),
        ];
        let board = Board::new(Arc::clone(node), Arc::clone(events));
        let tasks = TaskTracker::new();
        let mut driver = Driver::new(node, logs, board, requests, &tasks);
        driver.add(services)?;
        tasks.spawn(driver.run());
        node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(dnsd::keep(Arc::clone(node), handle.clone(), names)));
        node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(trustd::keep(Arc::clone(node), handle.clone())));
        Ok(Self { handle, tasks })
    }

    /// For those who only ask.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops all services, each after those that need it. `actor` is stamped on their events.
    pub async fn stop_all(self, actor: &str) {
        let (reply, stopped) = oneshot::channel();
        let stopping = async {
            if self.handle.0.send(Request::StopAll { actor: Id::from(actor), reply }).await.is_ok() {
                // It answers, or it is gone.
                drop(stopped.await);
            }
        };
        if timeout(STOP_LIMIT, stopping).await.is_err() {
            log::error!(target: "services", "not all services stopped within {} s", STOP_LIMIT.as_secs());
        }
        self.tasks.close();
        if timeout(LEFT_LIMIT, self.tasks.wait()).await.is_err() {
            log::error!(target: "services", "{} tasks of services are left over", self.tasks.len());
        }
    }
}
