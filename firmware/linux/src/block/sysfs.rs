//! Disks and partitions as sysfs shows them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// sysfs counts in sectors of 512 bytes, whatever the disk's own are.
const SYSFS_SECTOR: u64 = 512;
/// Longest attribute, bytes (Documentation/filesystems/sysfs.rst: a page).
const ATTRIBUTE: usize = 4096;

/// sysfs did not answer as expected.
#[derive(Debug, thiserror::Error)]
#[error("read {path}")]
pub struct DiskFault {
    path: PathBuf,
    source: io::Error,
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name (`vda`).
    pub name: String,
    /// Device node.
    pub node: PathBuf,
    /// Device number, `major:minor`.
    pub number: String,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector: u32,
    /// Physical sector size in bytes.
    pub physical_sector: u32,
    /// Cannot be written.
    pub read_only: bool,
    /// Says of itself that its medium can be taken out.
    pub removable: bool,
    /// Spins.
    pub rotational: bool,
    /// There is hardware behind it; not so for loop, device-mapper or RAM disks.
    pub hardware: bool,
    /// Model, empty when not known.
    pub model: String,
    /// Serial number, empty when not known.
    pub serial: String,
    /// World-wide id, empty when not known.
    pub wwid: String,
    /// `nvme`, `usb`, `virtio`, `sata`, `mmc`, `scsi` or empty.
    pub transport: &'static str,
    /// Where in sysfs the device hangs.
    pub bus_path: String,
    /// Partitions by number.
    pub partitions: Vec<Part>,
}

/// What of a disk matters to who sets it up. Far cheaper than the whole [`Disk`], which asks the device itself for its serial
/// number: a request behind all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Kernel name (`vda`).
    pub name: String,
    /// Device node.
    pub node: PathBuf,
    /// Logical sector size in bytes.
    pub sector: u32,
    /// Partitions by number.
    pub partitions: Vec<Part>,
}

/// A partition in the kernel's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number in the table.
    pub number: u32,
    /// Kernel name (`vda1`).
    pub name: String,
    /// Device node.
    pub node: PathBuf,
    /// First byte on the disk.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Its GUID; not there when it was added after the kernel read the table.
    pub guid: Option<Uuid>,
    /// Its name in the table.
    pub label: Option<String>,
}

/// The mounted sysfs and devtmpfs, or copies of them in tests.
#[derive(Clone, Debug)]
pub struct Sysfs {
    sys: PathBuf,
    dev: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at("/sys", "/dev")
    }
}

impl Sysfs {
    /// sysfs and devtmpfs at other places.
    pub fn at(sys: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> Self {
        Self { sys: sys.into(), dev: dev.into() }
    }

    /// All disks, by name. One that vanishes while it is looked at is left out.
    ///
    /// # Errors
    /// [`DiskFault`] when the list itself cannot be read.
    pub fn disks(&self) -> Result<Vec<Disk>, DiskFault> {
        Ok(self.names()?.iter().filter_map(|name| self.disk(name).ok()).collect())
    }

    /// Names of all disks, sorted.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn names(&self) -> Result<Vec<String>, DiskFault> {
        let mut names = list(&self.sys.join("block"))?;
        names.sort();
        Ok(names)
    }

    /// Whether there is hardware behind the disk ([`Disk::hardware`]).
    #[must_use]
    pub fn is_hardware(&self, name: &str) -> bool {
        self.sys.join("block").join(name).join("device").exists()
    }

    /// Names of devices built on a disk or partition (`dm-0`, `md0`).
    #[must_use]
    pub fn holders(&self, name: &str) -> Vec<String> {
        list(&self.sys.join("class/block").join(name).join("holders")).unwrap_or_default()
    }

    /// The partitions of a disk by number.
    ///
    /// # Errors
    /// [`DiskFault`] when there is no such disk.
    pub fn partitions(&self, disk: &str) -> Result<Vec<Part>, DiskFault> {
        let dir = self.sys.join("block").join(disk);
        // The kernel names partitions after their disk.
        let children = list(&dir)?.into_iter().filter(|child| child.starts_with(disk));
        let mut partitions: Vec<Part> = children.filter_map(|child| self.part(&dir.join(&child), &child).ok().flatten()).collect();
        partitions.sort_by_key(|part| part.number);
        Ok(partitions)
    }

    /// What matters of a disk, by kernel name.
    ///
    /// # Errors
    /// [`DiskFault`] when there is none.
    pub fn outline(&self, name: &str) -> Result<Outline, DiskFault> {
        let dir = self.sys.join("block").join(name);
        let partitions = self.partitions(name)?;
        let sector = sector(&dir, "logical_block_size");
        Ok(Outline { name: name.to_owned(), node: self.node(&text(&dir.join("uevent")), name), sector, partitions })
    }

    /// One disk by kernel name.
    ///
    /// # Errors
    /// [`DiskFault`] when there is none.
    pub fn disk(&self, name: &str) -> Result<Disk, DiskFault> {
        let dir = self.sys.join("block").join(name);
        let size = number(&dir.join("size"))?.saturating_mul(SYSFS_SECTOR);
        let bus_path = fs::canonicalize(&dir).unwrap_or_default();
        let bus_path = bus_path.strip_prefix(&self.sys).unwrap_or(&bus_path).display().to_string();
        let flag = |file: &str| text(&dir.join(file)) == "1";
        let Outline { name, node, sector: logical, partitions } = self.outline(name)?;
        Ok(Disk {
            number: text(&dir.join("dev")),
            size,
            sector: logical,
            physical_sector: sector(&dir, "physical_block_size"),
            read_only: flag("ro"),
            removable: flag("removable"),
            rotational: flag("queue/rotational"),
            hardware: self.is_hardware(&name),
            model: text(&dir.join("device/model")),
            serial: serial(&dir),
            wwid: first(&[dir.join("wwid"), dir.join("device/wwid")]),
            transport: transport(&bus_path),
            bus_path,
            name,
            node,
            partitions,
        })
    }

    /// Name of the whole disk that a partition (or the disk itself) belongs to.
    ///
    /// # Errors
    /// [`DiskFault`] when there is no such device.
    pub fn whole_disk(&self, name: &str) -> Result<String, DiskFault> {
        let link = self.sys.join("class/block").join(name);
        let path = fs::canonicalize(&link).map_err(|source| DiskFault { path: link, source })?;
        let own = if path.join("partition").exists() { path.parent() } else { Some(path.as_path()) };
        Ok(own.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Kernel name of the block device with this number (`major:minor`).
    ///
    /// # Errors
    /// [`DiskFault`] when there is no such device.
    pub fn name_of(&self, number: &str) -> Result<String, DiskFault> {
        let link = self.sys.join("dev/block").join(number);
        let path = fs::canonicalize(&link).map_err(|source| DiskFault { path: link, source })?;
        Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// The devices that a mapping lies on.
    ///
    /// # Errors
    /// [`DiskFault`] when there is no such device.
    pub fn lower(&self, name: &str) -> Result<Vec<String>, DiskFault> {
        list(&self.sys.join("class/block").join(name).join("slaves"))
    }

    /// Name that device-mapper knows a device by (`root` for `dm-0`); empty for other devices.
    #[must_use]
    pub fn mapping(&self, name: &str) -> String {
        text(&self.sys.join("class/block").join(name).join("dm/name"))
    }

    fn part(&self, dir: &Path, name: &str) -> Result<Option<Part>, DiskFault> {
        let uevent = text(&dir.join("uevent"));
        // Only a partition has a number.
        let Some(index) = field(&uevent, "PARTN").and_then(|number| number.parse().ok()) else { return Ok(None) };
        Ok(Some(Part {
            number: index,
            name: name.to_owned(),
            node: self.node(&uevent, name),
            start: number(&dir.join("start"))?.saturating_mul(SYSFS_SECTOR),
            size: number(&dir.join("size"))?.saturating_mul(SYSFS_SECTOR),
            guid: field(&uevent, "PARTUUID").and_then(|guid| Uuid::try_parse(guid).ok()),
            label: field(&uevent, "PARTNAME").map(str::to_owned),
        }))
    }

    /// The node that devtmpfs made: `DEVNAME` of the device.
    fn node(&self, uevent: &str, name: &str) -> PathBuf {
        self.dev.join(field(uevent, "DEVNAME").unwrap_or(name))
    }
}

/// The value of `key=` in a uevent file.
fn field<'a>(uevent: &'a str, key: &str) -> Option<&'a str> {
    uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// The bus that a device hangs on, from its place in sysfs. Innermost first: a USB stick is SCSI too.
fn transport(path: &str) -> &'static str {
    let has = |part: &str| path.split('/').any(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()) == part);
    match () {
        () if path.contains("/nvme/") => "nvme",
        () if has("usb") => "usb",
        () if has("virtio") => "virtio",
        () if has("ata") => "sata",
        () if has("mmc_host") || has("mmc") => "mmc",
        () if has("host") => "scsi",
        () => "",
    }
}

/// virtio and NVMe give text; SCSI the page 0x80 with four bytes in front.
fn serial(dir: &Path) -> String {
    let plain = first(&[dir.join("serial"), dir.join("device/serial")]);
    if !plain.is_empty() {
        return plain;
    }
    let page = fs::read(dir.join("device/vpd_pg80")).unwrap_or_default();
    String::from_utf8_lossy(page.get(4..).unwrap_or_default()).trim().trim_matches('\0').to_owned()
}

fn first(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| text(path)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// The file's text without white space around it; empty when there is none.
fn text(path: &Path) -> String {
    attribute(path).unwrap_or_default()
}

fn number(path: &Path) -> Result<u64, DiskFault> {
    let fault = |source| DiskFault { path: path.to_owned(), source };
    let text = attribute(path).map_err(fault)?;
    text.parse().map_err(|err| fault(io::Error::new(io::ErrorKind::InvalidData, err)))
}

/// A sector size of the disk in `dir`.
fn sector(dir: &Path, file: &str) -> u32 {
    text(&dir.join("queue").join(file)).parse().unwrap_or(512)
}

/// An attribute without white space around it. sysfs gives it whole to one read of a page: no question for its size before,
/// and none for more after it.
fn attribute(path: &Path) -> io::Result<String> {
    let mut page = [0; ATTRIBUTE];
    let length = fs::File::open(path)?.read(&mut page)?;
    Ok(String::from_utf8_lossy(page.get(..length).unwrap_or_default()).trim().to_owned())
}

fn list(dir: &Path) -> Result<Vec<String>, DiskFault> {
    let fault = |source| DiskFault { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(fault)? {
        names.push(entry.map_err(fault)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
