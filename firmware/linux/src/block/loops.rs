//! The one loop device setting that `loopdev` has no call for. For builders and tests; a node uses no loop devices.

use std::{fs::File, io, os::fd::AsRawFd};

mod raw {
    nix::ioctl_write_int_bad!(loop_set_block_size, 0x4c09);
}

/// Makes an attached loop device one with sectors of `bytes` (512 or 4096).
///
/// # Errors
/// The kernel's: not a loop device, busy, or another size.
pub fn set_sector_size(device: &File, bytes: u16) -> io::Result<()> {
    // SAFETY: LOOP_SET_BLOCK_SIZE takes a plain number and no pointer; a wrong one can only come back as an error.
    unsafe { raw::loop_set_block_size(device.as_raw_fd(), libc::c_int::from(bytes)) }.map(drop).map_err(io::Error::from)
}
