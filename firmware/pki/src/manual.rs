//! Certificates made by hand, step by step: an authority, a key, a request, a client's certificate. What `gen ca`, `gen key`, `gen csr` and
//! `gen crt` do.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SanType,
};

use crate::{
    Authority, CertificateRequest, Error, Identity, Secret,
    authority::{certificate_pem, new_key, params},
    keys,
};

/// Kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The usual one.
    Ed25519,
    /// RSA 4096, for clients that know nothing else.
    Rsa,
}

impl KeyKind {
    pub(crate) fn generate(self) -> Result<KeyPair, Error> {
        let failed = |source| Error::Issue { doing: "making a key", source };
        match self {
            Self::Ed25519 => new_key(&PKCS_ED25519),
            Self::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).map_err(failed),
        }
    }
}

/// A new key, PEM with the label of its kind.
pub fn new_key_pem(kind: KeyKind) -> Result<Secret, Error> {
    keys::key_pem(&kind.generate()?)
}

/// A request, PEM, for a client's certificate of one role, for a key that is there.
pub fn request_client(key_pem: &Secret, role: &str, addresses: &[IpAddr]) -> Result<String, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, role);
    params.subject_alt_names = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
    let request = params.serialize_request(&keys::key_pair(key_pem.expose())?);
    let request = request.map_err(|source| Error::Issue { doing: "requesting a certificate", source })?;
    Ok(keys::armor("CERTIFICATE REQUEST", request.der()).expose().to_owned())
}

/// A key with a certificate for a server and its clients that it signed itself.
pub fn self_signed(organization: &str, addresses: &[IpAddr], life: Duration, now: SystemTime) -> Result<Identity, Error> {
    let key = KeyKind::Ed25519.generate()?;
    let mut params = params(now, life)?;
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.subject_alt_names = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).map_err(|source| Error::Issue { doing: "signing the certificate", source })?;
    Ok(Identity { cert_pem: certificate_pem(certificate.der()), key_pem: keys::key_pem(&key)? })
}

impl Authority {
    /// The client's certificate that a request asks for, PEM. Its organisation, which is the role, is taken as it is: whoever holds the
    /// authority's key decides.
    pub fn certify_client(&self, request: &CertificateRequest, life: Duration, now: SystemTime) -> Result<String, Error> {
        let [role] = request.organizations() else {
            return Err(Error::Request("it must name one organisation, the role (the certificate library writes no second one)"));
        };
        let mut params = params(now, life)?;
        if let Some(name) = request.common_name() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.distinguished_name.push(DnType::OrganizationName, role.as_str());
        params.subject_alt_names = request.alternative_names().to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(certificate_pem(self.sign_for(params, request.key())?.der()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorityKind, YEAR, read_chain, roles, server_names};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn an_administrators_certificate_step_by_step() {
        let now = SystemTime::now();
        for kind in [KeyKind::Ed25519, KeyKind::Rsa] {
            let authority = Authority::generate_for("acme", kind, YEAR, now).expect("authority");
            let issuer = &read_chain(authority.cert_pem()).expect("chain")[0];
            assert_eq!(roles(issuer).expect("organisations"), ["acme"]);
            let key = new_key_pem(KeyKind::Ed25519).expect("key");
            let request = request_client(&key, "os:admin", &["127.0.0.1".parse().expect("address")]).expect("request");
            let request = CertificateRequest::from_pem(&request).expect("readable");
            let leaf = read_chain(&authority.certify_client(&request, DAY, now).expect("signed")).expect("chain").remove(0);
            assert_eq!(roles(&leaf).expect("roles"), ["os:admin"]);
            assert_eq!(server_names(&leaf).expect("names"), ["127.0.0.1".to_owned()].into());
            assert!(crate::issued_by(&leaf, issuer).expect("readable"));
        }
        let nobody = Authority::generate(AuthorityKind::Os, now).expect("authority");
        let (server, _) =
            crate::request_server(&crate::ServerRequest { common_name: "n", names: &[], addresses: &[], life: DAY }, nobody.cert_pem())
                .expect("request");
        let server = CertificateRequest::from_pem(&server).expect("readable");
        assert!(matches!(nobody.certify_client(&server, DAY, now), Err(Error::Request(_))), "no role");
    }
}
