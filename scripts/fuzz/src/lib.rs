//! Fuzz targets for every parser of outside bytes.
//!
//! - [`targets::ALL`]: what is fuzzed, and what must hold ([`Target`]); `docs/fuzzing.md` is their table;
//! - [`corpus`]: the kept inputs, which `tests/replay.rs` runs in every build;
//! - [`Meter`]: counts memory, so that targets can bound it.
//!
//! What looks for inputs that break one is the program of this package (`main.rs`): it is not instrumented, and this is.
//!
//! **Absent on purpose:** anything that runs on a node. What targets reach that is nobody else's to call is in the crates'
//! hidden modules `fuzz`.
#![deny(unsafe_code)] // but for the meter

pub mod corpus;
mod memory;
mod target;
pub mod targets;

pub use memory::Meter;
pub use target::{LONGEST, Target, processor_time};
