//! Boots boards in QEMU and drives them through their API.
//!
//! A [`Machine`] says what to boot: board, boot path, disk bus, sector size. [`TestVm`] makes its disk from the
//! image in `out/`, starts QEMU, keeps the serial log and talks to the node over the same API that people use;
//! there is no shell in the guest to talk to. Every wait has a named limit (see [`limits`]), and a failure shows
//! the end of the serial log.
//!
//! [`powercut`] records what the guest wrote and when it flushed, and builds the disks that a power cut at any
//! moment could have left behind.
//!
//! **Absent on purpose:** KVM. Everything here must pass under TCG.
//!
//! **Start reading at** [`TestVm::boot`].
#![forbid(unsafe_code)]

pub mod api;
pub mod bench;
pub mod cells;
pub mod coverage;
pub mod disk;
pub mod gdb;
pub mod http;
pub mod lan;
pub mod limits;
mod machine;
pub mod node;
pub mod ntp;
pub mod powercut;
mod process;
pub mod qmp;
mod serial;
mod vm;

pub use api::Api;
pub use machine::{Arch, Boot, Bus, Files, Machine, Sector, Serial};
pub use process::Process;
pub use serial::SerialLog;
pub use vm::{TestVm, machine_of, out_folder};
