//! Decides what each service of the node does next: when it starts, what it waits for, when it is tried again, who stops first.
//!
//! Feed [`Event`]s to [`Machine::step`] and carry out the [`Action`]s it returns, in order:
//!
//! ```text
//!   request ─▶ Starting ─▶ Waiting ─▶ Preparing ─▶ Running ─▶ Stopping ─▶ Finished
//!                             ▲            │          │           │
//!                             └─── pause ──┴─ Failed ◀┘           └─▶ (restart) Starting
//! ```
//!
//! - [`Spec`]: what a service is: dependencies, conditions, health check, restart policy, what API users may do to it;
//! - [`Machine`]: all services and where they are; [`Machine::ask`] says whether an API user's wish may become an event;
//! - [`GraphError`]: names that nobody has and circles, refused before anything starts.
//!
//! A service's work comes in *runs*, counted from 1. An action names the run it is about, and so does the event that answers it;
//! what comes late from an earlier run changes nothing.
//!
//! **Absent on purpose:** I/O, clock, threads. The time is an argument (since boot; it never goes back), so a test walks an hour
//! of crash loops in a millisecond. Nothing here panics, whatever the order of events.
#![forbid(unsafe_code)]

mod backoff;
mod event;
mod graph;
mod machine;
mod service;
mod spec;

pub use backoff::{FIRST_PAUSE, FORGIVEN_AFTER, LONGEST_PAUSE};
pub use event::{Action, Event, Exit, Health, Id, Publication, Signal, State};
pub use graph::{GraphError, MAX_SERVICES};
pub use machine::{Machine, Operation, Refused};
pub use service::{DEPENDANTS_LIMIT, KILL_LIMIT};
pub use spec::{Allowed, Condition, HealthCheck, Kind, Restart, Spec};
