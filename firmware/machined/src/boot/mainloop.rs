//! The main loop: one place that shows all that can move PID 1.

use std::sync::Arc;

use linux::process;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Duration, Instant, interval_at},
};

use super::{
    InitError, Machine,
    health::Ping,
    readiness,
    sequencer::{Ended, Sequencer},
    setup,
};
use crate::{
    disk::Looking,
    node::Command,
    sequence::{Ending, Kind, Request, phases::Halt},
};

/// How often the time is saved for the next boot's clock floor.
const SAVE_CLOCK: Duration = Duration::from_secs(30 * 60);

/// Boots, then serves commands until one of them ends the machine; gives how.
///
/// # Errors
/// [`InitError`]: PID 1 cannot go on.
pub async fn run(
    machine: Arc<Machine>,
    looking: Looking,
    mut commands: mpsc::Receiver<Command>,
    mut pings: mpsc::Receiver<Ping>,
) -> Result<Ending, InitError> {
    let node = &machine.node;
    process::start_reaper(&node.tasks, node.stop.clone())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| InitError::Signals { source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|source| InitError::Signals { source })?;
    let mut ticks = interval_at(Instant::now() + SAVE_CLOCK, SAVE_CLOCK);
    node.tasks.spawn(readiness::keep(Arc::clone(node)));
    let mut sequencer = Sequencer::new(Arc::clone(&machine), looking);
    begin(&mut sequencer, Kind::Initialize);
    loop {
        tokio::select! {
            ended = sequencer.ended() => match ended {
                Ended { kind, ending, result: Ok(()), .. } if kind.goes_down() => return Ok(ending),
                Ended { kind: Kind::Initialize, result: Ok(()), idle: true, .. } => begin(&mut sequencer, Kind::Boot),
                Ended { result: Err(Halt::Failed(failed)), .. } => return Err(InitError::Phase(failed)),
                Ended { kind, result: Err(Halt::Canceled), idle: true, .. } => return Err(InitError::Lost { kind }),
                Ended { .. } => {}
            },
            command = commands.recv() => match command {
                Some(Command::Sequence { request, take_over, reply }) => {
                    // A caller that went away has its answer in the log.
                    let _ = reply.send(sequencer.request(request, take_over));
                }
                Some(Command::Apply { text, mode, anonymous, reply }) => {
                    let config = Arc::clone(&machine.config);
                    node.tasks.spawn(async move {
                        // As above.
                        let _ = reply.send(config.apply(text, mode, anonymous).await);
                    });
                }
                // `machine.node` holds a sender.
                None => {}
            },
            ping = pings.recv() => answer(ping),
            _ = interrupt.recv() => {
                log::warn!(target: "machined", "Ctrl-Alt-Del: restarting");
                let request = Request { force: true, ..Request::of(Kind::Reboot) };
                // Taking over is never refused.
                let _ = sequencer.request(request, true);
            }
            _ = terminate.recv() => log::warn!(target: "machined", "SIGTERM ignored: this is PID 1"),
            _ = ticks.tick() => {
                if let Err(error) = setup::save_clock() {
                    log::debug!(target: "clock", "{}", daemon::report(&error));
                }
            }
        }
    }
}

/// A sequence that nobody has to ask for, while none runs.
fn begin(sequencer: &mut Sequencer, kind: Kind) {
    // Nothing runs that could refuse it.
    let _ = sequencer.request(Request::of(kind), false);
}

fn answer(ping: Option<Ping>) {
    if let Some(ping) = ping {
        // A health task that gave up waiting asks again.
        let _ = ping.send(());
    }
}
