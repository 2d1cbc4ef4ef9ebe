//! The API gateway: TLS 1.3 on port 50000, every call forwarded to machined's socket as it is.
//!
//! - [`run`]: the daemon: reads [`ApidConfig`](wire::apid_config::ApidConfig)s from standard input ([`orders`]): serves
//!   with the first, changes to each later one while connections stay open;
//! - [`Gateway`]: the accept loop ([`accept`]), client certificates to roles ([`verify`], [`peer`]), and the proxy
//!   ([`forward`]) with its rules about `node` metadata ([`route`]).
//!
//! Reads no file but the socket, decodes no message. Absent on purpose: what a role may do (machined decides), and
//! calls to other nodes (not in this version).
#![forbid(unsafe_code)]

mod accept;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod hold;
mod orders;
mod peer;
mod route;
mod verify;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    apid_config::{ApidConfig, MAX_LINE, Mode},
    tls::{Identity, TlsError},
};

use forward::Forward;
use orders::Orders;
use route::Route;

/// The kernel knows no such address family; the same number on both architectures.
const EAFNOSUPPORT: i32 = 97;
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
    /// Standard input is not readable.
    #[error("read the configuration from standard input")]
    Input {
        /// Cause.
        source: io::Error,
    },
    /// Standard input ended before it held a configuration.
    #[error("standard input holds no configuration: apid is started by machined")]
    NoInput,
    /// Something on standard input never ends.
    #[error("a line of standard input is longer than {MAX_LINE} bytes")]
    TooLong,
    /// A later configuration wants what holds for the life of the process.
    #[error("{what} cannot change while apid runs")]
    Fixed {
        /// The field.
        what: &'static str,
    },
    /// Standard input is no configuration.
    #[error("understand the configuration on standard input")]
    Config {
        /// Cause; tells a place, never a value.
        source: serde_json::Error,
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
        let mut orders = Orders::from_stdin()?;
        let first = orders.next().await?.ok_or(ApidError::NoInput)?;
        let gateway = Gateway::bind(first).await?;
        log::info!(target: "apid", "listening on {}, {:?} mode", gateway.address(), gateway.changer.mode);
        let changer = gateway.changer();
        daemon.tasks.spawn(daemon.stop.clone().run_until_cancelled_owned(orders.obey(changer)));
        gateway.serve(daemon.tasks.clone(), daemon.stop.clone()).await
    })
}

/// What may change while apid serves; new connections and calls take the newest.
#[derive(Clone, Debug)]
struct Current {
    tls: Arc<rustls::ServerConfig>,
    route: Arc<Route>,
}

impl Current {
    fn new(config: &ApidConfig) -> Result<Self, ApidError> {
        let tls_failed = |source| ApidError::Tls { source };
        let identity = Identity::from_pem(&config.server_chain_pem, &config.server_key_pem).map_err(tls_failed)?;
        let clients = match config.mode {
            Mode::Maintenance => None,
            Mode::Running => {
                let authorities = config.client_ca_pem.as_deref().ok_or(ApidError::NoClientAuthority)?;
                let roots = wire::tls::roots("the client authorities", authorities).map_err(tls_failed)?;
                Some(verify::client_verifier(roots)?)
            }
        };
        Ok(Self {
            tls: wire::tls::server_config(identity, clients).map_err(tls_failed)?,
            route: Arc::new(Route::new(config.mode == Mode::Running, &config.local_addresses, &config.hostname)),
        })
    }
}

/// Changes a running gateway to another configuration.
#[derive(Clone, Debug)]
pub struct Changer {
    current: watch::Sender<Current>,
    mode: Mode,
    listen: SocketAddr,
    socket: PathBuf,
}

impl Changer {
    /// Connections that are made from now on, and calls that come from now on, see `config`. Open connections stay open.
    ///
    /// # Errors
    /// When `config` cannot be used, or changes what is fixed; the former one stays in force.
    pub fn change(&self, config: &ApidConfig) -> Result<(), ApidError> {
        let fixed =
            [("mode", config.mode == self.mode), ("listen", config.listen == self.listen), ("socket", config.socket == self.socket)];
        if let Some((what, _)) = fixed.into_iter().find(|(_, same)| !same) {
            return Err(ApidError::Fixed { what });
        }
        self.current.send_replace(Current::new(config)?);
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
        let current = watch::Sender::new(Current::new(&config)?);
        let listen = |source| ApidError::Listen { address: config.listen, source };
        let listener = match TcpListener::bind(config.listen).await {
            // A kernel without IPv6 (or with it switched off) has no `[::]`.
            Err(error) if error.raw_os_error() == Some(EAFNOSUPPORT) && config.listen.ip() == Ipv6Addr::UNSPECIFIED => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, config.listen.port())).await
            }
            other => other,
        }
        .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let forward = Forward::new(config.socket.clone(), current.subscribe());
        let changer = Changer { current, mode: config.mode, listen: config.listen, socket: config.socket };
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
        let connections = accept::connections(self.listener, self.changer.current.subscribe(), self.changer.mode, tasks, stop.clone());
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .tcp_nodelay(true)
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
