//! Disks besides the system's that a reset wipes: which may be, and how.

use std::path::{Path, PathBuf};

use linux::block::{Access, Device, DeviceError, Disk, DiskFault, Sysfs, partitions};
use log::info;

/// Bytes wiped at each end: every signature we know of lies within them.
const SIGNATURES: u64 = 1 << 20;
/// Most disks in one order.
pub const MOST: usize = 64;

/// A disk that is not wiped; nothing was written to it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum UserDiskError {
    #[error("list the machine's disks")]
    List { source: DiskFault },
    #[error("{count} disks are too many for one reset, {MOST} are possible", MOST = MOST)]
    TooMany { count: usize },
    #[error("there is no disk {path}; a whole disk is named by its device, such as /dev/sdb")]
    Missing { path: PathBuf },
    #[error("{path} is a partition; a reset wipes whole disks")]
    Partition { path: PathBuf },
    #[error("{path} is the system disk, which a reset wipes by its own rules: name partitions of it, or none for all of it")]
    System { path: PathBuf },
    #[error("{path} is read-only")]
    ReadOnly { path: PathBuf },
    #[error("{path} is an optical drive")]
    Optical { path: PathBuf },
    #[error("{path} is used by {}; take it out of use first", holders.join(", "))]
    Held { path: PathBuf, holders: Vec<String> },
    #[error("{path} is mounted on {target}; take it out of use first")]
    Mounted { path: PathBuf, target: PathBuf },
    #[error("wipe {path}")]
    Device { path: PathBuf, source: DeviceError },
}

/// What is known of the machine when an order comes.
pub struct Machine<'a> {
    /// Its disks.
    pub disks: &'a [Disk],
    /// Kernel name of the disk that the node runs from.
    pub system: &'a str,
    /// Devices that others are built on, by kernel name, with those.
    pub holders: &'a dyn Fn(&str) -> Vec<String>,
    /// Where a device node is mounted.
    pub mounted: &'a dyn Fn(&Path) -> Option<PathBuf>,
}

impl Machine<'_> {
    /// The disks that `paths` name, once each, when all of them may be wiped.
    ///
    /// # Errors
    /// [`UserDiskError`], of the first that may not.
    pub fn check(&self, paths: &[PathBuf]) -> Result<Vec<&Disk>, UserDiskError> {
        if paths.len() > MOST {
            return Err(UserDiskError::TooMany { count: paths.len() });
        }
        let mut found: Vec<&Disk> = Vec::new();
        for path in paths {
            let disk = self.check_one(path)?;
            if !found.iter().any(|other| other.name == disk.name) {
                found.push(disk);
            }
        }
        Ok(found)
    }

    fn check_one(&self, path: &Path) -> Result<&Disk, UserDiskError> {
        let path = path.to_owned();
        let Some(disk) = self.disks.iter().find(|disk| disk.node == path) else {
            let partition = self.disks.iter().any(|disk| disk.partitions.iter().any(|part| part.node == path));
            return Err(if partition { UserDiskError::Partition { path } } else { UserDiskError::Missing { path } });
        };
        if disk.name == self.system {
            return Err(UserDiskError::System { path });
        }
        if disk.name.starts_with("sr") {
            return Err(UserDiskError::Optical { path });
        }
        if disk.read_only {
            return Err(UserDiskError::ReadOnly { path });
        }
        let all = || disk.partitions.iter().map(|part| (&part.name, &part.node)).chain([(&disk.name, &disk.node)]);
        let holders: Vec<String> = all().flat_map(|(name, _)| (self.holders)(name)).collect();
        if !holders.is_empty() {
            return Err(UserDiskError::Held { path, holders });
        }
        match all().find_map(|(_, node)| (self.mounted)(node)) {
            Some(target) => Err(UserDiskError::Mounted { path, target }),
            None => Ok(disk),
        }
    }
}

/// The disks of this machine that `paths` name, when all of them may be wiped; links are followed. Blocks.
///
/// # Errors
/// [`UserDiskError`].
pub fn check(paths: &[PathBuf], system: &str) -> Result<Vec<Disk>, UserDiskError> {
    let sysfs = Sysfs::default();
    let mut disks = sysfs.disks().map_err(|source| UserDiskError::List { source })?;
    // Mappings, loop and memory devices are somebody's work, not disks.
    disks.retain(|disk| disk.hardware);
    let mounts = linux::mount::mounts().unwrap_or_default();
    let machine = Machine {
        disks: &disks,
        system,
        holders: &|name| sysfs.holders(name),
        mounted: &|node| mounts.iter().find(|entry| Path::new(&entry.device) == node).map(|entry| entry.target.clone()),
    };
    // A path that leads nowhere stays as it is, and is named in the answer.
    let paths: Vec<PathBuf> = paths.iter().map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect();
    Ok(machine.check(&paths)?.into_iter().cloned().collect())
}

/// Wipes the signatures at both ends of a disk that nobody uses: the kernel refuses one that is. Blocks.
///
/// # Errors
/// [`UserDiskError::Device`].
pub fn wipe(path: &Path) -> Result<(), UserDiskError> {
    let fault = |source| UserDiskError::Device { path: path.to_owned(), source };
    let device = Device::open(path, Access::Own).map_err(fault)?;
    let size = device.size() / device.sector() * device.sector();
    let length = SIGNATURES.min(size);
    info!("disk: wiping both ends of {}", path.display());
    // The end first: a table's backup must not outlive its primary.
    device.zero(size.saturating_sub(length), length).map_err(fault)?;
    device.zero(0, length).map_err(fault)?;
    device.flush().map_err(fault)?;
    if let Err(error) = partitions::reread(&device) {
        info!("disk: the kernel keeps the partitions of {} until it looks again: {error}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str) -> Disk {
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
            hardware: true,
            model: String::new(),
            serial: String::new(),
            wwid: String::new(),
            transport: "virtio",
            bus_path: String::new(),
            partitions: vec![linux::block::Part {
                number: 1,
                name: format!("{name}1"),
                node: PathBuf::from(format!("/dev/{name}1")),
                start: 0,
                size: 1 << 20,
                guid: None,
                label: None,
            }],
        }
    }

    #[test]
    fn which_disks_may_be_wiped() {
        let disks = ["vda", "vdb", "vdc", "vdd", "vde", "vdf", "ro", "sr0"].map(disk);
        let machine = Machine {
            disks: &disks,
            system: "vda",
            holders: &|name| if matches!(name, "vdc" | "vdd1") { vec!["dm-3".to_owned()] } else { vec![] },
            mounted: &|node| (node == Path::new("/dev/vde1")).then(|| "/var/mnt/a".into()),
        };
        let check = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            match machine.check(&paths) {
                Ok(disks) => disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>().join(" "),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(check(&[]), "");
        assert_eq!(check(&["/dev/vdb", "/dev/vdf", "/dev/vdb"]), "vdb vdf");
        for (path, expect) in [
            ("/dev/vda", "is the system disk"),
            ("/dev/vda1", "/dev/vda1 is a partition"),
            ("/dev/vdx", "no disk /dev/vdx"),
            ("vdb", "no disk vdb"),
            ("/dev/vdc", "is used by dm-3"),
            ("/dev/vdd", "is used by dm-3"),
            ("/dev/vde", "mounted on /var/mnt/a"),
            ("/dev/ro", "is read-only"),
            ("/dev/sr0", "is an optical drive"),
        ] {
            let text = check(&["/dev/vdb", path]);
            assert!(text.contains(expect), "{path}: {text}");
        }
        assert!(check(&["/dev/vdb"; MOST + 1]).contains("too many"));
    }

    #[test]
    fn both_ends_are_wiped() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), vec![7; 5 << 20]).expect("written");
        wipe(file.path()).expect("wiped");
        let bytes = std::fs::read(file.path()).expect("read");
        let (start, end) = (1 << 20, 4 << 20);
        assert!(bytes[..start].iter().chain(&bytes[end..]).all(|byte| *byte == 0));
        assert!(bytes[start..end].iter().all(|byte| *byte == 7));
    }
}
