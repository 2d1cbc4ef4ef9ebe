//! Flash, then the node's own first boot on the same device: real BLKPG, real mkfs.xfs, cut between operations.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use layout::{
    Arch, Range, SectorSize,
    plan::{LoaderDisk, RootPartition, Wanted},
    table::{Backup, Tables},
};
use linux::block::{Access, Device, DeviceError};
use machined::disk::{
    Outcome, System,
    find::Booted,
    medium::{Medium, Seen, WholeDisk},
    provision::StepError,
    reset::Done,
    table,
    volumes::{Mounter, VolumeError},
};

use crate::{
    disk::LoopDisk,
    flashing::{put, show, tables},
    image::{self, mark},
};

const MIB: u64 = 1 << 20;
/// Three times the image.
const SIZE: u64 = 3 * 1027 * MIB;
const MKFS: &str = "/usr/sbin/mkfs.xfs";

/// Makes a real XFS file system.
pub fn mkfs(node: &Path, label: &str) {
    let output = Command::new(MKFS).args(["-q", "-f", "-K", "-L", label]).arg(node).output();
    let output = output.unwrap_or_else(|err| panic!("{MKFS}: {err}; these tests need xfsprogs"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A disk whose power goes after some writes and flushes.
struct Cut {
    inner: WholeDisk,
    left: Cell<u64>,
    operations: Cell<u64>,
}

impl Cut {
    fn operation(&self) -> io::Result<()> {
        self.operations.set(self.operations.get() + 1);
        let left = self.left.get().checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        self.left.set(left);
        Ok(())
    }
}

impl Medium for Cut {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn sector(&self) -> SectorSize {
        self.inner.sector()
    }

    fn read(&self, range: Range) -> Result<Vec<u8>, DeviceError> {
        self.inner.read(range)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let fault = |source| DeviceError::Write { path: "disk".into(), offset, length: bytes.len(), source };
        self.operation().map_err(fault)?;
        self.inner.write(offset, bytes)
    }

    fn zero(&self, range: Range) -> Result<(), DeviceError> {
        let fault = |source| DeviceError::Clear { path: "disk".into(), offset: range.start, length: range.length, source };
        self.operation().map_err(fault)?;
        self.inner.zero(range)
    }

    fn discard(&self, range: Range) -> Result<bool, DeviceError> {
        let fault = |source| DeviceError::Clear { path: "disk".into(), offset: range.start, length: range.length, source };
        self.operation().map_err(fault)?;
        self.inner.discard(range)
    }

    fn in_use(&self, number: u32) -> bool {
        self.inner.in_use(number)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.operation().map_err(|source| DeviceError::Flush { path: "disk".into(), source })?;
        self.inner.flush()
    }

    fn show(&self, number: u32, range: Range) -> Result<PathBuf, StepError> {
        self.inner.show(number, range)
    }

    fn seen(&self) -> Vec<Seen> {
        self.inner.seen()
    }
}

/// Formats for real; looks at the super block instead of mounting.
#[derive(Default)]
struct Tools {
    formatted: RefCell<Vec<String>>,
}

impl Mounter for Tools {
    fn format_xfs(&self, node: &Path, _: Range, label: &str) -> Result<(), VolumeError> {
        mkfs(node, label);
        self.formatted.borrow_mut().push(label.to_owned());
        Ok(())
    }

    fn mount_xfs(&self, node: &Path, _: &Path, label: &str) -> Result<(), VolumeError> {
        let mut start = [0; 512];
        File::open(node).unwrap().read_exact_at(&mut start, 0).unwrap();
        // Bytes 108 to 120 of an XFS super block are the label.
        let found = start.starts_with(b"XFSB") && start[108..120].starts_with(label.as_bytes());
        if found { Ok(()) } else { Err(VolumeError::Unseen) }
    }

    fn sync(&self, _: &Path) -> Result<(), VolumeError> {
        Ok(())
    }
}

/// What a node does with this disk, with the power going after so many operations; gives their number too.
fn with_system<T>(disk: &LoopDisk, left: u64, act: impl FnOnce(&System<'_>, &Cut, &Tables) -> T) -> (T, u64) {
    let set = image::set();
    let info = disk.outline();
    let device = Device::open(&disk.path(), Access::Change).unwrap();
    let sector = SectorSize::try_from(device.sector()).unwrap();
    let medium = Cut { inner: WholeDisk::new(device, sector, info.clone()), left: Cell::new(left), operations: Cell::new(0) };
    let verity = image::verity();
    let root = RootPartition { guid: verity.part_uuid(), range: set.place_image()[1].range };
    let booted = Booted { disk: info, root, verity, label: None, loader: LoaderDisk::Unnamed, twins: vec![] };
    let system = System { set: &set, arch: Arch::running().unwrap(), booted: &booted, warn: &|_| (), told: &|_| true };
    let result = act(&system, &medium, &table::read(&medium));
    (result, medium.operations.get())
}

/// A boot of the node on this disk.
fn boot(disk: &LoopDisk, left: u64) -> (Result<Outcome, StepError>, Vec<String>, u64) {
    let tools = Tools::default();
    let (result, operations) = with_system(disk, left, |system, medium, tables| system.bring_up(medium, tables, &tools));
    (result, tools.formatted.into_inner(), operations)
}

/// A reset of the disk that the node runs from.
fn reset(disk: &LoopDisk, left: u64, wanted: &Wanted) -> (Result<Done, StepError>, u64) {
    with_system(disk, left, |system, medium, tables| system.reset(medium, tables, wanted))
}

/// Off and on.
fn restart(disk: &mut LoopDisk) {
    disk.replug();
    show(disk);
}

#[track_caller]
fn check_set_up(disk: &LoopDisk, outcome: Outcome, context: &str) {
    assert_eq!(outcome.problems, Vec::<String>::new(), "{context}");
    assert!(matches!(tables(disk), Tables::Primary { backup: Backup::Good, .. }), "{context}");
    let parts = disk.disk().partitions;
    let numbers: Vec<u32> = parts.iter().map(|part| part.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "{context}");
    assert_eq!(parts[5].start + parts[5].size, SIZE - MIB, "{context}: EPHEMERAL is not at full size");
    let mut root = vec![0; mark("ROOT-A").len()];
    File::open(&parts[1].node).unwrap().read_exact_at(&mut root, 0).unwrap();
    assert!(root == mark("ROOT-A"), "{context}: the root was touched");
}

fn flashed(dir: &Path, sector: u16) -> LoopDisk {
    let disk = LoopDisk::new(SIZE, sector);
    // An earlier life's file system where STATE will be.
    disk.backing().write_all_at(b"XFSB an earlier life", 1538 * MIB).unwrap();
    put(dir, &disk.path(), true).unwrap();
    show(&disk);
    disk
}

#[test]
fn first_boot_cut_and_resumed_on_both_sector_sizes() {
    let dir = tempfile::tempdir().unwrap();
    for (sector, size) in [(SectorSize::B512, 512), (SectorSize::B4096, 4096)] {
        image::build(dir.path(), sector);
        let mut disk = flashed(dir.path(), size);
        let (outcome, formatted, operations) = boot(&disk, u64::MAX);
        check_set_up(&disk, outcome.unwrap(), "first boot");
        assert_eq!(formatted, ["STATE", "EPHEMERAL"]);
        restart(&mut disk);
        let (outcome, formatted, written) = boot(&disk, u64::MAX);
        check_set_up(&disk, outcome.unwrap(), "second boot");
        assert_eq!((formatted.len(), written), (0, 0), "a second boot writes nothing");
        for cut in (0..operations).step_by(3) {
            let context = format!("sectors of {size}, cut after {cut} of {operations} operations");
            let mut disk = flashed(dir.path(), size);
            assert!(boot(&disk, cut).0.is_err(), "{context}");
            restart(&mut disk);
            let (outcome, _, _) = boot(&disk, u64::MAX);
            check_set_up(&disk, outcome.unwrap_or_else(|err| panic!("{context}: {err}")), &context);
        }
    }
}

const TRACE: &[u8] = b"a trace of an earlier life";

/// Where a partition's trace is: in its middle, far from what is formatted.
fn trace_at(disk: &LoopDisk, number: u32) -> u64 {
    let part = disk.disk().partitions.into_iter().find(|part| part.number == number).unwrap();
    part.start + part.size / 2
}

fn has_trace(disk: &LoopDisk, at: u64) -> bool {
    let mut found = vec![0; TRACE.len()];
    disk.backing().read_exact_at(&mut found, at).unwrap();
    found == TRACE
}

/// A disk whose node has run: traces in STATE and EPHEMERAL.
fn used(dir: &Path, sector: u16) -> (LoopDisk, [u64; 2]) {
    let mut disk = flashed(dir, sector);
    boot(&disk, u64::MAX).0.unwrap();
    restart(&mut disk);
    let traces = [5, 6].map(|number| trace_at(&disk, number));
    traces.iter().for_each(|at| disk.backing().write_all_at(TRACE, *at).unwrap());
    disk.backing().sync_all().unwrap();
    (disk, traces)
}

#[test]
fn a_reset_wipes_what_it_names_and_a_cut_one_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    for (sector, size) in [(SectorSize::B512, 512), (SectorSize::B4096, 4096)] {
        image::build(dir.path(), sector);
        let wanted = Wanted::Labels(vec!["STATE".to_owned()]);
        let (mut disk, [state, var]) = used(dir.path(), size);
        // A file system that is in use is not wiped below its user.
        let holder = Device::open(&disk.disk().partitions[4].node, Access::Own).unwrap();
        assert_eq!(reset(&disk, u64::MAX, &wanted).0.unwrap(), Done::NextBoot(vec!["STATE".to_owned()]));
        assert!(has_trace(&disk, state));
        drop(holder);
        restart(&mut disk);
        let (outcome, formatted, _) = boot(&disk, u64::MAX);
        check_set_up(&disk, outcome.unwrap(), "what was held is wiped by the next boot");
        assert_eq!((formatted.as_slice(), has_trace(&disk, state), has_trace(&disk, var)), (&["STATE".to_owned()][..], false, true));

        let (disk, _) = used(dir.path(), size);
        let (done, operations) = reset(&disk, u64::MAX, &wanted);
        assert_eq!(done.unwrap(), Done::Erased);
        for cut in (0..operations).step_by(2) {
            let context = format!("sectors of {size}, cut after {cut} of {operations} operations");
            let (mut disk, traces) = used(dir.path(), size);
            assert!(reset(&disk, cut, &wanted).0.is_err(), "{context}");
            restart(&mut disk);
            let (outcome, formatted, _) = boot(&disk, u64::MAX);
            check_set_up(&disk, outcome.unwrap_or_else(|err| panic!("{context}: {err}")), &context);
            let [state, var] = traces.map(|at| has_trace(&disk, at));
            assert!(var && state == formatted.is_empty(), "{context}: {state} {var} {formatted:?}");
        }
    }
}

#[test]
fn a_disk_that_is_reset_whole_has_no_table_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    image::build(dir.path(), SectorSize::B512);
    let (disk, traces) = used(dir.path(), 512);
    assert_eq!(reset(&disk, u64::MAX, &Wanted::Disk { restart: true }).0.unwrap(), Done::Erased);
    assert!(matches!(tables(&disk), Tables::Neither { .. }));
    assert_eq!(traces.map(|at| has_trace(&disk, at)), [false; 2]);
    for at in [0, MIB, SIZE - MIB] {
        let mut bytes = vec![1; 1 << 20];
        disk.backing().read_exact_at(&mut bytes, at).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "the mebibyte at {at} is not cleared");
    }
}
