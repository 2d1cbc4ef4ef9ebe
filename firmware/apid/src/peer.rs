//! Who is at the other end of a connection: found out once, carried by every call.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue};
use pki::Role;
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
    /// What its certificate says, as values of the role metadata.
    roles: Vec<HeaderValue>,
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

    /// The roles of a call with this metadata: the certificate's. Another node's certificate lets it say for whom it asks.
    pub(crate) fn roles(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        if self.roles.iter().any(|role| role == Role::Impersonator.as_str()) && headers.contains_key(wire::ROLE_KEY) {
            return headers.get_all(wire::ROLE_KEY).iter().take(MAX_ROLES).cloned().collect();
        }
        self.roles.clone()
    }
}

/// The organisations of a certificate's subject. What cannot be metadata cannot be a role.
fn roles(leaf: &[u8]) -> Vec<HeaderValue> {
    let names = pki::roles(leaf).unwrap_or_default();
    names.iter().filter_map(|name| HeaderValue::from_str(name).ok()).take(MAX_ROLES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(certificate: &[&'static str], metadata: &[&'static str], wanted: &[&str]) {
        let roles = certificate.iter().map(|role| HeaderValue::from_static(role)).collect();
        let peer = Peer { address: "127.0.0.1:1".parse().expect("address"), roles };
        let mut headers = HeaderMap::new();
        for role in metadata {
            headers.append(wire::ROLE_KEY, HeaderValue::from_static(role));
        }
        assert_eq!(peer.roles(&headers), wanted, "{certificate:?} {metadata:?}");
    }

    #[test]
    fn metadata_is_believed_from_other_nodes_only() {
        check(&["os:reader"], &["os:admin"], &["os:reader"]);
        check(&["os:impersonator"], &["os:admin", "os:reader"], &["os:admin", "os:reader"]);
        check(&["os:impersonator"], &[], &["os:impersonator"]);
        check(&["os:reader", "os:impersonator"], &["os:operator"], &["os:operator"]);
        check(&[], &["os:admin"], &[]);
    }
}
