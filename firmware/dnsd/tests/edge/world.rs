//! A running dnsd, name servers that it can ask, and clients that ask it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use dnsd::{
    Dnsd,
    message::{CLASS_IN, Name, Query, Question, Rcode, Response, kind, write},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use wire::dnsd::{DnsdConfig, DnsdStatus, Transport};

/// Longest wait for anything in here.
pub const LIMIT: Duration = Duration::from_secs(20);
/// Port of all of them; no privileges needed.
const PORT: u16 = 5335;

/// An address of loopback that nobody else uses: other tests run beside this one, in this process and in others.
pub fn place() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)), PORT).into()
}

/// What a name server does with a question.
pub type Conduct = fn(&Query, Transport) -> Vec<Vec<u8>>;

/// A name server. It is silent once it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<(Question, Transport)>>>,
    _end: DropGuard,
}

impl Upstream {
    pub async fn start(conduct: Conduct) -> Self {
        Self::start_at(place(), conduct).await
    }

    pub async fn start_at(address: SocketAddr, conduct: Conduct) -> Self {
        let (end, asked) = (CancellationToken::new(), Arc::<Mutex<Vec<_>>>::default());
        let socket = UdpSocket::bind(address).await.expect("bound");
        let listener = TcpListener::bind(address).await.expect("bound");
        let note = Arc::clone(&asked);
        let udp = async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
                let query = Query::parse(&buffer[..length]).expect("a query");
                note.lock().unwrap().push((query.question.lower(), Transport::Udp));
                for reply in conduct(&query, Transport::Udp) {
                    // Who asked may have gone away.
                    let _ = socket.send_to(&reply, client).await;
                }
            }
        };
        let note = Arc::clone(&asked);
        let tcp = async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let length = stream.read_u16().await.expect("a length");
                let mut bytes = vec![0; length.into()];
                stream.read_exact(&mut bytes).await.expect("a question");
                let query = Query::parse(&bytes).expect("a query");
                note.lock().unwrap().push((query.question.lower(), Transport::Tcp));
                for reply in conduct(&query, Transport::Tcp) {
                    let _ = stream.write_u16(reply.len() as u16).await;
                    let _ = stream.write_all(&reply).await;
                }
            }
        };
        tokio::spawn(end.clone().run_until_cancelled_owned(udp));
        tokio::spawn(end.clone().run_until_cancelled_owned(tcp));
        Self { address, asked, _end: end.drop_guard() }
    }

    /// How often it was asked.
    pub fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// An answer with so many addresses.
pub fn addresses(query: &Query, count: u8) -> Vec<u8> {
    let records: Vec<_> = (0..count).map(|last| (kind::A, vec![192, 0, 2, last])).collect();
    write::Answer::own(&query.question, Rcode::NoError, 300, &records).reply(query, 0, write::LONGEST)
}

/// A name server as it should be.
pub fn good(query: &Query, _: Transport) -> Vec<Vec<u8>> {
    vec![addresses(query, 1)]
}

/// One that does not say anything.
pub fn silent(_: &Query, _: Transport) -> Vec<Vec<u8>> {
    Vec::new()
}

/// A running dnsd.
pub struct Server {
    pub dnsd: Dnsd,
    pub config: DnsdConfig,
    pub tasks: TaskTracker,
    _end: DropGuard,
}

impl Server {
    pub async fn start(upstreams: &[SocketAddr]) -> Self {
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        let dnsd = Dnsd::start(tasks.clone(), end.clone());
        let config = DnsdConfig {
            listen: vec![place()],
            upstreams: upstreams.to_vec(),
            hosts: vec![(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), vec!["db.lan".to_owned()])],
            cache_entries: 64,
            cache_bytes: 1 << 20,
            ..DnsdConfig::default()
        };
        let server = Self { dnsd, config, tasks, _end: end.drop_guard() };
        server.change().await;
        server
    }

    /// Puts its configuration into force.
    pub async fn change(&self) {
        self.dnsd.set(&self.config);
        let wanted = |status: &DnsdStatus| {
            let listens = |address| status.listening.iter().filter(|place| place.address == address).count() == 2;
            status.listening.len() == self.config.listen.len() * 2 && self.config.listen.iter().all(|address| listens(*address))
        };
        self.wait("to listen", wanted).await;
    }

    pub async fn wait(&self, what: &str, wanted: impl Fn(&DnsdStatus) -> bool) {
        let mut status = self.dnsd.status();
        let seen = timeout(LIMIT, status.wait_for(|status| wanted(status))).await.map(drop);
        assert!(seen.is_ok(), "waited {what}: {:?}", *self.dnsd.status().borrow());
    }

    pub fn at(&self) -> SocketAddr {
        self.config.listen[0]
    }

    /// Asks for IPv4 addresses over UDP.
    pub async fn ask(&self, name: &str) -> Said {
        self.ask_with(name, None).await
    }

    pub async fn ask_with(&self, name: &str, options: Option<bool>) -> Said {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        socket.connect(self.at()).await.expect("connected");
        socket.send(&question(name, options)).await.expect("sent");
        let mut buffer = vec![0; 4096];
        let length = timeout(LIMIT, socket.recv(&mut buffer)).await.unwrap_or_else(|_| panic!("no answer about {name}")).expect("received");
        said(&buffer[..length])
    }

    /// The same over TCP.
    pub async fn ask_tcp(&self, name: &str) -> Said {
        let mut stream = TcpStream::connect(self.at()).await.expect("connected");
        converse(&mut stream, name).await.expect("answered")
    }
}

/// One question over a connection.
pub async fn converse(stream: &mut TcpStream, name: &str) -> std::io::Result<Said> {
    let question = question(name, None);
    stream.write_u16(question.len() as u16).await?;
    stream.write_all(&question).await?;
    let mut bytes = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(said(&bytes))
}

fn question(name: &str, options: Option<bool>) -> Vec<u8> {
    let question = Question { name: Name::from_text(name).expect("a name"), kind: kind::A, class: CLASS_IN };
    write::query(4711, &question, options, false)
}

/// What a client was told.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub rcode: Rcode,
    pub name: String,
    pub records: usize,
    pub cut: bool,
}

fn said(bytes: &[u8]) -> Said {
    let response = Response::parse(bytes).expect("a response");
    assert_eq!(response.id, 4711);
    let records = response.records().iter().filter(|record| record.kind != kind::OPT).count();
    let name = response.question.as_ref().map(|question| question.name.to_string()).unwrap_or_default();
    Said { rcode: response.rcode(), name, records, cut: response.is_cut() }
}
