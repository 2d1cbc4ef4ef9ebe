//! The client for people, and as a library the client for tests.
//!
//! - [`cli`]: the command line;
//! - [`client`]: a connection to a node with typed calls; used by the QEMU harness too.
//!
//! Speaks the API of the 1.14 generation and reads and writes the same talosconfig as `talosctl`.
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;

pub use client::{Client, ClientError};
