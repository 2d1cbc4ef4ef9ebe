//! The node's typed resources, and the state that holds them.
//!
//! A resource is what one part of the node tells the others: an address, a service's state, a disk. Each has one owner.
//!
//! - [`Metadata`]: who it is: namespace, type, id, version, owner, phase, finalizers, labels;
//! - [`Spec`], [`Kind`], [`Resource`]: what it says; [`Form`], [`Value`]: the two forms that clients read it in;
//! - [`Definition`], [`kinds`]: every type with what clients must know of it;
//! - [`LabelQuery`], [`IdQuery`], [`Query`]: which ones are meant;
//! - [`State`]: all of them: created, updated, torn down, destroyed, listed; a bounded history of what happened to each type;
//! - [`Watch`]: a place in such a history. Whoever watches asks when there is time; writers never wait for them, and who
//!   comes too late for the history is told so and begins anew.
//!
//! **Absent on purpose:** I/O, clock, locks and tasks: the caller has the state behind a lock and wakes those who watch
//! (crate `reconcile`). The rules are those of the resource API that clients speak (wire facts, `cosi.resource.State`).
#![forbid(unsafe_code)]

mod definition;
mod error;
mod form;
pub mod kinds;
mod meta;
mod query;
mod spec;
mod state;

pub use definition::{Column, Definition, Names};
pub use error::StateError;
pub use form::{Bits, Code, Field, FieldShape, Form, HardwareAddress, Nanoseconds, SecretText, Shape, Value};
pub use meta::{Key, Metadata, Phase};
pub use query::{IdQuery, LabelQuery, LabelTerm, Operation, Query, QueryError};
pub use spec::{Kind, Registered, Resource, Spec};
pub use state::{
    Change, Event, Limits, Options, Place, State,
    watch::{Delivery, Start, Target, Watch, WatchError},
};
