//! The way down: services, tasks, processes, file systems, machine. Each step has its limit.

use std::{
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use linux::{clock, power};
use tokio::time::timeout;

use super::{Machine, act, failsafe, mainloop::GoDown, setup};
use crate::{events, node::PowerAction};

/// Limit for services with their own graces.
const SERVICES: Duration = Duration::from_secs(60);
/// The same when graceful parts are to be skipped.
const SERVICES_FORCED: Duration = Duration::from_secs(5);
/// Limit for tasks after the word to stop.
const TASKS: Duration = Duration::from_secs(5);
/// Between SIGTERM and SIGKILL to whatever is left.
const PROCESSES: Duration = Duration::from_secs(3);
/// From the request to a restart that asks nobody any more.
const ALL: Duration = Duration::from_secs(180);

/// Everything that needs the runtime: services, tasks.
pub async fn run(machine: &Arc<Machine>, request: GoDown) {
    let name = match request.action {
        PowerAction::Reboot => "reboot",
        PowerAction::PowerOff => "shutdown",
    };
    log::info!(target: "machined", "{name}{}: going down", if request.force { " (forced)" } else { "" });
    last_word();
    machine.events.publish(&events::sequence(name, true), &request.actor);
    let supervisor = machine.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
    let limit = if request.force { SERVICES_FORCED } else { SERVICES };
    if let Some(supervisor) = supervisor {
        step(machine, name, "stopAllServices", 1, &request.actor, async {
            if timeout(limit, supervisor.stop_all(&request.actor)).await.is_err() {
                log::warn!(target: "machined", "services did not stop within {} s", limit.as_secs());
            }
        })
        .await;
    }
    step(machine, name, "stopEverything", 2, &request.actor, async {
        if let Err(error) = setup::save_clock() {
            log::debug!(target: "clock", "{}", daemon::report(&error));
        }
        machine.node.stop.cancel();
        machine.node.tasks.close();
        if timeout(TASKS, machine.node.tasks.wait()).await.is_err() {
            log::warn!(target: "machined", "{} tasks outlived {} s", machine.node.tasks.len(), TASKS.as_secs());
        }
    })
    .await;
    machine.events.publish(&events::sequence(name, false), &request.actor);
}

async fn step(machine: &Machine, sequence: &str, phase: &str, index: usize, actor: &str, work: impl Future<Output = ()>) {
    let start = Instant::now();
    log::info!(target: "machined", "{sequence} phase {phase} ({index}/3)");
    machine.events.publish(&events::phase(phase, true), actor);
    machine.events.publish(&events::task(phase, true), actor);
    work.await;
    machine.events.publish(&events::task(phase, false), actor);
    machine.events.publish(&events::phase(phase, false), actor);
    log::info!(target: "machined", "{sequence} phase {phase}: done, {} ms", start.elapsed().as_millis());
}

/// A way down that hangs ends in a restart all the same, watchdog or not.
fn last_word() {
    let started = thread::Builder::new().name("last-word".into()).stack_size(64 * 1024).spawn(|| {
        thread::sleep(ALL);
        drop(power::restart());
    });
    if let Err(error) = started {
        log::warn!(target: "machined", "no limit for going down: {error}");
    }
}

/// Everything after the runtime: what is left of processes, file systems, the machine itself.
pub fn finish(action: PowerAction) -> ! {
    failsafe::kill_everybody(PROCESSES);
    for busy in failsafe::unmount_disks() {
        failsafe::say(&busy);
    }
    let last = match action {
        PowerAction::Reboot => "restarting now",
        PowerAction::PowerOff => "switching off now",
    };
    failsafe::say(&format!("phase unmount (3/3): done; {last}, after {} s", clock::since_boot().as_secs()));
    failsafe::go_down(act(action))
}
