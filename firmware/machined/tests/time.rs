//! The time client against servers of its own, and a clock of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use linux::clock::{self, AdjustError, Adjustment, ClockState, RtcError};
use machine_config::{Config, GenerateInput, generate};
use machined::{
    node::{ActiveConfig, LinkStatus, Node},
    time::{Clock, TimeStatus, packet, start_with},
};
use tokio::net::UdpSocket;

/// For everything that the client does by itself; its first retries are a second apart.
const SOON: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600_000_000_000;

/// A year ago.
fn floor() -> Duration {
    clock::now() - Duration::from_secs(365 * 86400)
}

/// The host's clock and how far it was moved.
#[derive(Clone, Default)]
struct Own {
    moved: Arc<Mutex<i64>>,
    slewed: Arc<Mutex<Vec<Adjustment>>>,
    kept: Arc<AtomicU32>,
}

impl Clock for Own {
    fn now(&self) -> Duration {
        let moved = *self.moved.lock().unwrap();
        let by = Duration::from_nanos(moved.unsigned_abs());
        if moved < 0 { clock::now() - by } else { clock::now() + by }
    }

    fn jump(&self, by: i64) -> Result<(), AdjustError> {
        *self.moved.lock().unwrap() += by;
        Ok(())
    }

    fn adjust(&self, adjustment: &Adjustment) -> Result<ClockState, AdjustError> {
        self.slewed.lock().unwrap().push(*adjustment);
        Ok(ClockState::default())
    }

    fn keep(&self) -> Result<(), RtcError> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A server whose time is `ahead` of the host's.
struct Server {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

async fn server(ahead: i64) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: socket.local_addr().unwrap(), silent: Arc::default(), asked: Arc::default() };
    let (silent, asked) = (Arc::clone(&server.silent), Arc::clone(&server.asked));
    tokio::spawn(async move {
        let mut buffer = [0; 128];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            asked.fetch_add(1, Ordering::Relaxed);
            if !silent.load(Ordering::Relaxed) {
                let time = clock::now().checked_add_signed(ahead);
                let answer = packet::server_packet(&buffer[..length], time, 2).unwrap();
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    server
}

trait Signed {
    fn checked_add_signed(self, nanoseconds: i64) -> Self;
}

impl Signed for Duration {
    fn checked_add_signed(self, nanoseconds: i64) -> Self {
        let by = Self::from_nanos(nanoseconds.unsigned_abs());
        if nanoseconds < 0 { self - by } else { self + by }
    }
}

fn config(time: &str) -> ActiveConfig {
    let now = SystemTime::now();
    let secrets = pki::SecretsBundle::generate(now).unwrap();
    let files = generate(&GenerateInput::new("time", "https://10.0.0.1:6443", &secrets, now)).unwrap();
    let text = format!("{}\n---\napiVersion: v1alpha1\nkind: TimeSyncConfig\n{time}", files.worker.expose());
    let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).config;
    ActiveConfig { text: text.into(), source: "api", config }
}

/// A node with an address and these time settings.
fn node(time: &str) -> Arc<Node> {
    let (node, _commands) = Node::new();
    node.network.send_modify(|network| {
        network.links.push(LinkStatus {
            name: "eth0".to_owned(),
            mac: String::new(),
            up: true,
            addresses: vec!["10.0.0.2/24".parse().unwrap()],
            source: "dhcp".to_owned(),
        });
    });
    configure(&node, time);
    node
}

fn configure(node: &Node, time: &str) {
    let active = config(time);
    node.config.send_modify(|config| {
        config.settled = true;
        config.active = Some(Arc::new(active));
    });
}

fn settings(servers: &[&Server]) -> String {
    let list: Vec<_> = servers.iter().map(|server| format!("{:?}", server.address.to_string())).collect();
    format!("enabled: true\nntp:\n  servers: [{}]\n", list.join(", "))
}

async fn wait(node: &Node, what: &str, until: impl FnMut(&TimeStatus) -> bool) -> TimeStatus {
    let mut time = node.time.subscribe();
    let status = tokio::time::timeout(SOON, time.wait_for(until)).await;
    status.unwrap_or_else(|_| panic!("waited {SOON:?} for {what}: {:?}", node.time.borrow())).unwrap().clone()
}

fn apart(own: &Own, ahead: i64) -> Duration {
    Duration::from_nanos(own.moved.lock().unwrap().abs_diff(ahead))
}

#[tokio::test]
async fn the_clock_is_set_by_a_server_and_stays_when_it_goes() {
    let (server, own) = (server(5 * HOUR).await, Own::default());
    let node = node(&settings(&[&server]));
    assert!(!node.time.borrow().synced);
    start_with(&node, floor(), own.clone());
    let status = wait(&node, "the time", |time| time.synced).await;
    assert_eq!((status.epoch, status.servers.len(), status.problem), (1, 1, None));
    assert!(apart(&own, 5 * HOUR) < Duration::from_secs(1), "{:?}", own.moved);
    assert_eq!((own.slewed.lock().unwrap().len(), own.kept.load(Ordering::Relaxed)), (1, 1));

    // Silence: the settings change to a server that says nothing, which is asked at once.
    let gone = self::server(0).await;
    gone.silent.store(true, Ordering::Relaxed);
    configure(&node, &settings(&[&gone]));
    let status = wait(&node, "the silence", |time| time.problem.is_some()).await;
    assert!(status.synced && status.problem.unwrap().contains("does not answer"));
    assert!(apart(&own, 5 * HOUR) < Duration::from_secs(1));
    gone.silent.store(false, Ordering::Relaxed);
    node.stop.cancel();
}

#[tokio::test]
async fn one_of_three_servers_may_lie() {
    let (liar, one, two) = (server(-900 * HOUR).await, server(0).await, server(1_000_000).await);
    let own = Own::default();
    let node = node(&settings(&[&liar, &one, &two]));
    start_with(&node, floor(), own.clone());
    wait(&node, "the time", |time| time.synced).await;
    assert!(apart(&own, 0) < Duration::from_secs(1), "{:?}", own.moved);
    assert!(liar.asked.load(Ordering::Relaxed) > 0 && own.kept.load(Ordering::Relaxed) == 0);
    node.stop.cancel();
}

#[tokio::test]
async fn nothing_before_the_image_was_made_is_believed() {
    let (server, own) = (server(-900 * HOUR).await, Own::default());
    let node = node(&settings(&[&server]));
    start_with(&node, clock::now() - Duration::from_secs(3600), own.clone());
    let status = wait(&node, "the refusal", |time| time.problem.is_some()).await;
    assert!(status.problem.unwrap().contains("cannot be true") && !status.synced);
    assert!(apart(&own, 0) == Duration::ZERO);
    node.stop.cancel();
}

#[tokio::test]
async fn who_wants_no_time_or_not_for_long_gets_none() {
    let server = server(HOUR).await;
    let own = Own::default();
    let node = node("enabled: false\n");
    start_with(&node, floor(), own.clone());
    let status = wait(&node, "the switch", |time| time.disabled).await;
    assert!(status.synced && server.asked.load(Ordering::Relaxed) == 0);

    server.silent.store(true, Ordering::Relaxed);
    // This host has been up for longer than that.
    configure(&node, &format!("bootTimeout: 1s\n{}", settings(&[&server])));
    let status = wait(&node, "the end of patience", |time| !time.disabled && time.synced).await;
    assert_eq!(status.epoch, 0);
    server.silent.store(false, Ordering::Relaxed);
    tokio::time::timeout(SOON, async {
        while own.kept.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the time is still looked for");
    node.stop.cancel();
}

#[tokio::test]
async fn a_check_moves_nothing() {
    let server = server(HOUR).await;
    let checked = machined::time::check(&server.address.to_string()).await.unwrap();
    let ahead = checked.remote - checked.local;
    assert!(ahead.as_secs().abs_diff(3600) <= 1, "{checked:?}");
    assert!(machined::time::check("nobody.invalid").await.is_err());
}
