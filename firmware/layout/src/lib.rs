//! Partitions, slots, GPT planning and the META store, as pure functions of values.
//!
//! The image builder and the running node take the same partitions from here and share every number.
//!
//! - [`spec`]: the set of partitions, from numbered files (`partitions/NN-label.toml`) to the image, and where each partition lies on a disk;
//! - [`table`]: GPT tables: parsed from bytes, judged, and built as writes in an order that survives a power cut;
//! - [`verity`]: the root's dm-verity table, the partition GUID that follows from its hash, the kernel argument;
//! - [`meta`]: the META store: two checksummed copies, the disk's life and the API's 8-bit keys;
//! - [`plan`]: what to do with a disk at boot: provision, resume, run or refuse;
//! - [`loader`]: what the boot loader says about the disk it came from.
//!
//! **Absent on purpose:** I/O, clock, randomness. Bytes come in as slices or through a reading function, GUIDs
//! through a function of the caller. All positions are bytes, so that 512 and 4096 byte sectors share the maths.
#![forbid(unsafe_code)]

pub mod loader;
pub mod meta;
pub mod plan;
pub mod spec;
pub mod table;
pub mod verity;

mod units;

pub use units::{Arch, MIB, Range, SectorSize, UnitError};
pub use uuid::Uuid;
