//! Who may talk on the socket, by the credentials that the kernel vouches for.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use linux::process::User;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    time::timeout,
};
use tonic::transport::server::Connected;

use crate::node::Node;

/// How long a fresh process may take to appear among the services.
const APPEAR_LIMIT: Duration = Duration::from_secs(5);

/// Decides about callers.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    /// The user that apid runs as; `None` admits every process (tests).
    peer: Option<User>,
    node: Arc<Node>,
}

/// A connection that was admitted: the other end is apid.
#[derive(Debug)]
pub(super) struct Admitted(UnixStream);

impl Admission {
    pub(super) fn new(peer: User, node: Arc<Node>) -> Self {
        Self { peer: Some(peer), node }
    }

    pub(super) fn open(node: Arc<Node>) -> Self {
        Self { peer: None, node }
    }

    /// `None` when the caller has no business here: the connection is closed.
    pub(super) async fn admit(&self, stream: UnixStream) -> io::Result<Option<Admitted>> {
        let Some(peer) = self.peer else { return Ok(Some(Admitted(stream))) };
        let credentials = match stream.peer_cred() {
            Ok(credentials) => credentials,
            Err(error) => {
                log::warn!(target: "api", "read a caller's credentials: {error}");
                return Ok(None);
            }
        };
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        if pid == std::process::id() {
            // Our own health check: it connects and goes.
            return Ok(None);
        }
        if credentials.uid() == peer.uid && self.is_supervised(pid).await {
            return Ok(Some(Admitted(stream)));
        }
        log::warn!(target: "api", "refused a caller on the socket: pid {pid}, uid {}", credentials.uid());
        Ok(None)
    }

    /// Whether the process is the apid that we started; waits a moment for it to be entered.
    async fn is_supervised(&self, pid: u32) -> bool {
        let mut services = self.node.services.subscribe();
        let known = services.wait_for(|list| list.iter().any(|service| service.id == "apid" && service.pid == Some(pid)));
        matches!(timeout(APPEAR_LIMIT, known).await, Ok(Ok(_)))
    }
}

impl Connected for Admitted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Admitted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
