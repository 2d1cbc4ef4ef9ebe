//! TLS 1.3 for both sides, with the one crypto provider named explicitly.
//!
//! - [`server_config`]: ALPN `h2`, no session tickets (a resumed session would not be verified again);
//! - [`client_config`]: trusts given CAs only, optional client certificate;
//! - [`insecure_client_config`]: for maintenance mode, with an optional fingerprint to pin;
//! - [`connect`]: a gRPC channel over any of them.
//!
//! Absent on purpose: reading files, roles, certificate issuing (crate `pki`).

mod client;
mod pem_text;
mod pin;

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::danger::ClientCertVerifier,
};

pub use client::{ConnectError, client_config, connect, endpoint, insecure_client_config};
pub use pem_text::{certificates, private_key, roots};
pub use pin::{ParseFingerprintError, SpkiFingerprint};

/// The protocol offered and demanded.
const ALPN_H2: &[u8] = b"h2";

/// Why TLS settings could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate chain that is not PEM.
    #[error("read {what}")]
    Certificates {
        /// Whose.
        what: &'static str,
        /// Cause.
        source: std::io::Error,
    },
    /// No certificate where one is needed.
    #[error("no certificate in {what}")]
    NoCertificate {
        /// Whose.
        what: &'static str,
    },
    /// A private key that is not PEM.
    #[error("read the private key")]
    Key {
        /// Cause.
        source: pem::PemError,
    },
    /// PEM without a private key that we know.
    #[error("no private key among the PEM blocks")]
    NoKey,
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
        Ok(Self { chain: certificates("the certificate chain", chain)?, key: private_key(key)? })
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

/// Server settings. Without a verifier no client certificate is asked for.
///
/// # Errors
/// When the key does not fit the certificate.
pub fn server_config(
    identity: Identity,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, TlsError> {
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
