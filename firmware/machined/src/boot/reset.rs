//! A reset: the way down, with what is wiped on it.
//!
//! Phases and their names are the reference's (behaviour (a) "The sequences"), as far as there is something for them to do. Other disks
//! are wiped before the system's: cut in between, the node still has its configuration, and whoever asked can ask again.

use std::{path::PathBuf, sync::Arc};

use layout::plan::Wanted;

use super::{Machine, failsafe, shutdown};
use crate::{
    disk::{self, reset::Done, user},
    sequence::{
        Request,
        phases::{OnError, Phase, Step, StepError},
    },
};

/// The phases in order. The API is gone after the first of them.
pub fn list(machine: &Arc<Machine>, request: &Request) -> Vec<Phase> {
    let Some(order) = request.reset.as_deref().cloned() else {
        let nothing = async { Err(StepError::from("a reset was asked for without saying of what")) };
        return vec![Phase::new("reset", vec![Step::new("resetSystemDisk", OnError::Fatal, nothing)])];
    };
    let mut phases =
        vec![Phase::new("stopServices", vec![shutdown::stop_services(machine, request)]), Phase::new("unmountSystem", vec![unmount()])];
    if !order.user_disks.is_empty() {
        phases.push(Phase::new("resetUserDisks", vec![user_disks(machine, order.user_disks)]));
    }
    match order.system {
        Some(wanted @ Wanted::Disk { .. }) => {
            phases.push(Phase::new("reset", vec![system_disk(machine, "resetSystemDisk", wanted)]));
        }
        Some(wanted @ Wanted::Labels(_)) => {
            phases.push(Phase::new("resetSpec", vec![system_disk(machine, "resetSystemDiskPartitions", wanted)]));
        }
        None => {}
    }
    phases.push(Phase::new("stopEverything", vec![shutdown::stop_tasks(machine)]));
    phases
}

/// What stays mounted is found out by who wipes: a file system that lives on would write over it.
fn unmount() -> Step {
    Step::blocking("unmountSystem", OnError::Report, || match shutdown::unmount_all().as_slice() {
        [] => Ok(()),
        busy => Err(busy.join("; ").into()),
    })
}

/// All of them are looked at again before the first is wiped: they may have come into use since the request.
fn user_disks(machine: &Arc<Machine>, paths: Vec<PathBuf>) -> Step {
    let machine = Arc::clone(machine);
    Step::blocking("resetUserDisks", OnError::Fatal, move || {
        let system = machine.node.disk.borrow().name.clone();
        for disk in user::check(&paths, &system)? {
            user::wipe(&disk.node)?;
        }
        Ok(())
    })
}

fn system_disk(machine: &Arc<Machine>, name: &'static str, wanted: Wanted) -> Step {
    let machine = Arc::clone(machine);
    Step::blocking(name, OnError::Fatal, move || {
        if let Done::NextBoot(held) = disk::reset(&machine.node, &wanted)? {
            failsafe::say(&format!("reset: {} is still in use: it is wiped at the next start of this machine", held.join(", ")));
        }
        Ok(())
    })
}
