//! Block devices: what sysfs says of them, raw reads and writes that go to the medium, partitions in the kernel's
//! eyes, and what device-mapper maps.
//!
//! - [`Sysfs`]: disks, their partitions and their lower devices. Device nodes are named by the kernel, never built
//!   from a disk's name and a number;
//! - [`Device`]: a device or image file, read and written past the page cache, locked while it is changed;
//! - [`partitions`]: BLKPG: one partition added, resized or removed, without a re-read that makes all of them blink;
//! - [`dm`]: the table and state of a mapping;
//! - [`loops`]: sector size of a loop device, for builder and tests.

pub mod dm;
pub mod loops;
pub mod partitions;

mod device;
mod sysfs;

pub use device::{Access, Device, DeviceError};
pub use sysfs::{Disk, DiskFault, Outline, Part, Sysfs};
