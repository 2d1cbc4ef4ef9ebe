//! Child processes: what to start ([`Spec`]), how it ends ([`Exit`]), who collects it (the one reaper).
//!
//! PID 1 has exactly one `waitpid(-1)` loop (see `reaper`). [`spawn`] holds the reaper's lock across the start and the
//! entry into its table, so no exit status can be lost. `std::process` and `tokio::process` must not be used beside it.

mod child;
mod clone;
mod image;
mod launch;
mod output;
mod privileges;
mod reaper;

use std::{
    ffi::OsString,
    io::{self, PipeWriter},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

pub(crate) use image::Image;
pub use nix::sys::{resource::Resource, signal::Signal};
pub use output::{Collect, LineSink, LineSplitter, MAX_LINE};
pub(crate) use privileges::{Privileges, check, default_signals};
pub use reaper::{orphans, signal, signal_group, spawn, start_reaper};
use tokio::{sync::oneshot, time::timeout};

use crate::sandbox::{OrderError, Sandbox};

/// `PATH` of every child.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Most output kept by [`run`], in bytes; the end is kept, the beginning goes.
const RUN_OUTPUT: usize = 16 * 1024;

/// Who a child runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A set of capabilities, one bit each by the kernel's numbers (`capabilities(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Whether the capability of this number is in it.
    #[must_use]
    pub const fn has(self, number: u8) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }
}

/// Standard input of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe whose other end is [`Child::stdin`].
    Pipe,
}

/// A process to be started. Starts in its own session, with an environment of [`PATH`] and `env` only.
#[derive(Clone, Default)]
pub struct Spec {
    /// Path of the program. With a sandbox it is absolute, and found in the node's tree and not in the sandbox's; the file itself may be a
    /// link, but a relative one.
    pub program: PathBuf,
    /// `argv[0]`; the program's path when absent.
    pub arg0: Option<OsString>,
    /// Arguments after `argv[0]`.
    pub args: Vec<OsString>,
    /// Further environment.
    pub env: Vec<(OsString, OsString)>,
    /// Whom to become; `None` stays root.
    pub user: Option<User>,
    /// Supplementary groups, when there is a user.
    pub groups: Vec<u32>,
    /// Control group to start in, as a folder below `/sys/fs/cgroup`; must exist.
    pub cgroup: Option<PathBuf>,
    /// `oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: Option<i16>,
    /// No way back to privileges through executed files.
    pub no_new_privs: bool,
    /// The capabilities that it keeps, in every set and the bounding set; `None` leaves all as they are.
    pub capabilities: Option<Capabilities>,
    /// Limits, soft and hard alike.
    pub rlimits: Vec<(Resource, u64)>,
    /// What it sees of the machine and which system calls it has; `None` leaves it where this process is.
    pub sandbox: Option<Sandbox>,
    /// What the child reads on stdin.
    pub stdin: Input,
    /// Takes the lines of stdout and stderr; `/dev/null` when absent.
    pub output: Option<Arc<dyn LineSink>>,
}

impl Spec {
    /// The program with its arguments; everything else as by default.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// A started process.
#[derive(Debug)]
pub struct Child {
    /// Process id; also the id of its session and process group.
    pub pid: u32,
    /// Resolves when the process has ended and is collected.
    pub exit: oneshot::Receiver<Exit>,
    /// Its standard input, with [`Input::Pipe`]. A pipe takes 64 KiB before a write to it waits for the child.
    pub stdin: Option<PipeWriter>,
    /// Resolves when everything it (and what inherited its output) wrote has reached the sink.
    pub output_end: oneshot::Receiver<()>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// Killed by this signal number.
    Signal(i32),
}

impl Exit {
    /// Whether it ended with code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// A process could not be started, told or waited for.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum ProcessError {
    /// [`start_reaper`] was not called.
    #[error("start {program}: the reaper is not running")]
    NoReaper { program: PathBuf },
    /// [`start_reaper`] was called twice.
    #[error("the reaper is already running")]
    SecondReaper,
    /// SIGCHLD cannot be received.
    #[error("listen for SIGCHLD")]
    Listen { source: io::Error },
    /// A descriptor for the child could not be made ready.
    #[error("start {program}: prepare {what}")]
    Prepare { program: PathBuf, what: &'static str, source: io::Error },
    /// The child could not be made, one of its settings was refused, or its program not executed.
    #[error("start {program}")]
    Spawn { program: PathBuf, source: io::Error },
    /// A sandbox is described wrongly.
    #[error("start {program}: describe its sandbox")]
    Order { program: PathBuf, source: OrderError },
    /// A step of building the sandbox failed, or the program was not executed in it.
    #[error("start {program}: sandbox: {step}")]
    Sandbox { program: PathBuf, step: String, source: io::Error },
    /// The launcher did not say in time that it is done; it was killed.
    #[error("start {program}: its launcher did not end within {seconds} s")]
    Launcher { program: PathBuf, seconds: u64 },
    /// The kernel refused a signal.
    #[error("send {signal} to process {pid}")]
    Signal { pid: u32, signal: Signal, source: io::Error },
    /// The process did not end in time; it was killed.
    #[error("{program} did not end within {seconds} s")]
    TimedOut { program: PathBuf, seconds: u64 },
}

/// A tool's end, with the last 16 KiB of what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Its output, stdout and stderr in the order of writing; not-UTF-8 replaced.
    pub output: String,
}

/// Starts a tool, collects its output (replacing `spec.output`) and waits for its end, at most `limit`. It has nothing
/// to read (replacing `spec.stdin`).
///
/// # Errors
/// As [`spawn`]; [`ProcessError::TimedOut`] after killing it.
pub async fn run(mut spec: Spec, limit: Duration) -> Result<Finished, ProcessError> {
    let output = Arc::new(Collect::new(RUN_OUTPUT));
    spec.output = Some(output.clone());
    spec.stdin = Input::Null;
    let child = spawn(&spec)?;
    let ended = timeout(limit, async {
        // A dropped sender cannot happen while the reaper lives; 255 then says "ended, nobody knows how".
        let exit = child.exit.await.unwrap_or(Exit::Code(255));
        let _ = child.output_end.await;
        exit
    });
    match ended.await {
        Ok(exit) => Ok(Finished { exit, output: output.text() }),
        Err(_) => {
            signal_group(child.pid, Signal::SIGKILL)?;
            Err(ProcessError::TimedOut { program: spec.program, seconds: limit.as_secs() })
        }
    }
}
