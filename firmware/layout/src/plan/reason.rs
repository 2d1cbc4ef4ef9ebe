//! Why a disk is not provisioned or not used, in words that say what to do.

use uuid::Uuid;

use crate::{MIB, Range, meta::CopyError};

/// Why, and what to do. Shown to people as it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// Both copies of the table are bad.
    #[error(
        "the partition table of the system disk is damaged in both copies (primary: {primary}; backup: {backup}); \
         nothing was written, data is kept; restore the table or flash the image again"
    )]
    NoTable {
        /// What is wrong with the primary.
        primary: String,
        /// What is wrong with the backup.
        backup: String,
    },
    /// The kernel sees another place for the root than the table.
    #[error(
        "the kernel has the root at {kernel}, the partition table at {table}: the table changed since boot; \
         nothing was written; restart the node"
    )]
    RootMoved {
        /// Where the kernel has it.
        kernel: Range,
        /// Where the table has it.
        table: Range,
    },
    /// The booted root is not in the table.
    #[error(
        "the partition table does not hold the running root (PARTUUID {0}): an earlier life of the disk, or a \
         damaged table; nothing was written; flash the image again"
    )]
    RootNotInTable(Uuid),
    /// There is no META partition.
    #[error("the partition table holds no META partition; nothing was written; flash the image again")]
    MetaMissing,
    /// There are several META partitions.
    #[error("the partition table holds more than one META partition; nothing was written; flash the image again")]
    MetaTwice,
    /// The META partition is too small.
    #[error("the META partition has {0} bytes, 1 MiB is needed; nothing was written; flash the image again")]
    MetaSize(u64),
    /// Both copies of META are bad.
    #[error(
        "META is damaged in both copies (first: {a}; second: {b}): whether this disk was set up is not known, so \
         nothing is formatted and data is kept; flash the image again to start afresh"
    )]
    MetaCorrupt {
        /// What is wrong with the first copy.
        a: CopyError,
        /// What is wrong with the second copy.
        b: CopyError,
    },
    /// The disk is too small.
    #[error(
        "the disk has {} MiB, {} MiB are needed; nothing was written; use a larger disk",
        disk_size / MIB, least.div_ceil(MIB)
    )]
    DiskTooSmall {
        /// Size of the disk in bytes.
        disk_size: u64,
        /// Smallest usable size in bytes.
        least: u64,
    },
    /// The root's GUID is on more than one disk.
    #[error(
        "the root (PARTUUID {guid}) is also on {}: two disks hold the same image; nothing is set up until one of \
         them is removed or flashed with another version", others.join(", ")
    )]
    RootOnTwoDisks {
        /// The root's GUID.
        guid: Uuid,
        /// Kernel names of the other disks.
        others: Vec<String>,
    },
    /// Firmware booted one disk, the kernel took the root from another.
    #[error(
        "the loader came from disk {loader}, but the root was found on this one: two disks hold the same image; \
         nothing was written or mounted; remove one of them"
    )]
    LoaderOnOtherDisk {
        /// Kernel name of the loader's disk.
        loader: String,
    },
    /// The loader names a partition that no disk has.
    #[error(
        "the loader came from partition {0}, which no disk of this machine has; nothing is set up on a disk that \
         the loader does not name"
    )]
    LoaderUnknown(Uuid),
    /// META says factory, but the table is not the image's.
    #[error(
        "META says that the disk is as flashed, but {problem}; nothing was written, data is kept; flash the image \
         again to start afresh"
    )]
    NotAsFlashed {
        /// What is different.
        problem: String,
    },
    /// The record of an interrupted first boot does not fit the disk.
    #[error("an interrupted first boot cannot be resumed: {problem}; nothing was written; flash the image again")]
    RecordUnusable {
        /// What does not fit.
        problem: String,
    },
    /// The reset that META holds does not fit the disk.
    #[error("a reset that was begun cannot be ended: {problem}; nothing was written; flash the image again")]
    ResetUnusable {
        /// What does not fit.
        problem: String,
    },
    /// Partitions that were made once are gone.
    #[error(
        "META says that this disk was set up, but {problem}; nothing was written, data is kept; restore the \
         partition table, or flash the image again to start afresh"
    )]
    PartitionsLost {
        /// Which, and how.
        problem: String,
    },
}
