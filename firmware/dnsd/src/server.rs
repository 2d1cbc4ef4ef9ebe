//! Where clients ask: over UDP, a packet a question, and over TCP, one question after the other.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::dnsd::{DnsdStatus, Listening, Transport};

use crate::{
    message::{Query, Rcode, write},
    resolver::{Resolver, Step},
    sockets,
};

/// Clients over UDP that may wait for an answer; others are told at once that there is none.
const WAITING: usize = 512;
/// Connections over TCP; others are closed.
const CONNECTIONS: usize = 64;
/// A connection that asks nothing for so long is closed, and one that does not take its answer (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_secs(5);
/// Longest question. Those of any use have less than 300 bytes.
const LONGEST_QUESTION: usize = 4096;
/// Between two attempts to listen where that does not work: somebody else's program may have the port.
const AGAIN: Duration = Duration::from_secs(5);
/// After an error of the kernel's that is not about a client.
const PAUSE: Duration = Duration::from_millis(100);

/// Owns the sockets.
#[derive(Debug)]
pub struct Server {
    resolver: Arc<Resolver>,
    status: watch::Sender<DnsdStatus>,
    tasks: TaskTracker,
    stop: CancellationToken,
    open: BTreeMap<Listening, CancellationToken>,
    waiting: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Listens nowhere yet. Where it does goes into `status`; clients are served by tasks of `tasks`, until `stop`.
    #[must_use]
    pub fn new(resolver: Arc<Resolver>, status: watch::Sender<DnsdStatus>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (waiting, connections) = (Arc::new(Semaphore::new(WAITING)), Arc::new(Semaphore::new(CONNECTIONS)));
        Self { resolver, status, tasks, stop, open: BTreeMap::new(), waiting, connections }
    }

    /// Listens where it is to, for ever. Where it cannot is tried again, and told once.
    pub async fn follow(mut self, mut wanted: watch::Receiver<Vec<SocketAddr>>) {
        let mut told: Vec<Listening> = Vec::new();
        loop {
            let list = wanted.borrow_and_update().clone();
            let places =
                list.iter().flat_map(|address| [Transport::Udp, Transport::Tcp].map(|protocol| Listening { protocol, address: *address }));
            let places: Vec<Listening> = places.collect();
            self.close_all_but(&places);
            let mut failed = Vec::new();
            for place in &places {
                if let Err(error) = self.listen(*place) {
                    if !told.contains(place) {
                        log::error!(target: "dnsd", "listen on {} over {}: {error}", place.address, place.protocol.as_str());
                    }
                    failed.push(*place);
                }
            }
            told = failed;
            self.tell();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = sleep(AGAIN), if !told.is_empty() => {}
            }
        }
    }

    fn close_all_but(&mut self, places: &[Listening]) {
        self.open.retain(|place, end| {
            let stays = places.contains(place);
            if !stays {
                end.cancel();
            }
            stays
        });
    }

    fn listen(&mut self, place: Listening) -> io::Result<()> {
        if self.open.contains_key(&place) {
            return Ok(());
        }
        let end = self.stop.child_token();
        match place.protocol {
            Transport::Udp => {
                let serving = serve_udp(sockets::udp(place.address)?, self.clients());
                self.tasks.spawn(end.clone().run_until_cancelled_owned(serving));
            }
            Transport::Tcp => {
                let serving = serve_tcp(sockets::tcp(place.address)?, self.clients(), Arc::clone(&self.connections), end.clone());
                self.tasks.spawn(end.clone().run_until_cancelled_owned(serving));
            }
        }
        self.open.insert(place, end);
        Ok(())
    }

    fn clients(&self) -> Clients {
        let (resolver, tasks, stop, waiting) =
            (Arc::clone(&self.resolver), self.tasks.clone(), self.stop.clone(), Arc::clone(&self.waiting));
        Clients { resolver, tasks, stop, waiting }
    }

    fn tell(&self) {
        let listening: Vec<Listening> = self.open.keys().copied().collect();
        self.status.send_if_modified(|status| {
            let news = status.listening != listening;
            status.listening = listening;
            news
        });
    }
}

/// What serving a client takes.
#[derive(Clone, Debug)]
struct Clients {
    resolver: Arc<Resolver>,
    tasks: TaskTracker,
    stop: CancellationToken,
    waiting: Arc<Semaphore>,
}

/// Answers packets. Who has to wait does so apart; what cannot be sent is lost, as packets are.
async fn serve_udp(socket: UdpSocket, clients: Clients) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; LONGEST_QUESTION];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // The kernel is out of memory.
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        match clients.resolver.begin(buffer.get(..length).unwrap_or_default(), Transport::Udp) {
            Step::Ignore => {}
            Step::Reply(reply) => drop(socket.try_send_to(&reply, client)),
            Step::Ask(query) => match Arc::clone(&clients.waiting).try_acquire_owned() {
                Ok(permit) => {
                    let (resolver, socket) = (Arc::clone(&clients.resolver), Arc::clone(&socket));
                    let asking = async move {
                        let reply = resolver.ask(&query, Transport::Udp).await;
                        drop(socket.send_to(&reply, client).await);
                        drop(permit);
                    };
                    clients.tasks.spawn(clients.stop.clone().run_until_cancelled_owned(asking));
                }
                Err(_) => drop(socket.try_send_to(&busy(&query), client)),
            },
        }
    }
}

fn busy(query: &Query) -> Vec<u8> {
    write::refusal(query.id, query.flags, Rcode::ServFail)
}

async fn serve_tcp(listener: TcpListener, clients: Clients, connections: Arc<Semaphore>, end: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors or memory: others have to end first.
            sleep(PAUSE).await;
            continue;
        };
        // Closed when there are too many.
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let resolver = Arc::clone(&clients.resolver);
        let serving = async move {
            // A client that goes away, or has to, is nobody's concern.
            drop(converse(stream, &resolver).await);
            drop(permit);
        };
        clients.tasks.spawn(end.clone().run_until_cancelled_owned(serving));
    }
}

/// Questions and answers, each with its length in front, until the client ends or is too slow.
async fn converse(mut stream: TcpStream, resolver: &Arc<Resolver>) -> io::Result<()> {
    loop {
        let Ok(question) = timeout(IDLE, receive(&mut stream)).await else { return Ok(()) };
        let reply = match resolver.begin(&question?, Transport::Tcp) {
            Step::Ignore => return Ok(()),
            Step::Reply(reply) => reply,
            Step::Ask(query) => resolver.ask(&query, Transport::Tcp).await,
        };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?.to_be_bytes();
        let Ok(sent) = timeout(SLOW, stream.write_all(&[&length[..], &reply].concat())).await else { return Ok(()) };
        sent?;
    }
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST_QUESTION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(question)
}
