//! The API gateway: TLS 1.3 on port 50000, every call forwarded to machined's socket as it is.
//!
//! - [`run`]: the daemon: reads [`ApidConfig`](wire::apid_config::ApidConfig)s from standard input: serves with the first, changes
//!   to each later one while connections stay open;
//! - [`Gateway`]: who is let in ([`door`]), client certificates to roles ([`verify`], [`peer`]), and the proxy ([`forward`]).
//!   Where a call goes is decided in [`route`] (pure): to machined, to another node ([`fleet`], with its names from [`resolve`] and
//!   its pauses from [`backoff`]), or to several whose replies become one ([`merge`]), each within the call's [`deadline`]. Each has its line in the log ([`record`]).
//!
//! Reads no file but the socket, decodes no message. Absent on purpose: what a role may do (machined decides).
#![forbid(unsafe_code)]

mod backoff;
mod deadline;
mod door;
mod fleet;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod hold;
mod merge;
mod peer;
mod record;
mod resolve;
mod route;
mod verify;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use rustls::server::danger::ClientCertVerifier;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    apid_config::{ApidConfig, Mode},
    orders::{OrderError, Orders},
    tls::{Identity, TlsError, accept},
};

use door::Door;
use fleet::Fleet;
use forward::Forward;
use route::{Reach, Route};

/// How long open calls may go on after the word to stop.
const DRAIN: Duration = Duration::from_secs(1);
/// What a client may send ahead on a stream and on a connection, bytes. Uploads are configurations: small.
const WINDOWS: (u32, u32) = (256 * 1024, 512 * 1024);
/// Calls at the same time on one connection.
const STREAMS: u32 = 64;
/// A connection that does not answer a ping is dead: first ping after this much silence, then the limit.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Why apid cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ApidError {
    /// Nothing to start with.
    #[error("learn what to do")]
    Orders(#[from] OrderError),
    /// A later configuration wants what holds for the life of the process.
    #[error("{what} cannot change while apid runs")]
    Fixed {
        /// The field.
        what: &'static str,
    },
    /// Running mode without accepted authorities.
    #[error("the configuration names no client authority")]
    NoClientAuthority,
    /// Certificates that cannot be used.
    #[error("set up TLS")]
    Tls {
        /// Cause.
        source: TlsError,
    },
    /// The client authorities do not make a verifier.
    #[error("use the client authorities")]
    Verifier {
        /// Cause.
        source: rustls::server::VerifierBuilderError,
    },
    /// The port is taken.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
    /// Serving ended with an error.
    #[error("serve")]
    Serve {
        /// Cause.
        source: tonic::transport::Error,
    },
}

/// The program.
#[must_use]
pub fn run() -> ExitCode {
    daemon::run("apid", async |daemon: daemon::Daemon| {
        let (first, orders) = Orders::from_stdin().await?;
        let gateway = Gateway::bind(first).await?;
        log::info!(target: "apid", "listening on {}, {:?} mode", gateway.address(), gateway.changer.mode);
        let changer = gateway.changer();
        daemon.tasks.spawn(daemon.stop.clone().run_until_cancelled_owned(obey(orders, changer)));
        gateway.serve(daemon.tasks.clone(), daemon.stop.clone()).await
    })
}

/// Changes to each configuration that comes; one that cannot be used changes nothing.
async fn obey(orders: Orders<ApidConfig>, changer: Changer) {
    let change = |order: Result<ApidConfig, OrderError>| match order.map_err(ApidError::from).and_then(|config| changer.change(&config)) {
        Ok(()) => log::info!(target: "apid", "new certificate and names in force"),
        Err(error) => log::error!(target: "apid", "the former configuration stays: {}", daemon::report(&error)),
    };
    if let Err(error) = orders.obey(change).await {
        log::error!(target: "apid", "no more configurations are read: {}", daemon::report(&error));
    }
}

/// What may change while apid serves; new connections and calls take the newest.
#[derive(Clone, Debug)]
struct Current {
    tls: Arc<rustls::ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    route: Arc<Route>,
    /// The other nodes, when this one may call them.
    fleet: Option<Arc<Fleet>>,
    /// What the fleet's connections are made with: authorities and certificate.
    fleet_of: (Option<String>, Option<String>),
    /// The fleet asks them for names.
    resolvers: watch::Sender<Vec<IpAddr>>,
}

impl Current {
    /// `port` is where this node and the others listen. Connections to them live on when nothing that they were made with changes.
    fn new(config: &ApidConfig, port: u16, former: Option<&Self>) -> Result<Self, ApidError> {
        let tls_failed = |source| ApidError::Tls { source };
        let identity = Identity::from_pem(&config.server_chain_pem, &config.server_key_pem).map_err(tls_failed)?;
        let roots = match (config.mode, &config.client_ca_pem) {
            (Mode::Maintenance, _) => None,
            (Mode::Running, None) => return Err(ApidError::NoClientAuthority),
            (Mode::Running, Some(authorities)) => Some(wire::tls::roots("the client authorities", authorities).map_err(tls_failed)?),
        };
        let clients = roots.clone().map(verify::client_verifier).transpose()?;
        let resolvers = former.map_or_else(watch::Sender::default, |former| former.resolvers.clone());
        let fleet_of = (config.client_ca_pem.clone(), config.impersonator.as_ref().map(|own| own.chain_pem.clone()));
        let fleet = match (roots, &config.impersonator, former.filter(|former| former.fleet_of == fleet_of)) {
            (Some(_), Some(_), Some(former)) => former.fleet.clone(),
            (Some(roots), Some(own), None) => {
                let own = Identity::from_pem(&own.chain_pem, &own.key_pem).map_err(tls_failed)?;
                let tls = wire::tls::client_config(roots, Some(own)).map_err(tls_failed)?;
                Some(Arc::new(Fleet::new(tls, port, resolvers.subscribe())))
            }
            (None, ..) | (_, None, _) => None,
        };
        let reach = match (config.mode, &fleet) {
            (Mode::Maintenance, _) => Reach::Unrouted,
            (Mode::Running, Some(_)) => Reach::Cluster,
            (Mode::Running, None) => Reach::ThisNode,
        };
        let names: Vec<&str> = config.local_names.iter().map(String::as_str).collect();
        let current = Self {
            tls: wire::tls::server_config(identity, clients.clone()).map_err(tls_failed)?,
            clients,
            route: Arc::new(Route::new(reach, &config.local_addresses, &names)),
            fleet,
            fleet_of,
            resolvers,
        };
        // Only now that nothing can fail any more.
        current.resolvers.send_replace(config.resolvers.clone());
        Ok(current)
    }
}

/// Changes a running gateway to another configuration.
#[derive(Clone, Debug)]
pub struct Changer {
    current: watch::Sender<Current>,
    mode: Mode,
    listen: SocketAddr,
    port: u16,
    socket: PathBuf,
}

impl Changer {
    /// Connections that are made from now on, and calls that come from now on, see `config`. Open connections stay open, but for
    /// those whose certificate is not accepted any more: they have [`door::REVOKED_LIMIT`] to end.
    ///
    /// # Errors
    /// When `config` cannot be used, or changes what is fixed; the former one stays in force.
    pub fn change(&self, config: &ApidConfig) -> Result<(), ApidError> {
        let fixed =
            [("mode", config.mode == self.mode), ("listen", config.listen == self.listen), ("socket", config.socket == self.socket)];
        if let Some((what, _)) = fixed.into_iter().find(|(_, same)| !same) {
            return Err(ApidError::Fixed { what });
        }
        let former = self.current.borrow().clone();
        self.current.send_replace(Current::new(config, self.port, Some(&former))?);
        Ok(())
    }
}

/// A bound gateway.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    changer: Changer,
    forward: Forward,
}

impl Gateway {
    /// Sets up TLS and binds the port.
    ///
    /// # Errors
    /// When certificates or address cannot be used.
    pub async fn bind(config: ApidConfig) -> Result<Self, ApidError> {
        let listen = |source| ApidError::Listen { address: config.listen, source };
        let listener = accept::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let current = watch::Sender::new(Current::new(&config, address.port(), None)?);
        let forward = Forward::new(config.socket.clone(), current.subscribe());
        let changer = Changer { current, mode: config.mode, listen: config.listen, port: address.port(), socket: config.socket };
        Ok(Self { listener, address, changer, forward })
    }

    /// What changes this gateway's configuration while it serves.
    #[must_use]
    pub fn changer(&self) -> Changer {
        self.changer.clone()
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; open calls then have a second to end. Handshakes are tasks of `tasks`.
    ///
    /// # Errors
    /// When the server itself fails; failing connections are logged.
    pub async fn serve(self, tasks: TaskTracker, stop: CancellationToken) -> Result<(), ApidError> {
        tasks.spawn(stop.clone().run_until_cancelled_owned(tidy(self.changer.current.subscribe())));
        let door = Door { current: self.changer.current.subscribe(), mode: self.changer.mode };
        let connections = accept::connections("apid", self.listener, door, door::LIMITS, tasks, stop.clone());
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .serve_with_incoming_shutdown(self.forward, connections, stop.clone().cancelled_owned());
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = serving => ended.map_err(|source| ApidError::Serve { source }),
            () = limit => Ok(()),
        }
    }
}

/// Gives up connections to other nodes that nobody uses any more.
async fn tidy(current: watch::Receiver<Current>) {
    loop {
        tokio::time::sleep(fleet::IDLE / 4).await;
        if let Some(fleet) = current.borrow().fleet.as_ref() {
            fleet.tidy();
        }
    }
}
