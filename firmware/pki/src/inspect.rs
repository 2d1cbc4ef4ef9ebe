//! What a certificate says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;

/// The roles that mean something to a node. A certificate may carry others; they give nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `os:admin`
    Admin,
    /// `os:operator`
    Operator,
    /// `os:reader`
    Reader,
    /// `os:etcd:backup`
    EtcdBackup,
    /// `os:image:verifier`
    ImageVerifier,
    /// `os:meta:writer`
    MetaWriter,
    /// `os:impersonator`
    Impersonator,
}

impl Role {
    const ALL: [Self; 7] =
        [Self::Admin, Self::Operator, Self::Reader, Self::EtcdBackup, Self::ImageVerifier, Self::MetaWriter, Self::Impersonator];

    /// The name in certificates and metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "os:admin",
            Self::Operator => "os:operator",
            Self::Reader => "os:reader",
            Self::EtcdBackup => "os:etcd:backup",
            Self::ImageVerifier => "os:image:verifier",
            Self::MetaWriter => "os:meta:writer",
            Self::Impersonator => "os:impersonator",
        }
    }

    /// The role of that name, if it is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|error| {
        Error::Certificate(match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
            x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::Generic,
        })
    })
}

/// Base64 of SHA-256 over the certificate's public key info: what the console shows and `--cert-fingerprint` takes.
pub fn spki_fingerprint(certificate: &[u8]) -> Result<String, Error> {
    Ok(STANDARD.encode(digest(&SHA256, parse(certificate)?.public_key().raw)))
}

/// The organisations of a certificate's subject: on a client certificate, the roles. Empty ones are skipped.
pub fn roles(certificate: &[u8]) -> Result<Vec<String>, Error> {
    let certificate = parse(certificate)?;
    let names = certificate.subject().iter_organization().filter_map(|value| value.as_str().ok());
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// The common name of the subject, if it has one.
pub fn common_name(certificate: &[u8]) -> Result<Option<String>, Error> {
    let certificate = parse(certificate)?;
    let name = certificate.subject().iter_common_name().find_map(|value| value.as_str().ok());
    Ok(name.map(str::to_owned))
}

/// The moment after which the certificate is no longer valid.
pub fn expires(certificate: &[u8]) -> Result<SystemTime, Error> {
    let seconds = parse(certificate)?.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Whether the certificate names that authority certificate's subject as its issuer. Signatures are not checked.
pub fn issued_by(certificate: &[u8], authority: &[u8]) -> Result<bool, Error> {
    Ok(parse(certificate)?.issuer().as_raw() == parse(authority)?.subject().as_raw())
}

/// The fingerprint of a public key info that is already at hand.
pub(crate) fn fingerprint_of_spki(spki: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, spki))
}
