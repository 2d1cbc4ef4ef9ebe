//! Client certificates, as they should be and as they should not.

use anyhow::{Context, Result};
use pki::Authority;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use wire::tls::Identity;

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It was valid in another year.
    Expired,
    /// It will be.
    NotYetValid,
    /// For servers.
    ForServers,
    /// For clients and servers.
    ForBoth,
    /// It does not say what for.
    ForNobodyKnows,
}

/// A certificate for a new key. Its roles are organisations, at most two: the certificate library writes no third one.
///
/// # Errors
/// When the authority cannot issue.
pub fn client(authority: &Authority, roles: &[&str], flaw: Flaw) -> Result<Identity> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // The same attribute by its name and by its number: the library keeps one of each.
    let organization = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    anyhow::ensure!(roles.len() <= organization.len(), "{} roles in one certificate", roles.len());
    for (kind, role) in organization.into_iter().zip(roles) {
        params.distinguished_name.push(kind, *role);
    }
    let (from, to) = match flaw {
        Flaw::Expired => (2001, 2002),
        Flaw::NotYetValid => (2098, 2099),
        _ => (2001, 2099),
    };
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match flaw {
        Flaw::ForServers => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Flaw::ForBoth => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Flaw::ForNobodyKnows => Vec::new(),
        _ => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    let pem = authority.to_pem()?;
    let PrivateKeyDer::Pkcs8(der) = pki::read_key(pem.key_pem.context("an authority without its key")?.expose())? else {
        anyhow::bail!("the authority's key is not PKCS#8");
    };
    let issuer = Issuer::from_ca_cert_pem(authority.cert_pem(), KeyPair::try_from(der.secret_pkcs8_der())?)?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Identity::from_pem(&certificate.pem(), &key.serialize_pem())?)
}

/// The authority's own certificate with its key, as if it were a client's.
///
/// # Errors
/// When its PEM is not usable.
pub fn authority_itself(authority: &Authority) -> Result<Identity> {
    let pem = authority.to_pem()?;
    Ok(Identity::from_pem(&pem.cert_pem, pem.key_pem.context("an authority without its key")?.expose())?)
}
