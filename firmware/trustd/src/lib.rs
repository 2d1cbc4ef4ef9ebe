//! Signs the certificates of joining nodes: TLS 1.3 on port 50001 of control planes, one method.
//!
//! - [`run`]: the daemon: reads [`TrustdConfig`]s from standard input: serves with the first, changes to each later one;
//! - [`Signer`]: the server. Who may ask is decided in [`admission`] (pure): a node that knows the token gets the certificate that it asks for;
//!   one that shows a valid certificate of its own gets it renewed, with the same names. Who guesses tokens is made to wait ([`guesses`]).
//!
//! Reads no file, calls nobody, keeps nothing. Absent on purpose: what a certificate may say (crate `pki`), and clients' certificates, which
//! carry roles: those are an administrator's to give (docs/decisions/0033).
#![forbid(unsafe_code)]

mod admission;
mod door;
mod guesses;
mod service;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use pki::{Authority, Secret};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    orders::{OrderError, Orders},
    server::security::security_service_server::SecurityServiceServer,
    tls::{Identity, TlsError, accept},
    trustd_config::TrustdConfig,
};

use admission::Token;
use door::Door;
use service::Security;

/// How long open calls may go on after the word to stop.
const DRAIN: Duration = Duration::from_secs(1);
/// What a client may send ahead, bytes. A request has one message, of at most [`MAX_MESSAGE`].
const WINDOW: u32 = 64 * 1024;
/// Longest message, bytes.
const MAX_MESSAGE: usize = pki::MAX_REQUEST + 1024;
/// Calls at the same time on one connection.
const STREAMS: u32 = 4;
/// Longest call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// A connection that does not answer a ping is dead: first ping after this much silence, then the limit.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Why trustd cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum TrustdError {
    /// Nothing to start with.
    #[error("learn what to do")]
    Orders(#[from] OrderError),
    /// A later configuration wants what holds for the life of the process.
    #[error("the address to listen on cannot change while trustd runs")]
    Fixed,
    /// There is no token that nodes could know.
    #[error("the configuration has no token for joining nodes")]
    NoToken,
    /// The authority cannot sign.
    #[error("use the authority")]
    Authority {
        /// Cause.
        source: pki::Error,
    },
    /// Certificates that cannot be used.
    #[error("set up TLS")]
    Tls {
        /// Cause.
        source: TlsError,
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
    daemon::run("trustd", async |daemon: daemon::Daemon| {
        let (first, orders) = Orders::from_stdin().await?;
        let signer = Signer::bind(first).await?;
        log::info!(target: "trustd", "listening on {}", signer.address());
        daemon.tasks.spawn(daemon.stop.clone().run_until_cancelled_owned(obey(orders, signer.changer())));
        signer.serve(daemon.tasks.clone(), daemon.stop.clone()).await
    })
}

/// Changes to each configuration that comes; one that cannot be used changes nothing.
async fn obey(orders: Orders<TrustdConfig>, changer: Changer) {
    let change = |order: Result<TrustdConfig, OrderError>| match order.map_err(TrustdError::from).and_then(|config| changer.change(&config))
    {
        Ok(()) => log::info!(target: "trustd", "new certificate and authorities in force"),
        Err(error) => log::error!(target: "trustd", "the former configuration stays: {}", daemon::report(&error)),
    };
    if let Err(error) = orders.obey(change).await {
        log::error!(target: "trustd", "no more configurations are read: {}", daemon::report(&error));
    }
}

/// What may change while trustd serves; new connections and calls take the newest.
#[derive(Clone)]
struct Current {
    tls: Arc<rustls::ServerConfig>,
    authority: Arc<Authority>,
    /// PEM of all that are accepted.
    accepted: Arc<str>,
    token: Arc<Token>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Current {
    fn new(config: &TrustdConfig) -> Result<Self, TrustdError> {
        let tls_failed = |source| TrustdError::Tls { source };
        let authority_failed = |source| TrustdError::Authority { source };
        let identity = Identity::from_pem(&config.server_chain_pem, &config.server_key_pem).map_err(tls_failed)?;
        let accepted = pki::read_chain(&config.accepted_pem).map_err(authority_failed)?;
        let key = Secret::new(config.authority_key_pem.as_str());
        Ok(Self {
            tls: wire::tls::server_config(identity, Some(door::optional(accepted))).map_err(tls_failed)?,
            authority: Arc::new(Authority::from_pem(&config.authority_pem, &key).map_err(authority_failed)?),
            accepted: config.accepted_pem.as_str().into(),
            token: Arc::new(Token::new(&config.token).ok_or(TrustdError::NoToken)?),
        })
    }
}

/// Changes a running signer to another configuration.
#[derive(Clone, Debug)]
pub struct Changer {
    current: watch::Sender<Current>,
    listen: SocketAddr,
}

impl Changer {
    /// Connections and calls that come from now on see `config`.
    ///
    /// # Errors
    /// When `config` cannot be used, or changes what is fixed; the former one stays in force.
    pub fn change(&self, config: &TrustdConfig) -> Result<(), TrustdError> {
        if config.listen != self.listen {
            return Err(TrustdError::Fixed);
        }
        self.current.send_replace(Current::new(config)?);
        Ok(())
    }
}

/// A bound server.
#[derive(Debug)]
pub struct Signer {
    listener: TcpListener,
    address: SocketAddr,
    changer: Changer,
}

impl Signer {
    /// Sets up TLS and the authority, and binds the port.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub async fn bind(config: TrustdConfig) -> Result<Self, TrustdError> {
        let current = watch::Sender::new(Current::new(&config)?);
        let listen = |source| TrustdError::Listen { address: config.listen, source };
        let listener = accept::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, changer: Changer { current, listen: config.listen } })
    }

    /// What changes its configuration while it serves.
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
    pub async fn serve(self, tasks: TaskTracker, stop: CancellationToken) -> Result<(), TrustdError> {
        let door = Door { current: self.changer.current.subscribe() };
        let connections = accept::connections("trustd", self.listener, door, door::LIMITS, tasks, stop.clone());
        let security = SecurityServiceServer::new(Security::new(self.changer.current.subscribe()))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(wire::MAX_MESSAGE);
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .timeout(CALL_LIMIT)
            .add_service(security)
            .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = serving => ended.map_err(|source| TrustdError::Serve { source }),
            () = limit => Ok(()),
        }
    }
}
