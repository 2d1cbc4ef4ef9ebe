//! Writes images to disks and verifies them.
//!
//! [`flash`] puts a built image on a whole disk: it picks the image for the disk's sector size, refuses a disk that is
//! in use, the running system's, too small or not meant to be taken out, clears both ends, writes the ranges that the
//! block map names, and reads all of them back from the medium. The first mebibyte comes last, so that a disk that was
//! written only in part does not boot.
//!
//! - [`BlockMap`]: which ranges an image has, with their hashes;
//! - [`target`]: what speaks against a disk.
//!
//! **Absent on purpose:** slots and updates of a running node, progress bars (the caller draws them).
#![forbid(unsafe_code)]

pub mod target;

mod flash;
mod map;

pub use flash::{FlashError, FlashRequest, Phase, Progress, Report, flash};
pub use map::{BlockMap, MapError, Used};
