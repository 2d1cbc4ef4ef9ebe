//! TLS 1.3 for both sides, with the one crypto provider named explicitly.
//!
//! - [`server_config`]: ALPN `h2`, no session tickets (a resumed session would not be verified again);
//! - [`client_config`]: trusts given CAs only, optional client certificate;
//! - [`insecure_client_config`]: for maintenance mode, with an optional fingerprint to pin;
//! - [`connect`]: a gRPC channel over any of them; [`accept`]: connections from a port, limited.
//!
//! Absent on purpose: reading files, roles, certificate issuing (crate `pki`).

pub mod accept;
mod client;
mod pin;

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::danger::ClientCertVerifier,
};

pub use client::{ConnectError, client_config, connect, connect_over, endpoint, insecure_client_config};
pub use pin::{ParseFingerprintError, SpkiFingerprint};

/// The protocol offered and demanded.
const ALPN_H2: &[u8] = b"h2";

/// Why TLS settings could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// PEM that holds nothing usable.
    #[error("read {what}")]
    Read {
        /// What.
        what: &'static str,
        /// Cause.
        source: pki::Error,
    },
    /// A CA certificate that cannot be a trust anchor, or a key that does not fit its certificate.
    #[error("use {what}")]
    Use {
        /// What.
        what: &'static str,
        /// Cause.
        source: rustls::Error,
    },
}

/// A certificate chain (leaf first) with its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From PEM texts.
    ///
    /// # Errors
    /// When either holds nothing usable.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, TlsError> {
        let chain = pki::read_chain(chain).map_err(|source| TlsError::Read { what: "the certificate chain", source })?;
        let key = pki::read_key(key).map_err(|source| TlsError::Read { what: "the private key", source })?;
        Ok(Self { chain, key })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// The crypto provider of every TLS connection.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// CA certificates (PEM) as trust anchors. `what` names them in errors.
///
/// # Errors
/// When there is none, or one cannot be an anchor.
pub fn roots(what: &'static str, text: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in pki::read_chain(text).map_err(|source| TlsError::Read { what, source })? {
        store.add(certificate).map_err(|source| TlsError::Use { what, source })?;
    }
    Ok(store)
}

/// Server settings. Without a verifier no client certificate is asked for.
///
/// # Errors
/// When the key does not fit the certificate.
pub fn server_config(identity: Identity, clients: Option<Arc<dyn ClientCertVerifier>>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Use { what: "TLS 1.3", source })?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(identity.chain, identity.key)
        .map_err(|source| TlsError::Use { what: "the server certificate", source })?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
