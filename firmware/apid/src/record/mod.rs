//! A line for each call, at its end: what was called, by whom, for which node, how it ended, how long it took and how much it moved.
//!
//! Changes and errors are worth a line to everybody, reads to who looks for mistakes in the gateway. What a message says is never
//! written: only what this gateway itself has to say of a call that it refuses. A flood of calls writes no flood of lines: see `rate`.

mod body;
mod rate;

use std::{
    fmt::{self, Display},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Uri};
use log::Level;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use crate::{
    peer::Peer,
    route::{Decision, Target},
};
use rate::Rate;

pub(crate) use body::{Counted, Recorded};

/// Most letters of anything that a caller chose.
const LONGEST: usize = 128;
/// Nodes that are named; of the others it says how many they are.
const MOST_NODES: usize = 4;

/// Methods that change nothing and give out no credentials, by service. Any other, known or not, is taken for a change.
const READS: &[(&str, &[&str])] = &[
    ("cluster.ClusterService", &["HealthCheck"]),
    ("cosi.resource.State", &["Get", "List", "Watch"]),
    ("inspect.InspectService", &["ControllerRuntimeDependencies"]),
    ("machine.ImageService", &["List", "Verify"]),
    (
        "machine.MachineService",
        &[
            "CPUFreqStats",
            "CPUInfo",
            "Containers",
            "Copy",
            "DiskStats",
            "DiskUsage",
            "Dmesg",
            "EtcdAlarmList",
            "EtcdDowngradeValidate",
            "EtcdMemberList",
            "EtcdStatus",
            "Events",
            "Hostname",
            "ImageList",
            "List",
            "LoadAvg",
            "Logs",
            "LogsContainers",
            "Memory",
            "Mounts",
            "Netstat",
            "NetworkDeviceStats",
            "Processes",
            "Read",
            "ServiceList",
            "Stats",
            "SystemStat",
            "Version",
        ],
    ),
    ("machine.StorageService", &["Statfs"]),
    ("storage.StorageService", &["Disks"]),
    ("time.TimeService", &["Time", "TimeCheck"]),
];

fn is_read(path: &str) -> bool {
    wire::methods::find(path)
        .is_some_and(|method| READS.iter().any(|(service, names)| *service == method.service() && names.contains(&method.name())))
}

/// What a line is worth. A read that its caller cut short ended as reads do that follow something.
fn level(path: &str, code: Code) -> Level {
    match code {
        Code::Ok | Code::Cancelled if is_read(path) => Level::Debug,
        _ => Level::Info,
    }
}

type Sink = Box<dyn Fn(Level, &str) + Send + Sync>;

/// Where the lines go.
pub(crate) struct Recorder {
    sink: Sink,
    /// Lines of changes that were made, and of everything else: refused calls cannot take the place of the former.
    rates: Mutex<[Rate; 2]>,
    begun: Instant,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Into apid's log.
    pub(crate) fn to_log() -> Arc<Self> {
        Self::new(Box::new(|level, line| log::log!(target: "apid", level, "{line}")))
    }

    fn new(sink: Sink) -> Arc<Self> {
        Arc::new(Self { sink, rates: Mutex::default(), begun: Instant::now() })
    }

    /// Begins with a call.
    pub(crate) fn record(self: &Arc<Self>, request: &Request<Body>) -> Record {
        Record {
            recorder: Arc::clone(self),
            uri: request.uri().clone(),
            peer: request.extensions().get::<Peer>().map(|peer| peer.address),
            roles: Vec::new(),
            nodes: Nodes::This,
            began: Instant::now(),
            received: Arc::default(),
            sent: 0,
            code: None,
            over: false,
            reason: None,
        }
    }

    fn note(&self, record: &Record) {
        let code = record.code();
        let level = level(record.uri.path(), code);
        if level > log::max_level() {
            return;
        }
        let which = usize::from(code != Code::Ok || level != Level::Info);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = rates.get_mut(which).and_then(|rate| rate.take(self.begun.elapsed()));
        drop(rates);
        match left_out {
            Some(0) => (self.sink)(level, &record.to_string()),
            Some(count) => (self.sink)(level, &format!("{record} ({count} lines before this one were left out)")),
            None => {}
        }
    }
}

/// Where a call went.
#[derive(Debug)]
enum Nodes {
    This,
    One(String),
    Many(Vec<String>),
}

/// A call under way. Its line is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Record {
    recorder: Arc<Recorder>,
    uri: Uri,
    peer: Option<SocketAddr>,
    roles: Vec<HeaderValue>,
    nodes: Nodes,
    began: Instant,
    received: Arc<AtomicU64>,
    sent: u64,
    code: Option<Code>,
    /// The reply was sent to its end.
    over: bool,
    /// Why this gateway refused it.
    reason: Option<String>,
}

impl Record {
    pub(crate) fn went(&mut self, roles: &[HeaderValue], decision: &Decision) {
        self.roles = roles.to_vec();
        self.nodes = match decision {
            Decision::Local => Nodes::This,
            Decision::One(name) => Nodes::One(name.clone()),
            Decision::Many { targets, .. } => Nodes::Many(targets.iter().map(|Target { name, .. }| name.clone()).collect()),
        };
    }

    /// Counts what the caller sends.
    pub(crate) fn count(&self, request: Request<Body>) -> Request<Body> {
        let received = Arc::clone(&self.received);
        request.map(|body| Body::new(Counted::new(body, received)))
    }

    /// This gateway's own answer.
    pub(crate) fn refused(&mut self, status: &Status) {
        (self.code, self.over) = (Some(status.code()), true);
        self.reason = Some(status.message().to_owned());
    }

    /// The answer's metadata: at its beginning, or at its end.
    pub(crate) fn metadata(&mut self, headers: &HeaderMap) {
        let number = headers.get("grpc-status").and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<i32>().ok());
        self.code = number.map(Code::from).or(self.code);
    }

    /// An answer that just ends has no status; one that nobody waited for was called off.
    fn code(&self) -> Code {
        self.code.unwrap_or(if self.over { Code::Unknown } else { Code::Cancelled })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.recorder.note(self);
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from ", Cut(self.uri.path()))?;
        match self.peer {
            Some(peer) => write!(f, "{peer}")?,
            None => f.write_str("nobody")?,
        }
        let roles: Vec<&str> = self.roles.iter().filter_map(|role| role.to_str().ok()).collect();
        write!(f, " ({})", if roles.is_empty() { "no role".to_owned() } else { Cut(&roles.join(", ")).to_string() })?;
        match &self.nodes {
            Nodes::This => {}
            Nodes::One(name) => write!(f, " for {}", Cut(name))?,
            Nodes::Many(names) => {
                let named: Vec<_> = names.iter().take(MOST_NODES).map(|name| Cut(name).to_string()).collect();
                write!(f, " for {}", named.join(", "))?;
                if names.len() > MOST_NODES {
                    write!(f, " and {} more", names.len() - MOST_NODES)?;
                }
            }
        }
        let (received, took) = (self.received.load(Ordering::Relaxed), milliseconds(self.began.elapsed()));
        write!(f, ": {:?} in {took} ms, {received} bytes in, {} out", self.code(), self.sent)?;
        match &self.reason {
            Some(reason) => write!(f, ": {}", Cut(reason)),
            None => Ok(()),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{}.{}", time.as_millis(), time.subsec_micros() / 100 % 10)
}

/// Text of a caller's choice: not longer than it has to be, and nothing but letters.
struct Cut<'a>(&'a str);

impl Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
        let cut = text.get(..end).unwrap_or_default();
        write!(f, "{}{}", cut.escape_debug(), if end < text.len() { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests;
