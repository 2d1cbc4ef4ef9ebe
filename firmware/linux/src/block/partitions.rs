//! BLKPG: telling the kernel of one partition at a time.

use std::{io, os::fd::AsRawFd};

use super::Device;

const BLKPG_ADD: libc::c_int = 1;
const BLKPG_DELETE: libc::c_int = 2;
const BLKPG_RESIZE: libc::c_int = 3;
/// Highest number the kernel takes for any disk we know of.
const MAX_NUMBER: u32 = 255;

/// `struct blkpg_partition` of `linux/blkpg.h`.
#[repr(C)]
struct Partition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    device_name: [libc::c_char; 64],
    volume_name: [libc::c_char; 64],
}

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
pub struct Argument {
    op: libc::c_int,
    flags: libc::c_int,
    data_length: libc::c_int,
    data: *mut libc::c_void,
}

mod raw {
    nix::ioctl_none_bad!(reread_table, 0x125f);
    nix::ioctl_write_ptr_bad!(blkpg, 0x1269, super::Argument);
}

/// The kernel refused a partition.
#[derive(Debug, thiserror::Error)]
#[error("{operation} partition {number} (bytes {start}..{end}) of {disk}")]
pub struct PartitionError {
    operation: &'static str,
    number: u32,
    start: u64,
    end: u64,
    disk: String,
    source: io::Error,
}

impl PartitionError {
    /// Whether the partition is in use, so that trying again later may help.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EBUSY)
    }
}

/// Adds a partition of `length` bytes at byte `start` of a whole disk.
///
/// # Errors
/// [`PartitionError`]; busy when the number is taken or the range overlaps another partition.
pub fn add(disk: &Device, number: u32, start: u64, length: u64) -> Result<(), PartitionError> {
    change(disk, "add", BLKPG_ADD, number, start, length)
}

/// Changes the length of a partition, mounted or not. `start` must be where it is.
///
/// # Errors
/// [`PartitionError`].
pub fn resize(disk: &Device, number: u32, start: u64, length: u64) -> Result<(), PartitionError> {
    change(disk, "resize", BLKPG_RESIZE, number, start, length)
}

/// Removes a partition that nobody uses.
///
/// # Errors
/// [`PartitionError`]; busy when it is mounted or held.
pub fn remove(disk: &Device, number: u32) -> Result<(), PartitionError> {
    change(disk, "remove", BLKPG_DELETE, number, 0, 0)
}

/// Makes the kernel forget all partitions of a disk and read its table again. For a disk that nobody uses.
///
/// # Errors
/// The kernel's: busy, or a device without partitions.
pub fn reread(disk: &Device) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument; a wrong descriptor can only come back as an error.
    unsafe { raw::reread_table(disk_fd(disk)) }.map(drop).map_err(io::Error::from)
}

fn change(disk: &Device, operation: &'static str, op: libc::c_int, number: u32, start: u64, length: u64) -> Result<(), PartitionError> {
    let error = |source| PartitionError {
        operation,
        number,
        start,
        end: start.saturating_add(length),
        disk: disk.path().display().to_string(),
        source,
    };
    let invalid = || error(io::Error::from(io::ErrorKind::InvalidInput));
    let number_c = libc::c_int::try_from(number).ok().filter(|_| (1..=MAX_NUMBER).contains(&number));
    let mut partition = Partition {
        start: start.try_into().map_err(|_| invalid())?,
        length: length.try_into().map_err(|_| invalid())?,
        number: number_c.ok_or_else(invalid)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = Argument {
        op,
        flags: 0,
        data_length: libc::c_int::try_from(size_of::<Partition>()).unwrap_or(0),
        data: (&raw mut partition).cast(),
    };
    // SAFETY: BLKPG reads one `blkpg_ioctl_arg` and the `blkpg_partition` behind its data pointer; both are laid out
    // as the kernel's, live on this stack frame and outlive the call.
    let result = unsafe { raw::blkpg(disk_fd(disk), &raw const argument) };
    result.map(drop).map_err(|errno| error(errno.into()))
}

fn disk_fd(disk: &Device) -> libc::c_int {
    use std::os::fd::AsFd;
    disk.as_fd().as_raw_fd()
}
