//! Resets of the system disk: what may be asked for, what is written into META, what is wiped and in which order.
//!
//! A reset is one change of META ([`order`]), durable before anything is wiped. From then on every boot ends it ([`super::decide`]):
//! what it wipes is wiped as often as it takes, and what it does not name is never touched.

use uuid::Uuid;

use super::{Facts, Located};
use crate::{
    Arch, MIB, Range, SectorSize,
    meta::{self, Action, Life, Meta, Record, Recorded, Reset, Scope},
    spec::{EPHEMERAL, Kind, META, RESERVED, STATE},
    table::{Entry, Table},
};

/// Key of STATE's encryption settings: they mean nothing once STATE is made anew (reference, behaviour (b) "Wipe").
const STATE_ENCRYPTION: u8 = 9;
/// Bytes at each end of a partition or disk that hold every signature we know of.
pub const SIGNATURES: u64 = MIB;

/// What somebody wants to be wiped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The whole system disk.
    Disk {
        /// Restart the machine afterwards instead of switching it off.
        restart: bool,
    },
    /// Partitions by label.
    Labels(Vec<String>),
}

/// Why the disk is not reset; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetRefused {
    /// The labels are none.
    #[error("no partition is named; the whole disk is reset by naming no partitions at all")]
    Nothing,
    /// There is no such partition.
    #[error("the system disk has no partition {label:?}; {} can be reset", known.join(", "))]
    Unknown {
        /// The label.
        label: String,
        /// Labels that can be named.
        known: Vec<String>,
    },
    /// The partition holds the system itself.
    #[error("{label} holds the system itself and cannot be reset by its label; {} can, or the whole disk", known.join(", "))]
    System {
        /// The label.
        label: String,
        /// Labels that can be named.
        known: Vec<String>,
    },
    /// META does not say that the disk was set up.
    #[error("META does not say that this disk was set up, so no reset can be recorded: {0}; flash the image again")]
    NotSetUp(&'static str),
}

/// META's contents that order a reset of a disk that is set up. When they leave [`Life::Provisioned`] as it is, only keys go.
///
/// # Errors
/// [`ResetRefused`].
pub fn order(now: &Meta, wanted: &Wanted) -> Result<Meta, ResetRefused> {
    let record = match &now.life {
        Life::Provisioned(record) => record,
        Life::Resetting(_) => return Err(ResetRefused::NotSetUp("an earlier reset is not done")),
        Life::Factory => return Err(ResetRefused::NotSetUp("it is as flashed")),
        Life::Provisioning(_) => return Err(ResetRefused::NotSetUp("its first boot is not done")),
    };
    let reset = |scope| Life::Resetting(Reset { scope, erased: false, record: record.clone() });
    let mut next = now.clone();
    let labels = match wanted {
        Wanted::Disk { restart } => {
            next.clear();
            next.life = reset(Scope::Disk { restart: *restart });
            return Ok(next);
        }
        Wanted::Labels(labels) => labels,
    };
    let numbers = numbers(record, labels)?;
    let keys_too = labels.iter().any(|label| label == META);
    if keys_too {
        next.clear();
    } else if labels.iter().any(|label| label == STATE) {
        next.delete(STATE_ENCRYPTION);
    }
    let all = made(record).all(|partition| numbers.contains(&partition.number));
    if keys_too && all {
        next.life = reset(Scope::Factory);
    } else if !numbers.is_empty() {
        next.life = reset(Scope::Partitions(numbers));
    }
    Ok(next)
}

/// File systems that first boot made.
fn made(record: &Record) -> impl Iterator<Item = &Recorded> {
    record.partitions.iter().filter(|partition| partition.action == Action::FormatXfs)
}

/// The named partitions' numbers, in disk order, META's not among them.
fn numbers(record: &Record, labels: &[String]) -> Result<Vec<u32>, ResetRefused> {
    if labels.is_empty() {
        return Err(ResetRefused::Nothing);
    }
    let known = || made(record).map(|partition| partition.label.clone()).chain([META.to_owned()]).collect();
    for label in labels.iter().filter(|label| *label != META) {
        match record.partitions.iter().find(|partition| partition.label == *label) {
            Some(partition) if partition.action == Action::FormatXfs => {}
            Some(_) => return Err(ResetRefused::System { label: label.clone(), known: known() }),
            None => return Err(ResetRefused::Unknown { label: label.clone(), known: known() }),
        }
    }
    Ok(made(record).filter(|partition| labels.contains(&partition.label)).map(|partition| partition.number).collect())
}

/// The record to carry out for a reset of partitions, and META's life afterwards.
pub(super) fn carried_out(facts: &Facts<'_>, located: &Located<'_>, reset: &Reset, guids: &mut dyn FnMut() -> Uuid) -> (Record, Life) {
    match &reset.scope {
        Scope::Factory => {
            let record = renewed(facts, located, &reset.record, guids);
            (record.clone(), Life::Provisioning(record))
        }
        Scope::Partitions(numbers) => (narrowed(located, &reset.record, numbers), Life::Provisioned(reset.record.clone())),
        Scope::Disk { .. } => (narrowed(located, &reset.record, &[]), Life::Provisioned(reset.record.clone())),
    }
}

/// The record with everything kept but `numbers`. What is kept is so as the table has it: an update gives slots new GUIDs.
fn narrowed(located: &Located<'_>, record: &Record, numbers: &[u32]) -> Record {
    let partition = |partition: &Recorded| match located.table.entries().get(&partition.number) {
        _ if numbers.contains(&partition.number) => partition.clone(),
        Some(now) => kept(partition, now),
        None => Recorded { action: Action::Keep, ..partition.clone() },
    };
    let partitions = record.partitions.iter().map(partition).collect();
    Record { disk_guid: located.table.disk_guid(), partitions, ..record.clone() }
}

fn kept(partition: &Recorded, now: &Entry) -> Recorded {
    Recorded { action: Action::Keep, guid: now.guid, type_guid: now.type_guid, ..partition.clone() }
}

/// The record of a first boot that comes again: new identifiers for all but slots that are kept. The slot that the node runs
/// from is one of those, whichever it is.
fn renewed(facts: &Facts<'_>, located: &Located<'_>, record: &Record, guids: &mut dyn FnMut() -> Uuid) -> Record {
    let slot = Kind::Root.type_guid(facts.arch);
    let disk_guid = guids();
    let mut partition = |partition: &Recorded| match located.table.entries().get(&partition.number) {
        Some(now) if now.range == facts.root.range => kept(partition, now),
        Some(now) if partition.action == Action::Keep && partition.type_guid == slot => kept(partition, now),
        _ => Recorded { guid: guids(), ..partition.clone() },
    };
    let partitions = record.partitions.iter().map(&mut partition).collect();
    Record { disk_guid, partitions, ..record.clone() }
}

/// How thoroughly a stretch of the disk is wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// Every block is given back to the device where it takes it, and reads as zeros afterwards.
    Blocks(Range),
    /// Every block is given back to the device where it takes it; without that, only the signatures at both ends are gone.
    Signatures(Range),
}

impl Erasure {
    /// Secrets are gone for certain; what is as large as the disk is not written over, which would take hours.
    fn of(label: &str, range: Range) -> Self {
        if label == STATE { Self::Blocks(range) } else { Self::Signatures(range) }
    }
}

/// What a record that resets partitions wipes, with the labels: the one with the secrets first.
#[must_use]
pub fn erasures(record: &Record) -> Vec<(String, Erasure)> {
    let wiped = record.partitions.iter().filter(|partition| partition.action != Action::Keep);
    let mut all: Vec<_> = wiped.map(|partition| (partition.label.clone(), Erasure::of(&partition.label, partition.range))).collect();
    all.sort_by_key(|(label, _)| rank(label));
    all
}

/// Secrets before data, data before the rest.
fn rank(label: &str) -> u8 {
    match label {
        STATE => 0,
        EPHEMERAL => 1,
        _ => 2,
    }
}

/// A reset of the whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskWipe {
    /// While the disk still boots: a power cut here is made up for at the next boot.
    pub first: Vec<(String, Erasure)>,
    /// The end of booting, in this order: the firmware's partitions, the backup table, the primary one, META. No secret is left by
    /// then, and none of it is needed by the running system, whose root stays as it is.
    pub last: Vec<(&'static str, Range)>,
}

/// What a reset of the whole disk wipes. The partition of the running root is not touched: it holds no secret, nothing finds it
/// without a table, and programs that run from it may need a block of it until the machine is off.
#[must_use]
pub fn disk_wipe(table: &Table, disk_size: u64, sector: SectorSize, root: Range, meta: Range) -> DiskWipe {
    // The same on every architecture.
    let esp = Kind::Esp.type_guid(Arch::X86_64);
    let entries = || table.entries().values();
    let data = entries().filter(|entry| entry.type_guid != esp && !entry.range.overlaps(root) && !entry.range.overlaps(meta));
    let mut first: Vec<_> = data.map(|entry| (entry.name.clone(), Erasure::of(&entry.name, entry.range))).collect();
    first.sort_by_key(|(label, _)| rank(label));
    let size = disk_size / sector.bytes() * sector.bytes();
    // Never into a partition: what is to be wiped of those is listed by itself.
    let starts = entries().map(|entry| entry.range.start).min().unwrap_or(RESERVED).min(RESERVED);
    let ends = entries().map(|entry| entry.range.end()).max().unwrap_or_default().max(size.saturating_sub(RESERVED)).min(size);
    let esps = entries().filter(|entry| entry.type_guid == esp);
    let firmware =
        esps.map(|entry| ("the start of the firmware's partition", Range { length: entry.range.length.min(SIGNATURES), ..entry.range }));
    let backup = ("the backup partition table", Range { start: ends, length: size - ends });
    let primary = ("the primary partition table", Range { start: 0, length: starts });
    let meta = ("META", Range { length: meta::PARTITION_SIZE.min(meta.length), ..meta });
    DiskWipe { first, last: firmware.chain([backup, primary, meta]).collect() }
}
