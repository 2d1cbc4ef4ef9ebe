//! The partition table on the disk.

use layout::{
    Range,
    table::{Backup, Copies, Table, Tables, Write},
};
use log::info;

use super::{length, medium::Medium, provision::StepError};

/// What is read at once at either end of a disk, bytes: header and entries of the usual table with any sector size.
const END: u64 = 32 << 10;

/// Reads and judges both copies. Each is read whole where it usually lies, two requests instead of four that wait for one
/// another; one by one where it lies elsewhere, or where a sector of the whole cannot be read.
#[must_use]
pub fn read(disk: &dyn Medium) -> Tables {
    let size = disk.size() / disk.sector().bytes() * disk.sector().bytes();
    let starts = if size < 2 * END { vec![] } else { vec![0, size - END] };
    let ends = starts.into_iter().map(|start| Range { start, length: END });
    let ends: Vec<(Range, Vec<u8>)> = ends.filter_map(|end| Some((end, disk.read(end).ok()?))).collect();
    Tables::read(disk.sector(), disk.size(), &mut |range| match ends.iter().find_map(|(end, bytes)| within(*end, bytes, range)) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => disk.read(range).map_err(std::io::Error::other),
    })
}

/// The bytes of `wanted`, when they are among those of `whole`.
fn within(whole: Range, bytes: &[u8], wanted: Range) -> Option<&[u8]> {
    let start = usize::try_from(wanted.start.checked_sub(whole.start)?).ok()?;
    bytes.get(start..start.checked_add(length(wanted))?)
}

/// Puts `table` on the disk, given what is on it now, and reads it back.
///
/// # Errors
/// [`StepError`]; whatever was written before leaves at least one valid copy, old or new.
pub fn write(disk: &dyn Medium, now: &Tables, table: &Table) -> Result<(), StepError> {
    if let Tables::BackupOnly { table: old, .. } = now {
        // The backup is the only valid copy at this moment: it stays until the primary is one too.
        put_all(disk, &old.writes(Copies::Primary).map_err(|source| StepError::Table { source })?)?;
    }
    put_all(disk, &table.writes(Copies::Both).map_err(|source| StepError::Table { source })?)?;
    put_all(disk, &[table.protective_mbr()])?;
    match read(disk) {
        Tables::Primary { table: found, backup: Backup::Good } if found == *table => Ok(()),
        other => Err(StepError::Differs { what: "the partition table", detail: describe(&other) }),
    }
}

/// Mends the bad copy from the good one.
///
/// # Errors
/// [`StepError`]; the good copy stays valid throughout.
pub fn repair(disk: &dyn Medium, now: &Tables) -> Result<(), StepError> {
    match now.table() {
        Some(table) => write(disk, now, table),
        None => Ok(()),
    }
}

/// The state of both copies, for people.
#[must_use]
pub fn describe(tables: &Tables) -> String {
    match tables {
        Tables::Primary { backup, .. } => match backup {
            Backup::Good => "both copies are valid".to_owned(),
            Backup::Displaced => "the backup is not at the end of the disk".to_owned(),
            Backup::Differs => "the backup says something else than the primary".to_owned(),
            Backup::Stale(guid) => format!("the backup belongs to another disk GUID, {guid}"),
            Backup::Damaged(err) => format!("backup: {}", daemon::report(err)),
        },
        Tables::BackupOnly { primary, .. } => format!("primary: {}", daemon::report(primary)),
        Tables::Neither { primary, backup } => {
            format!("primary: {}; backup: {}", daemon::report(primary), daemon::report(backup))
        }
    }
}

/// Carries out writes in order. What is on the disk already is left out, so that running the list again is free and a
/// valid copy is never written over with itself.
fn put_all(disk: &dyn Medium, writes: &[Write]) -> Result<(), StepError> {
    for write in writes {
        let range = Range { start: write.offset, length: u64::try_from(write.bytes.len()).unwrap_or(u64::MAX) };
        if disk.read(range).is_ok_and(|found| found == write.bytes) {
            continue;
        }
        info!("disk: writing the {}", write.what);
        write_checked(disk, write.what, write.offset, &write.bytes)?;
    }
    Ok(())
}

/// Writes, flushes and reads back.
///
/// # Errors
/// [`StepError::Write`], [`StepError::Read`], [`StepError::Differs`].
pub fn write_checked(disk: &dyn Medium, what: &'static str, offset: u64, bytes: &[u8]) -> Result<(), StepError> {
    let fault = |source| StepError::Write { what, source };
    disk.write(offset, bytes).map_err(fault)?;
    disk.flush().map_err(fault)?;
    let range = Range { start: offset, length: u64::try_from(bytes.len()).unwrap_or(u64::MAX) };
    let found = disk.read(range).map_err(|source| StepError::Read { what, source })?;
    if found == bytes { Ok(()) } else { Err(StepError::Differs { what, detail: "what was written is not what is read".to_owned() }) }
}
