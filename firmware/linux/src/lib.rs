//! The kernel's edge: the only crate with unsafe code.

/// Terminals and serial ports, non-blocking.
pub mod tty;
/// Child processes and the one reaper.
pub mod process;
/// Mounts and the mount table.
pub mod mount;
/// The kernel log, written and read.
pub mod kmsg;
/// Control groups, version 2.
pub mod cgroup;
/// Sync, restart, power off.
pub mod power;
/// The hardware watchdog.
pub mod watchdog;
/// The wall clock and its floor.
pub mod clock;
/// Resource limits of this process.
pub mod rlimit;
/// The kernel's host name.
pub mod hostname;
/// Disks, raw devices, partitions in the kernel's eyes, device-mapper.
pub mod block;
