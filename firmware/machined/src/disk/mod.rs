//! The system disk: found, judged, set up once, mounted.
//!
//! Both run once while booting: [`look`] finds the disk that the node booted from ([`find`]) and reads its tables; [`bring_up`] reads
//! META, lets `layout::plan` decide, carries the decision out ([`provision`]) and publishes `node.disk`.
//!
//! - [`System`]: the judgement and what it leads to, on any [`medium`];
//! - [`find`]: from the root's mapping down to the disk; what the loader says; other disks with the same root;
//! - [`medium`]: the whole disk as bytes, and what the kernel does with partitions, as traits: tests cut the power
//!   after each write;
//! - [`store`]: META in place: read, replaced, mended;
//! - [`table`]: the partition table, written so that every prefix leaves a valid one;
//! - [`provision`]: first boot, whole or resumed;
//! - [`reset`]: what a reset wipes, and how; [`user`]: other disks that it wipes;
//! - [`wipe`]: devices that API users want wiped;
//! - [`volumes`]: mounts, and what is published;
//! - [`keys`]: the API's 8-bit META keys;
//! - [`scrub`]: reads the blocks of the root that boot did not.
//!
//! **Absent on purpose:** growing anything, or formatting it after first boot without a reset's record; names built from a disk's name and a number.

pub mod find;
pub mod keys;
pub mod medium;
pub mod provision;
pub mod reset;
pub mod scrub;
pub mod store;
mod system;
pub mod table;
pub mod user;
pub mod volumes;
pub mod wipe;

use std::{sync::Arc, time::Duration};

use layout::{
    Arch, Range, SectorSize,
    plan::{LoaderDisk, Wanted},
    spec::PartitionSet,
    table::Tables,
};
use linux::block::{Access, Device, DeviceError, DiskFault};
use log::{info, warn};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

pub use system::{Outcome, System};

use crate::{
    node::{Command, DiskStatus, MetaStatus, Node},
    sequence::{self, Kind},
    services,
};
use find::Booted;
use medium::Medium;
use volumes::Mounter;

/// The partition files as the builder understood them.
const PARTITIONS: &str = "/usr/share/keelson/partitions.json";

/// Longest that other volumes than STATE wait for the API to come up, and how long they wait from then on.
const API_LIMIT: Duration = Duration::from_secs(2);
const HEAD_START: Duration = Duration::from_millis(300);

/// The disk could not be looked at, or a step of its setup failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum DiskError {
    #[error("find the disk booted from")]
    Find { source: find::FindError },
    #[error("list block devices")]
    Sysfs { source: DiskFault },
    #[error("read {PARTITIONS}")]
    Partitions { source: std::io::Error },
    #[error("understand {PARTITIONS}")]
    PartitionSet { source: serde_json::Error },
    #[error("use disk {name}")]
    Device { name: String, source: DeviceError },
    #[error("disk {name} has an unusable sector size")]
    Sector { name: String, source: layout::UnitError },
    #[error("this program's architecture has no images")]
    Architecture,
    #[error("set up disk {name}")]
    Provision { name: String, source: Box<provision::StepError> },
    #[error("reset disk {name}")]
    Reset { name: String, source: Box<provision::StepError> },
    #[error("the task that sets up the disk ended early")]
    Task { source: tokio::task::JoinError },
}

/// The system disk as it is found: nothing is written yet.
#[derive(Debug)]
struct Looked {
    booted: Booted,
    set: PartitionSet,
    arch: Arch,
    disk: medium::WholeDisk,
    tables: Tables,
}

/// The look for the disk, on a thread that sets it up as soon as it is told to: what is found goes on without waiting for the
/// reactor, which has much else to do then.
#[derive(Debug)]
pub struct Looking {
    go: oneshot::Sender<Go>,
    work: JoinHandle<Result<(), DiskError>>,
}

/// The word to set the disk up.
#[derive(Debug)]
struct Go {
    node: Arc<Node>,
    runtime: Handle,
}

/// Begins to look for the system disk. Needs `/dev`, `/proc` and `/sys` with the firmware's variables.
#[must_use]
pub fn look(runtime: &Handle) -> Looking {
    let (go, told) = oneshot::channel();
    let work = runtime.spawn_blocking(move || {
        let looked = find_system_disk(Access::Change);
        // Boot may end before it comes to the disk.
        let Ok(Go { node, runtime }) = told.blocking_recv() else { return Ok(()) };
        run(&node, looked?, &volumes::KernelVolumes::new(runtime.clone()), &runtime)
    });
    Looking { go, work }
}

/// Finds the system disk, opens it, reads its tables and the image's partition set.
fn find_system_disk(access: Access) -> Result<Looked, DiskError> {
    let booted = find::booted().map_err(|source| DiskError::Find { source })?;
    let set = partition_set()?;
    let arch = Arch::running().ok_or(DiskError::Architecture)?;
    let name = &booted.disk.name;
    let sector = SectorSize::try_from(u64::from(booted.disk.sector));
    let sector = sector.map_err(|source| DiskError::Sector { name: name.clone(), source })?;
    let device = Device::open(&booted.disk.node, access);
    let device = device.map_err(|source| DiskError::Device { name: name.clone(), source })?;
    let disk = medium::WholeDisk::new(device, sector, booted.disk.clone());
    let tables = table::read(&disk);
    Ok(Looked { booted, set, arch, disk, tables })
}

/// What is still to be done once STATE is mounted, or cannot be.
#[must_use = "it ends by itself, and nobody hears how"]
pub struct Rest(Option<JoinHandle<Result<(), DiskError>>>);

impl Rest {
    /// Waits until everything is mounted.
    ///
    /// # Errors
    /// [`DiskError`]; it is published as the problem too. A later boot resumes.
    pub async fn done(self) -> Result<(), DiskError> {
        match self.0 {
            Some(work) => ended(work.await),
            None => Ok(()),
        }
    }
}

/// Sets up the disk that was found and mounts STATE; the rest goes on by itself, once the API had its time. Publishes
/// `node.disk`.
///
/// A disk that must not be touched is no error: `problem` of the published status says why, and the node goes on.
///
/// # Errors
/// [`DiskError`] when looking or acting failed; it is published as the problem too. A later boot resumes.
pub async fn bring_up(node: &Arc<Node>, looking: Looking) -> Result<Rest, DiskError> {
    let Looking { go, work } = looking;
    // Nobody hears it when the look was lost, which is told next.
    let _ = go.send(Go { node: Arc::clone(node), runtime: Handle::current() });
    let for_task = Arc::clone(node);
    let mut work = tokio::spawn(async move {
        let result = ended(work.await);
        if let Err(err) = &result {
            let text = daemon::report(err).to_string();
            for_task.disk.send_modify(|status| {
                status.problem = Some(text);
                // It may have been configured: strangers get nothing.
                status.state_lost = true;
                status.settled = true;
            });
        }
        result
    });
    let mut disk = node.disk.subscribe();
    tokio::select! {
        biased;
        result = &mut work => ended(result).map(|()| Rest(None)),
        // The sender lives in the node.
        _ = disk.wait_for(|disk| disk.settled) => Ok(Rest(Some(work))),
    }
}

/// A task's result, or that it was lost.
fn ended<T>(result: Result<Result<T, DiskError>, JoinError>) -> Result<T, DiskError> {
    result.map_err(|source| DiskError::Task { source }).and_then(|result| result)
}

fn run(node: &Node, looked: Looked, mounter: &dyn Mounter, runtime: &Handle) -> Result<(), DiskError> {
    let Looked { booted, set, arch, disk, tables } = looked;
    let name = booted.disk.name.clone();
    if booted.loader == LoaderDisk::This {
        info!("disk: the loader came from {name} too");
    }
    node.disk.send_replace(DiskStatus { name: name.clone(), size: disk.size(), sector: booted.disk.sector, ..DiskStatus::default() });
    let told = |outcome: &Outcome| {
        tell(node, outcome);
        runtime.block_on(node.stop.run_until_cancelled(api_first(node))).is_some()
    };
    let system = System { set: &set, arch, booted: &booted, warn: &|text| warning(node, text), told: &told };
    let outcome = system.bring_up(&disk, &tables, mounter).map_err(|source| DiskError::Provision { name, source: Box::new(source) })?;
    tell(node, &outcome);
    if let Some(restart) = outcome.gone {
        go_down(node, if restart { Kind::Reboot } else { Kind::Shutdown });
    }
    Ok(())
}

/// Whether the system disk can be reset so; writes nothing. Blocks.
///
/// # Errors
/// [`DiskError`]: why not.
pub fn check_reset(node: &Node, wanted: &Wanted) -> Result<(), DiskError> {
    let Looked { booted, set, arch, disk, tables } = find_running_disk(node, Access::Read)?;
    let system = System { set: &set, arch, booted: &booted, warn: &|_| (), told: &|_| false };
    let name = booted.disk.name.clone();
    system.check_reset(&disk, &tables, wanted).map_err(|source| DiskError::Reset { name, source: Box::new(source) })
}

/// Resets the system disk, from which nothing is mounted any more but the root. Blocks.
///
/// # Errors
/// [`DiskError`]; before anything is wiped, or the next boot goes on with it.
pub fn reset(node: &Node, wanted: &Wanted) -> Result<reset::Done, DiskError> {
    let Looked { booted, set, arch, disk, tables } = find_running_disk(node, Access::Change)?;
    let system = System { set: &set, arch, booted: &booted, warn: &|text| warning(node, text), told: &|_| false };
    let name = booted.disk.name.clone();
    system.reset(&disk, &tables, wanted).map_err(|source| DiskError::Reset { name, source: Box::new(source) })
}

/// The system disk of a node that runs.
fn find_running_disk(node: &Node, access: Access) -> Result<Looked, DiskError> {
    let mut looked = find_system_disk(access)?;
    let status = node.disk.borrow();
    let set_up = status.problem.is_none() && !status.partitions.is_empty();
    if set_up && matches!(looked.booted.loader, LoaderDisk::Unknown(_)) {
        // Its word was believed when this boot began; a first boot then gave the partitions new GUIDs.
        looked.booted.loader = LoaderDisk::Unnamed;
    }
    Ok(looked)
}

/// The disk of this system is wiped: nothing is left that could be configured.
fn go_down(node: &Node, kind: Kind) {
    let request = sequence::Request { force: true, ..sequence::Request::of(kind) };
    // The events tell what becomes of it.
    let (reply, _) = oneshot::channel();
    if node.commands.blocking_send(Command::Sequence { request, take_over: true, reply }).is_err() {
        warn!("disk: the node goes down already");
    }
}

/// Lets the API come up and answer whoever waits for it: mounting a large volume takes a processor and the disk.
async fn api_first(node: &Node) {
    services::api_up(node, API_LIMIT).await;
    tokio::time::sleep(HEAD_START).await;
}

fn tell(node: &Node, outcome: &Outcome) {
    node.disk.send_modify(|status| {
        status.partitions.clone_from(&outcome.partitions);
        status.problem = (!outcome.problems.is_empty()).then(|| outcome.problems.join("; "));
        status.state_lost = outcome.state_lost;
        status.settled = true;
    });
    if let Some(keys) = &outcome.keys {
        // Once: from then on it is told by whoever changes them, maybe before this is told for the second time.
        node.meta.send_if_modified(|meta| {
            let first = !meta.loaded;
            if first {
                *meta = MetaStatus { loaded: true, keys: keys.clone() };
            }
            first
        });
    }
}

fn warning(node: &Node, text: String) {
    warn!("disk: {text}");
    node.warnings.push(text);
}

fn partition_set() -> Result<PartitionSet, DiskError> {
    let text = std::fs::read(PARTITIONS).map_err(|source| DiskError::Partitions { source })?;
    serde_json::from_slice(&text).map_err(|source| DiskError::PartitionSet { source })
}

/// The range as one that can be read at once; META and table regions are far below this.
fn length(range: Range) -> usize {
    usize::try_from(range.length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
