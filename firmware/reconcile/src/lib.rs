//! Runs reconcilers over the node's resources, and serves the resources to generic clients.
//!
//! - [`Store`]: the resources behind a lock that is never held across an await; [`Watching`]: waits for changes of them;
//! - [`Reconciler`], [`Declaration`]: what brings outputs in line with inputs, and says beforehand which those are;
//!   [`Context`]: what it sees and writes, nothing else;
//! - [`Runtime`]: owns every reconciler's task: wakes it when an input changes, tries again after a failure, reports it;
//! - [`Graph`]: who reads and writes what; refuses two owners of one type;
//! - [`service`]: the `State` service of the resource API.
//!
//! **Absent on purpose:** the rules of resources (crate `resource`), and what the node's reconcilers do (machined).
#![forbid(unsafe_code)]

mod backoff;
mod context;
#[doc(hidden)]
pub mod fuzz;
mod graph;
mod reconciler;
mod runtime;
pub mod service;
mod store;

pub use context::{Context, ContextError};
pub use graph::{Edge, Graph, GraphError, Relation};
pub use reconciler::{Access, Declaration, Failure, Input, Output, Reconciler, Strength, Task};
pub use runtime::Runtime;
pub use store::{Store, Watching};
