//! A loop device that is a disk.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use linux::block::{Sysfs, loops};
use loopdev::{LoopControl, LoopDevice};
use tempfile::NamedTempFile;

/// How often another free device is tried: between asking for one and taking it, somebody else may.
const ATTEMPTS: usize = 64;

/// A disk of zeros; gone when dropped.
pub struct LoopDisk {
    device: LoopDevice,
    backing: NamedTempFile,
    sector: u16,
}

impl LoopDisk {
    /// A disk of `size` bytes with sectors of `sector` bytes.
    pub fn new(size: u64, sector: u16) -> Self {
        let backing = NamedTempFile::new().expect("a temporary file");
        backing.as_file().set_len(size).expect("a sparse file");
        let device = attach(backing.path(), sector);
        Self { device, backing, sector }
    }

    pub fn path(&self) -> PathBuf {
        self.device.path().expect("the device has a node")
    }

    pub fn name(&self) -> String {
        self.path().file_name().expect("a name").to_string_lossy().into_owned()
    }

    /// What is on the medium now.
    pub fn backing(&self) -> File {
        // Loop devices without direct I/O write through the file's page cache, so the file always has the truth.
        File::options().read(true).write(true).open(self.backing.path()).expect("the backing file")
    }

    pub fn outline(&self) -> linux::block::Outline {
        Sysfs::default().outline(&self.name()).expect("the device is in sysfs")
    }

    pub fn disk(&self) -> linux::block::Disk {
        Sysfs::default().disk(&self.name()).expect("the device is in sysfs")
    }

    /// Off and on again: the kernel reads the table anew.
    pub fn replug(&mut self) {
        self.device.detach().expect("nobody uses the device");
        self.device = attach(self.backing.path(), self.sector);
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Already detached, or still in use by a test that failed: nothing to do about either.
        let _ = self.device.detach();
    }
}

fn attach(backing: &Path, sector: u16) -> LoopDevice {
    let control = LoopControl::open().expect("/dev/loop-control: these tests need root and the kernel's loop driver");
    for _ in 0..ATTEMPTS {
        let device = control.next_free().expect("a free loop device");
        if device.with().part_scan(true).attach(backing).is_ok() {
            let path = device.path().expect("the device has a node");
            let handle = File::options().read(true).write(true).open(path).expect("the device opens");
            loops::set_sector_size(&handle, sector).expect("the sector size can be set");
            return device;
        }
    }
    let count = fs::read_dir("/sys/block").map(Iterator::count).unwrap_or_default();
    panic!("no loop device could be taken in {ATTEMPTS} attempts ({count} block devices)");
}
