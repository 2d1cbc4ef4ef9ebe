//! The kernel's edge: the only crate with unsafe code.

/// Terminals and serial ports, non-blocking.
pub mod tty;
/// Child processes and the one reaper.
pub mod process;
/// Mounts and the mount table.
pub mod mount;
/// The kernel log, written and read.
pub mod kmsg;
