//! One question to one name server: over UDP, and over TCP when the answer does not fit or cannot be trusted.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    cache::Key,
    message::{
        Malformed, Question, Rcode, Response,
        write::{self, Answer},
    },
};

/// Longest wait for an answer over UDP: later than this none comes.
const UDP_LIMIT: Duration = Duration::from_secs(3);
/// Longest wait for one over TCP, connecting included.
const TCP_LIMIT: Duration = Duration::from_secs(4);
/// More than what we ask for, so that too much is seen.
const UDP_BUFFER: usize = 4096;
/// Packets that are no answer to our question before somebody is guessing, and the question goes over TCP.
const GUESSES: usize = 16;

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The kernel has none for us.
    #[error("get a number that nobody can guess")]
    Random {
        /// Cause.
        source: aws_lc_rs::error::Unspecified,
    },
    /// Sending or receiving failed.
    #[error("{operation}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// Nothing came.
    #[error("no answer within {} s", limit.as_secs())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// Something came that is no answer.
    #[error("understand the answer")]
    Malformed {
        /// Cause.
        source: Malformed,
    },
    /// An answer to something else.
    #[error("the answer is to another question")]
    Other,
}

fn io(operation: &'static str) -> impl Fn(io::Error) -> ExchangeError {
    move |source| ExchangeError::Io { operation, source }
}

/// What became of a question over UDP.
enum Heard {
    Answer(Answer),
    /// It is to be asked over TCP.
    Tcp,
    /// The server cannot read it: it may be too old for EDNS.
    Unread,
}

/// Asks. The number, the port and the case of the name's letters are random: who does not see the question cannot answer it.
///
/// # Errors
/// [`ExchangeError`]. A server that says that it failed has answered.
pub async fn ask(server: SocketAddr, key: &Key) -> Result<Answer, ExchangeError> {
    match timeout(UDP_LIMIT, over_udp(server, key, true)).await {
        Ok(Ok(Heard::Answer(answer))) => return Ok(answer),
        Ok(Ok(Heard::Tcp)) => {}
        Ok(Ok(Heard::Unread)) => match timeout(UDP_LIMIT, over_udp(server, key, false)).await {
            Ok(Ok(Heard::Answer(answer))) => return Ok(answer),
            Ok(Ok(Heard::Tcp | Heard::Unread)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(ExchangeError::Silent { limit: UDP_LIMIT }),
        },
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(ExchangeError::Silent { limit: UDP_LIMIT }),
    }
    timeout(TCP_LIMIT, over_tcp(server, key)).await.unwrap_or(Err(ExchangeError::Silent { limit: TCP_LIMIT }))
}

/// A question that is not asked twice in the same way.
fn fresh(key: &Key, options: bool) -> Result<(u16, Question, Vec<u8>), ExchangeError> {
    let mut random = [0; 10];
    // Not from a crate that looks for the kernel's call by name: in a static program it finds none, and in a sandbox no file either.
    aws_lc_rs::rand::fill(&mut random).map_err(|source| ExchangeError::Random { source })?;
    let [high, low, coin @ ..] = random;
    let id = u16::from_be_bytes([high, low]);
    let question = Question { name: key.question.name.mixed(u64::from_be_bytes(coin)), ..key.question };
    let message = write::query(id, &question, options.then_some(key.signatures), key.unverified);
    Ok((id, question, message))
}

async fn over_udp(server: SocketAddr, key: &Key, options: bool) -> Result<Heard, ExchangeError> {
    let (id, question, message) = fresh(key, options)?;
    let anywhere: SocketAddr = if server.is_ipv4() { ([0_u8; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    // One port a question, which the kernel chooses at random; connected, so that it takes packets of the server only, and hears that
    // nobody is there.
    let socket = UdpSocket::bind(anywhere).await.map_err(io("open a port"))?;
    socket.connect(server).await.map_err(io("find a way to the server"))?;
    socket.send(&message).await.map_err(io("send the question"))?;
    let mut buffer = vec![0; UDP_BUFFER];
    for _ in 0..GUESSES {
        let length = socket.recv(&mut buffer).await.map_err(io("receive the answer"))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let Ok(response) = Response::parse(bytes) else { continue };
        if response.id != id {
            continue;
        }
        match &response.question {
            // Who could not read the question need not repeat it.
            None if options && response.rcode() == Rcode::FormErr => return Ok(Heard::Unread),
            Some(said) if *said == question => {}
            // It changes the case of names, or somebody guesses: the next way tells.
            Some(said) if said.lower() == key.question => return Ok(Heard::Tcp),
            _ => continue,
        }
        if response.is_cut() {
            return Ok(Heard::Tcp);
        }
        if options && response.rcode() == Rcode::FormErr && !response.has_options() {
            return Ok(Heard::Unread);
        }
        return Ok(Heard::Answer(Answer::of(&response, &key.question, key.signatures)));
    }
    Ok(Heard::Tcp)
}

async fn over_tcp(server: SocketAddr, key: &Key) -> Result<Answer, ExchangeError> {
    let (id, _, message) = fresh(key, true)?;
    let mut stream = TcpStream::connect(server).await.map_err(io("connect to the server"))?;
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length[..], &message].concat()).await.map_err(io("send the question over TCP"))?;
    let length = stream.read_u16().await.map_err(io("receive the answer over TCP"))?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.map_err(io("receive the answer over TCP"))?;
    let response = Response::parse(&bytes).map_err(|source| ExchangeError::Malformed { source })?;
    let same = response.question.as_ref().is_some_and(|said| said.lower() == key.question);
    if response.id != id || !same || response.is_cut() {
        return Err(ExchangeError::Other);
    }
    Ok(Answer::of(&response, &key.question, key.signatures))
}
