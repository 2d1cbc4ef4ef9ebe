//! Certificate authorities and what they issue. Rules: the certificate table of the reference (algorithms,
//! subjects, usages, lifetimes); a leaf takes its authority's algorithm family.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use zeroize::Zeroize;

use crate::{AuthorityPem, Error, KeyKind, Secret, keys, subject, text};

/// A year of 365 days: lifetime of admin client certificates; authorities live ten of them.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How far certificates reach back before the moment they are made. A node whose clock stands at its image's
/// build date must still accept a client made today; a validity that starts early takes no safety away.
const BACKDATE: Duration = YEAR;

/// Which authority: decides algorithm and subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityKind {
    /// The machine API's: Ed25519, O=talos.
    Os,
    /// etcd's: ECDSA P-256, O=etcd.
    Etcd,
    /// Kubernetes': ECDSA P-256, O=kubernetes.
    Kubernetes,
    /// The API server's aggregator's: ECDSA P-256, no subject.
    Aggregator,
    /// A throw-away one of a node without configuration: Ed25519, no subject.
    Maintenance,
}

impl AuthorityKind {
    const fn organization(self) -> Option<&'static str> {
        match self {
            Self::Os => Some("talos"),
            Self::Etcd => Some("etcd"),
            Self::Kubernetes => Some("kubernetes"),
            Self::Aggregator | Self::Maintenance => None,
        }
    }

    const fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Os | Self::Maintenance => &PKCS_ED25519,
            Self::Etcd | Self::Kubernetes | Self::Aggregator => &PKCS_ECDSA_P256_SHA256,
        }
    }
}

/// A certificate with its private key, both PEM. The certificate text may be a chain.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate, PEM.
    pub cert_pem: String,
    /// Private key, PEM with the label of its kind.
    pub key_pem: Secret,
}

/// What a server certificate is to say.
#[derive(Clone, Debug)]
pub struct ServerRequest<'a> {
    /// Common name.
    pub common_name: &'a str,
    /// DNS names; those that parse as an address become address entries.
    pub names: &'a [String],
    /// Addresses.
    pub addresses: &'a [IpAddr],
    /// How long it is valid from `now`.
    pub life: Duration,
}

/// What a client certificate is to say.
#[derive(Clone, Debug)]
pub struct ClientRequest<'a> {
    /// Common name, if any.
    pub common_name: Option<&'a str>,
    /// Organisation: for the machine API the role. One: the certificate library writes no second one.
    pub organization: &'a str,
    /// How long it is valid from `now`.
    pub life: Duration,
}

/// A certificate authority that can issue.
pub struct Authority {
    cert_pem: String,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Authority {
    /// A new self-signed authority, valid for ten years (a maintenance one for a day) from `now`.
    pub fn generate(kind: AuthorityKind, now: SystemTime) -> Result<Self, Error> {
        let life = if kind == AuthorityKind::Maintenance { Duration::from_secs(24 * 3600) } else { YEAR * 10 };
        Self::self_signed(new_key(kind.algorithm())?, kind.organization(), life, now)
    }

    /// A new self-signed authority of this name, with a key of this kind.
    pub fn generate_for(organization: &str, kind: KeyKind, life: Duration, now: SystemTime) -> Result<Self, Error> {
        Self::self_signed(kind.generate()?, Some(organization), life, now)
    }

    fn self_signed(key: KeyPair, organization: Option<&str>, life: Duration, now: SystemTime) -> Result<Self, Error> {
        let mut params = params(now, life)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(organization) = organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        let certificate =
            params.self_signed(&key).map_err(|source| Error::Issue { doing: "signing the authority's own certificate", source })?;
        Ok(Self { cert_pem: certificate_pem(certificate.der()), key })
    }

    /// The authority of a configuration. The key must belong to the certificate.
    pub fn from_pem(cert_pem: &str, key_pem: &Secret) -> Result<Self, Error> {
        let key = keys::key_pair(key_pem.expose())?;
        let chain = keys::read_chain(cert_pem)?;
        let authority = Self { cert_pem: cert_pem.to_owned(), key };
        let leaf = chain.first().ok_or(Error::KeyMismatch)?;
        let expected = crate::spki_fingerprint(leaf)?;
        if crate::inspect::fingerprint_of_spki(&authority.key.subject_public_key_info()) != expected {
            return Err(Error::KeyMismatch);
        }
        Ok(authority)
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Certificate and key as a configuration carries them.
    pub fn to_pem(&self) -> Result<AuthorityPem, Error> {
        Ok(AuthorityPem { cert_pem: self.cert_pem.clone(), key_pem: Some(keys::key_pem(&self.key)?) })
    }

    /// A server certificate with a new key.
    pub fn issue_server(&self, request: &ServerRequest<'_>, now: SystemTime) -> Result<Identity, Error> {
        self.issue(self.server(request, now)?)
    }

    /// A server certificate for a key that is known already: clients that pinned it go on.
    pub fn renew_server(&self, request: &ServerRequest<'_>, key_pem: &Secret, now: SystemTime) -> Result<Identity, Error> {
        self.sign(self.server(request, now)?, &keys::key_pair(key_pem.expose())?)
    }

    /// A client certificate with a new key.
    pub fn issue_client(&self, request: &ClientRequest<'_>, now: SystemTime) -> Result<Identity, Error> {
        let mut params = params(now, request.life)?;
        if let Some(name) = request.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.distinguished_name.push(DnType::OrganizationName, request.organization);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// A client certificate of several organisations, in this order, with a new key.
    pub fn issue_client_of(&self, organizations: &[&str], life: Duration, now: SystemTime) -> Result<Identity, Error> {
        let mut params = params(now, life)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = new_key(self.key.algorithm())?;
        let certificate = self.sign_for(params, &key)?;
        let der = subject::with_organizations(certificate.der(), organizations, &self.key)?;
        Ok(Identity { cert_pem: certificate_pem(&der), key_pem: keys::key_pem(&key)? })
    }

    fn server(&self, request: &ServerRequest<'_>, now: SystemTime) -> Result<CertificateParams, Error> {
        let mut params = params(now, request.life)?;
        params.distinguished_name.push(DnType::CommonName, request.common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = alternative_names(request)?;
        Ok(params)
    }

    fn issue(&self, params: CertificateParams) -> Result<Identity, Error> {
        self.sign(params, &new_key(self.key.algorithm())?)
    }

    fn sign(&self, params: CertificateParams, key: &KeyPair) -> Result<Identity, Error> {
        let certificate = self.sign_for(params, key)?;
        Ok(Identity { cert_pem: certificate_pem(certificate.der()), key_pem: keys::key_pem(key)? })
    }

    /// A leaf for a key whose other half is somewhere else.
    pub(crate) fn sign_for(&self, mut params: CertificateParams, key: &impl PublicKeyData) -> Result<rcgen::Certificate, Error> {
        let failed = |source| Error::Issue { doing: "issuing a certificate", source };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.key.algorithm() == &PKCS_RSA_SHA256 {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, &self.key).map_err(failed)?;
        params.signed_by(key, &issuer).map_err(failed)
    }
}

/// A new service-account key: RSA 4096, as the current contract has it.
pub(crate) fn new_service_account_key() -> Result<Secret, Error> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_4096)
        .map_err(|source| Error::Issue { doing: "making the service-account key", source })?;
    keys::key_pem(&key)
}

pub(crate) fn new_key(algorithm: &'static SignatureAlgorithm) -> Result<KeyPair, Error> {
    KeyPair::generate_for(algorithm).map_err(|source| Error::Issue { doing: "making a key", source })
}

pub(crate) fn certificate_pem(der: &[u8]) -> String {
    keys::armor("CERTIFICATE", der).expose().to_owned()
}

pub(crate) fn params(now: SystemTime, life: Duration) -> Result<CertificateParams, Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |time: SystemTime| Duration::from_secs(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = epoch + since(now).saturating_sub(BACKDATE);
    params.not_after = epoch + since(now) + life;
    let mut serial = text::random::<16>()?;
    serial[0] &= 0x7f; // positive without a leading zero byte
    serial[0] |= 0x01; // never zero
    params.serial_number = Some(SerialNumber::from_slice(serial.as_slice()));
    Ok(params)
}

pub(crate) fn alternative_names(request: &ServerRequest<'_>) -> Result<Vec<SanType>, Error> {
    let mut names: Vec<SanType> = Vec::new();
    let mut add = |name: SanType| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for address in request.addresses {
        add(SanType::IpAddress(*address));
    }
    for name in request.names.iter().filter(|name| !name.is_empty()) {
        if let Ok(address) = name.parse() {
            add(SanType::IpAddress(address));
        } else {
            let dns = name.as_str().try_into().map_err(|source| Error::Name { name: name.clone(), source })?;
            add(SanType::DnsName(dns));
        }
    }
    Ok(names)
}
