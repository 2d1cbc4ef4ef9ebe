//! Who is at the other end of a connection: found out once, carried by every call.

use std::net::SocketAddr;

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use wire::apid_config::Mode;

/// The role of everybody in maintenance.
const MAINTENANCE_ROLE: HeaderValue = HeaderValue::from_static("os:reader");
/// Roles of one certificate that are passed on.
const MAX_ROLES: usize = 16;

/// The client.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Values for the role metadata.
    pub(crate) roles: Vec<HeaderValue>,
}

impl Peer {
    /// `chain` is what the client showed; the verifier has accepted it.
    pub(crate) fn new(address: SocketAddr, mode: Mode, chain: Option<&[CertificateDer<'_>]>) -> Self {
        let roles = match mode {
            Mode::Maintenance => vec![MAINTENANCE_ROLE],
            Mode::Running => chain.and_then(<[_]>::first).map(|leaf| roles(leaf)).unwrap_or_default(),
        };
        Self { address, roles }
    }
}

/// The organisations of a certificate's subject. What cannot be metadata cannot be a role.
fn roles(leaf: &[u8]) -> Vec<HeaderValue> {
    let names = pki::roles(leaf).unwrap_or_default();
    names.iter().filter_map(|name| HeaderValue::from_str(name).ok()).take(MAX_ROLES).collect()
}
