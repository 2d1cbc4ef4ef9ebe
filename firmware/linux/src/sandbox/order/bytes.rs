//! Numbers, texts and lists as bytes.

use std::{os::unix::ffi::OsStrExt, path::Path};

use super::{MAX_TEXT, OrderError};

/// Puts fields one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// The number in front of a text or list.
    fn count(&mut self, field: &'static str, count: usize, limit: usize) -> Result<(), OrderError> {
        match u16::try_from(count) {
            Ok(short) if count <= limit => {
                self.0.extend(short.to_le_bytes());
                Ok(())
            }
            _ => Err(OrderError::TooMuch { field, count, limit }),
        }
    }

    pub(super) fn text(&mut self, field: &'static str, text: &[u8], limit: usize) -> Result<(), OrderError> {
        if text.contains(&0) {
            return Err(OrderError::Zero { field });
        }
        self.count(field, text.len(), limit)?;
        self.0.extend(text);
        Ok(())
    }

    pub(super) fn path(&mut self, field: &'static str, path: &Path) -> Result<(), OrderError> {
        self.text(field, path.as_os_str().as_bytes(), MAX_TEXT)
    }

    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        list: &[T],
        limit: usize,
        mut write: impl FnMut(&mut Self, &T) -> Result<(), OrderError>,
    ) -> Result<(), OrderError> {
        self.count(field, list.len(), limit)?;
        list.iter().try_for_each(|item| write(self, item))
    }
}

/// Takes fields one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn end(self) -> Result<(), OrderError> {
        if self.rest.is_empty() { Ok(()) } else { Err(OrderError::Trailing { bytes: self.rest.len() }) }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], OrderError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(OrderError::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, OrderError> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, OrderError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, OrderError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, OrderError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(OrderError::Unknown { field, value: u64::from(other) }),
        }
    }

    fn count(&mut self, field: &'static str, limit: usize) -> Result<usize, OrderError> {
        let count = usize::from(self.array(field).map(u16::from_le_bytes)?);
        if count > limit { Err(OrderError::TooMuch { field, count, limit }) } else { Ok(count) }
    }

    pub(super) fn text(&mut self, field: &'static str, limit: usize) -> Result<Vec<u8>, OrderError> {
        let count = self.count(field, limit)?;
        let (text, rest) = self.rest.split_at_checked(count).ok_or(OrderError::Truncated { field })?;
        self.rest = rest;
        Ok(text.to_vec())
    }

    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        limit: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, OrderError>,
    ) -> Result<Vec<T>, OrderError> {
        let count = self.count(field, limit)?;
        (0..count).map(|_| read(self)).collect()
    }
}
