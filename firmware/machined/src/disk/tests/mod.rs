//! The whole bring-up on a disk in memory: power cuts at every operation, and every kind of damage.

mod memory;
mod reset;

use layout::{
    Range, SectorSize,
    meta::{Found, Life},
    plan::LoaderDisk,
    spec::PartitionSet,
    table::{Backup, Tables},
};
use memory::{MIB, Memory, booted, small_set, super_block};

use super::{Outcome, medium::Medium, table};

const SECTORS: [SectorSize; 2] = [SectorSize::B512, SectorSize::B4096];
const SIZE: u64 = 40 * MIB;

fn range_of(set: &PartitionSet, label: &str) -> Range {
    set.place(SIZE).unwrap().iter().find(|place| place.partition.label == label).unwrap().range
}

fn life(disk: &Memory, set: &PartitionSet) -> Option<Life> {
    let range = range_of(set, "META");
    match Found::read(&disk.get(range.start, 1 << 20)) {
        Found::Valid(store) => Some(store.meta.life),
        Found::Corrupt { .. } => None,
    }
}

/// A node that is set up: both volumes mounted, both tables valid, META closed, the image's bytes as they were.
#[track_caller]
fn check_set_up(disk: &Memory, set: &PartitionSet, outcome: &Outcome, context: &str) {
    assert_eq!(outcome.problems, Vec::<String>::new(), "{context}");
    assert!(!outcome.state_lost, "{context}");
    let wanted = [("STATE", "/system/state"), ("EPHEMERAL", "/var")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(*disk.mounted.borrow(), wanted, "{context}");
    assert!(matches!(life(disk, set), Some(Life::Provisioned(_))), "{context}");
    match table::read(disk) {
        Tables::Primary { table, backup: Backup::Good } => {
            assert_eq!(table.entries().len(), 6, "{context}");
            let last = table.entries()[&6].range;
            assert_eq!(last.end(), SIZE - MIB, "{context}");
        }
        other => panic!("{context}: {other:?}"),
    }
    for label in ["EFI", "ROOT-A"] {
        let start = range_of(set, label).start;
        assert!(disk.get(start, 512).starts_with(label.as_bytes()), "{context}: {label} was touched");
        assert!(disk.get(start + MIB, 512) == super_block("OLD"), "{context}: {label} was touched");
    }
    assert_eq!(disk.get(range_of(set, "ROOT-B").start, 512), vec![0; 512], "{context}: ROOT-B was not cleared");
    let mounted: Vec<_> = outcome.partitions.iter().filter(|p| p.mounted_on.is_some()).map(|p| &*p.label).collect();
    assert_eq!(mounted, ["STATE", "EPHEMERAL"], "{context}");
}

/// Something that was acknowledged lies in STATE: it is there after every later boot.
fn acknowledge(disk: &Memory, set: &PartitionSet) {
    disk.put(range_of(set, "STATE").start + 64 * 1024, b"acknowledged");
}

fn acknowledged(disk: &Memory, set: &PartitionSet) -> bool {
    disk.get(range_of(set, "STATE").start + 64 * 1024, 512).starts_with(b"acknowledged")
}

#[test]
fn first_boot_and_second_boot() {
    let set = small_set();
    for sector in SECTORS {
        let disk = Memory::flashed(&set, SIZE, sector);
        let (outcome, warnings) = disk.boot(&set, &booted(&set));
        check_set_up(&disk, &set, &outcome.unwrap(), "first boot");
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(*disk.formatted.borrow(), ["STATE", "EPHEMERAL"]);
        acknowledge(&disk, &set);
        disk.restart(0);
        let before = disk.operations.get();
        let (outcome, warnings) = disk.boot(&set, &booted(&set));
        check_set_up(&disk, &set, &outcome.unwrap(), "second boot");
        assert_eq!((warnings, disk.operations.get() - before), (vec![], 0), "a second boot writes nothing");
        assert!(acknowledged(&disk, &set) && disk.formatted.borrow().is_empty());
        let state = vec![("STATE".to_owned(), "/system/state".to_owned())];
        assert_eq!(*disk.told.borrow(), [state], "the configuration waits for STATE alone");
    }
}

/// After every operation of first boot, with several choices of what the disk's cache kept: the next boot finds the
/// root in the table, and ends with a node that is set up. The boot after that keeps what was acknowledged.
#[test]
fn power_cuts_anywhere_in_first_boot() {
    let set = small_set();
    for sector in SECTORS {
        let whole = Memory::flashed(&set, SIZE, sector);
        let before = whole.operations.get();
        whole.boot(&set, &booted(&set)).0.unwrap();
        let operations = whole.operations.get() - before;
        assert!(operations > 20, "{operations}");
        for cut in 0..operations {
            for seed in 0..4 {
                let context = format!("sector {sector}, cut after {cut} of {operations} operations, seed {seed}");
                let disk = Memory::flashed(&set, SIZE, sector);
                disk.cut_after(cut);
                assert!(disk.boot(&set, &booted(&set)).0.is_err(), "{context}");
                disk.restart(seed);
                let root = booted(&set).root;
                assert!(table::read(&disk).table().is_some_and(|t| t.by_guid(root.guid).is_some()), "{context}");
                let (outcome, _) = disk.boot(&set, &booted(&set));
                check_set_up(&disk, &set, &outcome.unwrap_or_else(|err| panic!("{context}: {err}")), &context);
                acknowledge(&disk, &set);
                disk.restart(seed);
                let (outcome, _) = disk.boot(&set, &booted(&set));
                check_set_up(&disk, &set, &outcome.unwrap(), &context);
                assert!(acknowledged(&disk, &set) && disk.formatted.borrow().is_empty(), "{context}");
            }
        }
    }
}

/// Two cuts in a row: resuming can be cut too.
#[test]
fn power_cuts_while_resuming() {
    let set = small_set();
    let sector = SectorSize::B512;
    for first in (0..40).step_by(3) {
        for second in (0..40).step_by(2) {
            let context = format!("cut after {first}, then after {second} operations");
            let disk = Memory::flashed(&set, SIZE, sector);
            for (cut, seed) in [(first, 1), (second, 2)] {
                disk.cut_after(cut);
                let _ = disk.boot(&set, &booted(&set));
                disk.restart(seed);
            }
            let (outcome, _) = disk.boot(&set, &booted(&set));
            check_set_up(&disk, &set, &outcome.unwrap_or_else(|err| panic!("{context}: {err}")), &context);
        }
    }
}

/// What a damaged disk gives: the problem's words, whether STATE counts as lost, and what is mounted. Nothing is ever
/// formatted, and what was acknowledged stays.
#[track_caller]
fn check_damage(damage: impl Fn(&Memory, &PartitionSet), problem: &str, warning: &str, lost: bool, mounted: usize) {
    let set = small_set();
    let disk = Memory::flashed(&set, SIZE, SectorSize::B512);
    disk.boot(&set, &booted(&set)).0.unwrap();
    acknowledge(&disk, &set);
    damage(&disk, &set);
    disk.restart(0);
    let (outcome, warnings) = disk.boot(&set, &booted(&set));
    let outcome = outcome.unwrap();
    let text = outcome.problems.join("; ");
    assert!(text.contains(problem) && text.is_empty() == problem.is_empty(), "{text:?}");
    let warned = warnings.join("; ");
    assert!(warned.contains(warning), "{warned:?}");
    assert_eq!((outcome.state_lost, disk.mounted.borrow().len()), (lost, mounted), "{text}");
    assert_eq!(*disk.formatted.borrow(), Vec::<String>::new(), "{text}");
    assert!(acknowledged(&disk, &set), "what was acknowledged is gone: {text:?} {warned:?}");
}

#[test]
fn damage_is_named_and_data_is_kept() {
    let meta = |set: &PartitionSet| range_of(set, "META").start;
    check_damage(|disk, _| disk.flip(600), "", "primary partition table was damaged", false, 2);
    check_damage(|disk, _| disk.flip(1100), "", "primary partition table was damaged", false, 2);
    check_damage(|disk, _| disk.flip(SIZE - 500), "", "backup partition table was damaged", false, 2);
    let both = |disk: &Memory, _: &PartitionSet| [600, SIZE - 500].map(|at| disk.flip(at)).into_iter().for_each(drop);
    check_damage(both, "partition table of the system disk is damaged in both copies", "", true, 0);
    check_damage(|disk, set| disk.flip(meta(set) + 70), "", "one copy of META was damaged", false, 2);
    check_damage(|disk, set| disk.flip(meta(set) + (512 << 10) + 70), "", "one copy of META was damaged", false, 2);
    let both = |disk: &Memory, set: &PartitionSet| {
        disk.put(meta(set), &vec![0; 1 << 20]);
    };
    check_damage(both, "META is damaged in both copies", "", false, 2);
    let state = |disk: &Memory, set: &PartitionSet| disk.flip(range_of(set, "STATE").start);
    check_damage(state, "STATE cannot be used", "only an administrator may configure", true, 1);
    let ephemeral = |disk: &Memory, set: &PartitionSet| disk.flip(range_of(set, "EPHEMERAL").start);
    check_damage(ephemeral, "EPHEMERAL cannot be used", "workloads cannot run", false, 1);
}

#[test]
fn a_repair_holds() {
    let set = small_set();
    for offsets in [vec![600], vec![1100, 1200], vec![SIZE - 500], vec![SIZE - 33 * 512 + 40]] {
        let disk = Memory::flashed(&set, SIZE, SectorSize::B512);
        disk.boot(&set, &booted(&set)).0.unwrap();
        offsets.iter().for_each(|at| disk.flip(*at));
        disk.restart(0);
        assert_eq!(disk.boot(&set, &booted(&set)).1.len(), 1, "{offsets:?}");
        disk.restart(0);
        let (outcome, warnings) = disk.boot(&set, &booted(&set));
        check_set_up(&disk, &set, &outcome.unwrap(), "after a repair");
        assert_eq!(warnings, Vec::<String>::new());
    }
}

/// A disk that must not be set up is not written to at all.
#[track_caller]
fn check_untouched(size: u64, change: impl Fn(&Memory, &mut super::find::Booted), problem: &str) {
    let set = small_set();
    let disk = Memory::flashed(&set, size, SectorSize::B512);
    let mut how = booted(&set);
    change(&disk, &mut how);
    let before = disk.operations.get();
    let (outcome, _) = disk.boot(&set, &how);
    let outcome = outcome.unwrap();
    assert!(outcome.problems.join("").contains(problem), "{:?}", outcome.problems);
    assert_eq!(disk.operations.get(), before, "something was written");
    assert!(disk.mounted.borrow().is_empty() && disk.formatted.borrow().is_empty());
    assert!(!outcome.partitions.is_empty() || problem.contains("both copies"));
}

#[test]
fn disks_that_are_left_alone() {
    check_untouched(20 * MIB, |_, _| (), "the disk has 20 MiB, 23 MiB are needed");
    check_untouched(SIZE, |_, how| how.twins.push("sdb".to_owned()), "also on sdb");
    check_untouched(SIZE, |_, how| how.loader = LoaderDisk::Other("sdb".to_owned()), "the loader came from disk sdb");
    let zero = |disk: &Memory, _: &mut super::find::Booted| disk.put(range_of(&small_set(), "META").start, &vec![0; 1 << 20]);
    check_untouched(SIZE, zero, "META is damaged in both copies");
    let moved = |_: &Memory, how: &mut super::find::Booted| how.root.range.start += MIB;
    check_untouched(SIZE, moved, "restart the node");
}

#[test]
fn sizes_that_are_no_whole_mebibytes() {
    let set = small_set();
    for extra in [512, 4096, MIB - 512] {
        let disk = Memory::flashed(&set, SIZE + extra, SectorSize::B512);
        let outcome = disk.boot(&set, &booted(&set)).0.unwrap();
        assert_eq!(outcome.problems, Vec::<String>::new());
        assert_eq!(Medium::size(&disk) - extra, SIZE);
    }
}

#[test]
fn a_node_that_goes_down_mounts_no_more() {
    let set = small_set();
    let disk = Memory::flashed(&set, SIZE, SectorSize::B512);
    disk.going_down.set(true);
    let outcome = disk.boot(&set, &booted(&set)).0.unwrap();
    let mounted: Vec<&str> = outcome.partitions.iter().filter(|p| p.mounted_on.is_some()).map(|p| &*p.label).collect();
    assert_eq!((mounted.as_slice(), outcome.problems.as_slice()), (&["STATE"][..], &[][..]));
}

#[test]
fn tables_take_two_requests_and_a_bad_sector_beside_them_hides_neither() {
    let set = small_set();
    for sector in SECTORS {
        let disk = Memory::flashed(&set, SIZE, sector);
        disk.boot(&set, &booted(&set)).0.unwrap();
        disk.reads.set(0);
        let tables = table::read(&disk);
        assert_eq!((table::describe(&tables).as_str(), disk.reads.get()), ("both copies are valid", 2));
        for start in [28 << 10, SIZE - (32 << 10)] {
            disk.bad.set(Some(Range { start, length: 4096 }));
            assert_eq!(table::describe(&table::read(&disk)), "both copies are valid", "{sector}, {start}");
        }
        disk.bad.set(Some(Range { start: 4096, length: 4096 }));
        assert!(matches!(table::read(&disk), Tables::BackupOnly { .. }), "{sector}");
    }
}

/// This program is tested on a machine that was not booted from an image.
#[tokio::test]
async fn a_disk_that_cannot_be_looked_at_is_nobody_s_to_take_over() {
    let (node, _commands) = crate::node::Node::new();
    let result = super::bring_up(&node, super::look(&tokio::runtime::Handle::current())).await;
    assert!(result.is_err(), "the root of this machine is none of ours");
    let disk = node.disk.borrow();
    assert!(disk.problem.is_some() && disk.state_lost && disk.settled, "{disk:?}");
}
