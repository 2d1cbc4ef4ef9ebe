//! From bytes on a disk to tables, with a judgement on each copy.

use std::io::{self, Cursor};

use gpt::{
    header::{Header, HeaderError, read_header_from_arbitrary_device},
    partition::file_read_partitions,
};
use uuid::Uuid;

use super::{ENTRY_SIZE, Entry, Table, TableError};
use crate::{Range, SectorSize};

/// Most entries of a foreign table that we look at: bounds what a hostile header makes us read (128 KiB).
const MAX_ENTRIES: u32 = 1024;

/// What is wrong with one copy of a table.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The disk could not be read there.
    #[error("read {range}")]
    Read {
        /// What was read.
        range: Range,
        /// Why not.
        source: io::Error,
    },
    /// There is no header.
    #[error("no table header at byte {0}")]
    Absent(u64),
    /// The header's checksum is wrong.
    #[error("the table header at byte {0} is damaged (checksum)")]
    Header(u64),
    /// The header's checksum is right but its values are not.
    #[error("the table header at byte {at} is not usable: {problem}")]
    Values {
        /// Where the header is.
        at: u64,
        /// What is wrong, for people.
        problem: String,
    },
    /// The entries' checksum is wrong.
    #[error("the table entries at byte {0} are damaged (checksum)")]
    Entries(u64),
    /// The entries' checksum is right but they break a rule.
    #[error("the table with its header at byte {at}")]
    Rule {
        /// Where the header is.
        at: u64,
        /// Which rule.
        source: TableError,
    },
}

/// The state of the backup when the primary is in force.
#[derive(Debug)]
pub enum Backup {
    /// At the end of the disk, saying the same as the primary.
    Good,
    /// Where the primary says, which is not the end of the disk, and saying the same: an image on a larger disk.
    Displaced,
    /// Valid, of the same disk GUID, but saying something else: an interrupted change.
    Differs,
    /// Valid, but of another disk GUID: an earlier life of the disk. Ignored.
    Stale(Uuid),
    /// Not valid.
    Damaged(CopyError),
}

/// What the two copies on a disk say.
#[derive(Debug)]
pub enum Tables {
    /// The primary is valid and in force.
    Primary {
        /// The table.
        table: Table,
        /// What the backup is worth.
        backup: Backup,
    },
    /// The primary is not valid; the backup at the end of the disk is, and is in force.
    BackupOnly {
        /// The table.
        table: Table,
        /// What is wrong with the primary.
        primary: CopyError,
    },
    /// Neither copy is valid.
    Neither {
        /// What is wrong with the primary.
        primary: CopyError,
        /// What is wrong with the backup.
        backup: CopyError,
    },
}

impl Tables {
    /// Reads and judges both copies of a disk of `disk_size` bytes. `read` gives the bytes of a range that lies within
    /// the disk and is a whole number of sectors.
    pub fn read(sector: SectorSize, disk_size: u64, read: &mut dyn FnMut(Range) -> io::Result<Vec<u8>>) -> Self {
        let mut disk = Disk { sector, sectors: disk_size / sector.bytes(), read };
        let last = disk.sectors.saturating_sub(1);
        match disk.copy(1) {
            Ok((table, header)) => {
                let backup = disk.judge_backup(&table, &header, last);
                Self::Primary { table, backup }
            }
            Err(primary) => match disk.copy(last) {
                Ok((table, _)) => Self::BackupOnly { table, primary },
                Err(backup) => Self::Neither { primary, backup },
            },
        }
    }

    /// The table in force.
    #[must_use]
    pub const fn table(&self) -> Option<&Table> {
        match self {
            Self::Primary { table, .. } | Self::BackupOnly { table, .. } => Some(table),
            Self::Neither { .. } => None,
        }
    }
}

struct Disk<'a> {
    sector: SectorSize,
    sectors: u64,
    read: &'a mut dyn FnMut(Range) -> io::Result<Vec<u8>>,
}

impl Disk<'_> {
    /// The backup is the copy that the primary names, so what an earlier life left at the end is never looked at.
    fn judge_backup(&mut self, table: &Table, header: &Header, last: u64) -> Backup {
        match self.copy(header.backup_lba) {
            Ok((other, _)) if other.disk_guid != table.disk_guid => Backup::Stale(other.disk_guid),
            Ok((other, _)) if other.entries != table.entries => Backup::Differs,
            Ok(_) if header.backup_lba == last => Backup::Good,
            Ok(_) => Backup::Displaced,
            Err(err) => Backup::Damaged(err),
        }
    }

    fn bytes(&mut self, lba: u64, sectors: u64) -> Result<Vec<u8>, CopyError> {
        let size = self.sector.bytes();
        let range = Range { start: lba.saturating_mul(size), length: sectors.saturating_mul(size) };
        let outside = lba.checked_add(sectors).is_none_or(|end| end > self.sectors);
        if outside {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "outside the disk");
            return Err(CopyError::Read { range, source });
        }
        let bytes = (self.read)(range).map_err(|source| CopyError::Read { range, source })?;
        if u64::try_from(bytes.len()).ok() != Some(range.length) {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "fewer bytes than asked for");
            return Err(CopyError::Read { range, source });
        }
        Ok(bytes)
    }

    /// The copy whose header lies in sector `lba`.
    fn copy(&mut self, lba: u64) -> Result<(Table, Header), CopyError> {
        let size = self.sector.bytes();
        let at = lba.saturating_mul(size);
        let header = parse_header(&self.bytes(lba, 1)?, self.sector, at)?;
        self.check_header(&header, lba).map_err(|problem| CopyError::Values { at, problem })?;
        let array = u64::from(header.num_parts) * u64::from(ENTRY_SIZE);
        let bytes = self.bytes(header.part_start, array.div_ceil(size))?;
        let table = self.parse_entries(&header, bytes, at)?;
        Ok((table, header))
    }

    /// Values that the checksum does not vouch for. The text says what is wrong.
    fn check_header(&self, header: &Header, lba: u64) -> Result<(), String> {
        let last = self.sectors.saturating_sub(1);
        if header.header_size_le != 92 {
            return Err(format!("header of {} bytes", header.header_size_le));
        }
        if header.current_lba != lba {
            return Err(format!("it says that it lies in sector {}", header.current_lba));
        }
        if header.part_size != ENTRY_SIZE || header.num_parts == 0 || header.num_parts > MAX_ENTRIES {
            return Err(format!("{} entries of {} bytes", header.num_parts, header.part_size));
        }
        if header.first_usable > header.last_usable || header.last_usable > last {
            let (first, end) = (header.first_usable, header.last_usable);
            return Err(format!("usable sectors {first} to {end} on a disk that ends with sector {last}"));
        }
        Ok(())
    }

    fn parse_entries(&self, header: &Header, bytes: Vec<u8>, at: u64) -> Result<Table, CopyError> {
        let mut local = header.clone();
        local.part_start = 0;
        let damaged = || CopyError::Entries(header.part_start.saturating_mul(self.sector.bytes()));
        let partitions = file_read_partitions(&mut Cursor::new(bytes), &local, self.sector.gpt()).map_err(|_| damaged())?;
        let rule = |source| CopyError::Rule { at, source };
        let size = self.sector.bytes();
        let mut table = Table::new(self.sector, self.sectors * size, header.disk_guid).map_err(rule)?;
        for (number, partition) in partitions.into_iter().filter(|(_, partition)| partition.is_used()) {
            let start = partition.first_lba.saturating_mul(size);
            let length = partition.sectors_len().unwrap_or_default().saturating_mul(size);
            let entry = Entry {
                type_guid: partition.part_type_guid.guid,
                guid: partition.part_guid,
                range: Range { start, length },
                name: partition.name,
                flags: partition.flags,
            };
            table.add(number, entry).map_err(rule)?;
        }
        Ok(table)
    }
}

fn parse_header(sector_bytes: &[u8], sector: SectorSize, at: u64) -> Result<Header, CopyError> {
    // The crate reads the header from the second sector of what it is given, wherever ours came from.
    let mut disk = vec![0; sector_bytes.len()];
    disk.extend_from_slice(sector_bytes);
    read_header_from_arbitrary_device(&mut Cursor::new(disk), sector.gpt()).map_err(|err| match err {
        HeaderError::InvalidGptSignature => CopyError::Absent(at),
        _ => CopyError::Header(at),
    })
}
