//! The whole disk as bytes, and what the kernel knows of its partitions.

use std::{cell::Cell, path::PathBuf};

use layout::{Range, SectorSize};
use linux::block::{Access, Device, DeviceError, Outline, Part, Sysfs, partitions};

use super::{find, length, provision::StepError};

/// A partition that the kernel sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Number in the table.
    pub number: u32,
    /// Its bytes on the disk.
    pub range: Range,
    /// Device node.
    pub node: PathBuf,
}

/// A whole disk. Everything that is written goes through here, so that a test can cut the power anywhere.
pub trait Medium {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Logical sector size.
    fn sector(&self) -> SectorSize;
    /// Reads whole sectors from the medium itself, not from a cache.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn read(&self, range: Range) -> Result<Vec<u8>, DeviceError>;
    /// Writes whole sectors; durable after [`Self::flush`].
    ///
    /// # Errors
    /// [`DeviceError`].
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError>;
    /// Makes whole sectors read as zeros; durable after [`Self::flush`].
    ///
    /// # Errors
    /// [`DeviceError`].
    fn zero(&self, range: Range) -> Result<(), DeviceError>;
    /// Gives the blocks of whole sectors back to the device; says whether it takes them.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn discard(&self, range: Range) -> Result<bool, DeviceError>;
    /// Whether a file system or anybody else holds the partition of that number.
    fn in_use(&self, number: u32) -> bool;
    /// Waits until everything written is on the medium.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn flush(&self) -> Result<(), DeviceError>;
    /// Makes the kernel see a partition exactly there, and gives its device node.
    ///
    /// # Errors
    /// [`StepError::Show`], [`StepError::Shown`].
    fn show(&self, number: u32, range: Range) -> Result<PathBuf, StepError>;
    /// What the kernel sees: partitions by number, where they are, and their nodes.
    fn seen(&self) -> Vec<Seen>;
}

/// The real disk, locked for as long as this lives.
#[derive(Debug)]
pub struct WholeDisk {
    device: Device,
    sector: SectorSize,
    disk: Outline,
    sysfs: Sysfs,
    /// The kernel was told of partitions since `disk` was looked at.
    shown: Cell<bool>,
}

impl WholeDisk {
    /// A disk that was opened for changes.
    #[must_use]
    pub fn new(device: Device, sector: SectorSize, disk: Outline) -> Self {
        Self { device, sector, disk, sysfs: Sysfs::default(), shown: Cell::new(false) }
    }

    /// Makes the kernel forget a partition that nobody uses.
    ///
    /// # Errors
    /// [`partitions::PartitionError`]; busy when it is mounted, held or open.
    pub fn hide(&self, number: u32) -> Result<(), partitions::PartitionError> {
        self.shown.set(true);
        partitions::remove(&self.device, number)
    }

    /// The partition of that number as the kernel has it now.
    fn part(&self, number: u32) -> Option<Part> {
        self.sysfs.partitions(&self.disk.name).ok()?.into_iter().find(|part| part.number == number)
    }
}

impl Medium for WholeDisk {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn sector(&self) -> SectorSize {
        self.sector
    }

    fn read(&self, range: Range) -> Result<Vec<u8>, DeviceError> {
        self.device.read(range.start, length(range))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.write(offset, bytes)
    }

    fn zero(&self, range: Range) -> Result<(), DeviceError> {
        self.device.zero(range.start, range.length)
    }

    fn discard(&self, range: Range) -> Result<bool, DeviceError> {
        self.device.discard(range.start, range.length)
    }

    fn in_use(&self, number: u32) -> bool {
        // The kernel grants one that nobody holds, mounted anywhere or not.
        self.part(number).is_some_and(|part| Device::open(&part.node, Access::Own).is_err())
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.device.flush()
    }

    fn show(&self, number: u32, range: Range) -> Result<PathBuf, StepError> {
        self.shown.set(true);
        if self.part(number).is_none() {
            partitions::add(&self.device, number, range.start, range.length).map_err(|source| StepError::Show { number, source })?;
        }
        // devtmpfs has made the node before the call above returns: nothing to wait for.
        match self.part(number) {
            Some(part) if find::range(&part) == range => Ok(part.node),
            other => Err(StepError::Shown { number, wanted: range, found: other.as_ref().map(find::range) }),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        // Only `show` changes them.
        let fresh = self.shown.get().then(|| self.sysfs.partitions(&self.disk.name).unwrap_or_default());
        let parts = fresh.unwrap_or_else(|| self.disk.partitions.clone()).into_iter();
        parts.map(|part| Seen { number: part.number, range: find::range(&part), node: part.node }).collect()
    }
}
