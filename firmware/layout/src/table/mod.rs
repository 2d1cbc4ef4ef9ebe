//! GPT tables: read and judged, built and written.
//!
//! The `gpt` crate gives the types, the parsing with its checksums and the bytes of entries and headers. Its own
//! `write` is not used: it packs entries densely, so partition numbers move, and it knows no crash-safe order.
//!
//! A table has two copies, each of entries and a header with checksums over both. [`Table::writes`] gives them in the
//! one order in which every prefix leaves a valid copy: backup entries, backup header, then the primary ones.

mod build;
mod read;

pub use build::{Copies, Write};
pub use read::{Backup, CopyError, Tables};

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{Range, SectorSize};

/// Number of entries in every table we write.
const ENTRIES: u32 = 128;
/// Bytes of an entry in every table we accept or write.
const ENTRY_SIZE: u32 = 128;
/// Most UTF-16 units in a partition name; the `gpt` crate would cut silently.
const MAX_NAME: usize = 36;

/// Why a table cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Not aligned, reversed, or outside what the disk offers.
    #[error("partition {number} at {range} does not lie within the usable {usable} in whole sectors of {sector}")]
    Place {
        /// Partition number.
        number: u32,
        /// What was asked.
        range: Range,
        /// What there is.
        usable: Range,
        /// Sector size.
        sector: SectorSize,
    },
    /// Two partitions share bytes.
    #[error("partition {number} at {range} overlaps partition {other}")]
    Overlap {
        /// Partition number.
        number: u32,
        /// What was asked.
        range: Range,
        /// The partition that is there.
        other: u32,
    },
    /// A GUID is there twice.
    #[error("partition {number} has the GUID {guid} of partition {other}")]
    DuplicateGuid {
        /// Partition number.
        number: u32,
        /// The GUID.
        guid: Uuid,
        /// The partition that has it.
        other: u32,
    },
    /// Number outside 1 to 128, or taken.
    #[error("partition number {0} is taken or not within 1 to 128")]
    Number(u32),
    /// No partition of that number.
    #[error("there is no partition {0}")]
    Absent(u32),
    /// Name longer than 36 UTF-16 units.
    #[error("partition name {0:?} is too long")]
    Name(String),
    /// Disk without room for two tables, or not a whole number of sectors.
    #[error("a disk of {disk_size} bytes with sectors of {sector} cannot hold a table")]
    Disk {
        /// Size of the disk in bytes.
        disk_size: u64,
        /// Sector size.
        sector: SectorSize,
    },
    /// The header could not be built; the text is the `gpt` crate's.
    #[error("building the table's bytes")]
    Build(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type GUID.
    pub type_guid: Uuid,
    /// The partition's own GUID (PARTUUID).
    pub guid: Uuid,
    /// Its bytes.
    pub range: Range,
    /// Its name (PARTLABEL).
    pub name: String,
    /// Attribute bits.
    pub flags: u64,
}

/// A table for a disk of a certain size. Entries are valid: inside the disk, apart from each other, GUIDs unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    sector: SectorSize,
    disk_size: u64,
    disk_guid: Uuid,
    entries: BTreeMap<u32, Entry>,
}

impl Table {
    /// An empty table for a disk of `disk_size` bytes; a part of a sector at the end is left alone.
    ///
    /// # Errors
    /// [`TableError::Disk`] when two tables do not fit.
    pub fn new(sector: SectorSize, disk_size: u64, disk_guid: Uuid) -> Result<Self, TableError> {
        let disk_size = disk_size / sector.bytes() * sector.bytes();
        let least = 2 * (array_bytes(sector) + sector.bytes()) + 2 * sector.bytes();
        if disk_size < least {
            return Err(TableError::Disk { disk_size, sector });
        }
        Ok(Self { sector, disk_size, disk_guid, entries: BTreeMap::new() })
    }

    /// Adds a partition under a fixed number from 1 to 128.
    ///
    /// # Errors
    /// Each rule that the entry would break, see [`TableError`].
    pub fn add(&mut self, number: u32, entry: Entry) -> Result<(), TableError> {
        let range = entry.range;
        if number == 0 || number > ENTRIES || self.entries.contains_key(&number) {
            return Err(TableError::Number(number));
        }
        if entry.name.encode_utf16().count() > MAX_NAME {
            return Err(TableError::Name(entry.name));
        }
        let sector = self.sector.bytes();
        let aligned = range.start.is_multiple_of(sector) && range.length.is_multiple_of(sector) && range.length > 0;
        let fits = range.start.checked_add(range.length).is_some() && self.usable().contains(range);
        if !aligned || !fits {
            return Err(TableError::Place { number, range, usable: self.usable(), sector: self.sector });
        }
        for (other, there) in &self.entries {
            if there.range.overlaps(range) {
                return Err(TableError::Overlap { number, range, other: *other });
            }
            if there.guid == entry.guid {
                return Err(TableError::DuplicateGuid { number, guid: entry.guid, other: *other });
            }
        }
        self.entries.insert(number, entry);
        Ok(())
    }

    /// Takes a partition out.
    ///
    /// # Errors
    /// [`TableError::Absent`] when there is none of that number.
    pub fn remove(&mut self, number: u32) -> Result<Entry, TableError> {
        self.entries.remove(&number).ok_or(TableError::Absent(number))
    }

    /// Sector size of the disk.
    #[must_use]
    pub const fn sector(&self) -> SectorSize {
        self.sector
    }

    /// Size in bytes of the disk that the table is for.
    #[must_use]
    pub const fn disk_size(&self) -> u64 {
        self.disk_size
    }

    /// GUID of the disk.
    #[must_use]
    pub const fn disk_guid(&self) -> Uuid {
        self.disk_guid
    }

    /// The partitions by number.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<u32, Entry> {
        &self.entries
    }

    /// The partition with this GUID.
    #[must_use]
    pub fn by_guid(&self, guid: Uuid) -> Option<(u32, &Entry)> {
        self.entries.iter().find(|(_, entry)| entry.guid == guid).map(|(number, entry)| (*number, entry))
    }

    /// The bytes that partitions may use.
    #[must_use]
    pub fn usable(&self) -> Range {
        let start = 2 * self.sector.bytes() + array_bytes(self.sector);
        let end = self.disk_size - self.sector.bytes() - array_bytes(self.sector);
        Range { start, length: end.saturating_sub(start) }
    }
}

/// Bytes of the entry array, in whole sectors.
const fn array_bytes(sector: SectorSize) -> u64 {
    ((ENTRIES as u64) * (ENTRY_SIZE as u64)).next_multiple_of(sector.bytes())
}

#[cfg(test)]
mod tests;
