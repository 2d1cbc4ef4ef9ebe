//! `install::flash` against devices and refusals.

use std::{
    cell::Cell,
    fs::File,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use install::{FlashError, FlashRequest, Phase, Progress, Report, flash, target::Refusal};
use layout::{
    SectorSize, Uuid,
    table::{Backup, Copies, Table, Tables},
};
use linux::block::{Access, Device, partitions};

use crate::{
    disk::LoopDisk,
    image::{self, mark},
};

const MIB: u64 = 1 << 20;

/// Counts what it is told.
#[derive(Default)]
struct Counted {
    phases: Cell<u32>,
    announced: Cell<u64>,
    done: Cell<u64>,
}

impl Progress for Counted {
    fn begin(&self, _: Phase, bytes: u64) {
        self.phases.set(self.phases.get() + 1);
        self.announced.set(self.announced.get() + bytes);
    }

    fn advance(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
    }
}

pub fn put(images: &Path, device: &Path, force: bool) -> Result<Report, FlashError> {
    let progress = Counted::default();
    let request = FlashRequest { images: images.into(), device: device.into(), force };
    let result = flash(&request, &progress);
    if result.is_ok() {
        assert_eq!((progress.phases.get(), progress.done.get()), (3, progress.announced.get()));
    }
    result
}

pub fn tables(disk: &LoopDisk) -> Tables {
    let device = Device::open(&disk.path(), Access::Read).unwrap();
    let sector = SectorSize::try_from(device.sector()).unwrap();
    Tables::read(sector, device.size(), &mut |range| {
        device.read(range.start, usize::try_from(range.length).unwrap()).map_err(std::io::Error::other)
    })
}

/// Shows the partitions of the table in force to this machine's kernel where it does not see them by itself: it may
/// have no GPT code, and it takes no backup table without `gpt` on its command line, which the node's kernel has.
pub fn show(disk: &LoopDisk) {
    let tables = tables(disk);
    let device = Device::open(&disk.path(), Access::Change).unwrap();
    let seen: Vec<u32> = disk.disk().partitions.iter().map(|part| part.number).collect();
    for (number, entry) in tables.table().expect("a table").entries() {
        if !seen.contains(number) {
            partitions::add(&device, *number, entry.range.start, entry.range.length).unwrap();
        }
    }
}

#[test]
fn an_image_replaces_an_earlier_life() {
    let dir = tempfile::tempdir().unwrap();
    for sector in [SectorSize::B512, SectorSize::B4096] {
        image::build(dir.path(), sector);
        let size = 4096 * MIB;
        let disk = LoopDisk::new(size, u16::try_from(sector.bytes()).unwrap());
        let old = Table::new(sector, size, Uuid::from_u128(99)).unwrap();
        for write in old.writes(Copies::Both).unwrap() {
            disk.backing().write_all_at(&write.bytes, write.offset).unwrap();
        }
        let report = put(dir.path(), &disk.path(), true).unwrap();
        assert_eq!((report.sector, report.disk_size), (sector.bytes(), size));
        match tables(&disk) {
            Tables::Primary { table, backup: Backup::Displaced } => assert_eq!(table.disk_guid(), Uuid::from_u128(1)),
            other => panic!("{other:?}"),
        }
        let mut end = vec![1; 1 << 20];
        disk.backing().read_exact_at(&mut end, size - MIB).unwrap();
        assert!(end.iter().all(|byte| *byte == 0), "the old backup table is still there");
        assert_eq!(report.table_seen, !disk.disk().partitions.is_empty());
        show(&disk);
        let parts = disk.disk().partitions;
        assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3], "{parts:?}");
        for part in parts.iter().take(2) {
            let label = if part.number == 1 { "EFI" } else { "ROOT-A" };
            let mut found = vec![0; mark(label).len()];
            File::open(&part.node).unwrap().read_exact_at(&mut found, 0).unwrap();
            assert!(found == mark(label), "{label} is not what the image has");
        }
    }
}

#[track_caller]
fn check_refused(device: &Path, images: &Path, force: bool, expect: &str) {
    let err = put(images, device, force).unwrap_err();
    let source = std::error::Error::source(&err).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(err, FlashError::Refused(_)) && source.contains(expect), "{err}: {source}");
}

#[test]
fn wrong_disks_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    image::build(dir.path(), SectorSize::B512);
    let disk = LoopDisk::new(4096 * MIB, 512);
    check_refused(&disk.path(), dir.path(), false, "--force");
    let plain = tempfile::NamedTempFile::new().unwrap();
    check_refused(plain.path(), dir.path(), true, "not a block device");
    let small = LoopDisk::new(3074 * MIB, 512);
    check_refused(&small.path(), dir.path(), true, "has 3074 MiB, 3075 MiB are needed");
    put(dir.path(), &disk.path(), true).unwrap();
    show(&disk);
    let part = disk.disk().partitions[0].node.clone();
    check_refused(&part, dir.path(), true, "is a partition of loop");
    // In use by somebody who claimed it, as a mount would.
    let claim = File::options().read(true).custom_flags(libc::O_EXCL).open(&part).unwrap();
    let err = put(dir.path(), &disk.path(), true).unwrap_err();
    assert!(matches!(err, FlashError::Open { .. }), "{err}");
    drop(claim);
    put(dir.path(), &disk.path(), true).unwrap();
}

#[test]
fn a_mounted_disk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    image::build(dir.path(), SectorSize::B512);
    let disk = LoopDisk::new(4096 * MIB, 512);
    crate::first_boot::mkfs(&disk.path(), "OLD");
    let target = tempfile::tempdir().unwrap();
    linux::mount::mount(disk.path(), target.path(), "xfs", linux::mount::DATA, "").expect("this test needs a kernel with XFS");
    let result = put(dir.path(), &disk.path(), true);
    linux::mount::unmount(target.path(), false).unwrap();
    let refused = matches!(&result, Err(FlashError::Refused(Refusal::Mounted { .. })));
    assert!(refused, "{result:?}");
}

#[test]
fn a_damaged_or_missing_image_is_named() {
    let dir = tempfile::tempdir().unwrap();
    image::build(dir.path(), SectorSize::B512);
    let disk = LoopDisk::new(4096 * MIB, 512);
    let image = File::options().write(true).open(dir.path().join("disk.img")).unwrap();
    image.write_all_at(b"x", 513 * MIB + 5).unwrap();
    let err = put(dir.path(), &disk.path(), true).unwrap_err();
    assert!(matches!(err, FlashError::Mismatch { .. }), "{err}");
    // Cut short in the middle: the table was not written yet, so the disk does not boot.
    assert!(matches!(tables(&disk), Tables::Neither { .. }));
    let four = LoopDisk::new(4096 * MIB, 4096);
    let err = put(dir.path(), &four.path(), true).unwrap_err();
    assert!(matches!(&err, FlashError::Image { path, .. } if path.ends_with("disk-4k.bmap.json")), "{err}");
}
