//! A configuration on a labelled volume: looks at every block device that is not the node's own.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use linux::mount::{self, DATA, Flags, MountError};

use super::{
    label::{self, Volume},
    store::{StoreError, read_bounded},
};

/// Where a volume is mounted while it is read.
const MOUNT_POINT: &str = "/run/config-volume";

/// First line of a document that is for another system.
const CLOUD_CONFIG: &str = "#cloud-config";

/// A volume that looked right could not be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum VolumeError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error("volume {label} on {device} has no file {file}")]
    NoFile { label: String, device: PathBuf, file: &'static str },
}

/// What a volume gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// `cidata` or `metal-iso`.
    pub source: &'static str,
    /// The document; a secret.
    pub text: String,
}

/// Source and file name for a label.
fn wanted(label: &str) -> Option<(&'static str, &'static str)> {
    match label {
        "cidata" | "CIDATA" => Some(("cidata", "user-data")),
        // FAT has no lower case, ISO 9660 by the letter neither.
        "metal-iso" | "METAL-ISO" => Some(("metal-iso", "config.yaml")),
        _ => None,
    }
}

/// The text unless it is for another system.
fn usable(text: String) -> Option<String> {
    (text.lines().next().map(str::trim_end) != Some(CLOUD_CONFIG)).then_some(text)
}

/// Names of block devices that may hold a configuration: with a size, and not the system disk, a mapping, or memory.
#[must_use]
pub fn candidates(system_disk: &str) -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_candidate(name, system_disk) && size(name) > 0).collect()
}

fn is_candidate(name: &str, system_disk: &str) -> bool {
    let own = !system_disk.is_empty()
        && name.strip_prefix(system_disk).is_some_and(|rest| {
            // `sda1`, `nvme0n1p2`, but not `sdaa` beside `sda`.
            rest.is_empty() || rest.trim_start_matches('p').bytes().all(|byte| byte.is_ascii_digit())
        });
    !own && !["loop", "ram", "zram", "dm-", "md"].iter().any(|prefix| name.starts_with(prefix))
}

fn size(name: &str) -> u64 {
    fs::read_to_string(format!("/sys/class/block/{name}/size")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Looks at the devices in order; the first with a usable document wins. Blocks on device reads.
///
/// # Errors
/// [`VolumeError`] of the first volume with a right label that could not be read.
pub fn search(names: &BTreeSet<String>) -> Result<Option<Found>, VolumeError> {
    for name in names {
        let device = Path::new("/dev").join(name);
        let Ok(head) = read_head(&device) else {
            // No medium, or vanished meanwhile.
            continue;
        };
        let Some(volume) = label::read(&head) else { continue };
        let Some((source, file)) = wanted(&volume.label) else { continue };
        let text = read_file(&device, &volume, file)?;
        if let Some(text) = usable(text) {
            return Ok(Some(Found { source, text }));
        }
    }
    Ok(None)
}

fn read_head(device: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(label::HEAD);
    File::open(device)?.take(label::HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Mounts read-only, reads, unmounts.
fn read_file(device: &Path, volume: &Volume, file: &'static str) -> Result<String, VolumeError> {
    let target = Path::new(MOUNT_POINT);
    mount::mount(device, target, volume.fstype, DATA | Flags::RDONLY, "")?;
    let text = read_bounded(&target.join(file));
    let unmounted = mount::unmount(target, false).or_else(|_| mount::unmount(target, true));
    let text = text?.ok_or_else(|| VolumeError::NoFile { label: volume.label.clone(), device: device.into(), file })?;
    unmounted?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, system_disk: &str, wanted: bool) {
        assert_eq!(is_candidate(name, system_disk), wanted, "{name} beside {system_disk}");
    }

    #[test]
    fn devices() {
        check("sdb", "sda", true);
        check("sda", "sda", false);
        check("sda1", "sda", false);
        check("sdaa", "sda", true);
        check("nvme0n1p3", "nvme0n1", false);
        check("nvme1n1p3", "nvme0n1", true);
        check("sr0", "vda", true);
        check("vdb", "", true);
        for name in ["loop0", "ram1", "dm-0", "md0", "zram0"] {
            check(name, "", false);
        }
    }

    #[test]
    fn labels_and_documents() {
        assert_eq!(wanted("CIDATA"), Some(("cidata", "user-data")));
        assert_eq!(wanted("metal-iso"), Some(("metal-iso", "config.yaml")));
        assert_eq!(wanted("EFI"), None);
        assert_eq!(usable("#cloud-config\nusers: []\n".into()), None);
        assert_eq!(usable("#cloud-config \r\n".into()), None);
        assert_eq!(usable("machine: {}\n".into()).as_deref(), Some("machine: {}\n"));
    }
}
