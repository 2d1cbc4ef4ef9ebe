//! Runs a service as a process, and what is told to it beside.

use std::{io::PipeWriter, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use linux::process::{self, Child, Signal, Spec};
use supervise::Exit;
use tokio::{net::unix::pipe, sync::oneshot, time::timeout};

use super::service::{Run, Runner};

/// How long the last words of a process may take to arrive after its end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Tells a process things on its standard input for as long as it runs.
pub(super) type Orders = Arc<dyn Fn(pipe::Sender, oneshot::Sender<()>) -> BoxFuture<'static, Verdict> + Send + Sync>;

/// Why there is nothing more to tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What it should do now takes a new process.
    Anew(&'static str),
    /// It does not listen, or there is nothing that it could be told.
    Broken(String),
}

/// A runner that starts what `spec` says anew for each run. Without `orders` it works once it is started; with them, once
/// they say so through their sender.
pub(super) fn runner(spec: impl Fn() -> Spec + Send + Sync + 'static, orders: Option<Orders>) -> Runner {
    let spec = Arc::new(spec);
    Runner::new(move |run| live(spec(), orders.clone(), run))
}

/// From the start of a process to its end.
async fn live(spec: Spec, orders: Option<Orders>, run: Run) -> Exit {
    let program = spec.program.display().to_string();
    // The program is read from the disk: not in the reactor.
    let spawned = tokio::task::spawn_blocking(move || process::spawn(&spec)).await;
    let mut child = match spawned {
        Ok(Ok(child)) => child,
        Ok(Err(error)) => return Exit::Failure(daemon::report(&error).to_string()),
        Err(_) => return Exit::Failure(format!("start {program}: lost")),
    };
    let (taken, told) = oneshot::channel();
    let orders = match (orders, child.stdin.take()) {
        (None, _) => {
            // Nobody waits for it.
            let _ = taken.send(());
            std::future::pending().boxed()
        }
        (Some(orders), stdin) => match stdin.ok_or_else(|| "no pipe to the process".to_owned()).and_then(sender) {
            Ok(stdin) => orders(stdin, taken),
            Err(problem) => std::future::ready(Verdict::Broken(problem)).boxed(),
        },
    };
    let message = format!("Process {program} started with PID {}", child.pid);
    watch(child, orders, told, message, &run).await
}

fn sender(stdin: PipeWriter) -> Result<pipe::Sender, String> {
    pipe::Sender::from_owned_fd(stdin.into()).map_err(|error| format!("use the pipe to the process: {error}"))
}

/// Watches a process: its end, what it is told, the word to stop. What it is told ends with the word to stop, but the pipe stays
/// until the process has gone: an input that ends would be another word.
async fn watch(
    mut child: Child,
    mut orders: BoxFuture<'static, Verdict>,
    mut told: oneshot::Receiver<()>,
    message: String,
    run: &Run,
) -> Exit {
    let (mut starting, mut telling, mut asked, mut killed) = (true, true, false, false);
    loop {
        tokio::select! {
            exit = &mut child.exit => return ended(exit.ok(), child.output_end).await,
            () = run.terminate.cancelled(), if !asked => {
                (asked, telling, starting) = (true, false, false);
                send(&run.id, child.pid, Signal::SIGTERM);
            }
            () = run.kill.cancelled(), if !killed => {
                killed = true;
                send(&run.id, child.pid, Signal::SIGKILL);
            }
            done = &mut told, if starting => {
                starting = false;
                if done.is_ok() {
                    run.started(message.clone(), Some(child.pid)).await;
                }
            }
            verdict = &mut orders, if telling => {
                telling = false;
                match verdict {
                    Verdict::Anew(why) => run.anew(why).await,
                    Verdict::Broken(reason) => run.broken(reason).await,
                }
            }
        }
    }
}

fn send(id: &str, pid: u32, signal: Signal) {
    if let Err(error) = process::signal(pid, signal) {
        log::warn!(target: "services", "stop {id}: {}", daemon::report(&error));
    }
}

/// What became of the process, once its last words are in the log. The reaper lost its count when there is no exit.
async fn ended(exit: Option<process::Exit>, output_end: oneshot::Receiver<()>) -> Exit {
    // What it left behind may hold its output open.
    drop(timeout(LAST_WORDS, output_end).await);
    match exit {
        Some(exit) if exit.success() => Exit::Success,
        Some(exit) => Exit::Failure(format!("Process ended: {exit}")),
        None => Exit::Failure("Process ended: nobody knows how".to_owned()),
    }
}
