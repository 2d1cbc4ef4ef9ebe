//! The way down: services, tasks, processes, file systems, machine. Each step has its limit.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use linux::{clock, power};
use tokio::time::timeout;

use super::{Machine, failsafe, setup};
use crate::sequence::{
    Ending, Request,
    phases::{OnError, Phase, Step},
};

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
/// The same when something has to be wiped, which takes as long as the medium does. As long as clients wait.
const ALL_WIPED: Duration = Duration::from_secs(30 * 60);

/// Everything that needs the runtime: services, tasks.
pub fn list(machine: &Arc<Machine>, request: &Request) -> Vec<Phase> {
    vec![Phase::new("stopServices", vec![stop_services(machine, request)]), Phase::new("stopEverything", vec![stop_tasks(machine)])]
}

/// From here on the way down is bounded.
pub fn stop_services(machine: &Arc<Machine>, request: &Request) -> Step {
    let (machine, actor) = (Arc::clone(machine), request.actor.clone());
    let limit = if request.force { SERVICES_FORCED } else { SERVICES };
    let all = if request.reset.is_some() { ALL_WIPED } else { ALL };
    Step::new("stopAllServices", OnError::Report, async move {
        last_word(all);
        let supervisor = machine.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(supervisor) = supervisor else { return Ok(()) };
        let stopped = timeout(limit, supervisor.stop_all(&actor)).await;
        stopped.map_err(|_| format!("services did not stop within {} s", limit.as_secs()).into())
    })
}

pub fn stop_tasks(machine: &Arc<Machine>) -> Step {
    let machine = Arc::clone(machine);
    Step::new("stopEverything", OnError::Report, async move {
        if let Err(error) = setup::save_clock() {
            log::debug!(target: "clock", "{}", daemon::report(&error));
        }
        machine.node.stop.cancel();
        machine.node.tasks.close();
        let ended = timeout(TASKS, machine.node.tasks.wait()).await;
        ended.map_err(|_| format!("{} tasks outlived {} s", machine.node.tasks.len(), TASKS.as_secs()).into())
    })
}

/// A way down that hangs ends in a restart all the same, watchdog or not. One is enough, however often it begins anew.
fn last_word(limit: Duration) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let started = thread::Builder::new().name("last-word".into()).stack_size(64 * 1024).spawn(move || {
        thread::sleep(limit);
        drop(power::restart());
    });
    if let Err(error) = started {
        log::warn!(target: "machined", "no limit for going down: {error}");
    }
}

/// What is left of processes is ended, and everything is unmounted that comes from a device; gives what stayed, for people.
pub fn unmount_all() -> Vec<String> {
    failsafe::kill_everybody(PROCESSES);
    failsafe::unmount_disks(false)
}

/// Everything after the runtime: what is left of processes, file systems, the machine itself.
pub fn finish(ending: Ending) -> ! {
    failsafe::kill_everybody(PROCESSES);
    for busy in failsafe::unmount_disks(true) {
        failsafe::say(&busy);
    }
    let (text, act): (_, fn() -> power::PowerError) = match ending {
        Ending::PowerOff => ("switching off now", power::power_off),
        Ending::Restart => ("restarting now", power::restart),
    };
    failsafe::say(&format!("phase unmount: done; {text}, after {} s", clock::since_boot().as_secs()));
    failsafe::go_down(act)
}
