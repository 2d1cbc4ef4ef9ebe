//! The firmware image builder, in Buildroot's manner: board files and locked packages in, a disk image out.
//!
//! It runs as root inside the sealed build root and is driven by `xtask`; nothing here resolves packages, talks to a network or
//! creates the root it runs in. What a reader finds where:
//!
//! - [`request`]: what to build ([`BuildRequest`]), who hears about it ([`Progress`]), what can go wrong ([`Error`])
//! - [`board`]: board files, how they inherit, what an external board folder may add; [`files`]: what is taken from packages;
//!   [`lock`]: which packages
//! - [`step`]: one step's log, commands, heartbeat; [`cache`]: results kept by the hash of all their inputs ([`digest`]);
//!   [`room`]: how large the cache may grow
//! - the steps, in order: [`preflight`], [`kernel`] ([`kconfig`]), [`programs`], [`rootfs`] ([`checks`], [`elf`]), [`uki`], [`esp`],
//!   [`disk`] ([`fat`], [`bmap`])
//! - what is told about the result: [`manifest`], [`sbom`] and [`legal`] (both know the [`crates`]); [`compare`] says whether two results are
//!   the same bytes
//!
//! Absent on purpose: signing (keys are not the builder's business), a downloader, and any timestamp that is not derived from an input.
#![forbid(unsafe_code)]

pub mod bmap;
pub mod board;
pub mod build;
pub mod cache;
pub mod checks;
pub mod compare;
pub mod context;
pub mod crates;
pub mod digest;
pub mod disk;
pub mod elf;
pub mod esp;
pub mod fat;
pub mod files;
pub mod floor;
pub mod glob;
pub mod kconfig;
pub mod kernel;
pub mod legal;
pub mod lock;
pub mod manifest;
pub mod partitions;
pub mod plain;
pub mod preflight;
pub mod programs;
pub mod request;
pub mod room;
pub mod rootfs;
pub mod sbom;
pub mod step;
pub mod uki;

pub use build::{build, limit};
pub use compare::compare;
pub use floor::floor;
pub use legal::legal_info;
pub use programs::client;
pub use request::{BuildRequest, Built, Error, Event, LockState, PlainProgress, Profile, Progress};

/// Name space of every GUID that is derived from content.
pub const NAMESPACE: layout::Uuid = layout::Uuid::from_u128(0x6f1c_1f5e_92c4_4b0a_8d3e_5b7a_0c2e_41d7);
