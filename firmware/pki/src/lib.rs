//! Certificates, the secrets bundle and the talosconfig.
//!
//! - [`Authority`]: a certificate authority with its key: generated, or read from a configuration; issues
//!   server and client certificates.
//! - [`request_server`], [`CertificateRequest`], [`check_server`]: certificates that somebody else signs, both sides of it.
//! - [`new_key_pem`], [`request_client`]: certificates made by hand, step by step.
//! - [`SecretsBundle`]: everything secret about a cluster, as `gen secrets` writes it.
//! - [`Talosconfig`]: how a client reaches clusters; the file format of `talosctl`.
//! - [`read_chain`], [`read_key`]: PEM to DER, whatever label the key carries; [`spki_fingerprint`], [`roles`],
//!   [`common_name`]: what a certificate says.
//! - [`Secret`]: text that is zeroed when dropped and never printed.
//!
//! No I/O and no clock in here: the time is an argument, files are the caller's. Random numbers come from the
//! system's generator through aws-lc. Absent on purpose: revocation (the lifetimes are short instead).
#![forbid(unsafe_code)]

mod authority;
mod bundle;
mod der;
mod error;
mod inspect;
mod keys;
mod manual;
mod request;
mod secret;
mod subject;
mod talosconfig;
mod text;

pub use authority::{Authority, AuthorityKind, ClientRequest, Identity, ServerRequest, YEAR};
pub use bundle::{AuthorityPem, SecretsBundle};
pub use error::Error;
pub use inspect::{Role, common_name, expires, issued_by, roles, server_names, signer_of_server, spki_fingerprint};
pub use keys::{read_chain, read_key};
pub use manual::{KeyKind, new_key_pem, request_client, self_signed};
pub use request::{CertificateRequest, MAX_NAMES, MAX_REQUEST, check_server, request_server};
pub use secret::Secret;
pub use talosconfig::{Context, Talosconfig};
pub use text::{base64_len, decode_base64_text, encode_base64, is_base64};

#[cfg(test)]
mod tests;
