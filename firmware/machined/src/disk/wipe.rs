//! Devices that an API user wants wiped: which may be, what of them, and how.
//!
//! [`plan`] decides about all of an order before anything of it is done; [`Wipe`] carries one out in steps, so that whoever
//! waits may give up in between.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use layout::{Range, SectorSize, table::TableError};
use linux::block::{Access, Device, DeviceError, Disk, DiskFault, Part, Sysfs, partitions};
use log::info;

use super::{find, medium::WholeDisk, provision::StepError, table};

/// Most devices in one order.
pub const MOST: usize = 64;
/// Bytes that are wiped at both ends in any case: most signatures lie there.
const ENDS: u64 = 1 << 20;
/// Where signatures lie besides: second headers of LUKS2, copies of the btrfs superblock.
const ELSEWHERE: [u64; 5] = [1 << 20, 2 << 20, 4 << 20, 64 << 20, 256 << 30];
/// Bytes that are wiped at each of those.
const SIGNATURE: u64 = 4096;
/// Bytes that are made zeros in one step.
const STEP: u64 = 256 << 20;

/// How a device is wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// What file systems, volumes and tables are recognised by.
    Fast,
    /// All of it.
    Zeroes,
}

/// One device of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Kernel name (`sdb`, `sdb1`).
    pub device: String,
    /// How.
    pub method: Method,
    /// Also when it is mounted, or swapped to. What the kernel still holds of it may be written back.
    pub skip_volume_check: bool,
    /// Also when other devices are built on it.
    pub skip_secondary_check: bool,
    /// Take the partition out of the table afterwards.
    pub drop_partition: bool,
}

/// A device that is not wiped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum WipeError {
    #[error("list the machine's disks")]
    List { source: DiskFault },
    #[error("{count} devices: between 1 and {MOST} are possible in one request", MOST = MOST)]
    Count { count: usize },
    #[error("there is no disk or partition {device:?}; devices are named without /dev, such as sdb or sdb1")]
    Missing { device: String },
    #[error("{device} is neither a disk nor a partition of one but built on others; wipe those")]
    Kind { device: String },
    #[error("{device} comes twice, or together with its own disk")]
    Twice { device: String },
    #[error("{device} is a whole disk: only a partition can be dropped from a table")]
    WholeDisk { device: String },
    #[error("{device} belongs to the system disk {disk}; a reset wipes that, by its own rules")]
    System { device: String, disk: String },
    #[error("{device} is read-only")]
    ReadOnly { device: String },
    #[error("{device} is an optical drive")]
    Optical { device: String },
    #[error("{device} is mounted on {target}; unmount it, or skip the volume check")]
    Mounted { device: String, target: PathBuf },
    #[error("{device} is used as swap; take it out of use, or skip the volume check")]
    Swap { device: String },
    #[error("{device} is used by {}; remove that first, or skip the secondary check", holders.join(", "))]
    Held { device: String, holders: Vec<String> },
    #[error("{device} may be part of the system: which disk that is on is not known, so the secondary check cannot be skipped")]
    SystemUnknown { device: String },
    #[error("wipe {device}")]
    Device { device: String, source: DeviceError },
    #[error("take {device} out of the partition table of {disk}: {reason}")]
    Table { device: String, disk: String, reason: String },
    #[error("take {device} out of the partition table of {disk}")]
    Drop { device: String, disk: String, source: Box<StepError> },
    #[error("take {device} from the kernel")]
    Kernel { device: String, source: partitions::PartitionError },
}

impl WipeError {
    /// It is in use by somebody whom the checks did not see.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let errno = |source: &std::io::Error| matches!(source.raw_os_error(), Some(libc::EBUSY));
        match self {
            Self::Device { source: DeviceError::Locked { .. }, .. } => true,
            Self::Device { source: DeviceError::Open { source, .. }, .. } => errno(source),
            Self::Kernel { source, .. } => source.is_busy(),
            _ => false,
        }
    }
}

/// What is known of the machine when an order comes.
pub struct Machine<'a> {
    /// Its disks, with those that no hardware is behind.
    pub disks: &'a [Disk],
    /// Kernel name of the disk that the node runs from; empty when it is not known.
    pub system: &'a str,
    /// Devices that others are built on, by kernel name, with those.
    pub holders: &'a dyn Fn(&str) -> Vec<String>,
    /// Where a device node is mounted.
    pub mounted: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// Whether a device node is swapped to.
    pub swap: &'a dyn Fn(&Path) -> bool,
}

/// A device that may be wiped, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    device: String,
    node: PathBuf,
    method: Method,
    /// The kernel is to refuse while anybody uses it.
    exclusive: bool,
    /// Where partitions begin and end in it; empty for a partition.
    inside: Vec<Range>,
    /// Its disk and its number there, when it is to be dropped.
    drop: Option<(String, u32)>,
}

/// What is done for an order, when all of it may be.
///
/// # Errors
/// [`WipeError`] of the first device that may not be wiped.
pub fn plan(orders: &[Order], machine: &Machine<'_>) -> Result<Vec<Plan>, WipeError> {
    if orders.is_empty() || orders.len() > MOST {
        return Err(WipeError::Count { count: orders.len() });
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut disks: BTreeSet<&str> = BTreeSet::new();
    let mut plans = Vec::new();
    for order in orders {
        let (disk, part) = machine.find(&order.device)?;
        // A disk's wipe takes its partitions from under the kernel.
        let twice = !seen.insert(&order.device) || (part.is_none() && !disks.insert(&disk.name));
        plans.push((machine.check(order, disk, part)?, disk.name.as_str(), part.is_some()));
        if twice {
            return Err(WipeError::Twice { device: order.device.clone() });
        }
    }
    match plans.iter().find(|(_, disk, is_part)| *is_part && disks.contains(disk)) {
        Some((plan, ..)) => Err(WipeError::Twice { device: plan.device.clone() }),
        None => Ok(plans.into_iter().map(|(plan, ..)| plan).collect()),
    }
}

impl Machine<'_> {
    fn find(&self, device: &str) -> Result<(&Disk, Option<&Part>), WipeError> {
        let found = self.disks.iter().find_map(|disk| {
            let part = disk.partitions.iter().find(|part| part.name == device);
            (part.is_some() || disk.name == device).then_some((disk, part))
        });
        match found {
            None => Err(WipeError::Missing { device: device.to_owned() }),
            Some((disk, _)) if !disk.hardware => Err(WipeError::Kind { device: device.to_owned() }),
            Some(found) => Ok(found),
        }
    }

    fn check(&self, order: &Order, disk: &Disk, part: Option<&Part>) -> Result<Plan, WipeError> {
        let device = order.device.clone();
        match part {
            _ if disk.name == self.system => return Err(WipeError::System { device, disk: disk.name.clone() }),
            None if order.drop_partition => return Err(WipeError::WholeDisk { device }),
            _ if disk.name.starts_with("sr") => return Err(WipeError::Optical { device }),
            _ if disk.read_only => return Err(WipeError::ReadOnly { device }),
            _ => {}
        }
        // What is on a disk's partitions is on the disk.
        let whole: &[Part] = if part.is_none() { &disk.partitions } else { &[] };
        let own = part.map_or((&disk.name, &disk.node), |part| (&part.name, &part.node));
        let all = || whole.iter().map(|part| (&part.name, &part.node)).chain([own]);
        let holders: Vec<String> = all().flat_map(|(name, _)| (self.holders)(name)).collect();
        if !holders.is_empty() {
            if !order.skip_secondary_check {
                return Err(WipeError::Held { device, holders });
            }
            if self.system.is_empty() {
                return Err(WipeError::SystemUnknown { device });
            }
        }
        if !order.skip_volume_check {
            if let Some((name, target)) = all().find_map(|(name, node)| Some((name, (self.mounted)(node)?))) {
                return Err(WipeError::Mounted { device: name.clone(), target });
            }
            if let Some((name, _)) = all().find(|(_, node)| (self.swap)(node)) {
                return Err(WipeError::Swap { device: name.clone() });
            }
        }
        Ok(Plan {
            device,
            node: own.1.clone(),
            method: order.method,
            exclusive: !order.skip_volume_check && !order.skip_secondary_check,
            inside: whole.iter().map(find::range).collect(),
            drop: part.filter(|_| order.drop_partition).map(|part| (disk.name.clone(), part.number)),
        })
    }
}

/// Decides about an order on this machine. Blocks.
///
/// # Errors
/// [`WipeError`]; nothing is written.
pub fn check(orders: &[Order], system: &str) -> Result<Vec<Plan>, WipeError> {
    let sysfs = Sysfs::default();
    let disks = sysfs.disks().map_err(|source| WipeError::List { source })?;
    let mounts = linux::mount::mounts().unwrap_or_default();
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let machine = Machine {
        disks: &disks,
        system,
        holders: &|name| sysfs.holders(name),
        mounted: &|node| mounts.iter().find(|entry| Path::new(&entry.device) == node).map(|entry| entry.target.clone()),
        swap: &|node| swap_of(&swaps, node),
    };
    plan(orders, &machine)
}

/// Whether /proc/swaps names the device: a line begins with it, as the mount table writes paths.
fn swap_of(swaps: &str, node: &Path) -> bool {
    swaps.lines().skip(1).any(|line| line.split_whitespace().next().is_some_and(|name| Path::new(name) == node))
}

/// A wipe under way.
#[derive(Debug)]
pub struct Wipe {
    plan: Plan,
    device: Device,
    /// What is still to be made zeros, the next last.
    left: Vec<Range>,
}

impl Wipe {
    /// Opens the device; the kernel refuses one that is used, unless the order does not care. Blocks.
    ///
    /// # Errors
    /// [`WipeError::Device`].
    pub fn begin(plan: Plan) -> Result<Self, WipeError> {
        let access = if plan.exclusive { Access::Own } else { Access::Change };
        let fault = |source| WipeError::Device { device: plan.device.clone(), source };
        let device = Device::open(&plan.node, access).map_err(fault)?;
        let left = ranges(device.size(), device.sector(), plan.method, &plan.inside);
        info!("disk: wiping {} ({:?})", plan.node.display(), plan.method);
        Ok(Self { plan, device, left })
    }

    /// Does a bounded part of it; gives what is left, `None` at the end, when all of it is on the medium. Blocks.
    ///
    /// # Errors
    /// [`WipeError`].
    pub fn step(mut self) -> Result<Option<Self>, WipeError> {
        let fault = |source| WipeError::Device { device: self.plan.device.clone(), source };
        if let Some(range) = self.left.pop() {
            self.device.zero(range.start, range.length).map_err(fault)?;
            return Ok(Some(self));
        }
        self.device.flush().map_err(fault)?;
        if self.plan.inside.is_empty() && self.plan.drop.is_none() {
            // A partition that stays, or a disk without any.
            return Ok(None);
        }
        match &self.plan.drop {
            None => {
                if let Err(error) = partitions::reread(&self.device) {
                    info!("disk: the kernel keeps the partitions of {} until it looks again: {error}", self.plan.node.display());
                }
            }
            Some((disk, number)) => {
                // The kernel gives up no partition that is open.
                drop(self.device);
                drop_partition(&self.plan.device, disk, *number)?;
            }
        }
        Ok(None)
    }
}

/// What is made zeros of a device of `size` bytes, in steps, the first last. From the end to the beginning: a table's backup and
/// what a table would lead to go before the table.
fn ranges(size: u64, sector: u64, method: Method, inside: &[Range]) -> Vec<Range> {
    let size = size / sector * sector;
    let mut all = Vec::new();
    match method {
        Method::Zeroes => all.push(Range { start: 0, length: size }),
        Method::Fast => {
            for range in inside.iter().chain([&Range { start: 0, length: size }]) {
                all.extend(signatures(*range, sector).into_iter().filter(|part| part.end() <= size));
            }
        }
    }
    all.sort_unstable_by_key(|range| (range.start, range.length));
    all.into_iter().flat_map(|range| (0..range.length.div_ceil(STEP)).map(move |step| part(range, step * STEP, STEP))).collect()
}

/// Where what is in `range` is recognised by; whole sectors.
fn signatures(range: Range, sector: u64) -> Vec<Range> {
    let signature = SIGNATURE.max(sector);
    let last = Range { start: range.end().saturating_sub(ENDS).max(range.start), length: ENDS.min(range.length) };
    let elsewhere = ELSEWHERE.iter().filter(|offset| **offset < range.length).map(|offset| part(range, *offset, signature));
    [part(range, 0, ENDS), last].into_iter().chain(elsewhere).filter(|range| range.length > 0).collect()
}

/// At most `length` bytes of a range from `offset` on.
fn part(range: Range, offset: u64, length: u64) -> Range {
    Range { start: range.start + offset, length: length.min(range.length.saturating_sub(offset)) }
}

/// Takes a partition that is wiped out of its disk's table, first from the kernel, which refuses while somebody has it.
fn drop_partition(device: &str, name: &str, number: u32) -> Result<(), WipeError> {
    let failed = |reason: String| WipeError::Table { device: device.to_owned(), disk: name.to_owned(), reason };
    let disk = Sysfs::default().outline(name).map_err(|source| WipeError::List { source })?;
    let fault = |source| WipeError::Device { device: name.to_owned(), source };
    let sector = SectorSize::try_from(u64::from(disk.sector)).map_err(|error| failed(daemon::report(&error).to_string()))?;
    let opened = Device::open(&disk.node, Access::Change).map_err(fault)?;
    let medium = WholeDisk::new(opened, sector, disk);
    let tables = table::read(&medium);
    let Some(now) = tables.table() else {
        return Err(failed(format!("it has no GPT that can be changed ({})", table::describe(&tables))));
    };
    let mut next = now.clone();
    next.remove(number).map_err(|error: TableError| failed(daemon::report(&error).to_string()))?;
    medium.hide(number).map_err(|source| WipeError::Kernel { device: device.to_owned(), source })?;
    info!("disk: dropping partition {number} of {name}");
    let failed = |source| WipeError::Drop { device: device.to_owned(), disk: name.to_owned(), source: Box::new(source) };
    table::write(&medium, &tables, &next).map_err(failed)
}

#[cfg(test)]
mod tests;
