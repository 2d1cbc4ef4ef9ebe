//! A node's API on this host, for tests and measurements.
//!
//! - [`Host`]: machined's API server with its gate and its admission by the kernel's word, under machined's supervisor, which starts
//!   apid as a process of its own and tells it what it tells it on a node; orders to the main loop are recorded and refused;
//! - [`certificates`]: client certificates of every kind, good and bad ones.
//!
//! Needs a process that has no other children: it has one reaper ([`reap`]). Absent on purpose: sandboxes, other services, a main loop.
#![forbid(unsafe_code)]

pub mod certificates;
mod host;

pub use host::{Host, LIMIT, configuration, reap, trusting};
