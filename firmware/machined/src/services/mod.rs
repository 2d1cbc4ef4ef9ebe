//! The services of this version: `machined` itself (the machine API on its socket) and `apid`.
//!
//! [`Supervisor::start`] binds the socket and starts both; [`Supervisor::stop_all`] stops them in reverse.
//! [`Board`] is the only writer of `node.services`. Absent on purpose: dependencies and conditions between
//! services; they come with containerd.

mod apid;
mod apid_plan;
mod board;
mod own;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use apid::ApidSettings;
pub use board::Board;
pub(crate) use board::{wire_health, wire_time};
use linux::process::User;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{self, BindError, Sources},
    events::Events,
    logs::Logs,
    node::Node,
};

/// User and group of apid.
pub const APID_USER: User = User { uid: 50, gid: 50 };
/// Where the link to our program lies that makes it apid.
const APID_PROGRAM: &str = "/usr/libexec/keelson/apid";
/// Only containerd matters more when memory runs out.
const APID_OOM_SCORE: i16 = -998;
/// Longest wait for one service's task to end; longer than any service's own grace.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// machined's socket; its folder is made.
    pub socket: PathBuf,
    /// Who may talk on the socket beside this process.
    pub peer: User,
    /// How apid is started.
    pub apid: ApidSettings,
}

impl Settings {
    /// Those of a node. `cgroup` is the folder of apid's control group, if control groups are there.
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
                listen: ([0_u16; 8], wire::APID_PORT).into(),
                socket: socket.clone(),
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

/// Owner of the services' tasks.
#[derive(Debug)]
pub struct Supervisor {
    board: Arc<Board>,
    machined: Service,
    apid: Service,
}

/// A service's task and the word that ends it.
#[derive(Debug, Default)]
struct Service {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Supervisor {
    /// Binds machined's socket, then starts the services. Needs a tokio runtime and `linux::process::start_reaper`.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub fn start(settings: Settings, node: &Arc<Node>, logs: &Arc<Logs>, events: &Arc<Events>) -> Result<Self, BindError> {
        let sources = Sources { node: Arc::clone(node), logs: Arc::clone(logs), events: Arc::clone(events) };
        let server = api::Server::bind(&settings.socket, settings.peer, sources)?;
        let board = Board::new(Arc::clone(node), Arc::clone(events));
        let (machined, apid) = (Service::default(), Service::default());
        machined.tasks.spawn(own::run(server, settings.socket, Arc::clone(&board), machined.stop.clone()));
        apid.tasks.spawn(
            apid::Apid {
                settings: settings.apid,
                node: Arc::clone(node),
                board: Arc::clone(&board),
                logs: Arc::clone(logs),
                stop: apid.stop.clone(),
            }
            .run(),
        );
        machined.tasks.close();
        apid.tasks.close();
        Ok(Self { board, machined, apid })
    }

    /// Stops all services, the last started first. `actor` is stamped on their events.
    pub async fn stop_all(self, actor: &str) {
        self.board.set_actor(actor);
        for (name, service) in [("apid", self.apid), ("machined", self.machined)] {
            service.stop.cancel();
            if timeout(STOP_LIMIT, service.tasks.wait()).await.is_err() {
                log::error!(target: "services", "service {name} did not stop within {} s", STOP_LIMIT.as_secs());
            }
        }
    }
}
