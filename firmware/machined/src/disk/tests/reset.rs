//! Resets on a disk in memory: what is gone and what stays, and power cuts at every operation of the reset and of the boot that
//! ends it.

use layout::plan::Wanted;

use super::{super::reset::Done, *};

/// Where the tests' traces lie in a partition: away from both ends.
const TRACE: u64 = MIB + 64 * 1024;

const ALL: [&str; 3] = ["STATE", "EPHEMERAL", "META"];

fn labels(labels: &[&str]) -> Wanted {
    Wanted::Labels(labels.iter().map(|label| (*label).to_owned()).collect())
}

/// A node that has run: a trace in each of its volumes, a key in META.
fn used(set: &PartitionSet, sector: SectorSize) -> Memory {
    let disk = Memory::flashed(set, SIZE, sector);
    disk.boot(set, &booted(set)).0.unwrap();
    for label in ["STATE", "EPHEMERAL"] {
        disk.put(range_of(set, label).start + TRACE, b"trace");
    }
    let meta = range_of(set, "META");
    let Found::Valid(store) = Found::read(&disk.get(meta.start, 1 << 20)) else { panic!("no META") };
    let mut with_key = store.meta.clone();
    with_key.set(12, b"a secret".repeat(1000)).unwrap();
    let (write, _) = store.replace(with_key).unwrap();
    disk.put(meta.start + write.offset, &write.bytes);
    disk.restart(0);
    disk
}

/// Which traces are there: of STATE, of EPHEMERAL, the key in META.
fn traces(disk: &Memory, set: &PartitionSet) -> [bool; 3] {
    let trace = |label| disk.get(range_of(set, label).start + TRACE, 512).starts_with(b"trace");
    let key = match Found::read(&disk.get(range_of(set, "META").start, 1 << 20)) {
        Found::Valid(store) => store.meta.get(12).is_some(),
        Found::Corrupt { .. } => false,
    };
    [trace("STATE"), trace("EPHEMERAL"), key]
}

/// The traces that a reset of `wiped` leaves.
fn left(wiped: &[&str]) -> [bool; 3] {
    ALL.map(|label| !wiped.contains(&label))
}

/// Every choice of labels.
fn choices() -> impl Iterator<Item = Vec<&'static str>> {
    (1..8_u8).map(|bits| ALL.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, label)| label).collect())
}

fn all_zero(disk: &Memory, range: Range) -> bool {
    disk.get(range.start, usize::try_from(range.length).unwrap()).iter().all(|byte| *byte == 0)
}

#[test]
fn what_is_named_is_gone_and_the_rest_stays() {
    let set = small_set();
    for (wiped, discards) in choices().flat_map(|wiped| [(wiped.clone(), true), (wiped, false)]) {
        let context = format!("{wiped:?}, a device that takes blocks back: {discards}");
        let disk = used(&set, SectorSize::B512);
        disk.discards.set(discards);
        let (done, warnings) = disk.reset(&set, &booted(&set), &labels(&wiped));
        assert_eq!(done.unwrap(), Done::Erased, "{context}");
        if wiped.contains(&"STATE") {
            assert!(all_zero(&disk, range_of(&set, "STATE")), "{context}: STATE does not read as zeros");
        }
        // What a device keeps of a large volume is told.
        let kept = wiped.contains(&"EPHEMERAL") && !discards;
        assert_eq!(warnings.iter().filter(|text| text.starts_with("of EPHEMERAL")).count(), usize::from(kept), "{context}");
        let mut expect = left(&wiped);
        expect[1] |= kept;
        assert_eq!(traces(&disk, &set), expect, "{context}");
        disk.restart(0);
        let (outcome, warnings) = disk.boot(&set, &booted(&set));
        check_set_up(&disk, &set, &outcome.unwrap(), &context);
        assert_eq!(warnings, Vec::<String>::new(), "{context}");
        let formatted: Vec<&str> = wiped.iter().copied().filter(|label| *label != "META").collect();
        assert_eq!(*disk.formatted.borrow(), formatted, "{context}");
        if wiped.contains(&"META") {
            let meta = range_of(&set, "META");
            assert!(!disk.get(meta.start, 1 << 20).windows(8).any(|bytes| bytes == b"a secret"), "{context}: the key can still be read");
        }
        disk.restart(0);
        let before = disk.operations.get();
        assert!(disk.boot(&set, &booted(&set)).0.is_ok() && disk.operations.get() == before, "{context}: the next boot writes something");
    }
}

/// After every operation of a reset: the node is what it was, or the next boot does all of it. Never a STATE that counts as lost.
#[test]
fn power_cuts_anywhere_in_a_reset() {
    let set = small_set();
    for wiped in choices() {
        let node = used(&set, SectorSize::B512);
        let whole = node.copy();
        whole.reset(&set, &booted(&set), &labels(&wiped)).0.unwrap();
        let operations = whole.operations.get();
        assert!(operations >= 4, "{operations}");
        let mut as_before = 0;
        for (cut, seed) in (0..operations).flat_map(|cut| (0..2).map(move |seed| (cut, seed))) {
            let context = format!("{wiped:?}, cut after {cut} of {operations} operations, seed {seed}");
            let disk = node.copy();
            disk.cut_after(cut);
            assert!(disk.reset(&set, &booted(&set), &labels(&wiped)).0.is_err(), "{context}");
            disk.restart(seed);
            let (outcome, _) = disk.boot(&set, &booted(&set));
            check_set_up(&disk, &set, &outcome.unwrap_or_else(|err| panic!("{context}: {err}")), &context);
            let found = traces(&disk, &set);
            let untouched = found == [true; 3] && disk.formatted.borrow().is_empty();
            as_before += u32::from(untouched);
            assert!(untouched || found == left(&wiped), "{context}: {found:?}");
        }
        assert!(as_before > 0, "{wiped:?}: no cut came early");
    }
}

/// The boot that ends a reset can be cut as well, twice.
#[test]
fn power_cuts_while_a_reset_is_ended() {
    let set = small_set();
    for wiped in [&["STATE"][..], &ALL] {
        let node = used(&set, SectorSize::B4096);
        node.reset(&set, &booted(&set), &labels(wiped)).0.unwrap();
        for (first, second) in (0..36).step_by(3).flat_map(|first| (0..36).step_by(7).map(move |second| (first, second))) {
            let context = format!("{wiped:?}, the boot cut after {first}, the one after it after {second} operations");
            let disk = node.copy();
            for (cut, seed) in [(first, 1), (second, 2)] {
                disk.cut_after(cut);
                let _ = disk.boot(&set, &booted(&set));
                disk.restart(seed);
            }
            let (outcome, _) = disk.boot(&set, &booted(&set));
            check_set_up(&disk, &set, &outcome.unwrap_or_else(|err| panic!("{context}: {err}")), &context);
            assert_eq!(traces(&disk, &set), left(wiped), "{context}");
            disk.put(range_of(&set, "STATE").start + TRACE, b"trace");
            disk.restart(0);
            check_set_up(&disk, &set, &disk.boot(&set, &booted(&set)).0.unwrap(), &context);
            assert!(traces(&disk, &set)[0], "{context}: what came after the reset is gone");
        }
    }
}

#[test]
fn what_somebody_holds_is_wiped_by_the_next_boot() {
    let set = small_set();
    for (wanted, expect) in [(labels(&["STATE", "EPHEMERAL"]), "EPHEMERAL"), (Wanted::Disk { restart: true }, "EPHEMERAL")] {
        let disk = used(&set, SectorSize::B512);
        disk.held.borrow_mut().push(6);
        assert_eq!(disk.reset(&set, &booted(&set), &wanted).0.unwrap(), Done::NextBoot(vec![expect.to_owned()]));
        assert_eq!(traces(&disk, &set)[..2], [true; 2], "something was wiped below its user");
        disk.held.borrow_mut().clear();
        disk.restart(0);
        let (outcome, warnings) = disk.boot(&set, &booted(&set));
        assert!(warnings[0].contains("interrupted"), "{warnings:?}");
        assert_eq!(
            (traces(&disk, &set)[..2].to_vec(), outcome.unwrap().gone.is_some()),
            (vec![false; 2], matches!(wanted, Wanted::Disk { .. }))
        );
    }
}

#[test]
fn a_whole_disk_is_wiped() {
    let set = small_set();
    for sector in SECTORS {
        let disk = used(&set, sector);
        assert_eq!(disk.reset(&set, &booted(&set), &Wanted::Disk { restart: false }).0.unwrap(), Done::Erased);
        check_wiped(&disk, &set, "whole");
        let root = range_of(&set, "ROOT-A").start;
        assert!(disk.get(root, 512).starts_with(b"ROOT-A"), "the root that the node runs from was touched");
    }
}

/// Nothing that boots, no table, no META, no secret.
#[track_caller]
fn check_wiped(disk: &Memory, set: &PartitionSet, context: &str) {
    assert!(matches!(table::read(disk), Tables::Neither { .. }), "{context}: a table is left");
    let start = |label| Range { length: MIB, ..range_of(set, label) };
    for range in [Range { start: 0, length: MIB }, start("EFI"), range_of(set, "META"), range_of(set, "STATE")] {
        assert!(all_zero(disk, range), "{context}: {range} is not cleared");
    }
    assert!(all_zero(disk, Range { start: SIZE - MIB, length: MIB }), "{context}: the end is not cleared");
    assert_eq!(traces(disk, set), [false; 3], "{context}");
}

/// After every operation: the node is what it was, or it wipes the rest when it starts, or it starts no more and holds no secret.
#[test]
fn power_cuts_anywhere_in_the_reset_of_a_disk() {
    let set = small_set();
    let wanted = Wanted::Disk { restart: true };
    let node = used(&set, SectorSize::B512);
    let whole = node.copy();
    whole.reset(&set, &booted(&set), &wanted).0.unwrap();
    let operations = whole.operations.get();
    let (mut as_before, mut ended, mut dead) = (0, 0, 0);
    for (cut, seed) in (0..operations).flat_map(|cut| (0..4).map(move |seed| (cut, seed))) {
        let context = format!("cut after {cut} of {operations} operations, seed {seed}");
        let disk = node.copy();
        disk.cut_after(cut);
        assert!(disk.reset(&set, &booted(&set), &wanted).0.is_err(), "{context}");
        disk.restart(seed);
        if table::read(&disk).table().is_none_or(|table| table.by_guid(booted(&set).root.guid).is_none()) {
            assert_eq!(traces(&disk, &set), [false; 3], "{context}: it starts no more, and something is left");
            dead += 1;
            continue;
        }
        let outcome = disk.boot(&set, &booted(&set)).0.unwrap_or_else(|err| panic!("{context}: {err}"));
        match outcome.gone {
            Some(restart) => {
                assert!(restart && outcome.state_lost && disk.mounted.borrow().is_empty(), "{context}: {outcome:?}");
                check_wiped(&disk, &set, &context);
                ended += 1;
            }
            None => {
                check_set_up(&disk, &set, &outcome, &context);
                assert_eq!(traces(&disk, &set), [true; 3], "{context}");
                as_before += 1;
            }
        }
    }
    assert!(as_before > 0 && ended > 0 && dead > 0, "{as_before} as before, {ended} ended, {dead} dead");
}

#[test]
fn what_cannot_be_reset_is_not_written_to() {
    let set = small_set();
    let check = |damage: &dyn Fn(&Memory, &mut super::super::find::Booted), wanted: &Wanted, expect: &str| {
        let disk = used(&set, SectorSize::B512);
        let mut how = booted(&set);
        damage(&disk, &mut how);
        let before = disk.operations.get();
        let error = disk.reset(&set, &how, wanted).0.unwrap_err();
        let text = daemon::report(&error).to_string();
        assert!(text.contains(expect), "{text}");
        assert_eq!(disk.operations.get(), before, "{expect}: something was written");
    };
    let nothing = |_: &Memory, _: &mut super::super::find::Booted| ();
    check(&nothing, &labels(&["VAR"]), "no partition \"VAR\"");
    check(&nothing, &labels(&["EFI"]), "holds the system itself");
    check(&nothing, &labels(&[]), "no partition is named");
    check(&|_, how| how.twins.push("sdb".to_owned()), &labels(&["STATE"]), "also on sdb");
    check(&|_, how| how.loader = LoaderDisk::Other("sdb".to_owned()), &Wanted::Disk { restart: true }, "loader came from disk sdb");
    check(&|disk, _| disk.put(range_of(&set, "META").start, &vec![0; 1 << 20]), &labels(&["STATE"]), "no valid META");
}
