//! Power cuts, built from a recording of what the guest wrote and when it flushed.
//!
//! QEMU's `blklogwrites` filter writes the log format of the kernel's dm-log-writes: a super block, then for each
//! request one sector of header and, for a write, its data. Killing QEMU is no power cut, as the host keeps what
//! it was given; a disk that lost power keeps everything up to the last flush and *any part* of what came later.
//! [`Recording::durable`] and [`Recording::sample`] build exactly those.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FallocateFlags, fallocate};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Largest number of entries read: a first boot has a few thousand.
const MOST_ENTRIES: u64 = 4_000_000;

/// One request that the guest made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte on the disk.
    pub offset: u64,
    /// Bytes written or discarded.
    pub length: u64,
    /// Where the data stands in the log; `None` for a flush or a discard.
    data: Option<u64>,
    /// The disk's cache was flushed *before* this request took effect.
    pub flush: bool,
    /// The data was on the platter when the request completed.
    pub fua: bool,
    /// The range was discarded.
    pub discard: bool,
}

/// What a guest wrote, in the order in which requests completed.
#[derive(Debug)]
pub struct Recording {
    log: PathBuf,
    sector: u64,
    /// Every request.
    pub entries: Vec<Entry>,
}

/// A disk that a power cut could have left: how many entries were complete, and which unflushed ones survived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Entries before this one had completed when power went.
    pub at: usize,
    /// Entries whose data is on the disk, ascending.
    pub survived: Vec<usize>,
}

impl Recording {
    /// Reads a log.
    ///
    /// # Errors
    /// When it is not a log of this format, or is cut short.
    pub fn open(log: &Path) -> Result<Self> {
        let mut file = File::open(log).with_context(|| format!("open write log {}", log.display()))?;
        let size = file.metadata()?.len();
        let [magic, version, count, sector] = words(&mut file, 0)?;
        let sector = sector & 0xffff_ffff;
        ensure!(magic == MAGIC && version == 1, "{} is not a write log", log.display());
        ensure!(matches!(sector, 512 | 4096) && count <= MOST_ENTRIES, "{}: {count} entries of {sector}-byte sectors", log.display());
        let mut entries = Vec::new();
        let mut position = sector;
        for index in 0..count {
            ensure!(position + sector <= size, "{} ends in entry {index} of {count}", log.display());
            let [first, sectors, flags, _] = words(&mut file, position)?;
            position += sector;
            let discard = flags & DISCARD != 0;
            let length = sectors.checked_mul(sector).context("entry length overflows")?;
            let data = (length > 0 && !discard).then_some(position);
            if data.is_some() {
                position = position.checked_add(length).context("entry data overflows")?;
            }
            let offset = first.checked_mul(sector).context("entry offset overflows")?;
            entries.push(Entry { offset, length, data, flush: flags & FLUSH != 0, fua: flags & FUA != 0, discard });
        }
        Ok(Self { log: log.to_owned(), sector, entries })
    }

    /// The positions after which a flush completed: a cut there leaves exactly what was written before.
    #[must_use]
    pub fn flushes(&self) -> Vec<usize> {
        (0..self.entries.len()).filter(|&index| self.entries[index].flush).map(|index| index + 1).collect()
    }

    /// The disk with everything before `at`, and nothing else.
    #[must_use]
    pub fn durable(&self, at: usize) -> Cut {
        Cut { at, survived: (0..at).filter(|&index| self.entries[index].length > 0).collect() }
    }

    /// A disk that lost power after `at` entries: all that was flushed, and of the rest what `keep` says.
    pub fn sample(&self, at: usize, mut keep: impl FnMut(usize) -> bool) -> Cut {
        let last_flush = (0..at).rev().find(|&index| self.entries[index].flush).unwrap_or(0);
        let survived = (0..at)
            .filter(|&index| self.entries[index].length > 0)
            .filter(|&index| index < last_flush || self.entries[index].fua || keep(index))
            .collect();
        Cut { at, survived }
    }

    /// Writes to `disk`, a copy of what the recording started from, what survived.
    ///
    /// # Errors
    /// When the log cannot be read or the disk not written.
    pub fn apply(&self, cut: &Cut, disk: &Path) -> Result<()> {
        let mut log = File::open(&self.log)?;
        let mut target = OpenOptions::new().write(true).open(disk).with_context(|| format!("open disk {}", disk.display()))?;
        for &index in &cut.survived {
            let entry = self.entries.get(index).with_context(|| format!("entry {index} is not in the log"))?;
            target.seek(SeekFrom::Start(entry.offset))?;
            let copied = match entry.data {
                Some(position) => {
                    log.seek(SeekFrom::Start(position))?;
                    std::io::copy(&mut (&log).take(entry.length), &mut target)
                }
                // Zeros without room: a guest may discard most of its disk at once.
                None => punch(&target, entry).map(|()| entry.length),
            };
            ensure!(copied.with_context(|| format!("replay entry {index}"))? == entry.length, "the log ends in entry {index}");
        }
        target.flush()?;
        Ok(())
    }

    /// Sector size of the recording, in bytes.
    #[must_use]
    pub const fn sector(&self) -> u64 {
        self.sector
    }
}

/// Makes what an entry covers read as zeros.
fn punch(disk: &File, entry: &Entry) -> std::io::Result<()> {
    let number = |value: u64| i64::try_from(value).map_err(std::io::Error::other);
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(disk, how, number(entry.offset)?, number(entry.length)?)?)
}

/// Four little-endian words at `position`.
fn words(file: &mut File, position: u64) -> Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.seek(SeekFrom::Start(position))?;
    file.read_exact(&mut bytes).with_context(|| format!("read the write log at {position}"))?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into()?);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as (sector, data, flags); an empty data is a bare flush.
    fn recording(folder: &Path, entries: &[(u64, &[u8; 512], u64)]) -> Recording {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&1_u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        bytes[24..28].copy_from_slice(&512_u32.to_le_bytes());
        for (sector, data, flags) in entries {
            let mut head = [0; 512];
            let count = u64::from(*flags & FLUSH == 0);
            for (place, word) in head.chunks_exact_mut(8).zip([*sector, count, *flags]) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            bytes.extend_from_slice(&head);
            if count > 0 && flags & DISCARD == 0 {
                bytes.extend_from_slice(*data);
            }
        }
        let log = folder.join("log");
        std::fs::write(&log, bytes).unwrap();
        Recording::open(&log).unwrap()
    }

    #[test]
    fn what_was_flushed_survives_and_the_rest_may() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recording(
            folder.path(),
            &[(0, &[1; 512], 0), (0, &[0; 512], FLUSH), (1, &[2; 512], 0), (2, &[3; 512], FUA), (0, &[4; 512], 0)],
        );
        assert_eq!(recording.flushes(), [2]);
        assert_eq!(recording.durable(2).survived, [0]);
        assert_eq!(recording.sample(5, |_| false).survived, [0, 3], "flushed and FUA writes stay");
        assert_eq!(recording.sample(5, |index| index == 4).survived, [0, 3, 4]);

        let disk = folder.path().join("disk");
        std::fs::write(&disk, vec![9; 512 * 4]).unwrap();
        recording.apply(&recording.sample(5, |index| index == 4), &disk).unwrap();
        let bytes = std::fs::read(&disk).unwrap();
        assert_eq!([bytes[0], bytes[512], bytes[1024], bytes[1536]], [4, 9, 3, 9]);
    }

    #[test]
    fn a_discard_reads_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recording(folder.path(), &[(1, &[0; 512], DISCARD), (0, &[7; 512], 0)]);
        let disk = folder.path().join("disk");
        std::fs::write(&disk, vec![9; 1024]).unwrap();
        recording.apply(&recording.durable(2), &disk).unwrap();
        let bytes = std::fs::read(&disk).unwrap();
        assert_eq!([bytes[0], bytes[512]], [7, 0]);
    }

    #[test]
    fn a_log_that_is_none_or_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recording(folder.path(), &[(0, &[1; 512], 0), (1, &[1; 512], 0)]);
        let log = recording.log.clone();
        let bytes = std::fs::read(&log).unwrap();
        std::fs::write(&log, &bytes[..1400]).unwrap();
        assert!(Recording::open(&log).unwrap_err().to_string().contains("ends in entry"));
        std::fs::write(&log, vec![0; 4096]).unwrap();
        assert!(Recording::open(&log).is_err());
    }
}
