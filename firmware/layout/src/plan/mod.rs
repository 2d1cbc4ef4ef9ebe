//! What to do with the disk that the node booted from.
//!
//! [`locate`] judges the tables and finds META; [`decide`] adds what META says. Only a [`Record`] allows bytes to be
//! wiped, and only a disk whose META is valid and factory-fresh gets a new one: everything else runs or is refused.

mod reason;
mod record;
mod reset;

pub use reason::Reason;
pub use record::new_table;
pub use reset::{DiskWipe, Erasure, ResetRefused, SIGNATURES, Wanted, disk_wipe, erasures, order};

use uuid::Uuid;

use crate::{
    Arch, Range, SectorSize,
    meta::{self, Found, Life, Record, Reset, Scope},
    spec::{META_TYPE, PartitionSet},
    table::{Backup, Table, Tables},
};

/// The disk that the boot loader says it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoaderDisk {
    /// There was no loader, or it does not say.
    Unnamed,
    /// The disk that holds the root.
    This,
    /// Another disk, by its kernel name.
    Other(String),
    /// A partition that no disk has.
    Unknown(Uuid),
}

/// The partition that holds the running root, as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootPartition {
    /// GUID that the kernel found it by.
    pub guid: Uuid,
    /// Its bytes on the disk.
    pub range: Range,
}

/// All that is known of the disk before META is read.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The partitions that the image asks for.
    pub set: &'a PartitionSet,
    /// Architecture of the image.
    pub arch: Arch,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Its logical sector size.
    pub sector: SectorSize,
    /// The tables on it.
    pub tables: &'a Tables,
    /// The partition that the running root is in.
    pub root: RootPartition,
    /// Kernel names of other disks that hold a partition with the root's GUID.
    pub twins: &'a [String],
    /// What the loader says.
    pub loader: &'a LoaderDisk,
}

/// The table in force and META's place.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    /// The table in force.
    pub table: &'a Table,
    /// Number of the META partition.
    pub meta_number: u32,
    /// Bytes of the META partition.
    pub meta: Range,
}

/// What a table needs although nothing is provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Both copies are well.
    None,
    /// The primary is damaged and made again from the backup.
    RepairPrimary,
    /// The backup is damaged, missing or of an earlier life, and made again from the primary.
    RepairBackup,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// First boot: write this record into META, then act on it.
    Provision(Record),
    /// An interrupted first boot: act on the record that META holds.
    Resume(Record),
    /// An interrupted reset of partitions: wipe and make what is not kept by the record, then put `then` into META.
    Reset {
        /// What META holds.
        reset: Reset,
        /// What is kept and what is made anew.
        record: Record,
        /// What META says afterwards; a first boot's record that is open yet is carried out as one.
        then: Life,
    },
    /// An interrupted reset of the whole disk: wipe it and go down.
    WipeDisk {
        /// Restart the machine instead of switching it off.
        restart: bool,
    },
    /// Mount what there is; format nothing.
    Run {
        /// What the table needs.
        care: Care,
        /// What people must be told although the node runs.
        problems: Vec<Reason>,
    },
    /// Touch nothing, mount nothing.
    Refuse {
        /// Why, and what to do.
        reason: Reason,
        /// STATE existed, or may have: strangers must not configure the node.
        state_lost: bool,
    },
}

/// Finds the table in force and META in it.
///
/// # Errors
/// [`Reason`] when the disk cannot be the one booted from, or holds no META.
pub fn locate<'a>(facts: &Facts<'a>) -> Result<Located<'a>, Reason> {
    let table = match facts.tables {
        Tables::Primary { table, .. } | Tables::BackupOnly { table, .. } => table,
        Tables::Neither { primary, backup } => {
            return Err(Reason::NoTable { primary: chain(primary), backup: chain(backup) });
        }
    };
    match table.by_guid(facts.root.guid) {
        Some((_, entry)) if entry.range == facts.root.range => {}
        Some((_, entry)) => return Err(Reason::RootMoved { kernel: facts.root.range, table: entry.range }),
        None => return Err(Reason::RootNotInTable(facts.root.guid)),
    }
    let mut found = table.entries().iter().filter(|(_, entry)| entry.type_guid == META_TYPE);
    match (found.next(), found.next()) {
        (Some((number, entry)), None) if entry.range.length >= meta::PARTITION_SIZE => {
            let meta = Range { start: entry.range.start, length: meta::PARTITION_SIZE };
            Ok(Located { table, meta_number: *number, meta })
        }
        (Some((_, entry)), None) => Err(Reason::MetaSize(entry.range.length)),
        (None, _) => Err(Reason::MetaMissing),
        (Some(_), Some(_)) => Err(Reason::MetaTwice),
    }
}

/// Decides with META's contents. `guids` gives random GUIDs and is asked only for a first boot, or one that comes again.
pub fn decide(facts: &Facts<'_>, found: &Found, guids: &mut dyn FnMut() -> Uuid) -> Decision {
    match try_decide(facts, found, guids) {
        Ok(decision) => decision,
        Err((reason, state_lost)) => Decision::Refuse { reason, state_lost },
    }
}

type Refused = (Reason, bool);

fn try_decide(facts: &Facts<'_>, found: &Found, guids: &mut dyn FnMut() -> Uuid) -> Result<Decision, Refused> {
    let located = locate(facts).map_err(|reason| (reason, true))?;
    if let LoaderDisk::Other(loader) = facts.loader {
        return Err((Reason::LoaderOnOtherDisk { loader: loader.clone() }, true));
    }
    match found {
        Found::Valid(store) => match &store.meta.life {
            Life::Factory => {
                one_disk(facts).map_err(|reason| (reason, false))?;
                let record = record::make(facts, &located, guids).map_err(|reason| (reason, false))?;
                Ok(Decision::Provision(record))
            }
            Life::Provisioning(record) => {
                one_disk(facts).map_err(|reason| (reason, false))?;
                record::check_resume(facts, &located, record).map_err(|problem| (Reason::RecordUnusable { problem }, false))?;
                Ok(Decision::Resume(record.clone()))
            }
            Life::Resetting(reset) => {
                // Whoever ordered it was an administrator; until it is done the node may hold what only they may see.
                one_disk(facts).map_err(|reason| (reason, true))?;
                if let Scope::Disk { restart } = reset.scope {
                    return Ok(Decision::WipeDisk { restart });
                }
                let (record, then) = reset::carried_out(facts, &located, reset, guids);
                record::check_resume(facts, &located, &record).map_err(|problem| (Reason::ResetUnusable { problem }, true))?;
                Ok(Decision::Reset { reset: reset.clone(), record, then })
            }
            Life::Provisioned(record) => {
                record::check_present(&located, record).map_err(|reason| (reason, true))?;
                Ok(Decision::Run { care: care(facts.tables), problems: one_disk(facts).err().into_iter().collect() })
            }
        },
        Found::Corrupt { a, b } => {
            let reason = Reason::MetaCorrupt { a: a.clone(), b: b.clone() };
            if record::first_boot_happened(facts, &located) {
                // The table says that the partitions were made once: their data is kept and used.
                let problems = one_disk(facts).err().into_iter().chain([reason]).collect();
                Ok(Decision::Run { care: care(facts.tables), problems })
            } else {
                Err((reason, true))
            }
        }
    }
}

/// Nothing else may be taken for this disk before anything is written to it.
fn one_disk(facts: &Facts<'_>) -> Result<(), Reason> {
    if !facts.twins.is_empty() {
        return Err(Reason::RootOnTwoDisks { guid: facts.root.guid, others: facts.twins.to_vec() });
    }
    match facts.loader {
        LoaderDisk::Unknown(guid) => Err(Reason::LoaderUnknown(*guid)),
        LoaderDisk::Other(loader) => Err(Reason::LoaderOnOtherDisk { loader: loader.clone() }),
        LoaderDisk::This | LoaderDisk::Unnamed => Ok(()),
    }
}

fn care(tables: &Tables) -> Care {
    match tables {
        Tables::BackupOnly { .. } => Care::RepairPrimary,
        Tables::Primary { backup: Backup::Good | Backup::Displaced, .. } | Tables::Neither { .. } => Care::None,
        Tables::Primary { .. } => Care::RepairBackup,
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests;
