//! Connections: accepted, limited, each handshake a task of its own so that a stalled client holds up nobody.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;
use wire::apid_config::Mode;

use crate::{Current, peer::Peer};

/// Longest handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at the same time; more are turned away at once.
const HANDSHAKES: usize = 32;
/// Connections at the same time; more are turned away at once.
const CONNECTIONS: usize = 128;
/// Pause after an error of accept itself (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Box<TlsStream<TcpStream>>,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

/// The connections as they become ready.
pub(crate) fn connections(
    listener: TcpListener,
    current: watch::Receiver<Current>,
    mode: Mode,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(1);
    let owner = tasks.clone();
    tasks.spawn(async move {
        let acceptor = Acceptor {
            current,
            mode,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            ready,
        };
        // Ends with the word to stop: the port is free from then on.
        stop.run_until_cancelled(acceptor.accept(&listener, &owner, &stop)).await;
    });
    ReceiverStream::new(connections)
}

struct Acceptor {
    current: watch::Receiver<Current>,
    mode: Mode,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Connection>>,
}

impl Acceptor {
    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker, stop: &CancellationToken) {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    log::warn!(target: "apid", "accept: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let places = (Arc::clone(&self.handshakes).try_acquire_owned(), Arc::clone(&self.connections).try_acquire_owned());
            let (Ok(turn), Ok(place)) = places else {
                log::warn!(target: "apid", "{address}: turned away, there are too many connections");
                continue;
            };
            let (tls, mode, ready, stop) =
                (TlsAcceptor::from(Arc::clone(&self.current.borrow().tls)), self.mode, self.ready.clone(), stop.clone());
            tasks.spawn(async move {
                let handshake = timeout(HANDSHAKE_LIMIT, tls.accept(stream));
                let Some(ended) = stop.run_until_cancelled(handshake).await else { return };
                drop(turn);
                match ended {
                    Ok(Ok(stream)) => {
                        let peer = Peer::new(address, mode, stream.get_ref().1.peer_certificates());
                        let connection = Connection { stream: Box::new(stream), peer, _place: place };
                        // Nobody takes it when the server has ended.
                        let _ = ready.send(Ok(connection)).await;
                    }
                    // Health checks and port scans connect and go: not worth more.
                    Ok(Err(error)) => log::debug!(target: "apid", "{address}: handshake: {error}"),
                    Err(_) => log::debug!(target: "apid", "{address}: handshake took longer than {} s", HANDSHAKE_LIMIT.as_secs()),
                }
            });
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
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
