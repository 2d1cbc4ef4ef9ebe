//! As much of FAT32 as is needed to know which bytes of a file system mean something.
//!
//! A block map must not leave out a block because it is zero: free entries of the allocation table are zeros that have to be
//! written. What may be left out is the space behind the last allocated cluster.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes from the start of the file system to the end of its last allocated cluster.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when it is no FAT32 file system, or the error of reading it.
pub fn used_bytes(image: &File) -> io::Result<u64> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no FAT32 file system: {what}"));
    let mut boot = [0; 512];
    image.read_exact_at(&mut boot, 0)?;
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let u32_at = |at: usize| u64::from(u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]));
    let (sector, cluster) = (u16_at(11), u64::from(boot[13]));
    let (reserved, tables, table_sectors) = (u16_at(14), u64::from(boot[16]), u32_at(36));
    if ![512, 1024, 2048, 4096].contains(&sector) || cluster == 0 || table_sectors == 0 || u16_at(17) != 0 {
        return Err(bad("its boot sector says otherwise"));
    }
    let sectors = u32_at(32);
    let data = reserved + tables * table_sectors;
    let clusters = sectors.checked_sub(data).ok_or_else(|| bad("tables beyond its end"))? / cluster;
    let entries = usize::try_from((clusters + 2) * 4).map_err(|_| bad("too large"))?;
    if entries as u64 > table_sectors * sector {
        return Err(bad("its table is too short"));
    }
    let mut table = vec![0; entries];
    image.read_exact_at(&mut table, reserved * sector)?;
    // The upper four bits of an entry do not belong to it.
    let taken = |entry: &[u8; 4]| u32::from_le_bytes(*entry) & 0x0fff_ffff != 0;
    let (entries, _) = table.as_chunks::<4>();
    let last = entries.iter().rposition(taken).ok_or_else(|| bad("an empty table"))? as u64;
    // Entry 2 is the first cluster.
    Ok((data + last.saturating_sub(1) * cluster) * sector)
}

#[cfg(test)]
mod tests {
    use super::used_bytes;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    /// A file system with `sector` bytes, one sector a cluster, 32 reserved sectors and the given table entries.
    fn image(sector: u16, sectors: u32, table_sectors: u32, entries: &[u32]) -> File {
        let file = tempfile::tempfile().expect("a file");
        let mut boot = [0_u8; 512];
        boot[11..13].copy_from_slice(&sector.to_le_bytes());
        boot[13] = 1;
        boot[14..16].copy_from_slice(&32_u16.to_le_bytes());
        boot[16] = 2;
        boot[32..36].copy_from_slice(&sectors.to_le_bytes());
        boot[36..40].copy_from_slice(&table_sectors.to_le_bytes());
        file.set_len(u64::from(sectors) * u64::from(sector)).expect("a length");
        file.write_all_at(&boot, 0).expect("written");
        for (number, entry) in entries.iter().enumerate() {
            let at = 32 * u64::from(sector) + number as u64 * 4;
            file.write_all_at(&entry.to_le_bytes(), at).expect("written");
        }
        file
    }

    #[test]
    fn the_end_follows_from_the_table() {
        let end = 0x0fff_ffff;
        // data begins at sector 32 + 2 * 8 = 48; cluster 2 is its first sector
        assert_eq!(used_bytes(&image(512, 1000, 8, &[end, end, end])).expect("FAT32"), 49 * 512);
        assert_eq!(used_bytes(&image(512, 1000, 8, &[end, end, end, 0, end])).expect("FAT32"), 51 * 512);
        assert_eq!(used_bytes(&image(4096, 1000, 1, &[end, end, end, 4, end])).expect("FAT32"), (34 + 3) * 4096);
    }

    #[test]
    fn what_is_no_fat32_is_refused() {
        assert!(used_bytes(&image(513, 1000, 8, &[1])).is_err());
        assert!(used_bytes(&image(512, 10, 8, &[1])).is_err());
        assert!(used_bytes(&image(512, 100_000, 8, &[1])).is_err());
        assert!(used_bytes(&image(512, 1000, 8, &[])).is_err());
    }
}
