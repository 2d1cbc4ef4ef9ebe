//! Keys and certificates.

use std::{borrow::Cow, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{Form, SecretText, Shape, Value};

/// The only id of [`OsRootSpec`].
pub const OS_ROOT: &str = "os";
/// The only id of [`ApiCertsSpec`].
pub const API: &str = "api";

/// PEM: its bytes, and in YAML base64 of them, as configurations have it. Shown to administrators only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pem(pub SecretText);

impl Value for Pem {
    fn form(&self) -> Form<'_> {
        let SecretText(text) = &self.0;
        let (proto, yaml) = (Form::Bytes(Cow::Borrowed(text.as_bytes())), Form::Text(Cow::Owned(STANDARD.encode(text.as_bytes()))));
        Form::Both { proto: Box::new(proto), yaml: Box::new(yaml) }
    }

    fn shape() -> Shape {
        Shape::Plain("PEM")
    }
}

crate::message! {
    /// A certificate and its key.
    pub struct CertificateAndKey {
        /// The certificate.
        1 certificate: Pem = "crt",
        /// The key.
        2 key: Pem = "key",
    }

    /// A certificate.
    pub struct Certificate {
        /// The certificate.
        1 certificate: Pem = "crt",
    }

    /// What the machine API shows and accepts.
    pub struct ApiCertsSpec {
        /// All authorities that are accepted.
        4 accepted_cas: Vec<Certificate> = "acceptedCAs",
        /// What this node shows to other nodes; control planes only.
        2 client: Option<CertificateAndKey> = "client",
        /// What it shows to clients.
        3 server: Option<CertificateAndKey> = "server",
        /// Clients need no certificate.
        5 open: bool = "skipVerifyingClientCert",
    }

    /// The machine API's authorities, and what joining nodes have to know.
    pub struct OsRootSpec {
        /// The one that signs; control planes only.
        1 issuing_ca: Option<CertificateAndKey> = "issuingCA",
        /// All that are accepted.
        5 accepted_cas: Vec<Certificate> = "acceptedCAs",
        /// Further addresses of the API's certificate.
        2 certificate_addresses: Vec<IpAddr> = "certSANIPs",
        /// Further names of it.
        3 certificate_names: Vec<String> = "certSANDNSNames",
        /// What joining nodes have to know.
        4 token: SecretText = "token",
    }
}

kinds! {
    ApiCertsSpec: "ApiCertificates.secrets.talos.dev" in "secrets", [], [], sensitive;
    OsRootSpec: "OSRootSecrets.secrets.talos.dev" in "secrets", [], [], sensitive;
}
