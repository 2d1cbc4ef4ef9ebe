use super::*;

#[track_caller]
fn check_transport(path: &str, expect: &str) {
    assert_eq!(transport(path), expect, "{path}");
}

#[test]
fn transports_by_place() {
    check_transport("devices/pci0000:00/0000:00:04.0/virtio2/block/vda", "virtio");
    check_transport("devices/pci0000:00/0000:00:04.0/virtio2/host0/target0:0:0/0:0:0:0/block/sda", "virtio");
    check_transport("devices/pci0000:00/0000:00:05.0/usb2/2-1/2-1:1.0/host3/target3:0:0/3:0:0:0/block/sdb", "usb");
    check_transport("devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", "sata");
    check_transport("devices/pci0000:00/0000:00:06.0/nvme/nvme0/nvme0n1", "nvme");
    check_transport("devices/platform/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0", "mmc");
    check_transport("devices/virtual/block/loop0", "");
}

/// A tree as sysfs shows it: a disk with a partition that a mapping lies on.
fn tree() -> (tempfile::TempDir, Sysfs) {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("sys/devices/pci/virtio1/block/vda");
    let part = disk.join("vda2");
    let dm = dir.path().join("sys/devices/virtual/block/dm-0");
    for path in [&part.join("holders"), &disk.join("queue"), &disk.join("holders"), &dm.join("slaves"), &dm.join("dm")] {
        fs::create_dir_all(path).unwrap();
    }
    let put = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
    put(disk.join("size"), "8192\n");
    put(disk.join("dev"), "253:0\n");
    put(disk.join("ro"), "0\n");
    put(disk.join("removable"), "1\n");
    put(disk.join("serial"), "abc\n");
    put(disk.join("queue/logical_block_size"), "4096\n");
    put(disk.join("uevent"), "MAJOR=253\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n");
    put(part.join("partition"), "2\n");
    put(part.join("start"), "2048\n");
    put(part.join("size"), "1024\n");
    put(part.join("uevent"), "DEVNAME=vda2\nDEVTYPE=partition\nPARTN=2\nPARTNAME=ROOT-A\nPARTUUID=00070e15-1c23-2a31-383f-464d545b6269\n");
    put(part.join("holders/dm-0"), "");
    put(dm.join("slaves/vda2"), "");
    put(dm.join("dm/name"), "root\n");
    let (block, class) = (dir.path().join("sys/block"), dir.path().join("sys/class/block"));
    fs::create_dir_all(&block).unwrap();
    fs::create_dir_all(&class).unwrap();
    for (target, name) in [(&disk, "vda"), (&dm, "dm-0")] {
        std::os::unix::fs::symlink(target, block.join(name)).unwrap();
        std::os::unix::fs::symlink(target, class.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(&part, class.join("vda2")).unwrap();
    let sysfs = Sysfs::at(dir.path().join("sys"), "/dev");
    (dir, sysfs)
}

#[test]
fn a_disk_with_its_partitions() {
    let (_dir, sysfs) = tree();
    let disk = sysfs.disk("vda").unwrap();
    assert_eq!((disk.size, disk.sector, disk.removable, disk.serial.as_str()), (4 << 20, 4096, true, "abc"));
    assert_eq!((disk.transport, disk.number.as_str(), disk.node.to_str()), ("virtio", "253:0", Some("/dev/vda")));
    let [part] = disk.partitions.as_slice() else { panic!("{:?}", disk.partitions) };
    assert_eq!((part.number, part.start, part.size), (2, 1 << 20, 512 << 10));
    assert_eq!(part.guid, Some(uuid::uuid!("00070e15-1c23-2a31-383f-464d545b6269")));
    assert_eq!((part.label.as_deref(), sysfs.holders("vda2")), (Some("ROOT-A"), vec!["dm-0".to_owned()]));
    // dm-0 has no size here: a disk that cannot be read is left out of the list, not the end of it.
    assert_eq!(sysfs.disks().unwrap().len(), 1);
}

#[test]
fn from_the_mapping_to_the_disk() {
    let (_dir, sysfs) = tree();
    assert_eq!(sysfs.mapping("dm-0"), "root");
    assert_eq!(sysfs.lower("dm-0").unwrap(), ["vda2"]);
    assert_eq!(sysfs.whole_disk("vda2").unwrap(), "vda");
    assert_eq!(sysfs.whole_disk("vda").unwrap(), "vda");
    assert!(sysfs.whole_disk("sdz").is_err());
}
