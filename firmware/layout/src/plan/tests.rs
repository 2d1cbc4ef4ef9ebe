mod reset;

use std::{cell::Cell, collections::HashMap, io};

use proptest::prelude::*;

use super::*;
use crate::{
    MIB,
    meta::{Action, Meta, Store, factory_image},
    spec::tests::{sample, small},
    table::{Copies, Entry},
};

const ROOT: Uuid = Uuid::from_u128(0xabc);
const UNIT: u64 = 512;

/// A disk of any size: what was never written is zero.
#[derive(Clone)]
struct Sparse {
    size: u64,
    sector: SectorSize,
    units: HashMap<u64, Vec<u8>>,
}

impl Sparse {
    fn read(&self, range: Range) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.length).unwrap()];
        for (unit, chunk) in (range.start / UNIT..).zip(bytes.chunks_mut(512)) {
            if let Some(there) = self.units.get(&unit) {
                chunk.copy_from_slice(there);
            }
        }
        Ok(bytes)
    }

    /// Writes the first `upto` bytes, in units that the medium writes as a whole.
    fn write(&mut self, offset: u64, bytes: &[u8], upto: usize) {
        let whole = upto.min(bytes.len()) / 512 * 512;
        for (unit, chunk) in (offset / UNIT..).zip(bytes[..whole].chunks(512)) {
            self.units.insert(unit, chunk.to_vec());
        }
    }

    fn flip(&mut self, offset: u64) {
        let unit = self.units.entry(offset / UNIT).or_insert_with(|| vec![0; 512]);
        unit[usize::try_from(offset % UNIT).unwrap()] ^= 0x10;
    }

    fn tables(&self) -> Tables {
        Tables::read(self.sector, self.size, &mut |range| self.read(range))
    }
}

/// A disk that an image of `set` was just written to.
fn flashed(set: &PartitionSet, size: u64, sector: SectorSize) -> Sparse {
    let mut disk = Sparse { size, sector, units: HashMap::new() };
    let mut table = Table::new(sector, set.image_size(), Uuid::from_u128(1)).unwrap();
    for place in set.place_image() {
        let partition = place.partition;
        let guid = if partition.label == "ROOT-A" { ROOT } else { Uuid::from_u128(u128::from(partition.number) + 1) };
        let entry = Entry {
            type_guid: partition.kind.type_guid(Arch::X86_64),
            guid,
            range: place.range,
            name: partition.label.clone(),
            flags: u64::from(partition.number),
        };
        table.add(partition.number, entry).unwrap();
    }
    put(&mut disk, &table, usize::MAX);
    disk.write(meta_range(set).start, &factory_image().unwrap(), usize::MAX);
    disk
}

fn put(disk: &mut Sparse, table: &Table, mut left: usize) -> usize {
    for write in table.writes(Copies::Both).unwrap() {
        disk.write(write.offset, &write.bytes, left);
        left = left.saturating_sub(write.bytes.len());
    }
    left
}

fn meta_range(set: &PartitionSet) -> Range {
    set.place_image().last().unwrap().range
}

fn found(disk: &Sparse, set: &PartitionSet) -> Found {
    Found::read(&disk.read(meta_range(set)).unwrap())
}

fn store(disk: &Sparse, set: &PartitionSet) -> Store {
    match found(disk, set) {
        Found::Valid(store) => store,
        other => panic!("{other:?}"),
    }
}

fn set_life(disk: &mut Sparse, set: &PartitionSet, life: Life, upto: usize) -> usize {
    let (write, _) = store(disk, set).replace(Meta::new(life)).unwrap();
    disk.write(meta_range(set).start + write.offset, &write.bytes, upto);
    upto.saturating_sub(write.bytes.len())
}

/// Around the disk: other disks and the loader.
struct Around<'a> {
    twins: &'a [&'a str],
    loader: LoaderDisk,
}

const ALONE: Around<'_> = Around { twins: &[], loader: LoaderDisk::This };

fn decide_on(disk: &Sparse, set: &PartitionSet, around: &Around<'_>) -> Decision {
    decide_from(disk, set, around, 1000)
}

/// The same with new GUIDs that come after `first`.
fn decide_from(disk: &Sparse, set: &PartitionSet, around: &Around<'_>, first: u128) -> Decision {
    let tables = disk.tables();
    let twins: Vec<String> = around.twins.iter().map(|name| (*name).to_owned()).collect();
    let root = set.place_image()[1].range;
    let facts = Facts {
        set,
        arch: Arch::X86_64,
        disk_size: disk.size,
        sector: disk.sector,
        tables: &tables,
        root: RootPartition { guid: ROOT, range: root },
        twins: &twins,
        loader: &around.loader,
    };
    let next = Cell::new(first);
    decide(&facts, &found(disk, set), &mut || {
        next.set(next.get() + 1);
        Uuid::from_u128(next.get())
    })
}

#[track_caller]
fn record_of(decision: Decision) -> Record {
    match decision {
        Decision::Provision(record) => record,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_refused(decision: &Decision, expect: &str, lost: bool) {
    match decision {
        Decision::Refuse { reason, state_lost } => {
            let text = reason.to_string();
            assert!(text.contains(expect), "{text}");
            assert_eq!(*state_lost, lost, "{text}");
        }
        other => panic!("{other:?}"),
    }
}

/// A disk after its first boot.
fn set_up(set: &PartitionSet, size: u64) -> (Sparse, Record) {
    let mut disk = flashed(set, size, SectorSize::B512);
    let record = record_of(decide_on(&disk, set, &ALONE));
    let table = new_table(&record, disk.tables().table().unwrap()).unwrap();
    set_life(&mut disk, set, Life::Provisioned(record.clone()), usize::MAX);
    put(&mut disk, &table, usize::MAX);
    (disk, record)
}

#[test]
fn first_boot_on_disks_of_many_sizes() {
    let set = sample();
    for sector in [SectorSize::B512, SectorSize::B4096] {
        for size in [set.image_size(), set.least_disk() - 1] {
            let expect = format!("the disk has {} MiB, 3075 MiB are needed", size / MIB);
            check_refused(&decide_on(&flashed(&set, size, sector), &set, &ALONE), &expect, false);
        }
        for size in [set.least_disk(), 3 * set.image_size(), 1 << 40, (1 << 62) + 12_345] {
            let disk = flashed(&set, size, sector);
            let record = record_of(decide_on(&disk, &set, &ALONE));
            let last = record.partitions.last().unwrap();
            let free = size - last.range.end();
            assert!((MIB..2 * MIB).contains(&free), "{free} bytes free behind the last partition of {size}");
            let root = &record.partitions[1];
            assert_eq!((root.guid, root.action), (ROOT, Action::Keep));
            let new = new_table(&record, disk.tables().table().unwrap()).unwrap();
            assert_eq!(new.entries()[&1].flags, 1, "attribute bits of kept partitions stay");
            assert_ne!(new.disk_guid(), Uuid::from_u128(1), "every disk gets its own GUID");
            assert_ne!(new.entries()[&1].guid, Uuid::from_u128(2), "every ESP gets its own GUID");
        }
    }
}

#[test]
fn nothing_is_set_up_beside_a_twin_or_another_loader() {
    let set = small();
    let size = set.least_disk();
    let (done, _) = set_up(&set, size);
    let fresh = flashed(&set, size, SectorSize::B512);
    let twin = Around { twins: &["sdb", "sdc"], loader: LoaderDisk::This };
    check_refused(&decide_on(&fresh, &set, &twin), "also on sdb, sdc", false);
    match decide_on(&done, &set, &twin) {
        Decision::Run { care: Care::None, problems } => assert!(problems[0].to_string().contains("also on sdb, sdc")),
        other => panic!("{other:?}"),
    }
    let other = Around { twins: &["sdb"], loader: LoaderDisk::Other("sdb".to_owned()) };
    check_refused(&decide_on(&fresh, &set, &other), "loader came from disk sdb", true);
    check_refused(&decide_on(&done, &set, &other), "loader came from disk sdb", true);
    let unknown = Around { twins: &[], loader: LoaderDisk::Unknown(Uuid::nil()) };
    check_refused(&decide_on(&fresh, &set, &unknown), "no disk of this machine has", false);
    assert!(matches!(decide_on(&done, &set, &unknown), Decision::Run { problems, .. } if problems.len() == 1));
    let unnamed = Around { twins: &[], loader: LoaderDisk::Unnamed };
    assert!(matches!(decide_on(&fresh, &set, &unnamed), Decision::Provision(_)));
}

#[test]
fn a_disk_that_is_set_up_runs_and_its_table_is_mended() {
    let set = small();
    let (disk, _) = set_up(&set, 100 * MIB);
    let check = |offset: u64, expect: Care| {
        let mut disk = disk.clone();
        disk.flip(offset);
        match decide_on(&disk, &set, &ALONE) {
            Decision::Run { care, problems } => assert_eq!((care, problems), (expect, vec![])),
            other => panic!("{other:?}"),
        }
    };
    check(400, Care::None);
    check(512 + 20, Care::RepairPrimary);
    check(1024 + 60, Care::RepairPrimary);
    check(100 * MIB - 512, Care::RepairBackup);
    check(100 * MIB - 33 * 512, Care::RepairBackup);
    let mut neither = disk.clone();
    neither.flip(512);
    neither.flip(100 * MIB - 512);
    check_refused(&decide_on(&neither, &set, &ALONE), "damaged in both copies (primary: no table header at byte 512", true);
}

#[test]
fn meta_damaged_in_both_copies_is_never_factory() {
    let set = small();
    let hurt = |mut disk: Sparse| {
        let meta = meta_range(&set).start;
        disk.flip(meta + 70);
        disk.flip(meta + (512 << 10) + 70);
        decide_on(&disk, &set, &ALONE)
    };
    check_refused(&hurt(flashed(&set, 100 * MIB, SectorSize::B512)), "META is damaged in both copies", true);
    match hurt(set_up(&set, 100 * MIB).0) {
        Decision::Run { problems, .. } => assert!(problems[0].to_string().contains("META is damaged in both copies")),
        other => panic!("{other:?}"),
    }
}

/// Rewrites the table in force.
fn edit(disk: &mut Sparse, change: impl Fn(u32, Entry) -> Option<Entry>) {
    let old = disk.tables().table().unwrap().clone();
    let mut new = Table::new(old.sector(), old.disk_size(), old.disk_guid()).unwrap();
    for (number, entry) in old.entries() {
        if let Some(entry) = change(*number, entry.clone()) {
            new.add(*number, entry).unwrap();
        }
    }
    put(disk, &new, usize::MAX);
}

#[test]
fn a_table_that_does_not_fit_what_meta_says_is_left_alone() {
    let set = small();
    let (done, record) = set_up(&set, 100 * MIB);
    let without = |mut disk: Sparse, gone: u32| {
        edit(&mut disk, |number, entry| (number != gone).then_some(entry));
        decide_on(&disk, &set, &ALONE)
    };
    check_refused(&without(done.clone(), 5), "STATE", true);
    check_refused(&without(done.clone(), 2), "does not hold the running root", true);
    check_refused(&without(done.clone(), 3), "no META partition", true);
    let fresh = || flashed(&set, 100 * MIB, SectorSize::B512);
    check_refused(&without(fresh(), 1), "partition 1 (EFI) is not in the table", false);
    // META says factory, but the table has data partitions: somebody put an old META back.
    let mut old_meta = done.clone();
    set_life(&mut old_meta, &set, Life::Factory, usize::MAX);
    check_refused(&decide_on(&old_meta, &set, &ALONE), "the table also holds partition 4", false);
    let mut moved = done.clone();
    edit(&mut moved, |number, mut entry| {
        if number == 6 {
            entry.range.length -= MIB;
        }
        Some(entry)
    });
    check_refused(&decide_on(&moved, &set, &ALONE), "EPHEMERAL", true);
    // A record of another disk.
    for (bad, expect) in [
        (Record { sector: SectorSize::B4096, ..record.clone() }, "for sectors of 4096"),
        (Record { partitions: vec![], ..record.clone() }, "is not in the record"),
    ] {
        let mut disk = fresh();
        set_life(&mut disk, &set, Life::Provisioning(bad), usize::MAX);
        check_refused(&decide_on(&disk, &set, &ALONE), expect, false);
    }
    let mut shrunk = fresh();
    set_life(&mut shrunk, &set, Life::Provisioning(record), usize::MAX);
    shrunk.size = 50 * MIB;
    check_refused(&decide_on(&shrunk, &set, &ALONE), "the disk has", false);
}

#[test]
fn an_earlier_life_at_the_end_of_the_disk_is_ignored() {
    let set = small();
    let (old, _) = set_up(&set, 100 * MIB);
    let mut disk = old.clone();
    let image = flashed(&set, 100 * MIB, SectorSize::B512);
    disk.units.extend(image.units);
    let record = record_of(decide_on(&disk, &set, &ALONE));
    assert!(record.partitions.iter().skip(3).all(|p| p.action != Action::Keep));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// First boot cut after any number of bytes of its writes: the next boot provisions anew only when the record is
    /// not in force, and otherwise resumes with the same record; what it may wipe never touches what the image brought.
    #[test]
    fn a_cut_first_boot_resumes_with_the_same_ranges(
        cut in 0usize..60_000, extra in 0u64..200, big in any::<bool>(), old_life in any::<bool>(),
    ) {
        let set = small();
        let sector = if big { SectorSize::B4096 } else { SectorSize::B512 };
        let size = set.least_disk() + extra * 300_000;
        let mut disk = flashed(&set, size, sector);
        if old_life && sector == SectorSize::B512 {
            let mut old = set_up(&set, size).0;
            old.units.extend(disk.units);
            disk = old;
        }
        let record = record_of(decide_on(&disk, &set, &ALONE));
        let before = disk.tables().table().unwrap().clone();
        let table = new_table(&record, &before).unwrap();
        let left = set_life(&mut disk, &set, Life::Provisioning(record.clone()), cut);
        let opened = store(&disk, &set).meta.life != Life::Factory;
        if left > 0 { prop_assert!(opened); put(&mut disk, &table, left); }
        match decide_on(&disk, &set, &ALONE) {
            Decision::Provision(again) => {
                prop_assert!(!opened);
                prop_assert_eq!(again.partitions.len(), record.partitions.len());
            }
            Decision::Resume(again) => {
                prop_assert!(opened);
                prop_assert_eq!(again, record.clone());
            }
            other => prop_assert!(false, "{:?}", other),
        }
        for wiped in record.partitions.iter().filter(|p| p.action != Action::Keep) {
            prop_assert!(wiped.range.end() + MIB <= size);
            for kept in before.entries().values() {
                prop_assert!(!wiped.range.overlaps(kept.range));
            }
        }
    }
}
