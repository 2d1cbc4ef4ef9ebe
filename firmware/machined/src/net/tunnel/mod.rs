//! WireGuard: tells the kernel keys and peers over generic netlink, and reads what it has. [`message`] is pure.

mod message;
#[cfg(test)]
mod tests;

use std::{io, time::Duration};

use resource::kinds::network::WireguardSpec;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_GENERIC};
use tokio::time::timeout;

pub use message::{MessageError, Wire};
pub(crate) use message::{device, split};

/// The kernel answers within this.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer of the kernel, bytes (`NLMSG_GOODSIZE` times four).
const ANSWER: usize = 64 << 10;
/// Most parts of an answer: a tunnel with more peers than fit is a mistake.
const PARTS: usize = 4096;

/// A tunnel could not be set up or read.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The socket failed.
    #[error("speak to the kernel's generic netlink")]
    Socket(#[from] io::Error),
    /// The settings cannot be said, or the answer not understood.
    #[error("put the settings into a message")]
    Message(#[from] MessageError),
    /// The kernel refuses.
    #[error("the kernel refuses")]
    Refused(#[source] io::Error),
    /// The kernel is silent.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Silent,
    /// More than a tunnel may have.
    #[error("an answer of more than {PARTS} parts")]
    Endless,
}

/// Brings a tunnel from what it was told before to what is wanted; `None` tells it everything.
///
/// # Errors
/// [`TunnelError`].
pub async fn tell(link: u32, from: Option<&WireguardSpec>, to: &WireguardSpec) -> Result<(), TunnelError> {
    let mut talk = Talk::open().await?;
    for payload in message::setting(link, from, to)? {
        talk.ask(&message::request(talk.family, false, talk.sequence, &payload)).await?;
    }
    Ok(())
}

/// What a tunnel has; never its keys.
///
/// # Errors
/// [`TunnelError`].
pub async fn read(link: u32) -> Result<WireguardSpec, TunnelError> {
    let mut talk = Talk::open().await?;
    let payload = message::getting(link);
    let parts = talk.ask(&message::request(talk.family, true, talk.sequence, &payload)).await?;
    Ok(message::device(&parts)?)
}

/// A conversation with the kernel.
struct Talk {
    socket: TokioSocket,
    /// The number under which the kernel knows WireGuard.
    family: u16,
    sequence: u32,
}

impl Talk {
    async fn open() -> Result<Self, TunnelError> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().connect(&SocketAddr::new(0, 0))?;
        let mut talk = Self { socket, family: 0, sequence: 1 };
        let parts = talk.ask(&message::family_request(talk.sequence)).await?;
        talk.family = message::family(&parts)?;
        Ok(talk)
    }

    /// Sends a request and collects the payloads of its answer.
    async fn ask(&mut self, request: &[u8]) -> Result<Vec<Vec<u8>>, TunnelError> {
        let own = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        timeout(LIMIT, self.exchange(request, own)).await.map_err(|_| TunnelError::Silent)?
    }

    async fn exchange(&self, request: &[u8], own: u32) -> Result<Vec<Vec<u8>>, TunnelError> {
        self.socket.send(request).await?;
        let mut parts = Vec::new();
        loop {
            let mut answer = Vec::with_capacity(ANSWER);
            self.socket.recv(&mut answer).await?;
            for wire in message::split(&answer, own)? {
                match wire {
                    Wire::Part(payload) if parts.len() < PARTS => parts.push(payload),
                    Wire::Part(_) => return Err(TunnelError::Endless),
                    Wire::Done(0) => return Ok(parts),
                    Wire::Done(code) => return Err(TunnelError::Refused(io::Error::from_raw_os_error(code.saturating_abs()))),
                }
            }
        }
    }
}
