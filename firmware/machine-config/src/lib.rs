//! The machine configuration: parse, validate, generate.
//!
//! - [`Config::parse`]: YAML stream to a checked [`Config`] with warnings, or every [`Problem`] at once, each with
//!   line and path. The stream holds the main document (`machine:`, `cluster:`) and documents with a `kind:`.
//! - [`generate`]: the configurations of a new cluster from a [`pki::SecretsBundle`].
//! - [`patch`]: changes to a configuration, merged documents or JSON patches.
//! - [`reference()`]: every document and field there is, and whether this version acts on it (`docs/configuration.md`).
//! - [`redact`], [`redact_pair`]: configurations without their secrets, for logs and diffs.
//!
//! How it works: `tree` reads YAML with positions, `schema` says which fields exist (all of the generation served,
//! acted on or not), `check` compares the two, `stream` tells the documents apart, `take` takes out what the node
//! uses (`view`, [`network`]), `validate` looks at meanings. Patches and redaction work on the tree too, and `write` makes text of it.
//! Pure: no I/O, no clock, no panic on any input. The text as given is what is stored and served, so a node loses no
//! comment; what was patched or redacted has none.
#![forbid(unsafe_code)]

mod check;
mod endpoint;
mod generate;
mod host;
pub mod network;
mod patch;
mod problem;
mod quote;
mod redact;
mod reference;
mod scalar;
mod schema;
mod stream;
mod take;
mod tree;
mod validate;
mod view;
mod write;

pub use generate::{
    Contract, ContractError, DEFAULT_INSTALL_DISK, DEFAULT_INSTALL_IMAGE, DEFAULT_KUBERNETES_VERSION, GenerateError, GenerateInput,
    Generated, generate,
};
pub use host::{DefaultAction, Host, HostDns, Ingress, IngressRule, KernelModule, Peers, Ports, Protocol, Time};
pub use network::{AutoHostname, Network};
pub use patch::{Patch, PatchError, patch, same};
pub use problem::{Problem, Problems};
pub use redact::{REDACTED, redact, redact_pair};
pub use reference::{DocumentReference, FieldReference, reference};
pub use view::{Cluster, Config, Install, MachineType, Parsed, RunMode, Warning, summary};

#[cfg(test)]
mod tests;
