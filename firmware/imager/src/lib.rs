//! The firmware image builder, in Buildroot's manner: board files and locked packages in, a disk image out.
//!
//! It runs as root inside the sealed build root and is driven by `xtask`; nothing here resolves packages, talks to a network or
//! creates the root it runs in. What a reader finds where:
//!
//! - [`request`]: what to build ([`BuildRequest`]), who hears about it ([`Progress`]), what can go wrong ([`Error`])
//! - [`board`]: board files, how they inherit, what an external board folder may add
//! - [`step`]: one step's log, commands, heartbeat; [`cache`]: results kept by the hash of all their inputs
//! - the steps, in order: [`preflight`], [`kernel`], [`programs`], [`rootfs`], [`uki`], [`esp`], [`disk`]
//! - what is told about the result: [`manifest`], [`sbom`], [`legal`]; [`compare`] proves that two results are the same bytes
//!
//! Absent on purpose: signing (keys are not the builder's business), a downloader, and any timestamp that is not derived from an input.
#![forbid(unsafe_code)]

pub mod request;

pub use request::{BuildRequest, Built, Error, Event, LockState, PlainProgress, Profile, Progress};
