use layout::{
    Uuid,
    table::{Entry, Table},
};

use super::*;
use crate::disk::medium::Medium;

const MIB: u64 = 1 << 20;

fn disk(name: &str) -> Disk {
    let part = |number: u32| Part {
        number,
        name: format!("{name}{number}"),
        node: PathBuf::from(format!("/dev/{name}{number}")),
        start: u64::from(number) * 100 * MIB,
        size: 100 * MIB,
        guid: None,
        label: None,
    };
    Disk {
        name: name.to_owned(),
        node: Path::new("/dev").join(name),
        number: String::new(),
        size: 1 << 30,
        sector: 512,
        physical_sector: 512,
        read_only: name == "ro",
        removable: false,
        rotational: false,
        hardware: !name.starts_with("dm"),
        model: String::new(),
        serial: String::new(),
        wwid: String::new(),
        transport: "virtio",
        bus_path: String::new(),
        partitions: vec![part(1), part(2)],
    }
}

fn order(device: &str) -> Order {
    Order { device: device.to_owned(), method: Method::Fast, skip_volume_check: false, skip_secondary_check: false, drop_partition: false }
}

/// What becomes of the orders: devices and whether the kernel is asked, or the error.
fn decide(orders: &[Order], system: &str) -> String {
    let disks = ["vda", "vdb", "vdc", "vdd", "vde", "ro", "sr0", "dm-0"].map(disk);
    let machine = Machine {
        disks: &disks,
        system,
        holders: &|name| if matches!(name, "vda2" | "vdc1") { vec!["dm-3".to_owned()] } else { vec![] },
        mounted: &|node| (node == Path::new("/dev/vdd1")).then(|| "/var/mnt/a".into()),
        swap: &|node| node == Path::new("/dev/vde2"),
    };
    match plan(orders, &machine) {
        Ok(plans) => plans.iter().map(|plan| format!("{}{} ", plan.device, if plan.exclusive { "" } else { "!" })).collect(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn which_devices_may_be_wiped() {
    let check = |orders: &[Order], expect: &str| {
        let text = decide(orders, "vda");
        assert!(text.contains(expect), "{orders:?}: {text}");
    };
    check(&[order("vdb")], "vdb ");
    check(&[order("vdb1"), order("vdc2"), order("vdd2")], "vdb1 vdc2 vdd2 ");
    for (device, expect) in [
        ("vda", "vda belongs to the system disk vda"),
        ("vda1", "vda1 belongs to the system disk vda"),
        ("vdx", "no disk or partition \"vdx\""),
        ("/dev/vdb", "no disk or partition \"/dev/vdb\""),
        ("../vdb", "no disk or partition"),
        ("", "no disk or partition \"\""),
        ("dm-0", "dm-0 is neither a disk nor a partition"),
        ("ro", "ro is read-only"),
        ("ro1", "ro1 is read-only"),
        ("sr0", "sr0 is an optical drive"),
        ("vdc", "vdc is used by dm-3"),
        ("vdc1", "vdc1 is used by dm-3"),
        ("vdd", "vdd1 is mounted on /var/mnt/a"),
        ("vdd1", "vdd1 is mounted on /var/mnt/a"),
        ("vde", "vde2 is used as swap"),
    ] {
        check(&[order(device)], expect);
        check(&[order("vdb"), order(device)], expect);
    }
    check(&[order("vdb"), order("vdb")], "vdb comes twice");
    check(&[order("vdb1"), order("vdb")], "vdb1 comes twice");
    check(&[order("vdb"), order("vdb2")], "vdb2 comes twice");
    check(&[], "0 devices");
    check(&vec![order("vdb"); MOST + 1], "65 devices");
    check(&[Order { drop_partition: true, ..order("vdb") }], "vdb is a whole disk");
    check(&[Order { drop_partition: true, ..order("vdb1") }], "vdb1 ");
}

#[test]
fn checks_are_skipped_one_by_one() {
    let volume = |device: &str| Order { skip_volume_check: true, ..order(device) };
    let secondary = |device: &str| Order { skip_secondary_check: true, ..order(device) };
    assert_eq!(decide(&[volume("vdd"), volume("vde2")], "vda"), "vdd! vde2! ");
    assert_eq!(decide(&[secondary("vdc1")], "vda"), "vdc1! ");
    assert!(decide(&[volume("vdc1")], "vda").contains("used by dm-3"));
    assert!(decide(&[secondary("vdd1")], "vda").contains("mounted"));
    // Never the system, known or not.
    let both = Order { skip_volume_check: true, ..secondary("vda2") };
    assert!(decide(std::slice::from_ref(&both), "vda").contains("the system disk"));
    assert!(decide(&[both], "").contains("may be part of the system"));
}

#[test]
fn what_is_wiped() {
    let whole = |size: u64| {
        let ranges = ranges(size, 512, Method::Zeroes, &[]);
        assert_eq!(ranges.iter().map(|range| range.length).sum::<u64>(), size / 512 * 512, "{size}");
        let adjoin = ranges.windows(2).all(|pair| pair[0].end() == pair[1].start);
        assert!(adjoin && ranges.iter().all(|range| range.length > 0 && range.length <= STEP), "{ranges:?}");
    };
    [0, 512, 1000, STEP, STEP + 512, 10 * STEP - 512].into_iter().for_each(whole);

    let fast =
        |size: u64, inside: &[Range]| ranges(size, 512, Method::Fast, inside).into_iter().map(|r| (r.start, r.length)).collect::<Vec<_>>();
    assert_eq!(fast(512, &[]), [(0, 512), (0, 512)]);
    assert_eq!(fast(3 * MIB, &[]), [(0, MIB), (MIB, 4096), (2 * MIB, 4096), (2 * MIB, MIB)]);
    let disk = fast(1 << 40, &[Range { start: 500 * MIB, length: 100 * MIB }]);
    for wanted in [0, 64 * MIB, 500 * MIB, 564 * MIB, 599 * MIB, 256 << 30, (1 << 40) - MIB] {
        assert!(disk.iter().any(|(start, _)| *start == wanted), "{wanted}: {disk:?}");
    }
    // Sectors larger than a signature, a partition that the kernel believes to be longer than its disk.
    assert!(ranges(8 * MIB, 8192, Method::Fast, &[]).iter().all(|range| range.length.is_multiple_of(8192)));
    let outside = fast(8 * MIB, &[Range { start: 6 * MIB, length: 100 * MIB }]);
    assert!(outside.iter().all(|(start, length)| start + length <= 8 * MIB), "{outside:?}");
}

#[test]
fn a_device_is_wiped_in_steps() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for (method, expect) in [(Method::Fast, 3 * MIB - 8192), (Method::Zeroes, 0)] {
        std::fs::write(file.path(), vec![7; 5 << 20]).expect("written");
        let plan = Plan { device: "file".to_owned(), node: file.path().to_owned(), method, exclusive: false, inside: vec![], drop: None };
        let mut wipe = Some(Wipe::begin(plan.clone()).expect("opened"));
        assert!(Wipe::begin(plan).expect_err("locked").is_busy());
        while let Some(left) = wipe {
            wipe = left.step().expect("wiped");
        }
        let kept = std::fs::read(file.path()).expect("read").iter().filter(|byte| **byte == 7).count();
        // At 1, 2 and 4 MiB lie signatures too; the last of them in the last MiB.
        assert_eq!(kept as u64, expect, "{method:?}");
    }
}

#[test]
fn a_partition_leaves_its_table_and_no_other_does() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), vec![0; 8 << 20]).expect("written");
    let sector = SectorSize::try_from(512).expect("a size");
    let mut wanted = Table::new(sector, 8 << 20, Uuid::from_u128(1)).expect("a table");
    for number in [1, 3] {
        let range = Range { start: u64::from(number) * MIB, length: MIB };
        let guid = Uuid::from_u128(number.into());
        wanted.add(number, Entry { type_guid: guid, guid, range, name: format!("P{number}"), flags: 0 }).expect("fits");
    }
    let outline = linux::block::Outline { name: String::new(), node: file.path().to_owned(), sector: 512, partitions: vec![] };
    let device = Device::open(file.path(), Access::Change).expect("opened");
    let medium = WholeDisk::new(device, sector, outline);
    table::write(&medium, &table::read(&medium), &wanted).expect("written");
    let now = table::read(&medium);
    let mut next = now.table().expect("a table").clone();
    assert!(next.remove(2).is_err());
    next.remove(1).expect("there");
    table::write(&medium, &now, &next).expect("written");
    let after = table::read(&medium);
    let entries = after.table().expect("a table").entries();
    assert_eq!(entries.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(medium.size(), 8 << 20);
}

#[test]
fn swap_is_read() {
    let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/vde2                               partition\t1024\t0\t-2\n";
    assert!(swap_of(text, Path::new("/dev/vde2")) && !swap_of(text, Path::new("/dev/vde")) && !swap_of("", Path::new("/dev/vde2")));
}
