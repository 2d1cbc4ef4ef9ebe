//! The machine configuration: parse, validate, generate.
//!
//! - [`Config::parse`]: YAML stream to a checked [`Config`] with warnings, or every [`Problem`] at once, each with
//!   line and path. The stream holds the main document (`machine:`, `cluster:`) and documents with a `kind:`.
//! - [`generate`]: the configurations of a new cluster from a [`pki::SecretsBundle`].
//!
//! How it works: `tree` reads YAML with positions, `schema` says which fields exist (all of the generation served,
//! acted on or not), `check` compares the two, `stream` tells the documents apart, `take` takes out what the node
//! uses (`view`, [`network`]), `validate` looks at meanings.
//! Pure: no I/O, no clock, no panic on any input. The text as given is what is stored and served; nothing here
//! writes a configuration back, so comments are never lost. Absent on purpose in this version: patches and merging.
#![forbid(unsafe_code)]

mod check;
mod endpoint;
mod generate;
mod host;
pub mod network;
mod problem;
mod quote;
mod scalar;
mod schema;
mod stream;
mod take;
mod tree;
mod validate;
mod view;

pub use generate::{DEFAULT_INSTALL_DISK, DEFAULT_INSTALL_IMAGE, GenerateError, GenerateInput, Generated, generate};
pub use host::{DefaultAction, Host, Ingress, IngressRule, KernelModule, Peers, Ports, Protocol, Time};
pub use network::{AutoHostname, Network};
pub use problem::{Problem, Problems};
pub use view::{Cluster, Config, Install, MachineType, Parsed, Warning, summary};

#[cfg(test)]
mod tests;
