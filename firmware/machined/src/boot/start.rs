//! From the configuration until everything runs.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Machine, readiness, sizes};
use crate::sequence::phases::{OnError, Phase, Step};

/// Longest wait for the services; what has not come by then is reported and goes on trying (reference: 70 min).
const LIMIT: Duration = Duration::from_secs(70 * 60);
/// How often people are told what is missing.
const TELL: Duration = Duration::from_secs(15);

/// The phases in order.
pub fn list(machine: &Arc<Machine>) -> Vec<Phase> {
    let mut phases = sizes::list(machine);
    phases.push(Phase::new("startEverything", vec![start_everything(machine)]));
    phases
}

/// Services are started while the machine initializes; here they have to have come up.
fn start_everything(machine: &Arc<Machine>) -> Step {
    let node = Arc::clone(&machine.node);
    Step::new("startAllServices", OnError::Report, async move {
        let mut services = node.services.subscribe();
        let mut ticks = interval(TELL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let started = Instant::now();
        let all_up = async {
            loop {
                let missing = readiness::missing_services(&services.borrow_and_update());
                if missing.is_empty() {
                    return;
                }
                tokio::select! {
                    // The sender lives in the node.
                    _ = services.changed() => {}
                    _ = ticks.tick() => {
                        log::info!(target: "boot", "waiting since {} s: {}", started.elapsed().as_secs(), missing.join(", "));
                    }
                }
            }
        };
        let up = timeout(LIMIT, all_up).await;
        up.map_err(|_| {
            format!("{} after {} min", readiness::missing_services(&node.services.borrow()).join(", "), LIMIT.as_secs() / 60).into()
        })
    })
}
