//! A reset of the system disk: the order into META, then what it names is erased, then the next boot makes it anew.
//!
//! ```text
//! META: resetting, in both copies -> blocks of STATE -> of EPHEMERAL -> META: erased -> restart -> `provision`
//! META: wiping the disk           -> the same -> start of the ESP -> backup table -> primary table -> META -> off
//! ```
//! Cut before the first of these, the disk is what it was; cut anywhere later, the next boot does all of them again (decision 0030).

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use layout::{
    Range, Uuid,
    meta::{Action, Found, Life, Meta, Record, Reset, Store},
    plan::{self, Decision, Erasure, Facts, Located, SIGNATURES, Wanted},
    table::Tables,
};
use linux::block::DeviceError;
use log::info;

use super::{System, length, medium::Medium, provision::StepError, store::MetaPlace, table};

/// Most bytes that a device is asked to take back at once.
const STEP: u64 = 1 << 30;
/// Longest time for giving blocks back where that is a favour and no promise: some devices take hours for a large disk.
const FAVOUR: Duration = Duration::from_secs(60);

/// All that a reset is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What of the system disk is wiped; `None` leaves it as it is.
    pub system: Option<Wanted>,
    /// Whole disks besides, by their nodes.
    pub user_disks: Vec<PathBuf>,
    /// Restart the machine afterwards instead of switching it off.
    pub restart: bool,
}

/// What became of a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// What it names is erased.
    Erased,
    /// It is written down; the next boot does it, because these partitions could not be had now.
    NextBoot(Vec<String>),
}

/// A reset that can be carried out.
struct Planned {
    /// META as it is.
    store: Store,
    /// META as it is to be.
    next: Meta,
    /// What the next boot will say to that.
    decision: Decision,
}

impl System<'_> {
    /// Whether a reset can be carried out; writes nothing.
    ///
    /// # Errors
    /// [`StepError`]: why not.
    pub fn check_reset(&self, disk: &dyn Medium, tables: &Tables, wanted: &Wanted) -> Result<(), StepError> {
        let facts = self.facts(disk, tables);
        let located = plan::locate(&facts).map_err(|reason| StepError::Refused { reason })?;
        planned(&facts, MetaPlace::new(disk, located.meta).read()?, wanted).map(drop)
    }

    /// Writes the order into META and erases what it names, unless somebody still holds that.
    ///
    /// # Errors
    /// [`StepError`]; up to the first write of META the disk is as it was, afterwards the next boot goes on.
    pub fn reset(&self, disk: &dyn Medium, tables: &Tables, wanted: &Wanted) -> Result<Done, StepError> {
        let facts = self.facts(disk, tables);
        let located = plan::locate(&facts).map_err(|reason| StepError::Refused { reason })?;
        let mut meta = MetaPlace::new(disk, located.meta);
        let Planned { store, next, decision } = planned(&facts, meta.read()?, wanted)?;
        let store = meta.replace_all(&store, next)?;
        info!("disk: the reset is written down");
        let root = self.booted.root.range;
        let held = match &decision {
            Decision::Reset { record, .. } => {
                let wiped = record.partitions.iter().filter(|partition| partition.action != Action::Keep);
                held(disk, wiped.map(|partition| (partition.number, partition.label.as_str())))
            }
            Decision::WipeDisk { .. } => {
                let wiped = located.table.entries().iter().filter(|(_, entry)| entry.range != root);
                held(disk, wiped.map(|(number, entry)| (*number, entry.name.as_str())))
            }
            // Only keys were to go, and they are gone.
            _ => return Ok(Done::Erased),
        };
        if !held.is_empty() {
            return Ok(Done::NextBoot(held));
        }
        match decision {
            Decision::Reset { record, .. } => erase_all(disk, &mut meta, store, &record, self.warn).map(drop)?,
            _ => wipe_disk(disk, &located, root, self.warn)?,
        }
        Ok(Done::Erased)
    }
}

/// What the next boot will say to an order is asked before it is written.
fn planned(facts: &Facts<'_>, found: Found, wanted: &Wanted) -> Result<Planned, StepError> {
    let Found::Valid(store) = found else { return Err(StepError::NoMeta) };
    let next = plan::order(&store.meta, wanted).map_err(|source| StepError::ResetRefused { source })?;
    let (_, ordered) = store.replace_all(next.clone()).map_err(|source| StepError::Meta { source })?;
    match plan::decide(facts, &Found::Valid(ordered), &mut Uuid::new_v4) {
        Decision::Refuse { reason, .. } => Err(StepError::Refused { reason }),
        decision => Ok(Planned { store, next, decision }),
    }
}

/// Labels of the partitions that somebody holds.
fn held<'a>(disk: &dyn Medium, partitions: impl Iterator<Item = (u32, &'a str)>) -> Vec<String> {
    partitions.filter(|(number, _)| disk.in_use(*number)).map(|(_, label)| label.to_owned()).collect()
}

/// Erases what the record does not keep, and says so in META.
///
/// # Errors
/// [`StepError`]; the order stays in force.
pub(super) fn erase_all(
    disk: &dyn Medium,
    meta: &mut MetaPlace<'_>,
    store: Store,
    record: &Record,
    warn: &dyn Fn(String),
) -> Result<Store, StepError> {
    for (label, erasure) in plan::erasures(record) {
        erase(disk, &label, erasure, warn)?;
    }
    let mut erased = store.meta.clone();
    if let Life::Resetting(Reset { erased, .. }) = &mut erased.life {
        *erased = true;
    }
    let mut store = meta.replace(&store, erased)?;
    meta.repair(&mut store)?;
    Ok(store)
}

/// Wipes the whole disk but the partition that the system runs from; nothing boots from it afterwards.
///
/// # Errors
/// [`StepError`]; what still boots goes on with it, what does not has no secrets any more.
pub(super) fn wipe_disk(disk: &dyn Medium, located: &Located<'_>, root: Range, warn: &dyn Fn(String)) -> Result<(), StepError> {
    let wipe = plan::disk_wipe(located.table, disk.size(), disk.sector(), root, located.meta);
    for (label, erasure) in &wipe.first {
        erase(disk, label, *erasure, warn)?;
    }
    for (what, range) in wipe.last {
        info!("disk: clearing {what}");
        table::write_checked(disk, what, range.start, &vec![0; length(range)])?;
    }
    info!("disk: it is wiped");
    Ok(())
}

/// Erases one partition; on the medium when this returns.
fn erase(disk: &dyn Medium, label: &str, erasure: Erasure, warn: &dyn Fn(String)) -> Result<(), StepError> {
    let fault = |source| StepError::Clear { what: label.to_owned(), source };
    match erasure {
        Erasure::Blocks(range) => {
            info!("disk: clearing every block of {label} ({} MiB)", range.length >> 20);
            // Zeros are what is promised; giving the blocks back before is for the device's sake.
            if let Err(error) = give_back(disk, range) {
                info!("disk: {label}: {}; its blocks are only written over", daemon::report(&error));
            }
            disk.zero(range).map_err(fault)?;
            disk.flush().map_err(fault)?;
            ends(range).into_iter().try_for_each(|end| check_zero(disk, label, end))
        }
        Erasure::Signatures(range) => {
            info!("disk: clearing {label} ({} MiB)", range.length >> 20);
            match give_back(disk, range) {
                Ok(left) if left.length == 0 => {}
                Ok(left) => warn(format!(
                    "of {label}, {} MiB were not given back to the device: what was stored there can be read from the medium until it is \
                     written over",
                    left.length >> 20
                )),
                Err(error) => warn(format!("{label}: its blocks are not given back to the device: {}", daemon::report(&error))),
            }
            ends(range).into_iter().try_for_each(|end| disk.zero(end)).map_err(fault)?;
            disk.flush().map_err(fault)
        }
    }
}

/// Gives blocks back to the device, within [`FAVOUR`]; what is left of the range when it does not take them, or not in time.
fn give_back(disk: &dyn Medium, range: Range) -> Result<Range, DeviceError> {
    let begin = Instant::now();
    let mut left = range;
    while left.length > 0 && begin.elapsed() < FAVOUR {
        let step = Range { start: left.start, length: STEP.min(left.length) };
        if !disk.discard(step)? {
            break;
        }
        left = Range { start: step.end(), length: left.length - step.length };
    }
    Ok(left)
}

/// Both ends of a range, where signatures are.
fn ends(range: Range) -> [Range; 2] {
    let length = SIGNATURES.min(range.length);
    [Range { length, ..range }, Range { start: range.end().saturating_sub(length), length }]
}

/// What was cleared is read back.
fn check_zero(disk: &dyn Medium, label: &str, range: Range) -> Result<(), StepError> {
    let found = disk.read(range).map_err(|source| StepError::Read { what: "what was cleared", source })?;
    if found.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    Err(StepError::Differs { what: "what was cleared", detail: format!("{label} does not read as zeros") })
}
