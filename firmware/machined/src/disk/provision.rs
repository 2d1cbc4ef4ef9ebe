//! First boot: the record, then the table, then exactly the recorded ranges. A reset ends in the same steps, with what it keeps.
//!
//! ```text
//! META: provisioning(record) -> table -> wipe -> partitions -> mkfs -> STATE mounted and synced
//!   -> META: provisioned, in both copies
//! ```
//! Every step may be cut; the next boot finds the record and does all of them again. Until META is
//! closed nobody was told that anything is stored, so nothing that counts can be lost.

use std::path::PathBuf;

use layout::{
    Range,
    meta::{Action, Life, MetaError, Record, Recorded, Store},
    plan::{self, Reason, ResetRefused},
    spec::{PartitionSet, STATE},
    table::{Table, TableError, Tables},
};
use linux::block::{DeviceError, partitions::PartitionError};
use log::info;

use super::{
    medium::Medium,
    store::MetaPlace,
    table,
    volumes::{Mounter, VolumeError},
};

/// Bytes wiped at each end of a new partition: every signature we know of lies within them.
const WIPE: u64 = 1 << 20;

/// A step failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum StepError {
    #[error("read {what}")]
    Read { what: &'static str, source: DeviceError },
    #[error("write {what}")]
    Write { what: &'static str, source: DeviceError },
    #[error("{what} reads back differently: {detail}")]
    Differs { what: &'static str, detail: String },
    #[error("make META's bytes")]
    Meta { source: MetaError },
    #[error("there is no valid META to write to")]
    NoMeta,
    #[error("make the partition table")]
    Table { source: TableError },
    #[error("tell the kernel of partition {number}")]
    Show { number: u32, source: PartitionError },
    #[error(
        "the kernel has partition {number} at {}, the table at {wanted}; restart the node",
        found.map_or_else(|| "no place".to_owned(), |range| range.to_string())
    )]
    Shown { number: u32, wanted: Range, found: Option<Range> },
    #[error("clear {what}")]
    Clear { what: String, source: DeviceError },
    #[error("the system disk cannot be reset")]
    ResetRefused { source: ResetRefused },
    #[error("the system disk cannot be reset: {reason}")]
    Refused { reason: Reason },
    #[error("make partition {label}")]
    Volume { label: String, source: VolumeError },
}

/// A record about to be carried out.
pub struct Provision<'a> {
    /// The disk.
    pub disk: &'a dyn Medium,
    /// Formats and mounts.
    pub mounter: &'a dyn Mounter,
    /// The tables on the disk now.
    pub tables: &'a Tables,
    /// What is about to be done.
    pub record: Record,
    /// What META says while it is done.
    pub open: Life,
    /// What META says afterwards.
    pub close: Life,
}

impl Provision<'_> {
    /// Does all steps; gives the new table.
    ///
    /// # Errors
    /// [`StepError`]: the step that failed.
    pub fn run(&self, meta: &mut MetaPlace<'_>, store: Store, set: &PartitionSet) -> Result<Table, StepError> {
        let record = Record { disk_size: self.disk.size(), ..self.record.clone() };
        let store = self.open_record(meta, store)?;
        let now = self.tables.table().ok_or(StepError::NoMeta)?;
        let table = plan::new_table(&record, now).map_err(|source| StepError::Table { source })?;
        table::write(self.disk, self.tables, &table)?;
        self.wipe()?;
        let mut state = None;
        for partition in self.record.partitions.iter().filter(|partition| partition.action != Action::Keep) {
            let node = self.disk.show(partition.number, partition.range)?;
            if partition.action == Action::FormatXfs {
                self.format(partition, &node)?;
            }
            if partition.label == STATE {
                state = Some((partition, node));
            }
        }
        if let Some((partition, node)) = state {
            self.mount_state(set, partition, node)?;
        }
        self.disk.flush().map_err(|source| StepError::Write { what: "new file systems", source })?;
        let mut closed = store.meta.clone();
        closed.life = self.close.clone();
        let mut store = meta.replace(&store, closed)?;
        // Both copies must say it: if one of them still said "provisioning" and the other one rotted, a later boot would
        // take up first boot again and format what holds data by then.
        meta.repair(&mut store)?;
        info!("disk: it is set up");
        Ok(table)
    }

    /// Writes down what is about to be done, unless that is what META says already.
    fn open_record(&self, meta: &mut MetaPlace<'_>, store: Store) -> Result<Store, StepError> {
        if store.meta.life == self.open {
            return Ok(store);
        }
        let mut open = store.meta.clone();
        open.life = self.open.clone();
        meta.replace(&store, open)
    }

    /// Removes what an earlier life of the disk left at both ends of exactly the recorded ranges. Before the kernel
    /// sees the partitions, so that nobody can have read the old bytes through them.
    fn wipe(&self) -> Result<(), StepError> {
        let fault = |source| StepError::Write { what: "zeros over an earlier life", source };
        for partition in self.record.partitions.iter().filter(|partition| partition.action != Action::Keep) {
            let range = partition.range;
            let length = WIPE.min(range.length);
            let zeros = vec![0; super::length(Range { start: 0, length })];
            info!("disk: clearing {} ({range})", partition.label);
            self.disk.write(range.start, &zeros).map_err(fault)?;
            self.disk.write(range.end().saturating_sub(length), &zeros).map_err(fault)?;
        }
        self.disk.flush().map_err(fault)
    }

    fn format(&self, partition: &Recorded, node: &std::path::Path) -> Result<(), StepError> {
        info!("disk: making {} ({} MiB) on {}", partition.label, partition.range.length >> 20, node.display());
        self.mounter
            .format_xfs(node, partition.range, &partition.label)
            .map_err(|source| StepError::Volume { label: partition.label.clone(), source })
    }

    /// STATE is mounted and synced before META says that it exists.
    fn mount_state(&self, set: &PartitionSet, partition: &Recorded, node: PathBuf) -> Result<(), StepError> {
        let Some(target) = set.by_label(&partition.label).and_then(|p| p.mount.as_deref()) else { return Ok(()) };
        let fault = |source| StepError::Volume { label: partition.label.clone(), source };
        self.mounter.mount_xfs(&node, target.as_ref(), &partition.label).map_err(fault)?;
        self.mounter.sync(target.as_ref()).map_err(fault)
    }
}
