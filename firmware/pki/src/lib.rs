//! Certificates, the secrets bundle and the talosconfig.
//!
//! - [`Authority`]: a certificate authority with its key: generated, or read from a configuration; issues
//!   server and client certificates.
//! - [`SecretsBundle`]: everything secret about a cluster, as `gen secrets` writes it.
//! - [`Talosconfig`]: how a client reaches clusters; the file format of `talosctl`.
//! - [`read_chain`], [`read_key`]: PEM to DER, whatever label the key carries; [`spki_fingerprint`], [`roles`],
//!   [`common_name`]: what a certificate says.
//! - [`Secret`]: text that is zeroed when dropped and never printed.
//!
//! No I/O and no clock in here: the time is an argument, files are the caller's. Random numbers come from the
//! system's generator through aws-lc. Absent on purpose: revocation (the lifetimes are short instead) and
//! signing of foreign requests (that is trustd's and comes with it).
#![forbid(unsafe_code)]

mod authority;
mod bundle;
mod der;
mod error;
mod inspect;
mod keys;
mod secret;
mod talosconfig;
mod text;

pub use authority::{Authority, AuthorityKind, ClientRequest, Identity, ServerRequest, YEAR};
pub use bundle::{AuthorityPem, SecretsBundle};
pub use error::Error;
pub use inspect::{Role, common_name, expires, issued_by, roles, spki_fingerprint};
pub use keys::{read_chain, read_key};
pub use secret::Secret;
pub use talosconfig::{Context, Talosconfig};
pub use text::{base64_len, decode_base64_text, encode_base64, is_base64};

#[cfg(test)]
mod tests;
