//! The main loop: one place that shows all that can move PID 1.

use std::sync::Arc;

use linux::process;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Duration, Instant, interval_at},
};

use super::{InitError, Machine, health::Ping, readiness, sequence, setup, shutdown};
use crate::{
    disk::Looking,
    node::{Command, PowerAction, Stage},
};

/// How often the time is saved for the next boot's clock floor.
const SAVE_CLOCK: Duration = Duration::from_secs(30 * 60);

/// A request to go down.
#[derive(Debug)]
pub struct GoDown {
    /// What to do at the end.
    pub action: PowerAction,
    /// Skip the graceful parts.
    pub force: bool,
    /// Actor id of the request; empty for signals.
    pub actor: String,
}

/// Boots, then serves commands until one of them ends the machine; gives how.
///
/// # Errors
/// [`InitError`]: PID 1 cannot go on.
pub async fn run(
    machine: Arc<Machine>,
    looking: Looking,
    mut commands: mpsc::Receiver<Command>,
    mut pings: mpsc::Receiver<Ping>,
) -> Result<PowerAction, InitError> {
    let node = &machine.node;
    process::start_reaper(&node.tasks, node.stop.clone())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| InitError::Signals { source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|source| InitError::Signals { source })?;
    let mut ticks = interval_at(Instant::now() + SAVE_CLOCK, SAVE_CLOCK);
    node.tasks.spawn(readiness::keep(Arc::clone(node), machine.booting.subscribe()));
    let mut boot = node.tasks.spawn(sequence::run(Arc::clone(&machine), looking));
    let mut booting = true;
    let request = loop {
        tokio::select! {
            ended = &mut boot, if booting => {
                ended.map_err(|source| InitError::Lost { source })??;
                booting = false;
            }
            command = commands.recv() => match command {
                Some(Command::Power { action, force, actor }) => break GoDown { action, force, actor },
                Some(Command::Apply { text, mode, anonymous, reply }) => {
                    let config = Arc::clone(&machine.config);
                    node.tasks.spawn(async move {
                        // A caller that went away has its answer in the log.
                        let _ = reply.send(config.apply(text, mode, anonymous).await);
                    });
                }
                // `machine.node` holds a sender.
                None => {}
            },
            ping = pings.recv() => answer(ping),
            _ = interrupt.recv() => {
                log::warn!(target: "machined", "Ctrl-Alt-Del: restarting");
                break GoDown { action: PowerAction::Reboot, force: true, actor: String::new() };
            }
            _ = terminate.recv() => log::warn!(target: "machined", "SIGTERM ignored: this is PID 1"),
            _ = ticks.tick() => {
                if let Err(error) = setup::save_clock() {
                    log::debug!(target: "clock", "{}", daemon::report(&error));
                }
            }
        }
    };
    let stage = match request.action {
        PowerAction::Reboot => Stage::Rebooting,
        PowerAction::PowerOff => Stage::ShuttingDown,
    };
    node.machine.send_modify(|status| {
        status.stage = stage;
        status.unmet.clear();
    });
    let action = request.action;
    let way_down = shutdown::run(&machine, request);
    tokio::pin!(way_down);
    loop {
        tokio::select! {
            () = &mut way_down => return Ok(action),
            ping = pings.recv() => answer(ping),
        }
    }
}

fn answer(ping: Option<Ping>) {
    if let Some(ping) = ping {
        // A health task that gave up waiting asks again.
        let _ = ping.send(());
    }
}
