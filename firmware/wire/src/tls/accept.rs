//! Connections: accepted, limited, each handshake a task of its own so that a stalled client holds up nobody.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;

/// The kernel knows no such address family; the same number on both architectures.
const EAFNOSUPPORT: i32 = 97;
/// Longest handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Pause after an error of accept itself (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many at the same time; more are turned away at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Handshakes.
    pub handshakes: usize,
    /// Connections.
    pub connections: usize,
}

/// Who decides about connections.
pub trait Doorman: Send + Sync + 'static {
    /// Who is at the other end, for those who serve.
    type Peer: Clone + fmt::Debug + Send + Sync + Unpin + 'static;

    /// The settings of a new connection.
    fn settings(&self) -> Arc<ServerConfig>;

    /// Who is at the other end, from the certificates that it showed and the settings accepted; and what ends the connection.
    fn admit(&self, address: SocketAddr, chain: Option<&[CertificateDer<'_>]>) -> (Self::Peer, Revoked);
}

/// Ends when a connection has to.
pub type Revoked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection after its handshake.
pub struct Connection<P> {
    stream: Box<TlsStream<TcpStream>>,
    peer: P,
    revoked: Revoked,
    _place: OwnedSemaphorePermit,
}

impl<P: fmt::Debug> fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Listens on a port.
///
/// # Errors
/// When it is taken.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // A kernel without IPv6 (or with it switched off) has no `[::]`.
        Err(error) if error.raw_os_error() == Some(EAFNOSUPPORT) && address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
}

/// The connections as they become ready; `daemon` names who accepts them in the log.
pub fn connections<D: Doorman>(
    daemon: &'static str,
    listener: TcpListener,
    doorman: D,
    limits: Limits,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection<D::Peer>>> {
    let (ready, connections) = mpsc::channel(1);
    let owner = tasks.clone();
    tasks.spawn(async move {
        let acceptor = Acceptor {
            daemon,
            doorman: Arc::new(doorman),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            connections: Arc::new(Semaphore::new(limits.connections)),
            ready,
        };
        // Ends with the word to stop: the port is free from then on.
        stop.run_until_cancelled(acceptor.accept(&listener, &owner, &stop)).await;
    });
    ReceiverStream::new(connections)
}

struct Acceptor<D: Doorman> {
    daemon: &'static str,
    doorman: Arc<D>,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Connection<D::Peer>>>,
}

impl<D: Doorman> Acceptor<D> {
    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker, stop: &CancellationToken) {
        let daemon = self.daemon;
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    log::warn!(target: daemon, "accept: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // A reply is a few small frames: none of them is to wait until the client has acknowledged the one before.
            if let Err(error) = stream.set_nodelay(true) {
                log::debug!(target: daemon, "{address}: TCP_NODELAY: {error}");
            }
            let places = (Arc::clone(&self.handshakes).try_acquire_owned(), Arc::clone(&self.connections).try_acquire_owned());
            let (Ok(turn), Ok(place)) = places else {
                log::warn!(target: daemon, "{address}: turned away, there are too many connections");
                continue;
            };
            let (doorman, ready, stop) = (Arc::clone(&self.doorman), self.ready.clone(), stop.clone());
            tasks.spawn(async move {
                let handshake = timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(doorman.settings()).accept(stream));
                let Some(ended) = stop.run_until_cancelled(handshake).await else { return };
                drop(turn);
                match ended {
                    Ok(Ok(stream)) => {
                        let (peer, revoked) = doorman.admit(address, stream.get_ref().1.peer_certificates());
                        let connection = Connection { stream: Box::new(stream), peer, revoked, _place: place };
                        // Nobody takes it when the server has ended.
                        let _ = ready.send(Ok(connection)).await;
                    }
                    // Health checks and port scans connect and go: not worth more.
                    Ok(Err(error)) => log::debug!(target: daemon, "{address}: handshake: {error}"),
                    Err(_) => log::debug!(target: daemon, "{address}: handshake took longer than {} s", HANDSHAKE_LIMIT.as_secs()),
                }
            });
        }
    }
}

impl<P: Clone + Send + Sync + 'static> Connected for Connection<P> {
    type ConnectInfo = P;

    fn connect_info(&self) -> P {
        self.peer.clone()
    }
}

impl<P: Unpin> AsyncRead for Connection<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.revoked.as_mut().poll(cx).is_ready() {
            self.revoked = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<P: Unpin> AsyncWrite for Connection<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
