//! The measurements.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use pki::{Authority, AuthorityKind};
use qemu::bench::{ApiRow, ApiTurn};
use test_support::certificates::{Flaw, client};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use wire::{
    cosi::{WatchRequest, state_client::StateClient},
    machine::{ReadRequest, machine_service_client::MachineServiceClient},
};

use crate::node::{Node, Ticks};

/// `Version` calls of a turn, how many of them at a time, and how many one after the other for the spread of their times.
const UNARY: (usize, usize, usize) = (6_000, 16, 500);
/// Bytes of the file that is read, and how often in a turn.
const STREAM: (usize, usize) = (100 << 20, 3);
/// Watchers, each with its own connection, and changes of a turn. Each change is seen by all before the next one is made.
const WATCH: (usize, usize) = (50, 300);
/// Calls of a turn that go to three nodes, and how many of them at a time.
const FAN_OUT: (usize, usize) = (1_500, 8);
/// The nodes' addresses on this machine.
const ADDRESSES: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
/// Windows of the API's clients, for the floor too: stream, connection.
const WINDOWS: (u32, u32) = (65535 * 32, 65535 * 16);
const STATUS: (&str, &str) = ("runtime", "MachineStatuses.runtime.talos.dev");

/// Three nodes, and the way to each of them: through apid and around it.
struct World {
    nodes: Vec<Node>,
    authority: Authority,
    big: tempfile::NamedTempFile,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Floor,
    Ours,
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Unary,
    Stream,
    Watch,
    FanOut,
}

impl What {
    const ALL: [Self; 4] = [Self::Unary, Self::Stream, Self::Watch, Self::FanOut];

    const fn name(self) -> &'static str {
        match self {
            Self::Unary => "Version",
            Self::Stream => "Read of 100 MiB",
            Self::Watch => "change seen by 50 watchers",
            Self::FanOut => "Version of 3 nodes",
        }
    }
}

/// Everything in turns; one JSON array.
pub async fn all(apid: &Path, repetitions: usize) -> Result<String> {
    ensure!(repetitions > 0, "measure at least once");
    let authority = Authority::generate(AuthorityKind::Os, SystemTime::now())?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = |address: &&str| Node::start(apid, SocketAddr::new(address.parse()?, port), &authority, &ADDRESSES);
    let nodes = ADDRESSES.iter().map(start).collect::<Result<_>>()?;
    let big = tempfile::NamedTempFile::new()?;
    std::fs::write(big.path(), vec![0x5a; STREAM.0])?;
    let mut world = World { nodes, authority, big };
    let mut turns: BTreeMap<What, Vec<[ApiTurn; 2]>> = BTreeMap::new();
    for repetition in 1..=repetitions {
        for what in What::ALL {
            let floor = world.turn(what, Way::Floor).await.with_context(|| format!("{}, floor", what.name()))?;
            let ours = world.turn(what, Way::Ours).await.with_context(|| what.name())?;
            eprintln!("{repetition}/{repetitions} {}: {:.1} a second, floor {:.1}", what.name(), ours.per_s, floor.per_s);
            turns.entry(what).or_default().push([floor, ours]);
        }
    }
    let rows: Vec<ApiRow> = turns.into_iter().map(|(what, turns)| ApiRow::of(what.name(), &turns)).collect();
    Ok(serde_json::to_string_pretty(&rows)?)
}

/// Counts from its start on.
struct Meter {
    before: Vec<Ticks>,
    start: Instant,
}

impl Meter {
    fn start(nodes: &[Node]) -> Result<Self> {
        Ok(Self { before: nodes.iter().map(Node::ticks).collect::<Result<_>>()?, start: Instant::now() })
    }

    /// What `count` requests took.
    fn stop(self, nodes: &[Node], count: usize) -> Result<ApiTurn> {
        let seconds = self.start.elapsed().as_secs_f64();
        let mut spent = Ticks::default();
        for (node, before) in nodes.iter().zip(self.before) {
            let after = node.ticks()?;
            spent.machined += after.machined.saturating_sub(before.machined);
            spent.apid += after.apid.saturating_sub(before.apid);
        }
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock")? as f64;
        let micros = |ticks: u64| ticks as f64 / per_second * 1e6 / count as f64;
        Ok(ApiTurn { per_s: count as f64 / seconds, machined_us: micros(spent.machined), apid_us: micros(spent.apid), times_us: None })
    }
}

impl World {
    async fn turn(&mut self, what: What, way: Way) -> Result<ApiTurn> {
        match what {
            What::Unary => self.unary(way).await,
            What::Stream => self.stream(way).await,
            What::Watch => self.watch(way).await,
            What::FanOut => self.fan_out(way).await,
        }
    }

    /// A new connection to a node.
    async fn channel(&self, node: usize, way: Way) -> Result<Channel> {
        let node = self.nodes.get(node).context("no such node")?;
        if way == Way::Floor {
            let endpoint = Endpoint::from_static("http://localhost").initial_stream_window_size(WINDOWS.0);
            return Ok(wire::unix::connect_lazy(endpoint.initial_connection_window_size(WINDOWS.1), node.socket.clone()));
        }
        let config = test_support::trusting(&self.authority, Some(client(&self.authority, &["os:admin"], Flaw::None)?))?;
        let (host, port) = (node.address.ip().to_string(), node.address.port());
        Ok(wire::tls::connect(wire::tls::endpoint(&host, port)?, &host, port, config).await?)
    }

    async fn unary(&self, way: Way) -> Result<ApiTurn> {
        let client = MachineServiceClient::new(self.channel(0, way).await?);
        version(client.clone(), &[]).await?;
        let (count, at_once, timed) = UNARY;
        let meter = Meter::start(&self.nodes)?;
        stream::iter(0..count).map(|_| version(client.clone(), &[])).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
        let turn = meter.stop(&self.nodes, count)?;
        let mut times = Vec::new();
        for _ in 0..timed {
            let start = Instant::now();
            version(client.clone(), &[]).await?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(ApiTurn { times_us: Some(times), ..turn })
    }

    async fn stream(&self, way: Way) -> Result<ApiTurn> {
        let mut client = MachineServiceClient::new(self.channel(0, way).await?);
        let path = self.big.path().display().to_string();
        let meter = Meter::start(&self.nodes)?;
        for _ in 0..STREAM.1 {
            let mut stream = client.read(as_admin(ReadRequest { path: path.clone() })).await?.into_inner();
            let mut length = 0;
            while let Some(data) = stream.message().await? {
                length += data.bytes.len();
            }
            ensure!(length == STREAM.0, "{length} bytes of {}", STREAM.0);
        }
        meter.stop(&self.nodes, STREAM.1)
    }

    async fn watch(&mut self, way: Way) -> Result<ApiTurn> {
        let mut watches = Vec::new();
        for _ in 0..WATCH.0 {
            let (namespace, kind) = STATUS;
            let request = WatchRequest {
                namespace: namespace.into(),
                r#type: kind.into(),
                id: Some("machine".into()),
                options: None,
                api_version: 1,
            };
            let mut client = StateClient::new(self.channel(0, way).await?);
            let mut watch = client.watch(as_admin(request)).await?.into_inner();
            watch.message().await?.context("a watch without a beginning")?;
            watches.push((watch, client));
        }
        let meter = Meter::start(&self.nodes)?;
        for round in 0..WATCH.1 {
            let word = format!("round-{round}-{way:?}");
            self.nodes.first_mut().context("no node")?.says(&word)?;
            let seen = watches.iter_mut().map(|(watch, _)| async {
                loop {
                    let told = watch.message().await?.context("a watch has ended")?;
                    let resources = told.event.iter().filter_map(|event| event.resource.as_ref()?.spec.as_ref());
                    if resources.into_iter().any(|spec| spec.yaml_spec.contains(&word)) {
                        return anyhow::Ok(());
                    }
                }
            });
            try_join_all(seen).await?;
        }
        meter.stop(&self.nodes, WATCH.1)
    }

    /// One call of which apid makes three, and three calls without it.
    async fn fan_out(&self, way: Way) -> Result<ApiTurn> {
        let (count, at_once) = FAN_OUT;
        let targets: &[&str] = if way == Way::Ours { &ADDRESSES } else { &[] };
        let several = if way == Way::Ours { 1 } else { ADDRESSES.len() };
        let mut clients = Vec::new();
        for node in 0..several {
            clients.push(MachineServiceClient::new(self.channel(node, way).await?));
        }
        let ask = || async { try_join_all(clients.iter().map(|client| version(client.clone(), targets))).await.map(drop) };
        ask().await?;
        let meter = Meter::start(&self.nodes)?;
        stream::iter(0..count).map(|_| ask()).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
        meter.stop(&self.nodes, count)
    }
}

/// A call of `nodes`; an answer of each, or of the node that is asked.
async fn version(mut client: MachineServiceClient<Channel>, nodes: &[&'static str]) -> Result<()> {
    let mut request = as_admin(());
    for node in nodes {
        request.metadata_mut().append("nodes", node.parse()?);
    }
    let messages = client.version(request).await?.into_inner().messages;
    let answered = messages.iter().filter(|message| message.version.is_some()).count();
    ensure!(answered == nodes.len().max(1), "{answered} nodes answered: {messages:?}");
    Ok(())
}

/// The floor believes it; apid does not hear it.
fn as_admin<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(role) = "os:admin".parse() {
        request.metadata_mut().insert(wire::ROLE_KEY, role);
    }
    request
}
