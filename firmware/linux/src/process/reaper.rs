//! The one place that waits for children.
//!
//! The table's lock is held across start and entry, and across `waitpid` and removal: an exit status is never collected
//! before its owner is known, and a pid in the table is never one that the kernel has given to somebody else.
//! When SIGCHLD comes while somebody holds the lock, the holder collects after letting go; the reactor never waits for it.

use std::{
    collections::HashMap,
    io,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal as listen},
    sync::oneshot,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Child, Exit, ProcessError, Spec,
    child::{self, Started},
    launch, output,
};

static REAPER: OnceLock<Reaper> = OnceLock::new();

struct Reaper {
    table: Mutex<HashMap<i32, oneshot::Sender<Exit>>>,
    /// A SIGCHLD came that nobody has acted on yet.
    pending: AtomicBool,
    orphans: AtomicU64,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Starts collecting children of this process, as a task of `tasks` until `stop`.
///
/// # Errors
/// [`ProcessError::SecondReaper`], [`ProcessError::Listen`].
pub fn start_reaper(tasks: &TaskTracker, stop: CancellationToken) -> Result<(), ProcessError> {
    let mut children = listen(SignalKind::child()).map_err(|source| ProcessError::Listen { source })?;
    let reaper = Reaper {
        table: Mutex::default(),
        pending: AtomicBool::new(false),
        orphans: AtomicU64::new(0),
        runtime: Handle::current(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    REAPER.set(reaper).map_err(|_| ProcessError::SecondReaper)?;
    tasks.spawn(async move {
        loop {
            if let Some(reaper) = REAPER.get() {
                reaper.collect();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                got = children.recv() => if got.is_none() { return },
            }
        }
    });
    Ok(())
}

/// Starts a process that the reaper will collect. Blocks until its program is executed (or could not be):
/// call it from `spawn_blocking` when the program may come from a slow disk, or has a sandbox to be built first.
///
/// # Errors
/// [`ProcessError::NoReaper`], [`ProcessError::Prepare`], [`ProcessError::Spawn`]; with a sandbox [`ProcessError::Order`],
/// [`ProcessError::Sandbox`], [`ProcessError::Launcher`].
pub fn spawn(spec: &Spec) -> Result<Child, ProcessError> {
    let Some(reaper) = REAPER.get() else {
        return Err(ProcessError::NoReaper { program: spec.program.clone() });
    };
    let (exit_sender, exit) = oneshot::channel();
    let mut table = reaper.lock();
    let started = child::start(spec);
    if let Ok(started) = &started {
        table.insert(started.pid.cast_signed(), exit_sender);
    }
    drop(table);
    reaper.collect();
    let Started { pid, stdin, output: reader, launch: word } = started?;
    let (output_sender, output_end) = oneshot::channel();
    if let (Some(reader), Some(sink)) = (reader, spec.output.clone()) {
        let stop = reaper.stop.clone();
        reaper.tasks.spawn_on(
            async move {
                // A daemonised grandchild may hold the pipe open for ever.
                let ended = stop.run_until_cancelled(output::pump(reader, sink)).await;
                if let Some(Err(error)) = ended {
                    log::warn!("output of process {pid}: {error}");
                }
                // Nobody waiting is fine.
                let _ = output_sender.send(());
            },
            &reaper.runtime,
        );
    }
    if let Some(word) = word {
        // Without the lock: the launcher takes its time, and the reactor must not wait for it.
        if let Err(error) = word.wait(spec, launch::LIMIT) {
            // It ends by itself, or hangs; the reaper collects it.
            if let Err(left) = signal(pid, Signal::SIGKILL) {
                log::warn!("{left}: a launcher that failed is left");
            }
            return Err(error);
        }
    }
    Ok(Child { pid, exit, stdin, output_end })
}

/// Sends a signal to a process started by [`spawn`]; `false` when it has ended already.
///
/// # Errors
/// [`ProcessError::Signal`].
pub fn signal(pid: u32, signal: Signal) -> Result<bool, ProcessError> {
    send(pid, signal, pid.cast_signed())
}

/// Like [`signal`], to the process and everything that stayed in its process group.
///
/// # Errors
/// [`ProcessError::Signal`].
pub fn signal_group(pid: u32, signal: Signal) -> Result<bool, ProcessError> {
    send(pid, signal, pid.cast_signed().saturating_neg())
}

fn send(pid: u32, signal: Signal, target: i32) -> Result<bool, ProcessError> {
    let Some(reaper) = REAPER.get() else { return Ok(false) };
    let table = reaper.lock();
    let known = table.contains_key(&pid.cast_signed());
    // Under the lock and in the table: not collected, so the number still belongs to our child.
    let result = if known { kill(Pid::from_raw(target), signal) } else { Ok(()) };
    drop(table);
    reaper.collect();
    match result {
        Ok(()) => Ok(known),
        Err(errno) => Err(ProcessError::Signal { pid, signal, source: io::Error::from(errno) }),
    }
}

/// How many processes were collected that [`spawn`] did not start.
#[must_use]
pub fn orphans() -> u64 {
    REAPER.get().map_or(0, |reaper| reaper.orphans.load(Ordering::Relaxed))
}

impl Reaper {
    fn lock(&self) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<Exit>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects every ended child, unless somebody holds the lock: he calls this after letting go.
    fn collect(&self) {
        self.pending.store(true, Ordering::SeqCst);
        while self.pending.load(Ordering::SeqCst) {
            let mut table = match self.table.try_lock() {
                Ok(table) => table,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.pending.store(false, Ordering::SeqCst);
            while let Some((pid, exit)) = next_ended() {
                match table.remove(&pid) {
                    // The owner may have lost interest.
                    Some(owner) => drop(owner.send(exit)),
                    None => drop(self.orphans.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }
    }
}

/// One ended child, collected; `None` when there is none now.
fn next_ended() -> Option<(i32, Exit)> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live integer that the call may write. (Not nix's wrapper: it has collected the child
        // when it finds a real-time signal in the status, and then returns EINVAL.)
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid > 0 && libc::WIFEXITED(status) {
            return Some((pid, Exit::Code(libc::WEXITSTATUS(status))));
        }
        if pid > 0 && libc::WIFSIGNALED(status) {
            return Some((pid, Exit::Signal(libc::WTERMSIG(status))));
        }
        if pid > 0 {
            continue;
        }
        if pid == 0 {
            return None;
        }
        match Errno::last() {
            Errno::EINTR => {}
            Errno::ECHILD => return None,
            error => {
                log::error!("collect ended processes: {error}");
                return None;
            }
        }
    }
}
