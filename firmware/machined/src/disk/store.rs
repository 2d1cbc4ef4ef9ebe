//! META in place.

use layout::{
    Range,
    meta::{self, Copy, Found, Meta, MetaWrite, Store},
};
use linux::block::DeviceError;

use super::{medium::Medium, provision::StepError};

/// The META partition of a disk.
pub struct MetaPlace<'a> {
    disk: &'a dyn Medium,
    range: Range,
}

impl<'a> MetaPlace<'a> {
    /// META at these bytes of the disk.
    pub fn new(disk: &'a dyn Medium, range: Range) -> Self {
        Self { disk, range }
    }

    /// Reads both copies.
    ///
    /// # Errors
    /// [`StepError::Read`] only when neither half of the partition can be read.
    pub fn read(&self) -> Result<Found, StepError> {
        // One by one: a bad sector in one copy must not hide the other.
        match (self.copy(Copy::A), self.copy(Copy::B)) {
            (Err(source), Err(_)) => Err(StepError::Read { what: "META", source }),
            (a, b) => Ok(Found::of(&a.unwrap_or_default(), &b.unwrap_or_default())),
        }
    }

    /// As much of a copy as is in use: a few of its 512 KiB.
    fn copy(&self, copy: Copy) -> Result<Vec<u8>, DeviceError> {
        let start = self.range.start.saturating_add(copy.offset());
        let bytes = self.disk.read(Range { start, length: meta::BLOCK })?;
        match meta::stored_length(&bytes) {
            length if length <= meta::BLOCK => Ok(bytes),
            length => self.disk.read(Range { start, length }),
        }
    }

    /// Puts new contents into force: the older copy is replaced, flushed and read back.
    ///
    /// # Errors
    /// [`StepError`]; the old contents are still in force unless everything reached the disk.
    pub fn replace(&mut self, store: &Store, meta: Meta) -> Result<Store, StepError> {
        let (write, next) = store.replace(meta).map_err(|source| StepError::Meta { source })?;
        self.put(&write)?;
        Ok(next)
    }

    /// The same, with nothing left of what was stored before; both copies say the new when this returns.
    ///
    /// # Errors
    /// [`StepError`]; as [`Self::replace`] until the first copy is written.
    pub fn replace_all(&mut self, store: &Store, meta: Meta) -> Result<Store, StepError> {
        let (writes, next) = store.replace_all(meta).map_err(|source| StepError::Meta { source })?;
        writes.iter().try_for_each(|write| self.put(write))?;
        Ok(next)
    }

    /// Brings the other copy in step with the newest: it is damaged, or tells of an earlier life of the disk.
    ///
    /// # Errors
    /// [`StepError`]; the newest copy is not touched.
    pub fn repair(&mut self, store: &mut Store) -> Result<(), StepError> {
        if let Some(write) = store.repair().map_err(|source| StepError::Meta { source })? {
            self.put(&write)?;
            store.damaged = None;
            store.behind = false;
        }
        Ok(())
    }

    fn put(&self, write: &MetaWrite) -> Result<(), StepError> {
        let offset = self.range.start.saturating_add(write.offset);
        super::table::write_checked(self.disk, "META", offset, &write.bytes)
    }
}
