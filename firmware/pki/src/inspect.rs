//! What a certificate says.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    oid_registry,
    prelude::{ASN1Time, FromDer, GeneralName, X509Certificate},
};

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
    /// Every role.
    pub const ALL: [Self; 7] =
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

/// The names and addresses that a server's certificate is for: names in lower case, addresses as they are written shortest.
pub fn server_names(certificate: &[u8]) -> Result<BTreeSet<String>, Error> {
    let certificate = parse(certificate)?;
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Ok(BTreeSet::new()) };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => crate::request::address_of(bytes).map(|address| address.to_string()),
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(text).collect())
}

/// Which of these authorities signed a certificate that is a server's and nothing else, and valid now.
pub fn signer_of_server(certificate: &[u8], authorities: &[CertificateDer<'_>], now: SystemTime) -> Result<usize, Error> {
    let certificate = parse(certificate)?;
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = ASN1Time::from_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX)).map_err(Error::Certificate)?;
    if !certificate.validity().is_valid_at(now) {
        return Err(Error::Untrusted("it is not valid at this time"));
    }
    let usage = certificate.extended_key_usage().ok().flatten().map(|usage| usage.value);
    let only_server = usage.is_some_and(|usage| {
        let others = usage.any || usage.client_auth || usage.code_signing || usage.email_protection || usage.time_stamping;
        usage.server_auth && !others && !usage.ocsp_signing && usage.other.is_empty()
    });
    if !only_server || certificate.is_ca() {
        return Err(Error::Untrusted("it is not for a server, or not only"));
    }
    let signed = |authority: &CertificateDer<'_>| {
        parse(authority).is_ok_and(|authority| {
            let named = certificate.issuer().as_raw() == authority.subject().as_raw();
            named && authority.validity().is_valid_at(now) && certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    };
    authorities.iter().position(signed).ok_or(Error::Untrusted("none of the accepted authorities signed it"))
}

/// Whether it may sign others.
#[cfg(test)]
pub(crate) fn is_authority(certificate: &[u8]) -> Result<bool, Error> {
    Ok(parse(certificate)?.is_ca())
}

/// The kind of a certificate's key.
pub(crate) fn algorithm(certificate: &[u8]) -> Result<&'static SignatureAlgorithm, Error> {
    let certificate = parse(certificate)?;
    let kind = &certificate.public_key().algorithm.algorithm;
    [
        (oid_registry::OID_SIG_ED25519, &PKCS_ED25519),
        (oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY, &PKCS_ECDSA_P256_SHA256),
        (oid_registry::OID_PKCS1_RSAENCRYPTION, &PKCS_RSA_SHA256),
    ]
    .into_iter()
    .find_map(|(known, algorithm)| (*kind == known).then_some(algorithm))
    .ok_or(Error::Key("it is neither Ed25519, ECDSA nor RSA"))
}

/// The fingerprint of a public key info that is already at hand.
pub(crate) fn fingerprint_of_spki(spki: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, spki))
}
