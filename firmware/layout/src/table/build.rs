//! From a table to bytes on a disk.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use gpt::{
    header::{Header, HeaderBuilder},
    mbr::ProtectiveMBR,
    partition::Partition,
};

use super::{ENTRIES, ENTRY_SIZE, Table, TableError, array_bytes};

/// Bytes to put on a disk, all in whole sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What it is, for logs and errors.
    pub what: &'static str,
    /// Where the bytes go.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The disk's cache must be flushed before the next write begins.
    pub flush_after: bool,
}

/// Which copies of a table to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Both, backup first.
    Both,
    /// Only the primary: when the backup is at this moment the only valid copy.
    Primary,
}

impl Table {
    /// The writes that put the table on its disk, in the crash-safe order.
    ///
    /// Writes whose bytes are on the disk already may be left out: running the list again is free.
    ///
    /// # Errors
    /// [`TableError::Build`] from the `gpt` crate; not for tables made through this module.
    pub fn writes(&self, copies: Copies) -> Result<Vec<Write>, TableError> {
        let sector = self.sector.bytes();
        let last = self.disk_size / sector - 1;
        let mut writes = Vec::with_capacity(5);
        if copies == Copies::Both {
            let (header, array) = self.copy(false, last)?;
            let start = last * sector - array_bytes(self.sector);
            writes.push(Write { what: "backup entries", offset: start, bytes: array, flush_after: true });
            writes.push(Write { what: "backup header", offset: last * sector, bytes: header, flush_after: true });
        }
        let (header, array) = self.copy(true, last)?;
        writes.push(Write { what: "primary entries", offset: 2 * sector, bytes: array, flush_after: true });
        writes.push(Write { what: "primary header", offset: sector, bytes: header, flush_after: true });
        Ok(writes)
    }

    /// The protective MBR's sector for a disk of this size. It names nothing that booting needs to be exact, so it is
    /// written on its own, after the table.
    #[must_use]
    pub fn protective_mbr(&self) -> Write {
        let sectors = (self.disk_size / self.sector.bytes()).saturating_sub(1);
        let mbr = ProtectiveMBR::with_lb_size(u32::try_from(sectors).unwrap_or(u32::MAX));
        let mut bytes = mbr.to_bytes().to_vec();
        bytes.resize(usize::try_from(self.sector.bytes()).unwrap_or(bytes.len()), 0);
        Write { what: "protective MBR", offset: 0, bytes, flush_after: true }
    }

    /// Header sector and entry array of one copy, serialised by the `gpt` crate through windows on the disk.
    fn copy(&self, primary: bool, last: u64) -> Result<(Vec<u8>, Vec<u8>), TableError> {
        let sector = self.sector;
        let mut header = HeaderBuilder::new()
            .primary(primary)
            .disk_guid(self.disk_guid)
            .backup_lba(last)
            .num_parts(ENTRIES)
            .part_size(ENTRY_SIZE)
            .build(sector.gpt())
            .map_err(|err| TableError::Build(Box::new(err)))?;
        let array = self.array().map_err(|err| TableError::Build(Box::new(err)))?;
        let array_at = header.part_start * sector.bytes();
        let header_at = header.current_lba * sector.bytes();
        let length = usize::try_from(sector.bytes()).unwrap_or_default();
        let mut disk = Windows { position: 0, parts: [(array_at, array), (header_at, vec![0; length])] };
        let written = if primary { Header::write_primary } else { Header::write_backup };
        written(&mut header, &mut disk, sector.gpt()).map_err(|err| TableError::Build(Box::new(err)))?;
        let [(_, array), (_, header)] = disk.parts;
        Ok((header, array))
    }

    fn array(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(array_bytes(self.sector)).unwrap_or_default();
        let mut array = Cursor::new(vec![0; length]);
        for (number, entry) in &self.entries {
            let sector = self.sector.bytes();
            let partition = Partition {
                part_type_guid: entry.type_guid.into(),
                part_guid: entry.guid,
                first_lba: entry.range.start / sector,
                last_lba: entry.range.end() / sector - 1,
                flags: entry.flags,
                name: entry.name.clone(),
            };
            partition.write_to_device(&mut array, u64::from(number - 1), 0, self.sector.gpt(), ENTRY_SIZE)?;
        }
        Ok(array.into_inner())
    }
}

/// The two stretches of a disk that hold one copy of the table. Everything else does not exist.
#[derive(Debug)]
struct Windows {
    position: u64,
    parts: [(u64, Vec<u8>); 2],
}

impl Windows {
    /// The rest of the part that holds the current position.
    fn here(&mut self) -> io::Result<&mut [u8]> {
        let position = self.position;
        self.parts
            .iter_mut()
            .find_map(|(start, bytes)| {
                let rest = bytes.get_mut(usize::try_from(position.checked_sub(*start)?).ok()?..)?;
                (!rest.is_empty()).then_some(rest)
            })
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "outside the table"))
    }

    fn advance(&mut self, count: usize) -> io::Result<usize> {
        self.position += u64::try_from(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

impl Read for Windows {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = (&*self.here()?).read(into)?;
        self.advance(count)
    }
}

impl io::Write for Windows {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let count = self.here()?.write(from)?;
        self.advance(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Windows {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(position) => self.position = position,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "only absolute positions")),
        }
        Ok(self.position)
    }
}
