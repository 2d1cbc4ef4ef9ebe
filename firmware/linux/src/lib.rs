//! The kernel's edge: the only crate with unsafe code.

/// Disks, raw devices, partitions in the kernel's eyes, device-mapper.
pub mod block;
/// Control groups, version 2.
pub mod cgroup;
/// The wall clock and its floor.
pub mod clock;
/// What fuzz targets reach.
#[doc(hidden)]
pub mod fuzz;
/// The kernel's host name.
pub mod hostname;
/// The kernel log, written and read.
pub mod kmsg;
/// Kernel modules, found and loaded.
pub mod modules;
/// Mounts and the mount table.
pub mod mount;
/// The packet filter.
pub mod nft;
/// Packets as a link carries them.
pub mod packet;
/// Sync, restart, power off.
pub mod power;
/// Child processes and the one reaper.
pub mod process;
/// Files brought into memory before they are needed.
pub mod readahead;
/// Resource limits of this process.
pub mod rlimit;
/// Sandboxes around services, and the launcher that builds them.
pub mod sandbox;
/// Terminals and serial ports, non-blocking.
pub mod tty;
/// Devices that come and go.
pub mod uevent;
/// The hardware watchdog.
pub mod watchdog;
