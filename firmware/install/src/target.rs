//! What speaks against writing to a disk.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use linux::block::{Disk, DiskFault, Sysfs};

/// How deep mappings are followed down from the running root.
const MAX_DEPTH: usize = 8;

/// Why a disk is refused, with the way out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum Refusal {
    #[error("look at {device}")]
    Look { device: PathBuf, source: io::Error },
    #[error("{device} is not a block device; give a whole disk such as the stick you plugged in (see `lsblk`)")]
    NotBlock { device: PathBuf },
    #[error("look at {device} in sysfs")]
    Sysfs { device: PathBuf, source: DiskFault },
    #[error("{device} is a partition of {disk}; give the whole disk, /dev/{disk}")]
    Partition { device: PathBuf, disk: String },
    #[error("{device} is the disk that this machine runs from; it is never written to")]
    RunningSystem { device: PathBuf },
    #[error("{what} of {device} is mounted on {target}; unmount it first: umount {target}")]
    Mounted { device: PathBuf, what: String, target: String },
    #[error("{what} of {device} is used as swap; stop that first: swapoff /dev/{what}")]
    Swap { device: PathBuf, what: String },
    #[error("{what} of {device} is part of {holder}; stop that first (dmsetup, mdadm --stop, vgchange -an)")]
    Held { device: PathBuf, what: String, holder: String },
    #[error("{device} is write-protected; move the switch on the card, or use another one")]
    ReadOnly { device: PathBuf },
    #[error("{device} has {size} MiB, {least} MiB are needed; use a larger one")]
    TooSmall { device: PathBuf, size: u64, least: u64 },
    #[error("{device} ({model}, {size} MiB, {bus}) is not a removable medium; if it is the right disk, say so with --force")]
    NotRemovable { device: PathBuf, model: String, size: u64, bus: &'static str },
    #[error("read {path}")]
    Table { path: PathBuf, source: io::Error },
}

/// The whole disk behind a device node, unless something speaks against writing to it.
///
/// # Errors
/// [`Refusal`]: the first reason found.
pub fn check(device: &Path, least: u64, force: bool) -> Result<Disk, Refusal> {
    let sysfs = Sysfs::default();
    let device = device.to_owned();
    let look = |source| Refusal::Look { device: device.clone(), source };
    let meta = fs::metadata(&device).map_err(look)?;
    if !meta.file_type().is_block_device() {
        return Err(Refusal::NotBlock { device });
    }
    let fault = |source| Refusal::Sysfs { device: device.clone(), source };
    let name = sysfs.name_of(&number(meta.rdev())).map_err(fault)?;
    let whole = sysfs.whole_disk(&name).map_err(fault)?;
    if whole != name {
        return Err(Refusal::Partition { device, disk: whole });
    }
    let disk = sysfs.disk(&name).map_err(fault)?;
    if running_disks(&sysfs).contains(&name) {
        return Err(Refusal::RunningSystem { device });
    }
    in_use(&sysfs, &disk, &device)?;
    if disk.read_only {
        return Err(Refusal::ReadOnly { device });
    }
    if disk.size < least {
        return Err(Refusal::TooSmall { device, size: disk.size >> 20, least: least.div_ceil(1 << 20) });
    }
    let portable = disk.removable || matches!(disk.transport, "usb" | "mmc");
    if !portable && !force {
        let model = if disk.model.is_empty() { "no model".to_owned() } else { disk.model.clone() };
        let bus = if disk.transport.is_empty() { "unknown bus" } else { disk.transport };
        return Err(Refusal::NotRemovable { device, model, size: disk.size >> 20, bus });
    }
    Ok(disk)
}

/// Whether the kernel sees partitions on the disk.
pub(crate) fn has_partitions(name: &str) -> bool {
    Sysfs::default().partitions(name).is_ok_and(|partitions| !partitions.is_empty())
}

/// Mounted, swapped to or built upon, the disk or one of its partitions.
fn in_use(sysfs: &Sysfs, disk: &Disk, device: &Path) -> Result<(), Refusal> {
    let device = device.to_owned();
    let mut parts = vec![(disk.name.clone(), disk.node.clone())];
    parts.extend(disk.partitions.iter().map(|part| (part.name.clone(), part.node.clone())));
    let mounts = table("/proc/self/mountinfo")?;
    let swaps = table("/proc/swaps")?;
    for (what, node) in parts {
        if let Some(holder) = sysfs.holders(&what).into_iter().next() {
            return Err(Refusal::Held { device, what, holder });
        }
        let Ok(own) = fs::metadata(&node).map(|meta| number(meta.rdev())) else { continue };
        if let Some(target) = mounted_on(&mounts, &own) {
            return Err(Refusal::Mounted { device, what, target });
        }
        let swap = |path: &str| fs::metadata(path).is_ok_and(|meta| number(meta.rdev()) == own);
        if swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).any(swap) {
            return Err(Refusal::Swap { device, what });
        }
    }
    Ok(())
}

/// Where the device is mounted, by number (third word of a line), or by the device named after the dash: file systems
/// over several devices have numbers of their own.
fn mounted_on(mountinfo: &str, own: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ');
        let by_number = words.nth(2)? == own;
        let target = words.nth(1)?;
        let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
        let by_source = || {
            source.starts_with('/')
                && fs::metadata(source).is_ok_and(|meta| meta.file_type().is_block_device() && number(meta.rdev()) == own)
        };
        (by_number || by_source()).then(|| target.to_owned())
    })
}

/// The disks below the running root, through mappings.
fn running_disks(sysfs: &Sysfs) -> Vec<String> {
    let Ok(root) = fs::metadata("/") else { return Vec::new() };
    let Ok(name) = sysfs.name_of(&number(root.dev())) else { return Vec::new() };
    let mut level = vec![name];
    let mut disks = Vec::new();
    for _ in 0..MAX_DEPTH {
        disks.extend(level.iter().filter_map(|name| sysfs.whole_disk(name).ok()));
        level = level.iter().flat_map(|name| sysfs.lower(name).unwrap_or_default()).collect();
    }
    disks
}

fn table(path: &str) -> Result<String, Refusal> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        // A kernel without swap has no list of it.
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Refusal::Table { path: path.into(), source }),
    }
}

fn number(device: u64) -> String {
    format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_by_number() {
        let table = "22 1 253:0 / / rw - ext4 /dev/none rw\n36 22 8:2 / /mnt/a rw shared:1 - xfs /dev/none rw\n";
        assert_eq!(mounted_on(table, "8:2").as_deref(), Some("/mnt/a"));
        assert_eq!(mounted_on(table, "253:0").as_deref(), Some("/"));
        assert_eq!(mounted_on(table, "8:1"), None);
    }
}
