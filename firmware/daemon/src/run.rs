//! The frame of a small daemon.

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use nix::sys::signal::{SigSet, Signal};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{log::Stderr, panic_hook, report};

/// How long tasks may take to end after the daemon was asked to stop.
pub const GRACE: Duration = Duration::from_secs(10);

/// What the body of a daemon gets: the owner of its tasks and the word to stop.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// Owner of every task of this daemon.
    pub tasks: TaskTracker,
    /// Cancelled on SIGTERM or SIGINT.
    pub stop: CancellationToken,
}

/// Runs `body` on a single-threaded runtime until it ends, logs its error, and waits [`GRACE`] for its tasks.
///
/// Exit code 0 when `body` ended well, 1 on its error, 70 when the frame itself could not be set up.
pub fn run<F, E>(name: &'static str, body: impl FnOnce(Daemon) -> F) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Error,
{
    // An earlier backend (tests) stays in place.
    let _ = crate::log::init(vec![Arc::new(Stderr)]);
    panic_hook();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!(target: "daemon", "{name}: start the runtime: {error}");
            return ExitCode::from(70);
        }
    };
    runtime.block_on(async {
        let daemon = Daemon::default();
        if let Err(error) = listen(&daemon) {
            log::error!(target: "daemon", "{name}: listen for signals: {error}");
            return ExitCode::from(70);
        }
        let ended = body(daemon.clone()).await;
        daemon.stop.cancel();
        daemon.tasks.close();
        if timeout(GRACE, daemon.tasks.wait()).await.is_err() {
            log::warn!(target: "daemon", "{name}: {} tasks outlived {} s of grace", daemon.tasks.len(), GRACE.as_secs());
        }
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log::error!(target: "daemon", "{name}: {}", report(&error));
                ExitCode::FAILURE
            }
        }
    })
}

/// Turns SIGTERM and SIGINT into the word to stop.
fn listen(daemon: &Daemon) -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    // In a sandbox it is held back until somebody listens: the kernel throws away what a first process has no handler for.
    SigSet::from(Signal::SIGTERM).thread_unblock()?;
    let stop = daemon.stop.clone();
    daemon.tasks.spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = stop.cancelled() => {}
        }
        stop.cancel();
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_body_decides_the_exit_code() {
        assert_eq!(run("good", async |_| Ok::<(), io::Error>(())), ExitCode::SUCCESS);
        assert_eq!(run("bad", async |_| Err(io::Error::other("no"))), ExitCode::FAILURE);
    }

    #[test]
    fn sigterm_that_was_held_back_is_heard() {
        SigSet::from(Signal::SIGTERM).thread_block().expect("blocked");
        // To this thread only: it waits until `run` lets it through.
        nix::sys::signal::raise(Signal::SIGTERM).expect("sent");
        let ended = run("held", async |daemon| {
            daemon.stop.cancelled().await;
            Ok::<(), io::Error>(())
        });
        assert_eq!(ended, ExitCode::SUCCESS);
    }

    #[test]
    fn tasks_are_told_to_stop_and_waited_for() {
        let ended = run("tasks", async |daemon| {
            let stop = daemon.stop.clone();
            daemon.tasks.spawn(async move { stop.cancelled().await });
            Ok::<(), io::Error>(())
        });
        assert_eq!(ended, ExitCode::SUCCESS);
    }
}
