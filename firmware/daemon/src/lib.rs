//! What every daemon shares.
//!
//! - [`report`]: an error with its causes on one line.
//! - [`log`]: the backend of the `log` crate: lines go to [`log::Sink`]s (kernel log, memory, consoles, stderr).
//! - [`panic_hook`]: panics become log lines that name thread and place.
//! - [`run`]: the frame of a small daemon: runtime, signals, owned tasks, shutdown with a grace period.
//!
//! Absent on purpose: PID 1's own frame (`machined::boot`), which never ends.
#![forbid(unsafe_code)]

pub mod log;
mod panics;
mod report;
mod run;

pub use panics::{panic_hook, panic_text};
pub use report::report;
pub use run::{Daemon, GRACE, run};
