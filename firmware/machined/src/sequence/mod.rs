//! Sequences: what the machine as a whole is doing. One at a time, as a list of phases.
//!
//! - [`Kind`]: the sequences and which may replace which. [`Control`]: who runs, who comes next (both pure).
//! - [`phases`]: a list of phases and how it is run, with an end for those that are replaced.
//! - [`Status`]: what is told of it; the machine's stage is derived from that ([`Status::stage`]).
//!
//! The sequences themselves are in [`crate::boot`]. Rule: the reference, behaviour (a) "How a sequence runs". Absent so
//! far: install and upgrades, which the tables know already.

mod control;
mod kind;
pub mod phases;
mod status;

pub use control::{Control, Decision, Ending, Locked, Request};
pub use kind::Kind;
pub use status::Status;
