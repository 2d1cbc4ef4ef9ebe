use std::io;

use proptest::prelude::*;

use super::*;
use crate::{MIB, spec};

const SECTORS: [SectorSize; 2] = [SectorSize::B512, SectorSize::B4096];

fn range(start: u64, length: u64) -> Range {
    Range { start: start * MIB, length: length * MIB }
}

fn entry(seed: u128, range: Range) -> Entry {
    Entry { type_guid: spec::META_TYPE, guid: Uuid::from_u128(seed), range, name: format!("P{seed}"), flags: 0 }
}

/// A table with a gap in its numbers, which the `gpt` crate's own writer would close.
fn table(sector: SectorSize, size: u64, disk: u128) -> Table {
    let mut table = Table::new(sector, size, Uuid::from_u128(disk)).unwrap();
    table.add(1, entry(disk + 1, range(1, 2))).unwrap();
    table.add(3, entry(disk + 3, range(3, 1))).unwrap();
    table
}

fn put(disk: &mut [u8], write: &Write, upto: usize) {
    let at = usize::try_from(write.offset).unwrap();
    let count = upto.min(write.bytes.len());
    disk[at..at + count].copy_from_slice(&write.bytes[..count]);
}

fn write_all(disk: &mut [u8], table: &Table) {
    for write in table.writes(Copies::Both).unwrap() {
        put(disk, &write, usize::MAX);
    }
}

fn read(disk: &[u8], sector: SectorSize) -> Tables {
    Tables::read(sector, disk.len() as u64, &mut |range| {
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end()).unwrap());
        disk.get(start..end).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })
}

#[test]
fn what_is_written_is_read() {
    for sector in SECTORS {
        let mut disk = vec![0; 8 << 20];
        let table = table(sector, disk.len() as u64, 100);
        write_all(&mut disk, &table);
        match read(&disk, sector) {
            Tables::Primary { table: found, backup: Backup::Good } => assert_eq!(found, table),
            other => panic!("{other:?}"),
        }
        // Wrong sector size: no table, no panic.
        let other = if sector == SectorSize::B512 { SectorSize::B4096 } else { SectorSize::B512 };
        assert!(matches!(read(&disk, other), Tables::Neither { .. }));
    }
}

/// The crate reads our bytes as a whole disk too: both headers, numbers, names.
#[test]
fn the_gpt_crate_agrees() {
    for sector in SECTORS {
        let mut disk = vec![0; 8 << 20];
        let table = table(sector, disk.len() as u64, 100);
        write_all(&mut disk, &table);
        put(&mut disk, &table.protective_mbr(), usize::MAX);
        let config = gpt::GptConfig::new().logical_block_size(sector.gpt()).only_valid_headers(true);
        let parsed = config.open_from_device(io::Cursor::new(disk)).unwrap();
        assert_eq!(*parsed.guid(), table.disk_guid());
        let numbers: Vec<u32> = parsed.partitions().keys().copied().collect();
        assert_eq!(numbers, [1, 3]);
        assert_eq!(parsed.partitions()[&3].name, "P103");
    }
}

#[test]
fn rules_are_kept() {
    let size = 8 * MIB;
    let mut table = table(SectorSize::B512, size, 100);
    let mut check = |number, entry, expect: &str| {
        let err = table.add(number, entry).unwrap_err().to_string();
        assert!(err.contains(expect), "{err}");
    };
    check(1, entry(9, range(5, 1)), "taken");
    check(0, entry(9, range(5, 1)), "taken");
    check(129, entry(9, range(5, 1)), "taken");
    check(2, entry(9, range(2, 1)), "overlaps partition 1");
    check(2, entry(101, range(5, 1)), "of partition 1");
    check(2, entry(9, range(0, 1)), "usable");
    check(2, entry(9, range(7, 1)), "usable");
    check(2, entry(9, Range { start: 5 * MIB + 1, length: 512 }), "whole sectors");
    check(2, entry(9, Range { start: u64::MAX - 511, length: 512 }), "usable");
    check(2, Entry { name: "x".repeat(37), ..entry(9, range(5, 1)) }, "too long");
    assert!(matches!(Table::new(SectorSize::B4096, 40_000, Uuid::nil()), Err(TableError::Disk { .. })));
}

#[test]
fn an_image_on_a_larger_disk_and_an_earlier_life_at_its_end() {
    for sector in SECTORS {
        let mut disk = vec![0; 16 << 20];
        let size = disk.len() as u64;
        write_all(&mut disk, &table(sector, size, 500));
        let image = table(sector, 8 * MIB, 100);
        write_all(&mut disk, &image);
        match read(&disk, sector) {
            Tables::Primary { table: found, backup: Backup::Displaced } => assert_eq!(found.entries(), image.entries()),
            other => panic!("{other:?}"),
        }
        // The image's own backup gone: still the primary, never the earlier life.
        disk[(8 << 20) - 4096..8 << 20].fill(0);
        assert!(matches!(
            read(&disk, sector),
            Tables::Primary { table, backup: Backup::Damaged(_) } if table.disk_guid() == Uuid::from_u128(100)
        ));
    }
}

#[test]
fn a_backup_of_another_disk_is_stale() {
    let mut disk = vec![0; 8 << 20];
    let size = disk.len() as u64;
    write_all(&mut disk, &table(SectorSize::B512, size, 500));
    for write in table(SectorSize::B512, size, 100).writes(Copies::Primary).unwrap() {
        put(&mut disk, &write, usize::MAX);
    }
    assert!(matches!(read(&disk, SectorSize::B512), Tables::Primary { backup: Backup::Stale(_), .. }));
}

/// Any flipped byte of either copy: the other one is in force, and says the same.
#[test]
fn any_flipped_byte_is_noticed() {
    let sector = SectorSize::B512;
    let mut disk = vec![0; 8 << 20];
    let whole = table(sector, disk.len() as u64, 100);
    write_all(&mut disk, &whole);
    for write in whole.writes(Copies::Both).unwrap() {
        let counted = if write.what.ends_with("header") { 92 } else { write.bytes.len() };
        for at in (0..counted).step_by(if counted > 92 { 61 } else { 1 }) {
            let at = usize::try_from(write.offset).unwrap() + at;
            disk[at] ^= 0x40;
            match read(&disk, sector) {
                Tables::Primary { table, backup: Backup::Damaged(_) } if write.what.starts_with("backup") => {
                    assert_eq!(table, whole);
                }
                Tables::BackupOnly { table, .. } if write.what.starts_with("primary") => assert_eq!(table, whole),
                other => panic!("flip at {at} ({}): {other:?}", write.what),
            }
            disk[at] ^= 0x40;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A change cut after any number of bytes in the write order leaves a valid table, the old or the new one.
    #[test]
    fn every_prefix_leaves_a_valid_table(cut in 0usize..40_000, large in any::<bool>(), sector in 0usize..2) {
        let sector = SECTORS[sector];
        let mut disk = vec![0; 16 << 20];
        let old_size = if large { 8 * MIB } else { disk.len() as u64 };
        let old = table(sector, old_size, 100);
        write_all(&mut disk, &old);
        let mut new = table(sector, disk.len() as u64, 700);
        new.add(2, entry(42, range(9, 6))).unwrap();
        let mut left = cut;
        for write in new.writes(Copies::Both).unwrap() {
            put(&mut disk, &write, left);
            left = left.saturating_sub(write.bytes.len());
        }
        let found = read(&disk, sector);
        let found = found.table();
        prop_assert!(found.is_some(), "no table after {} bytes", cut);
        let found = found.unwrap();
        prop_assert!(found.entries() == old.entries() || found.entries() == new.entries());
        if left > 0 { prop_assert_eq!(found, &new); }
    }

    #[test]
    fn never_panics(flips in proptest::collection::vec((0usize..40_000, any::<u8>()), 1..40), fix in any::<bool>()) {
        let mut disk = vec![0; 8 << 20];
        let size = disk.len();
        write_all(&mut disk, &table(SectorSize::B512, size as u64, 100));
        for (at, byte) in flips {
            let at = if at < 20_000 { at } else { size - 40_000 + at };
            disk[at] = byte;
        }
        if fix {
            // A hostile header with a right checksum.
            for at in [512, size - 512] {
                disk[at..at + 8].copy_from_slice(b"EFI PART");
                disk[at + 16..at + 20].fill(0);
                let crc = crc32(&disk[at..at + 92]);
                disk[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
            }
        }
        let _ = read(&disk, SectorSize::B512);
        let _ = read(&disk[..1024], SectorSize::B512);
        let _ = read(&[], SectorSize::B4096);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }))
}
