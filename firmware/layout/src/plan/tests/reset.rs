//! Resets: what may be asked for, and that a cut at any byte of what is written leaves the disk as it was or the order in force.

use super::*;
use crate::meta::{Reset, Scope};

fn meta(record: &Record) -> Meta {
    let mut meta = Meta::new(Life::Provisioned(record.clone()));
    for key in [6, 9, 10] {
        meta.set(key, vec![key]).unwrap();
    }
    meta
}

fn labels(text: &str) -> Wanted {
    Wanted::Labels(text.split_whitespace().map(str::to_owned).collect())
}

fn reset(record: &Record, scope: Scope) -> Life {
    Life::Resetting(Reset { scope, erased: false, record: record.clone() })
}

#[test]
fn what_is_ordered() {
    let (_, record) = set_up(&small(), 100 * MIB);
    let check = |wanted: &Wanted, life: Life, keys: &[u8]| {
        let next = order(&meta(&record), wanted).unwrap();
        assert_eq!((&next.life, next.keys().map(|(key, _)| key).collect::<Vec<_>>().as_slice()), (&life, keys), "{wanted:?}");
    };
    check(&labels("STATE"), reset(&record, Scope::Partitions(vec![5])), &[6, 10]);
    check(&labels("EPHEMERAL"), reset(&record, Scope::Partitions(vec![6])), &[6, 9, 10]);
    check(&labels("EPHEMERAL STATE EPHEMERAL"), reset(&record, Scope::Partitions(vec![5, 6])), &[6, 10]);
    check(&labels("META"), Life::Provisioned(record.clone()), &[]);
    check(&labels("META STATE"), reset(&record, Scope::Partitions(vec![5])), &[]);
    check(&labels("META STATE EPHEMERAL"), reset(&record, Scope::Factory), &[]);
    check(&Wanted::Disk { restart: true }, reset(&record, Scope::Disk { restart: true }), &[]);
}

#[test]
fn what_is_refused() {
    let (_, record) = set_up(&small(), 100 * MIB);
    let check = |meta: &Meta, wanted: &Wanted, expect: &str| {
        let text = order(meta, wanted).unwrap_err().to_string();
        assert!(text.contains(expect), "{text}");
    };
    let good = meta(&record);
    check(&good, &labels(""), "no partition is named");
    check(&good, &labels("STATE VAR"), "no partition \"VAR\"; STATE, EPHEMERAL, META can be reset");
    check(&good, &labels("state"), "no partition \"state\"");
    for system in ["EFI", "ROOT-A", "ROOT-B"] {
        check(&good, &labels(system), &format!("{system} holds the system itself"));
    }
    for (life, expect) in [
        (Life::Factory, "as flashed"),
        (Life::Provisioning(record.clone()), "first boot is not done"),
        (reset(&record, Scope::Factory), "an earlier reset is not done"),
    ] {
        check(&Meta::new(life.clone()), &labels("STATE"), expect);
        check(&Meta::new(life), &Wanted::Disk { restart: false }, expect);
    }
}

#[track_caller]
fn carried(decision: Decision) -> (Record, Life) {
    match decision {
        Decision::Reset { record, then, .. } => (record, then),
        other => panic!("{other:?}"),
    }
}

/// What a record wipes, by label.
fn wiped(record: &Record) -> Vec<&str> {
    record.partitions.iter().filter(|p| p.action != Action::Keep).map(|p| p.label.as_str()).collect()
}

#[test]
fn partitions_are_made_anew_and_the_others_stay_as_they_are() {
    let set = small();
    let (mut disk, record) = set_up(&set, 100 * MIB);
    // An update gave the other slot its own GUID.
    edit(&mut disk, |number, entry| Some(if number == 4 { Entry { guid: Uuid::from_u128(77), ..entry } } else { entry }));
    let before = disk.tables().table().unwrap().clone();
    for (numbers, expect) in [(vec![5], vec!["STATE"]), (vec![6], vec!["EPHEMERAL"]), (vec![5, 6], vec!["STATE", "EPHEMERAL"])] {
        set_life(&mut disk, &set, reset(&record, Scope::Partitions(numbers)), usize::MAX);
        let (carried, then) = carried(decide_on(&disk, &set, &ALONE));
        assert_eq!((wiped(&carried), then), (expect, Life::Provisioned(record.clone())));
        assert_eq!(new_table(&carried, &before).unwrap(), before, "the table stays");
    }
    // A table that lost a partition which is to be made anew gets it back.
    set_life(&mut disk, &set, reset(&record, Scope::Partitions(vec![6])), usize::MAX);
    edit(&mut disk, |number, entry| (number != 6).then_some(entry));
    let (carried, _) = carried(decide_on(&disk, &set, &ALONE));
    assert_eq!(new_table(&carried, disk.tables().table().unwrap()).unwrap().entries()[&6].range, before.entries()[&6].range);
}

#[test]
fn a_factory_reset_is_a_first_boot_that_comes_again() {
    let set = small();
    let (mut disk, record) = set_up(&set, 100 * MIB);
    set_life(&mut disk, &set, reset(&record, Scope::Factory), usize::MAX);
    let before = disk.tables().table().unwrap().clone();
    let (carried, then) = carried(decide_from(&disk, &set, &ALONE, 2000));
    assert_eq!((wiped(&carried), then), (vec!["ROOT-B", "STATE", "EPHEMERAL"], Life::Provisioning(carried.clone())));
    let table = new_table(&carried, &before).unwrap();
    assert_ne!(table.disk_guid(), before.disk_guid());
    for (number, entry) in table.entries() {
        assert_eq!(entry.guid == before.entries()[number].guid, *number == 2, "partition {number}");
        assert_eq!(entry.range, before.entries()[number].range);
    }
}

#[test]
fn the_slot_that_runs_is_never_wiped() {
    let set = small();
    let (mut disk, record) = set_up(&set, 100 * MIB);
    // An update later the node runs from the other slot.
    edit(&mut disk, |number, mut entry| {
        match number {
            2 => entry.guid = Uuid::from_u128(78),
            4 => entry.guid = ROOT,
            _ => {}
        }
        Some(entry)
    });
    set_life(&mut disk, &set, reset(&record, Scope::Factory), usize::MAX);
    let tables = disk.tables();
    let table = tables.table().unwrap();
    let root = RootPartition { guid: ROOT, range: table.entries()[&4].range };
    let (arch, sector, loader) = (Arch::X86_64, disk.sector, LoaderDisk::This);
    let facts = Facts { set: &set, arch, disk_size: disk.size, sector, tables: &tables, root, twins: &[], loader: &loader };
    let next = Cell::new(2000);
    let decision = decide(&facts, &found(&disk, &set), &mut || {
        next.set(next.get() + 1);
        Uuid::from_u128(next.get())
    });
    let (record, _) = carried(decision);
    assert_eq!(wiped(&record), ["STATE", "EPHEMERAL"]);
    let new = new_table(&record, table).unwrap();
    assert_eq!([2, 4].map(|number| new.entries()[&number].guid), [2, 4].map(|number| table.entries()[&number].guid));
}

#[test]
fn a_reset_waits_for_a_disk_that_is_certainly_this_one() {
    let set = small();
    for scope in [Scope::Partitions(vec![5]), Scope::Factory, Scope::Disk { restart: false }] {
        let (mut disk, record) = set_up(&set, 100 * MIB);
        set_life(&mut disk, &set, reset(&record, scope), usize::MAX);
        check_refused(&decide_on(&disk, &set, &Around { twins: &["sdb"], loader: LoaderDisk::This }), "also on sdb", true);
        let other = Around { twins: &[], loader: LoaderDisk::Other("sdb".to_owned()) };
        check_refused(&decide_on(&disk, &set, &other), "loader came from disk sdb", true);
    }
    let (mut disk, record) = set_up(&set, 100 * MIB);
    set_life(&mut disk, &set, reset(&record, Scope::Partitions(vec![5])), usize::MAX);
    edit(&mut disk, |number, mut entry| {
        if number == 6 {
            entry.range.length -= MIB;
        }
        Some(entry)
    });
    check_refused(&decide_on(&disk, &set, &ALONE), "a reset that was begun cannot be ended", true);
}

#[test]
fn a_whole_disk_is_wiped_around_the_running_root() {
    let set = small();
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let size = set.least_disk() + 12_288 + 7 * MIB;
        let mut disk = flashed(&set, size, sector);
        let record = record_of(decide_on(&disk, &set, &ALONE));
        let table = new_table(&record, disk.tables().table().unwrap()).unwrap();
        set_life(&mut disk, &set, reset(&record, Scope::Disk { restart: true }), usize::MAX);
        put(&mut disk, &table, usize::MAX);
        assert_eq!(decide_on(&disk, &set, &ALONE), Decision::WipeDisk { restart: true });
        let (root, meta) = (table.entries()[&2].range, meta_range(&set));
        let wipe = disk_wipe(&table, size, sector, root, meta);
        let first: Vec<_> = wipe.first.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(first, ["STATE", "EPHEMERAL", "ROOT-B"]);
        assert!(matches!(wipe.first[0].1, Erasure::Blocks(range) if range == table.entries()[&5].range));
        assert_eq!(
            wipe.last.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
            ["the start of the firmware's partition", "the backup partition table", "the primary partition table", "META",]
        );
        for (what, range) in &wipe.last {
            assert!(!range.overlaps(root) && range.length > 0 && range.end() <= size, "{what}: {range}");
            assert!(range.start.is_multiple_of(sector.bytes()) && range.length.is_multiple_of(sector.bytes()), "{what}: {range}");
            let units = range.start / UNIT..range.end() / UNIT;
            disk.units.retain(|unit, _| !units.contains(unit));
        }
        assert!(matches!(disk.tables(), Tables::Neither { .. }), "a table is left");
        assert!(matches!(found(&disk, &set), Found::Corrupt { .. }), "META is left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The order cut after any number of bytes: the disk is what it was, or the next boot carries the whole order out. What it may
    /// wipe is what was named, and never what holds the system.
    #[test]
    fn a_cut_order_is_none_or_a_whole_one(cut in 0usize..2_000_000, state in any::<bool>(), var in any::<bool>(), keys in any::<bool>()) {
        let set = small();
        let (mut disk, record) = set_up(&set, 100 * MIB);
        let named: Vec<String> = [(state, "STATE"), (var, "EPHEMERAL"), (keys, "META")].iter()
            .filter(|(named, _)| *named).map(|(_, label)| (*label).to_owned()).collect();
        prop_assume!(!named.is_empty());
        let old = store(&disk, &set);
        let next = order(&old.meta, &Wanted::Labels(named.clone())).unwrap();
        let (writes, _) = old.replace_all(next.clone()).unwrap();
        let mut left = cut;
        for write in &writes {
            disk.write(meta_range(&set).start + write.offset, &write.bytes, left);
            left = left.saturating_sub(write.bytes.len());
        }
        let now = store(&disk, &set).meta;
        prop_assert!(now == old.meta || now == next);
        match decide_on(&disk, &set, &ALONE) {
            Decision::Run { problems, .. } => prop_assert!(problems.is_empty() && matches!(now.life, Life::Provisioned(_))),
            Decision::Reset { record: carried, .. } => {
                let factory = state && var && keys;
                let wanted: Vec<&str> = [(factory, "ROOT-B"), (state, "STATE"), (var, "EPHEMERAL")].into_iter()
                    .filter(|(wanted, _)| *wanted).map(|(_, label)| label).collect();
                prop_assert_eq!(wiped(&carried), wanted);
                prop_assert_eq!(carried.partitions.len(), record.partitions.len());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
