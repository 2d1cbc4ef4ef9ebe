//! The life of PID 1.
//!
//! - [`init`]: the outermost frame: whatever goes wrong inside ends in [`failsafe`], never in a kernel panic.
//! - `mainloop`: commands, signals, health; ends when the machine goes down.
//! - `sequencer`: runs one [`crate::sequence`] at a time: `initialize`, then `start` (the boot sequence), at last
//!   `shutdown` (the way down, bounded at each step) or `reset` (the same, with what is wiped on it).
//! - [`setup`], [`groups`], [`facts`], [`sinks`], `sizes`, [`readiness`], [`health`]: what these are made of.

pub mod facts;
pub mod failsafe;
pub mod groups;
pub mod health;
mod initialize;
mod mainloop;
pub mod readiness;
mod reset;
mod sequencer;
pub mod setup;
mod shutdown;
pub mod sinks;
mod sizes;
mod start;

use std::{
    error::Error,
    io,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use daemon::log::Sink;
use tokio::sync::mpsc;

use crate::{
    config::Manager,
    console::Consoles,
    disk,
    events::Events,
    logs::Logs,
    node::{Command, Node},
    sequence::{Ending, Kind, phases},
    services::Supervisor,
};
use facts::{CommandLine, RELEASE_FILE, Release};

/// What the parts of PID 1 share.
pub(crate) struct Machine {
    node: Arc<Node>,
    events: Arc<Events>,
    logs: Arc<Logs>,
    consoles: Arc<Consoles>,
    command_line: CommandLine,
    release: Release,
    config: Arc<Manager>,
    /// Set by the boot sequence, taken by the way down.
    supervisor: Mutex<Option<Supervisor>>,
    /// Questions of the health task to the main loop.
    pings: mpsc::Sender<health::Ping>,
}

/// PID 1 cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the source says it all")]
pub enum InitError {
    #[error(transparent)]
    Setup(#[from] setup::SetupError),
    #[error(transparent)]
    Phase(#[from] phases::FatalStep),
    #[error("start the runtime")]
    Runtime { source: io::Error },
    #[error("listen for signals")]
    Signals { source: io::Error },
    #[error(transparent)]
    Reaper(#[from] linux::process::ProcessError),
    #[error("the sequence {kind} was lost")]
    Lost { kind: Kind },
}

/// Runs the node until it goes down. For PID 1 only: it never returns.
pub fn init() -> ! {
    let ended = catch_unwind(AssertUnwindSafe(|| match live() {
        Ok(ending) => shutdown::finish(ending),
        Err(error) => {
            let cause: &dyn Error = &error;
            failsafe::fatal(&daemon::report(cause).to_string())
        }
    }));
    match ended {
        Ok(never) => never,
        Err(panic) => failsafe::fatal(&format!("PID 1 panicked: {}", daemon::panic_text(&*panic))),
    }
}

/// Everything between the kernel's start of PID 1 and the decision to go down.
fn live() -> Result<Ending, InitError> {
    setup::first_mounts()?;
    // Leaked on purpose: dropping a runtime waits for its blocking threads, and one that hangs must not keep PID 1
    // from going down.
    let runtime = ManuallyDrop::new(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(16)
            .thread_stack_size(512 * 1024)
            .build()
            .map_err(|source| InitError::Runtime { source })?,
    );
    let (logs, consoles) = start_log();
    // Everything waits for what is on the disk, and the look for it needs nothing of what comes before its turn.
    let looking = disk::look(runtime.handle());
    let (machine, commands, pings) = machine(logs, consoles);
    runtime.block_on(mainloop::run(machine, looking, commands, pings))
}

/// The log, and where it goes.
fn start_log() -> (Arc<Logs>, Arc<Consoles>) {
    let logs = Logs::new();
    let consoles = Arc::new(Consoles::open());
    failsafe::remember(&consoles);
    let mut sinks: Vec<Arc<dyn Sink>> = vec![logs.sink(), consoles.clone()];
    let kernel = sinks::Kernel::open().map(|kernel| sinks.push(Arc::new(kernel)));
    // Only a second backend can be refused, and there is none in this program.
    let _ = daemon::log::init(sinks);
    daemon::panic_hook();
    if let Err(error) = kernel {
        log::warn!(target: "boot", "no copy of this log in the kernel's: open {}: {error}", linux::kmsg::PATH);
    }
    (logs, consoles)
}

/// The empty state.
fn machine(logs: Arc<Logs>, consoles: Arc<Consoles>) -> (Arc<Machine>, mpsc::Receiver<Command>, mpsc::Receiver<health::Ping>) {
    let (node, commands) = Node::new();
    let (ping_sender, pings) = mpsc::channel(1);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let machine = Machine {
        config: Arc::new(Manager::new(&node)),
        node,
        events: Events::new(),
        logs,
        consoles,
        command_line: CommandLine::parse(&read("/proc/cmdline")),
        release: Release::parse(&read(RELEASE_FILE)),
        supervisor: Mutex::default(),
        pings: ping_sender,
    };
    (Arc::new(machine), commands, pings)
}
