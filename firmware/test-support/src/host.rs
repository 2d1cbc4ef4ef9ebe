//! The node.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use linux::process::User;
use machined::{
    api::{Server, Sources},
    events::Events,
    logs::Logs,
    node::{ActiveConfig, ApplyError, Command, ConfigStatus, Node},
    sequence::{Kind, Locked},
    services::{ApidSettings, DaemonSettings, Settings, Supervisor},
};
use pki::Authority;
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;
use wire::tls::{self, Identity};

/// Longest wait for a state of the node; more than the pause before a service is started again.
pub const LIMIT: Duration = Duration::from_secs(20);
/// What apid logs once clients can connect.
const LISTENING: &str = "listening on";

/// A node that serves its API.
#[derive(Debug)]
pub struct Host {
    /// What it knows: written here by whoever wants it to know something.
    pub node: Arc<Node>,
    /// Its logs.
    pub logs: Arc<Logs>,
    /// Its events.
    pub events: Arc<Events>,
    /// Where apid listens.
    pub address: SocketAddr,
    folder: TempDir,
    orders: Arc<Mutex<Vec<String>>>,
    supervisor: Option<Supervisor>,
}

/// Starts the reaper of this process; call it once, in the runtime that nodes are started in.
///
/// # Errors
/// When the kernel refuses.
pub fn reap(tasks: &TaskTracker, stop: CancellationToken) -> Result<()> {
    linux::process::start_reaper(tasks, stop).context("start the reaper")
}

impl Host {
    /// A node without a configuration, whose apid answers. `program` is apid when it is called so.
    ///
    /// # Errors
    /// When something does not start within [`LIMIT`].
    pub async fn start(program: &Path) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("find a free port")?;
        Self::start_at(program, free).await
    }

    /// The same where the caller wants it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_at(program: &Path, address: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        symlink(program, folder.path().join("apid")).context("link apid")?;
        let (node, commands) = Node::new();
        let (logs, events, orders) = (Logs::new(), Events::new(), Arc::<Mutex<Vec<String>>>::default());
        node.tasks.spawn(refuse(commands, Arc::clone(&orders)));
        let supervisor = Supervisor::start(settings(folder.path(), address), &node, &logs, &events)?;
        let host = Self { node, logs, events, address, folder, orders, supervisor: Some(supervisor) };
        host.node.firewall.send_modify(|firewall| firewall.settled = true);
        host.node.config.send_modify(|config| config.settled = true);
        host.listens(1).await?;
        Ok(host)
    }

    /// Gives it a configuration and waits for the apid that is started for it. It has to have none yet.
    ///
    /// # Errors
    /// When the text is no configuration, or apid does not answer within [`LIMIT`].
    pub async fn configure(&self, text: String) -> Result<()> {
        let parsed = machine_config::Config::parse(&text);
        let config = parsed.map_err(|problems| anyhow::anyhow!("{problems}"))?.config;
        let active = ActiveConfig { text: text.into(), source: "api", config };
        self.node.config.send_replace(ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() });
        self.listens(2).await
    }

    /// The process id of apid.
    ///
    /// # Errors
    /// When it does not run.
    pub fn apid(&self) -> Result<u32> {
        let services = self.node.services.borrow();
        let apid = services.iter().find(|service| service.id == "apid");
        apid.and_then(|apid| apid.pid).with_context(|| format!("apid does not run: {:?}", apid.map(|apid| apid.state)))
    }

    /// What the main loop was asked for since the last look.
    #[must_use]
    pub fn orders(&self) -> Vec<String> {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection over TLS.
    ///
    /// # Errors
    /// When it is not made. A client that the node refuses learns that with its first call.
    pub async fn connect(&self, config: Arc<ClientConfig>) -> Result<Channel, tls::ConnectError> {
        let host = self.address.ip().to_string();
        tls::connect(tls::endpoint(&host, self.address.port())?, &host, self.address.port(), config).await
    }

    /// A connection with a certificate, to a node that has one of this authority.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn client(&self, authority: &Authority, identity: Identity) -> Result<Channel> {
        Ok(self.connect(trusting(authority, Some(identity))?).await?)
    }

    /// Serves the same API on a second socket that admits everybody: the floor of measurements.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub fn open_socket(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("open");
        let supervisor = self.supervisor.as_ref().context("the services are stopped")?;
        let sources = Sources {
            node: Arc::clone(&self.node),
            logs: Arc::clone(&self.logs),
            events: Arc::clone(&self.events),
            services: supervisor.handle(),
        };
        let server = Server::bind_for_tests(&path, sources)?;
        self.node.tasks.spawn(server.serve(self.node.stop.child_token()));
        Ok(path)
    }

    /// Stops its services and all that it does.
    ///
    /// # Errors
    /// When that takes longer than [`LIMIT`].
    pub async fn stop(mut self) -> Result<()> {
        let supervisor = self.supervisor.take().context("stopped twice")?;
        timeout(LIMIT, supervisor.stop_all("")).await.context("the services do not stop")?;
        self.node.stop.cancel();
        Ok(())
    }

    /// Waits until apid has said for the `times`-th time that it listens.
    async fn listens(&self, times: usize) -> Result<()> {
        let ring = self.logs.ring("apid");
        let mut reader = ring.reader(None);
        let mut said = Vec::new();
        let read = async {
            while String::from_utf8_lossy(&said).matches(LISTENING).count() < times {
                reader.wait().await;
                while let Some(bytes) = reader.read(4096) {
                    said.extend_from_slice(&bytes);
                }
            }
        };
        if timeout(LIMIT, read).await.is_err() {
            let services = self.node.services.borrow();
            bail!("apid does not listen; it says:\n{}\n{services:?}", String::from_utf8_lossy(&said));
        }
        ensure!(self.apid()? > 1, "apid has no process");
        Ok(())
    }
}

impl Drop for Host {
    /// Nothing is left behind by a test that fails.
    fn drop(&mut self) {
        self.node.stop.cancel();
        if let (Some(_), Ok(pid)) = (&self.supervisor, self.apid()) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            // It may have ended meanwhile.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Client settings that trust the authority.
///
/// # Errors
/// When certificate and key do not fit.
pub fn trusting(authority: &Authority, identity: Option<Identity>) -> Result<Arc<ClientConfig>> {
    Ok(tls::client_config(tls::roots("the authority", authority.cert_pem())?, identity)?)
}

/// A control plane's configuration with this machine authority; its certificates are for `names` too.
///
/// # Errors
/// When the authority has no key.
pub fn configuration(authority: &Authority, names: &[&str]) -> Result<String> {
    let pem = authority.to_pem()?;
    let key = pem.key_pem.context("an authority without its key")?;
    let secret = pki::encode_base64(&"s".repeat(32));
    Ok(format!(
        "version: v1alpha1\nmachine:\n  type: controlplane\n  token: abcdef.0123456789abcdef\n  certSANs: {names:?}\n  ca:\n    crt: {}\n    \
         key: {}\ncluster:\n  id: {secret}\n  secret: {secret}\n  controlPlane:\n    endpoint: https://127.0.0.1:6443\n",
        pki::encode_base64(&pem.cert_pem),
        pki::encode_base64(key.expose()),
    ))
}

/// apid as this user; nothing else can be started.
fn settings(folder: &Path, listen: SocketAddr) -> Settings {
    let own = User { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
    let (user, oom_score, socket) = (None, None, folder.join("run/s"));
    let nobody = || DaemonSettings {
        program: "/nonexistent".into(),
        user,
        cgroup: None,
        oom_score,
        sandbox: None,
        listen: ([127, 0, 0, 1], 1).into(),
    };
    let apid = ApidSettings {
        program: folder.join("apid"),
        user,
        cgroup: None,
        oom_score,
        sandbox: None,
        listen,
        socket: socket.clone(),
        trustd_port: 1,
    };
    Settings { socket, peer: own, apid, trustd: nobody(), dnsd: nobody() }
}

/// The main loop's place: everything is written down and refused.
async fn refuse(mut commands: mpsc::Receiver<Command>, orders: Arc<Mutex<Vec<String>>>) {
    while let Some(command) = commands.recv().await {
        let order = match command {
            Command::Sequence { request, reply, .. } => {
                // Who asked may have gone.
                let _ = reply.send(Err(Locked { running: Kind::Boot, wanted: request.kind }));
                request.kind.to_string()
            }
            Command::Apply { reply, .. } => {
                let _ = reply.send(Err(ApplyError::Precondition("nothing is applied here".to_owned())));
                "apply".to_owned()
            }
        };
        orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
    }
}
