//! Requests for server certificates: a joining node's side, and what a control plane makes of one.
//!
//! A request says which key, which name, which alternative names. Everything else that it may ask for (organisations, which are roles; an
//! authority; other usages) is not looked at. Rules: behaviour (e).

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, PublicKey,
    PublicKeyData, SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use crate::{
    Authority, Error, Secret, ServerRequest,
    authority::{alternative_names, certificate_pem, params},
    inspect, keys,
};

/// Longest request, bytes of PEM. One with [`MAX_NAMES`] long names and an RSA key is shorter.
pub const MAX_REQUEST: usize = 32 * 1024;
/// Alternative names of one certificate.
pub const MAX_NAMES: usize = 256;
/// Longest name, bytes (RFC 1035).
const MAX_NAME: usize = 253;
/// Bytes of an RSA public key as X.509 has it, from 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 266..=1100;

/// Makes a key of the authority's kind and a request for a server certificate for it. Returns the request, PEM, and the key.
pub fn request_server(request: &ServerRequest<'_>, authority_pem: &str) -> Result<(String, Secret), Error> {
    // The last one of a chain: the kind that will sign when authorities are about to change.
    let chain = keys::read_chain(authority_pem)?;
    let authority = chain.last().ok_or(Error::Request("there is no authority"))?;
    let key = crate::authority::new_key(inspect::algorithm(authority)?)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, request.common_name);
    params.subject_alt_names = alternative_names(request)?;
    let failed = |source| Error::Issue { doing: "requesting a certificate", source };
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok((keys::armor("CERTIFICATE REQUEST", request.der()).expose().to_owned(), keys::key_pem(&key)?))
}

/// A request whose sender has the key that it is about.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    key: PublicKey,
    common_name: Option<String>,
    organizations: Vec<String>,
    names: Vec<SanType>,
}

impl CertificateRequest {
    /// Reads a request, PEM. It comes from outside: nothing of it is believed but what it signs.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_REQUEST {
            return Err(Error::Request("it is too long"));
        }
        let block = pem::parse(text).map_err(|source| Error::Pem { what: "the certificate request", source })?;
        if !matches!(block.tag(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
            return Err(Error::MissingBlock { what: "the certificate request", wanted: "CERTIFICATE REQUEST" });
        }
        // The signature is checked, too.
        let der = CertificateSigningRequestDer::from(block.into_contents());
        let CertificateSigningRequestParams { params, public_key } = CertificateSigningRequestParams::from_der(&der)
            .map_err(|source| Error::Issue { doing: "reading the certificate request", source })?;
        let rsa = [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_RSA_SHA384, &rcgen::PKCS_RSA_SHA512].contains(&public_key.algorithm());
        if rsa && !RSA_BYTES.contains(&public_key.der_bytes().len()) {
            return Err(Error::Request("its RSA key has less than 2048 or more than 8192 bits"));
        }
        let common_name = params.distinguished_name.get(&DnType::CommonName).and_then(text_of);
        let names = params.subject_alt_names;
        let fits = |name: &SanType| match name {
            SanType::DnsName(name) => name.as_str().len() <= MAX_NAME,
            SanType::IpAddress(_) => true,
            _ => false,
        };
        if names.len() > MAX_NAMES || !names.iter().all(fits) || common_name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
            return Err(Error::Request("its names are too many, too long, or neither host names nor addresses"));
        }
        // The library keeps one of them only.
        let (_, parsed) = X509CertificationRequest::from_der(&der).map_err(|_| Error::Request("it is not readable"))?;
        let organizations = parsed.certification_request_info.subject.iter_organization();
        let organizations = organizations.filter_map(|value| value.as_str().ok()).map(str::to_owned).collect();
        Ok(Self { key: public_key, common_name, organizations, names })
    }

    pub(crate) const fn key(&self) -> &PublicKey {
        &self.key
    }

    pub(crate) fn organizations(&self) -> &[String] {
        &self.organizations
    }

    pub(crate) fn alternative_names(&self) -> &[SanType] {
        &self.names
    }

    /// The common name, if it has one.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The names and addresses asked for, as [`server_names`](crate::server_names) has them.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.names
            .iter()
            .filter_map(|name| match name {
                SanType::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
                SanType::IpAddress(address) => Some(address.to_string()),
                _ => None,
            })
            .collect()
    }
}

fn text_of(value: &DnValue) -> Option<String> {
    match value {
        DnValue::Utf8String(text) => Some(text.clone()),
        DnValue::PrintableString(text) => Some(text.as_str().to_owned()),
        DnValue::Ia5String(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

impl Authority {
    /// The certificate that a request asks for, PEM: for a server, with the request's key, common name and alternative names, and
    /// nothing else of it.
    pub fn certify(&self, request: &CertificateRequest, life: Duration, now: SystemTime) -> Result<String, Error> {
        let mut params = params(now, life)?;
        if let Some(name) = &request.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names.clone_from(&request.names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(certificate_pem(self.sign_for(params, &request.key)?.der()))
    }
}

/// Checks what somebody else has signed for `key_pem`: a server's certificate of one of these authorities, valid now, and for that key.
/// Returns which of the authorities signed it.
pub fn check_server(cert_pem: &str, key_pem: &Secret, authorities_pem: &str, now: SystemTime) -> Result<usize, Error> {
    let chain = keys::read_chain(cert_pem)?;
    let leaf = chain.first().ok_or(Error::KeyMismatch)?;
    let key = keys::key_pair(key_pem.expose())?;
    if inspect::fingerprint_of_spki(&key.subject_public_key_info()) != inspect::spki_fingerprint(leaf)? {
        return Err(Error::KeyMismatch);
    }
    inspect::signer_of_server(leaf, &keys::read_chain(authorities_pem)?, now)
}

/// An address or a name, as a certificate shows it.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;
    use crate::{AuthorityKind, ClientRequest, common_name, read_chain, roles, server_names};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn authority() -> Authority {
        Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority")
    }

    const ADDRESSES: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2))];

    fn request(names: &[String]) -> ServerRequest<'_> {
        ServerRequest { common_name: "node-2.lan", names, addresses: &ADDRESSES, life: DAY }
    }

    #[test]
    fn a_request_becomes_a_certificate_for_its_key() {
        for kind in [AuthorityKind::Os, AuthorityKind::Kubernetes] {
            let authority = Authority::generate(kind, SystemTime::now()).expect("authority");
            let names = ["node-2".to_owned(), "fd00::2".to_owned()];
            let (text, key) = request_server(&request(&names), authority.cert_pem()).expect("request");
            let read = CertificateRequest::from_pem(&text).expect("readable");
            assert_eq!(read.common_name(), Some("node-2.lan"));
            let certificate = authority.certify(&read, DAY, SystemTime::now()).expect("certificate");
            let leaf = &read_chain(&certificate).expect("chain")[0];
            assert_eq!(server_names(leaf).expect("names"), read.names());
            assert_eq!(common_name(leaf).expect("name").as_deref(), Some("node-2.lan"));
            let others = format!("{}{}", self::authority().cert_pem(), authority.cert_pem());
            assert_eq!(check_server(&certificate, &key, &others, SystemTime::now()).expect("good"), 1);
            check_server(&certificate, &key, self::authority().cert_pem(), SystemTime::now()).expect_err("another authority");
            check_server(&certificate, &key, &others, SystemTime::now() + DAY * 2).expect_err("run out");
            let (_, other) = request_server(&request(&names), authority.cert_pem()).expect("request");
            check_server(&certificate, &other, &others, SystemTime::now()).expect_err("another key");
            let client =
                authority.issue_client(&ClientRequest { common_name: None, organization: "os:admin", life: DAY }, SystemTime::now());
            let client = client.expect("certificate");
            check_server(&client.cert_pem, &client.key_pem, &others, SystemTime::now()).expect_err("a client's");
        }
    }

    fn forged(change: impl Fn(&mut CertificateParams)) -> String {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        params.serialize_request(&key).expect("request").pem().expect("pem")
    }

    #[test]
    fn nothing_else_can_be_asked_for() {
        let text = forged(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "os:admin");
            params.distinguished_name.push(DnType::CommonName, "me");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any];
        });
        let authority = authority();
        let certificate =
            authority.certify(&CertificateRequest::from_pem(&text).expect("readable"), DAY, SystemTime::now()).expect("signed");
        let leaf = &read_chain(&certificate).expect("chain")[0];
        assert_eq!(roles(leaf).expect("roles"), Vec::<String>::new());
        // Its only usage is a server's, and it is no authority.
        assert_eq!(
            inspect::signer_of_server(leaf, &read_chain(authority.cert_pem()).expect("chain"), SystemTime::now()).expect("server"),
            0
        );
        assert!(!inspect::is_authority(leaf).expect("readable"));
    }

    #[test]
    fn what_is_odd_is_refused() {
        let odd = [
            forged(|params| params.subject_alt_names = vec![SanType::URI("spiffe://a".try_into().expect("text"))]),
            forged(|params| params.subject_alt_names = vec![SanType::IpAddress([10, 0, 0, 1].into()); MAX_NAMES + 1]),
            forged(|params| params.distinguished_name.push(DnType::CommonName, "x".repeat(254))),
            "x".repeat(MAX_REQUEST + 1),
            String::new(),
            authority().cert_pem().to_owned(),
        ];
        for text in odd {
            assert!(CertificateRequest::from_pem(&text).is_err(), "{text}");
        }
        // A signature that does not fit: the key is not the sender's.
        let names = [];
        let (text, _) = request_server(&request(&names), authority().cert_pem()).expect("request");
        let mut block = pem::parse(&text).expect("pem").into_contents();
        let last = block.len() - 1;
        block[last] ^= 1;
        assert!(CertificateRequest::from_pem(keys::armor("CERTIFICATE REQUEST", &block).expose()).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_refused(flips in prop::collection::vec((0_usize..400, any::<u8>()), 1..6), cut in 0_usize..400) {
            let names = [];
            let (text, _) = request_server(&request(&names), authority().cert_pem()).expect("request");
            let mut block = pem::parse(&text).expect("pem").into_contents();
            for (at, value) in flips {
                let at = at % block.len();
                block[at] = value;
            }
            block.truncate(block.len().max(1) - cut.min(block.len() - 1));
            let _ = CertificateRequest::from_pem(keys::armor("CERTIFICATE REQUEST", &block).expose());
        }

        /// What a stranger shows as its certificate is looked at before anything else is known of it.
        #[test]
        fn a_strange_certificate_is_refused(flips in prop::collection::vec((0_usize..400, any::<u8>()), 1..6), cut in 0_usize..400) {
            let authority = authority();
            let names = ["node-2".to_owned()];
            let whole = authority.issue_server(&request(&names), SystemTime::now()).expect("certificate");
            let mut leaf = read_chain(&whole.cert_pem).expect("chain").remove(0).to_vec();
            let before = leaf.clone();
            for (at, value) in flips {
                let at = at % leaf.len();
                leaf[at] = value;
            }
            leaf.truncate(leaf.len() - cut % leaf.len());
            let found = inspect::signer_of_server(&leaf, &read_chain(authority.cert_pem()).expect("chain"), SystemTime::now());
            prop_assert_eq!(found.is_ok(), leaf == before);
            let _ = (server_names(&leaf), common_name(&leaf), roles(&leaf));
        }

        #[test]
        fn any_text_is_refused(text in ".{0,200}") {
            prop_assert!(CertificateRequest::from_pem(&text).is_err());
        }
    }
}
