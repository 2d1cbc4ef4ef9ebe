//! PEM texts to what TLS needs.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer},
};

use super::TlsError;

/// All certificates of a PEM text, at least one. `what` names it in errors.
///
/// # Errors
/// When there is none, or the text is damaged.
pub fn certificates(what: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = rustls_pemfile::certs(&mut text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Certificates { what, source })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { what }) } else { Ok(chain) }
}

/// The first private key of a PEM text. Beside the standard labels, `ED25519 PRIVATE KEY` is PKCS#8.
///
/// # Errors
/// When there is none, or the text is damaged.
pub fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    for block in pem::parse_many(text).map_err(|source| TlsError::Key { source })? {
        let label = block.tag().to_owned();
        let der = block.into_contents();
        match label.as_str() {
            "PRIVATE KEY" | "ED25519 PRIVATE KEY" => return Ok(PrivatePkcs8KeyDer::from(der).into()),
            "EC PRIVATE KEY" => return Ok(PrivateSec1KeyDer::from(der).into()),
            "RSA PRIVATE KEY" => return Ok(PrivatePkcs1KeyDer::from(der).into()),
            _ => {}
        }
    }
    Err(TlsError::NoKey)
}

/// CA certificates as trust anchors.
///
/// # Errors
/// When there is none, or one cannot be an anchor.
pub fn roots(what: &'static str, text: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(what, text)? {
        store.add(certificate).map_err(|source| TlsError::Use { what, source })?;
    }
    Ok(store)
}
