//! Flashing and first boot on loop devices of both sector sizes, with the kernel's own eyes on the result.
//!
//! Needs root, loop devices and mkfs.xfs: all three are there where `scripts/test` runs. Without them the tests fail and
//! say so; they are never skipped.

mod disk;
mod first_boot;
mod flashing;
mod image;
