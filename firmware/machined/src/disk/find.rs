//! Which disk did the node boot from?
//!
//! Not by label: the root's mapping lies on one partition, that partition on one disk. Then: does the loader name the
//! same disk, and does any other disk hold the same root?

use std::{fs, io, path::Path};

use layout::{
    Range, SectorSize, Uuid, loader,
    plan::{LoaderDisk, RootPartition},
    table::Tables,
    verity::{VerityError, VerityTable},
};
use linux::block::{Access, Device, DiskFault, Outline, Part, Sysfs, dm};
use log::{debug, warn};

use super::{medium::WholeDisk, table};

const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// The disk could not be found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum FindError {
    #[error("ask for the device of /")]
    Root { source: nix::Error },
    #[error("look at the root's device")]
    Sysfs {
        #[from]
        source: DiskFault,
    },
    #[error("the root is on {device}, which is no mapping over one partition: not booted from a system image")]
    NotMapped { device: String },
    #[error("read /proc/cmdline")]
    CommandLine { source: io::Error },
    #[error("the root {device} is not behind dm-verity")]
    NotVerity { device: String, source: VerityError },
}

/// How the node was booted, as far as disks go.
#[derive(Clone, Debug)]
pub struct Booted {
    /// The disk that holds the root.
    pub disk: Outline,
    /// The partition that holds the root.
    pub root: RootPartition,
    /// The root's verity table as the kernel runs it.
    pub verity: VerityTable,
    /// Name of the root's partition in the table (`ROOT-A`).
    pub label: Option<String>,
    /// What the loader says.
    pub loader: LoaderDisk,
    /// Kernel names of other disks with the same root.
    pub twins: Vec<String>,
}

/// Finds the disk booted from.
///
/// # Errors
/// [`FindError`].
pub fn booted() -> Result<Booted, FindError> {
    let sysfs = Sysfs::default();
    let stat = nix::sys::stat::stat("/").map_err(|source| FindError::Root { source })?;
    let number = format!("{}:{}", nix::sys::stat::major(stat.st_dev), nix::sys::stat::minor(stat.st_dev));
    let mapping = sysfs.name_of(&number)?;
    let lower = match sysfs.lower(&mapping).unwrap_or_default().as_slice() {
        [lower] => lower.clone(),
        _ => return Err(FindError::NotMapped { device: mapping }),
    };
    let disk = sysfs.outline(&sysfs.whole_disk(&lower)?)?;
    let Some(part) = disk.partitions.iter().find(|part| part.name == lower).cloned() else {
        return Err(FindError::NotMapped { device: mapping });
    };
    let verity = verity(&sysfs, &mapping)?;
    let guid = verity.part_uuid();
    let root = RootPartition { guid, range: range(&part) };
    let others = sysfs.names()?.into_iter().filter(|name| *name != disk.name && sysfs.is_hardware(name));
    let others: Vec<Outline> = others.filter_map(|name| sysfs.outline(&name).ok()).collect();
    let twins = others.iter().filter(|other| has(other, guid)).map(|other| other.name.clone()).collect();
    let loader = loader_disk(loader_partition(Path::new(EFIVARS)), &disk, &others);
    Ok(Booted { label: part.label, disk, root, verity, loader, twins })
}

/// The bytes of a partition in the kernel's eyes.
#[must_use]
pub const fn range(part: &Part) -> Range {
    Range { start: part.start, length: part.size }
}

/// The table that the kernel runs; its command line only where device-mapper cannot be asked.
fn verity(sysfs: &Sysfs, mapping: &str) -> Result<VerityTable, FindError> {
    let not_verity = |source| FindError::NotVerity { device: mapping.to_owned(), source };
    match dm::table(&sysfs.mapping(mapping)) {
        Ok(targets) => {
            let target = targets.first().ok_or_else(|| not_verity(VerityError::Absent))?;
            let line = format!("{} {} {} {}", target.start, target.length, target.kind, target.text);
            VerityTable::from_table(&line).map_err(not_verity)
        }
        Err(err) => {
            warn!("disk: {}; the command line is taken instead", daemon::report(&err));
            let cmdline = fs::read_to_string("/proc/cmdline").map_err(|source| FindError::CommandLine { source })?;
            VerityTable::from_cmdline(&cmdline).map_err(not_verity)
        }
    }
}

/// Whether the disk holds a partition with this GUID.
///
/// Kernels before 6.13 do not tell GUIDs in sysfs; the disk's own table does.
fn has(disk: &Outline, guid: Uuid) -> bool {
    if disk.partitions.iter().any(|part| part.guid.is_some()) {
        return disk.partitions.iter().any(|part| part.guid == Some(guid));
    }
    if disk.partitions.is_empty() {
        return false;
    }
    match tables(disk) {
        Ok(tables) => tables.table().is_some_and(|table| table.by_guid(guid).is_some()),
        Err(text) => {
            warn!("disk: the partition table of {} cannot be read: {text}", disk.name);
            false
        }
    }
}

fn tables(disk: &Outline) -> Result<Tables, String> {
    let sector = SectorSize::try_from(u64::from(disk.sector)).map_err(|err| daemon::report(&err).to_string())?;
    let device = Device::open(&disk.node, Access::Read).map_err(|err| daemon::report(&err).to_string())?;
    Ok(table::read(&WholeDisk::new(device, sector, disk.clone())))
}

/// The partition that the loader names; `None` without one.
fn loader_partition(efivars: &Path) -> Option<Uuid> {
    let bytes = fs::read(efivars.join(loader::DEVICE_PART_UUID)).ok()?;
    let guid = loader::parse_device_part_uuid(&bytes);
    if guid.is_none() {
        debug!("disk: the loader's partition is not a GUID");
    }
    guid
}

/// Where the loader's partition is.
fn loader_disk(named: Option<Uuid>, disk: &Outline, others: &[Outline]) -> LoaderDisk {
    match named {
        None => LoaderDisk::Unnamed,
        Some(guid) if has(disk, guid) => LoaderDisk::This,
        Some(guid) => match others.iter().find(|other| has(other, guid)) {
            Some(other) => LoaderDisk::Other(other.name.clone()),
            None => LoaderDisk::Unknown(guid),
        },
    }
}
