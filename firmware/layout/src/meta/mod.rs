//! The META store: what the node must know before any file system is mounted.
//!
//! One raw partition of 1 MiB holds two copies, at 0 and at 512 KiB. Each has a magic, a format version, a generation,
//! a length and a SHA-256 over all of that and the records. Reading takes the newest valid copy. Writing replaces the
//! *other* one, so a torn write leaves the old state. When both copies are bad the store is corrupt, which is never
//! the same as a factory-fresh one.
//!
//! Records are the disk's [`Life`] and the API's 8-bit keys with their values.

mod codec;

pub use codec::{CopyError, MetaError};

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{Range, SectorSize};

/// Bytes of the META partition.
pub const PARTITION_SIZE: u64 = 1 << 20;
/// Bytes of each copy's place.
pub const COPY_SIZE: usize = 512 << 10;
/// Copies are written, and their beginnings read, in multiples of this.
pub const BLOCK: u64 = 4096;
/// Most bytes of one value.
pub const MAX_VALUE: usize = 64 << 10;
/// Most bytes of all records together.
pub const MAX_RECORDS: usize = 256 << 10;

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// At byte 0.
    A,
    /// At 512 KiB.
    B,
}

impl Copy {
    /// First byte of the copy within the partition.
    #[must_use]
    pub const fn offset(self) -> u64 {
        match self {
            Self::A => 0,
            Self::B => COPY_SIZE as u64,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What the node does with a partition when it writes the table of its first boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It came with the image: its bytes are not touched.
    Keep,
    /// Signatures of an earlier life are wiped; it stays empty.
    Wipe,
    /// Wiped and formatted with XFS.
    FormatXfs,
}

/// A partition of a [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Number in the table.
    pub number: u32,
    /// Name in the table and label of the file system.
    pub label: String,
    /// Type GUID.
    pub type_guid: Uuid,
    /// Its own GUID.
    pub guid: Uuid,
    /// Its bytes on the disk.
    pub range: Range,
    /// What is done with it.
    pub action: Action,
}

/// All that first boot is about to do, written down before it does any of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The disk's new GUID.
    pub disk_guid: Uuid,
    /// Size in bytes of the disk.
    pub disk_size: u64,
    /// Its sector size.
    pub sector: SectorSize,
    /// Every partition of the new table.
    pub partitions: Vec<Recorded>,
}

/// What a reset of the system disk wipes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Partitions, by their numbers: each is made anew.
    Partitions(Vec<u32>),
    /// All that first boot made; then it happens once more, with new identifiers.
    Factory,
    /// The whole disk: nothing boots from it afterwards.
    Disk {
        /// Once that is done the machine is restarted, and not switched off.
        restart: bool,
    },
}

/// A reset of the system disk, written down before it wipes anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// What it wipes.
    pub scope: Scope,
    /// The secrets are gone; what is left is to make the partitions anew.
    pub erased: bool,
    /// The partitions as first boot made them.
    pub record: Record,
}

/// Where the disk is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// As flashed: no data of ours is on it.
    Factory,
    /// First boot is under way: exactly the ranges of the record may be wiped and formatted.
    Provisioning(Record),
    /// STATE is formatted, mounted and synced; nothing is formatted again unless a [`Reset`] is written down.
    Provisioned(Record),
    /// A reset is under way: exactly what it names may be wiped and formatted.
    Resetting(Reset),
}

/// The store's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The disk's life.
    pub life: Life,
    keys: BTreeMap<u8, Vec<u8>>,
}

impl Meta {
    /// A store with no keys.
    #[must_use]
    pub const fn new(life: Life) -> Self {
        Self { life, keys: BTreeMap::new() }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: u8) -> Option<&[u8]> {
        self.keys.get(&key).map(Vec::as_slice)
    }

    /// All keys with their values, in order.
    pub fn keys(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.keys.iter().map(|(key, value)| (*key, value.as_slice()))
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`MetaError::Value`] for more than [`MAX_VALUE`] bytes; the total is checked when encoding.
    pub fn set(&mut self, key: u8, value: Vec<u8>) -> Result<(), MetaError> {
        if value.len() > MAX_VALUE {
            return Err(MetaError::Value { key, length: value.len() });
        }
        self.keys.insert(key, value);
        Ok(())
    }

    /// Removes all keys.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    /// Removes a key; says whether it was there.
    pub fn delete(&mut self, key: u8) -> bool {
        self.keys.remove(&key).is_some()
    }
}

/// A store as found on a disk.
#[derive(Debug)]
pub enum Found {
    /// At least one copy is valid.
    Valid(Store),
    /// No copy is valid; each with its reason.
    Corrupt {
        /// What is wrong with copy A.
        a: CopyError,
        /// What is wrong with copy B.
        b: CopyError,
    },
}

/// A valid store with its place in the sequence of writes.
#[derive(Debug)]
pub struct Store {
    /// The contents.
    pub meta: Meta,
    /// Generation of the contents.
    pub generation: u64,
    /// The copy they came from.
    pub newest: Copy,
    /// What is wrong with the other copy, when it is not valid.
    pub damaged: Option<CopyError>,
    /// The other copy is valid but tells of another [`Life`]. It must not stay so: should the newest copy rot, the
    /// disk would be taken for what it was, and a disk that was being set up is formatted.
    pub behind: bool,
}

/// Bytes to put into the META partition. Flush and read back after writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaWrite {
    /// Position within the partition.
    pub offset: u64,
    /// The bytes, a multiple of 4096.
    pub bytes: Vec<u8>,
}

impl Found {
    /// Reads the partition's bytes. Never panics, whatever they are.
    #[must_use]
    pub fn read(partition: &[u8]) -> Self {
        let (a, b) = partition.split_at_checked(COPY_SIZE).unwrap_or((partition, &[]));
        Self::of(a, b)
    }

    /// Reads both copies, each from its beginning as far as it is in use ([`stored_length`]) or further.
    #[must_use]
    pub fn of(a: &[u8], b: &[u8]) -> Self {
        match (codec::decode(a), codec::decode(b)) {
            (Ok(a), Ok(b)) if b.0 > a.0 => Self::valid(Copy::B, b, Ok(a)),
            (Ok(a), other) => Self::valid(Copy::A, a, other),
            (Err(err), Ok(b)) => Self::valid(Copy::B, b, Err(err)),
            (Err(a), Err(b)) => Self::Corrupt { a, b },
        }
    }

    fn valid(newest: Copy, (generation, meta): (u64, Meta), other: Result<(u64, Meta), CopyError>) -> Self {
        let behind = other.as_ref().is_ok_and(|(_, other)| other.life != meta.life);
        Self::Valid(Store { meta, generation, newest, damaged: other.err(), behind })
    }
}

impl Store {
    /// The write that puts `meta` into force, and the store as it is afterwards.
    ///
    /// # Errors
    /// [`MetaError`] when the records do not fit.
    pub fn replace(&self, meta: Meta) -> Result<(MetaWrite, Self), MetaError> {
        let generation = self.generation.saturating_add(1);
        let newest = self.newest.other();
        let bytes = codec::encode(generation, &meta)?;
        let behind = meta.life != self.meta.life;
        let next = Self { meta, generation, newest, damaged: None, behind };
        Ok((MetaWrite { offset: next.newest.offset(), bytes }, next))
    }

    /// The same, so that nothing of what was stored before is left: first the write that puts `meta` into force, then the one
    /// over the copy that was in force until then; each fills its copy's place to the end.
    ///
    /// # Errors
    /// [`MetaError`] when the records do not fit.
    pub fn replace_all(&self, meta: Meta) -> Result<([MetaWrite; 2], Self), MetaError> {
        let (mut first, mut next) = self.replace(meta)?;
        first.bytes.resize(COPY_SIZE, 0);
        let second = MetaWrite { offset: next.newest.other().offset(), bytes: first.bytes.clone() };
        next.behind = false;
        Ok(([first, second], next))
    }

    /// The write that brings the other copy in step when it is damaged or [`Self::behind`]; `None` when both are well.
    ///
    /// # Errors
    /// [`MetaError`]; not for contents that were read.
    pub fn repair(&self) -> Result<Option<MetaWrite>, MetaError> {
        if self.damaged.is_none() && !self.behind {
            return Ok(None);
        }
        let bytes = codec::encode(self.generation, &self.meta)?;
        Ok(Some(MetaWrite { offset: self.newest.other().offset(), bytes }))
    }
}

/// Bytes from a copy's beginning that hold it, by its first [`BLOCK`]: what its header says, one block when that makes no
/// sense.
#[must_use]
pub fn stored_length(start: &[u8]) -> u64 {
    u64::try_from(codec::stored_length(start)).unwrap_or(BLOCK)
}

/// The whole partition of a flashed image: both copies valid, life [`Life::Factory`].
///
/// # Errors
/// [`MetaError`]; not for these contents.
pub fn factory_image() -> Result<Vec<u8>, MetaError> {
    let bytes = codec::encode(1, &Meta::new(Life::Factory))?;
    let mut image = vec![0; 2 * COPY_SIZE];
    for at in [0, COPY_SIZE] {
        image.iter_mut().skip(at).zip(&bytes).for_each(|(to, from)| *to = *from);
    }
    Ok(image)
}

#[cfg(test)]
mod tests;
