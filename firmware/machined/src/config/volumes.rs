//! A configuration on a labelled volume: looks at every block device that is not the node's own.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use linux::mount::{self, DATA, Flags, MountError};

use super::{
    document::Document,
    label::{self, Volume},
    store::{StoreError, read_bounded},
};
use crate::platform::Texts;

/// Where a volume is mounted while it is read.
const MOUNT_POINT: &str = "/run/config-volume";

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
    #[error("{file} of volume {label} on {device}: {problem}")]
    Document { label: String, device: PathBuf, file: &'static str, problem: String },
}

/// A kind of volume that a configuration may be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// As clouds with NoCloud have it.
    Cidata,
    /// As people make it.
    MetalIso,
}

impl Label {
    /// By the label of a file system. FAT has no lower case, ISO 9660 by the letter neither.
    fn of(text: &str) -> Option<Self> {
        match text {
            "cidata" | "CIDATA" => Some(Self::Cidata),
            "metal-iso" | "METAL-ISO" => Some(Self::MetalIso),
            _ => None,
        }
    }

    /// The source that people are shown.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Cidata => "cidata",
            Self::MetalIso => "metal-iso",
        }
    }

    /// The configuration's file.
    const fn file(self) -> &'static str {
        match self {
            Self::Cidata => "user-data",
            Self::MetalIso => "config.yaml",
        }
    }
}

/// What a volume gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// `cidata` or `metal-iso`.
    pub source: &'static str,
    /// What its user data is.
    pub document: Document,
    /// What is beside it.
    pub texts: Option<Texts>,
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

/// Looks at the devices in order; the first one with one of the `labels` and something for this system on it wins. `beside`: what
/// is beside the configuration is wanted, too. Blocks on device reads.
///
/// # Errors
/// [`VolumeError`] of the first volume with a right label that could not be read.
pub fn search(names: &BTreeSet<String>, labels: &[Label], beside: bool) -> Result<Option<Found>, VolumeError> {
    for name in names {
        let device = Path::new("/dev").join(name);
        let Ok(head) = read_head(&device) else {
            // No medium, or vanished meanwhile.
            continue;
        };
        let Some(volume) = label::read(&head) else { continue };
        let Some(label) = Label::of(&volume.label).filter(|label| labels.contains(label)) else { continue };
        let found = mounted(&device, &volume, |folder| read_files(folder, &device, &volume, label, beside))?;
        if found.texts.is_some() || found.document != Document::Foreign {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn read_files(folder: &Path, device: &Path, volume: &Volume, label: Label, beside: bool) -> Result<Found, VolumeError> {
    let file = label.file();
    let (meta_data, network_config) = match label {
        Label::Cidata if beside => (read_bounded(&folder.join("meta-data"))?, read_bounded(&folder.join("network-config"))?),
        Label::Cidata | Label::MetalIso => (None, None),
    };
    let texts = (meta_data.is_some() || network_config.is_some()).then(|| Texts {
        origin: label.source().to_owned(),
        meta_data,
        network_config,
        ..Texts::default()
    });
    let document = match read_bounded(&folder.join(file))? {
        Some(text) => Document::read(text).map_err(|problem| {
            let (label, device) = (volume.label.clone(), device.into());
            VolumeError::Document { label, device, file, problem }
        })?,
        // A volume that only says who the machine is.
        None if texts.is_some() => Document::Foreign,
        None => return Err(VolumeError::NoFile { label: volume.label.clone(), device: device.into(), file }),
    };
    Ok(Found { source: label.source(), document, texts })
}

fn read_head(device: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(label::HEAD);
    File::open(device)?.take(label::HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Mounts read-only, reads, unmounts.
fn mounted<T>(device: &Path, volume: &Volume, read: impl FnOnce(&Path) -> Result<T, VolumeError>) -> Result<T, VolumeError> {
    let target = Path::new(MOUNT_POINT);
    mount::mount(device, target, volume.fstype, DATA | Flags::RDONLY, "")?;
    let found = read(target);
    let unmounted = mount::unmount(target, false).or_else(|_| mount::unmount(target, true));
    let found = found?;
    unmounted?;
    Ok(found)
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

    #[track_caller]
    fn on_volume((label, beside): (Label, bool), files: &[(&str, &str)], wanted: Result<(&Document, bool), &str>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let volume = Volume { fstype: "vfat", label: "L".into() };
        let found = read_files(folder.path(), Path::new("/dev/x"), &volume, label, beside);
        match (found, wanted) {
            (Ok(found), Ok((document, texts))) => assert_eq!((&found.document, found.texts.is_some()), (document, texts), "{files:?}"),
            (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{error}"),
            (Ok(found), Err(wanted)) => panic!("{:?} instead of {wanted}", found.document),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }

    #[test]
    fn files_of_a_volume() {
        let config = Document::Config("machine: {}\n".into());
        on_volume((Label::MetalIso, true), &[("config.yaml", "machine: {}\n"), ("meta-data", "a: b")], Ok((&config, false)));
        on_volume((Label::MetalIso, true), &[("user-data", "machine: {}\n")], Err("volume L on /dev/x has no file config.yaml"));
        on_volume((Label::Cidata, true), &[("user-data", "machine: {}\n")], Ok((&config, false)));
        on_volume((Label::Cidata, true), &[("user-data", "machine: {}\n"), ("network-config", "")], Ok((&config, true)));
        on_volume((Label::Cidata, false), &[("user-data", "machine: {}\n"), ("network-config", "")], Ok((&config, false)));
        on_volume((Label::Cidata, true), &[("user-data", "#cloud-config\n"), ("meta-data", "")], Ok((&Document::Foreign, true)));
        on_volume((Label::Cidata, true), &[("meta-data", "")], Ok((&Document::Foreign, true)));
        on_volume((Label::Cidata, true), &[], Err("has no file user-data"));
        on_volume((Label::Cidata, true), &[("user-data", "#include\n")], Err("user-data of volume L on /dev/x: #include names no URL"));
    }

    #[test]
    fn labels() {
        assert_eq!(Label::of("CIDATA").map(|label| (label.source(), label.file())), Some(("cidata", "user-data")));
        assert_eq!(Label::of("metal-iso").map(|label| (label.source(), label.file())), Some(("metal-iso", "config.yaml")));
        assert_eq!(Label::of("EFI"), None);
    }
}
