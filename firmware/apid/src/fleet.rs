//! Other nodes: a connection to each that was asked lately, with this node's own certificate.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{
    backoff::Backoff,
    forward::{CONNECTION_WINDOW, STREAM_WINDOW},
    resolve,
};

/// A connection that nobody used for so long is given up.
pub(crate) const IDLE: Duration = Duration::from_secs(15 * 60);
/// Nodes with a connection. The one unused for longest makes room.
const NODES: usize = 256;
/// TCP and TLS together.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Connections that are made at the same time; the others wait for theirs.
const CONNECTS: usize = 32;
/// A node that does not answer a ping while calls wait for it is gone.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// The connections made with one certificate and one set of authorities. Those of another are another value: calls under way
/// go on with the old one until they end, and nothing new begins on it.
pub(crate) struct Fleet {
    dialer: Dialer,
    nodes: Mutex<HashMap<String, Node>>,
}

struct Node {
    channel: Channel,
    used: Instant,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("port", &self.dialer.port).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Other nodes listen on `port`; `resolvers` know their names.
    pub(crate) fn new(tls: Arc<ClientConfig>, port: u16, resolvers: watch::Receiver<Vec<IpAddr>>) -> Self {
        Self { dialer: Dialer { port, tls, connects: Arc::new(Semaphore::new(CONNECTS)), resolvers }, nodes: Mutex::default() }
    }

    /// The connection to a node; it is made when a call needs it. `target` is an address or a name (see `route`).
    pub(crate) fn channel(&self, target: &str) -> Channel {
        let now = Instant::now();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        forget_idle(&mut nodes, now);
        if let Some(node) = nodes.get_mut(target) {
            node.used = now;
            return node.channel.clone();
        }
        if nodes.len() >= NODES
            && let Some(oldest) = nodes.iter().min_by_key(|(_, node)| node.used).map(|(name, _)| name.clone())
        {
            nodes.remove(&oldest);
        }
        let channel = self.connect(target.to_owned());
        nodes.insert(target.to_owned(), Node { channel: channel.clone(), used: now });
        channel
    }

    /// Gives up what nobody used for long. Calls that are under way keep what they need.
    pub(crate) fn tidy(&self) {
        forget_idle(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    }

    fn connect(&self, target: String) -> Channel {
        let endpoint = wire::tls::endpoint(&target, self.dialer.port).unwrap_or_else(|_| Endpoint::from_static("https://node"));
        let (dialer, backoff) = (self.dialer.clone(), Arc::new(Mutex::new(Backoff::default())));
        let connector = tower::service_fn(move |_: Uri| dialer.clone().patiently(target.clone(), Arc::clone(&backoff)));
        endpoint
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .connect_with_connector_lazy(connector)
    }
}

fn forget_idle(nodes: &mut HashMap<String, Node>, now: Instant) {
    nodes.retain(|_, node| now.saturating_duration_since(node.used) < IDLE);
}

type Stream = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

#[derive(Clone)]
struct Dialer {
    port: u16,
    tls: Arc<ClientConfig>,
    connects: Arc<Semaphore>,
    resolvers: watch::Receiver<Vec<IpAddr>>,
}

impl Dialer {
    /// Connects, unless it failed just now: then the same error again, without asking the network.
    async fn patiently(self, target: String, backoff: Arc<Mutex<Backoff>>) -> io::Result<Stream> {
        let known = backoff.lock().unwrap_or_else(PoisonError::into_inner).refuses(Instant::now());
        if let Some(problem) = known {
            return Err(io::Error::other(problem));
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {} s", CONNECT_LIMIT.as_secs()));
        let connected = timeout(CONNECT_LIMIT, self.dial(&target)).await.unwrap_or_else(|_| Err(late()));
        let mut backoff = backoff.lock().unwrap_or_else(PoisonError::into_inner);
        match &connected {
            Ok(_) => backoff.forget(),
            Err(error) => backoff.failed(Instant::now(), error.to_string()),
        }
        connected
    }

    async fn dial(&self, target: &str) -> io::Result<Stream> {
        let _turn = self.connects.acquire().await.map_err(io::Error::other)?;
        let name = ServerName::try_from(target.to_owned()).map_err(io::Error::other)?;
        let resolvers = self.resolvers.borrow().clone();
        let addresses = match target.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => resolve::addresses(target, &resolvers).await?,
        };
        let tcp = self.reach(&addresses).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.map(TokioIo::new)
    }

    /// The first address that answers.
    async fn reach(&self, addresses: &[IpAddr]) -> io::Result<TcpStream> {
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in addresses {
            match TcpStream::connect((*address, self.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }
}
