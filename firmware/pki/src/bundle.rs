//! The secrets bundle: what `gen secrets` writes and `gen config --with-secrets` reads. Keys are lower case,
//! PEM values are base64-encoded once more.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{
    Authority, AuthorityKind, ClientRequest, Error, Identity, Secret, YEAR,
    authority::new_service_account_key,
    text::{decode_base64_text, encode_base64, random_base64, random_token},
};

/// An authority's certificate and, where the holder may issue, its key.
#[derive(Clone, Debug, Default)]
pub struct AuthorityPem {
    /// Certificate, PEM.
    pub cert_pem: String,
    /// Private key, PEM; a worker has none.
    pub key_pem: Option<Secret>,
}

/// Everything secret about a cluster.
#[derive(Clone, Debug)]
pub struct SecretsBundle {
    /// Cluster id: base64 of 32 random bytes.
    pub cluster_id: String,
    /// Cluster secret for discovery: base64 of 32 random bytes.
    pub cluster_secret: Secret,
    /// Kubernetes bootstrap token.
    pub bootstrap_token: Secret,
    /// Key that encrypts Kubernetes secrets in etcd: base64 of 32 random bytes.
    pub secretbox_secret: Option<Secret>,
    /// The same of bundles made long ago.
    pub aescbc_secret: Option<Secret>,
    /// Token with which a node joins.
    pub machine_token: Secret,
    /// etcd's authority.
    pub etcd: AuthorityPem,
    /// Kubernetes' authority.
    pub kubernetes: AuthorityPem,
    /// The aggregator's authority.
    pub aggregator: AuthorityPem,
    /// Key that signs service-account tokens, PEM.
    pub service_account: Secret,
    /// The machine API's authority.
    pub os: AuthorityPem,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cluster: ClusterPart,
    secrets: SecretsPart,
    trustdinfo: TrustdPart,
    certs: CertsPart,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterPart {
    id: String,
    secret: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsPart {
    bootstraptoken: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    secretboxencryptionsecret: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    aescbcencryptionsecret: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustdPart {
    token: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertsPart {
    etcd: PairPart,
    k8s: PairPart,
    k8saggregator: PairPart,
    k8sserviceaccount: KeyPart,
    os: PairPart,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairPart {
    crt: String,
    #[serde(default)]
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPart {
    key: String,
}

impl SecretsBundle {
    /// New secrets, valid from a year before `now` for ten years after it. Takes about a second: the RSA key.
    pub fn generate(now: SystemTime) -> Result<Self, Error> {
        let authority = |kind| Authority::generate(kind, now)?.to_pem();
        Ok(Self {
            cluster_id: random_base64()?.expose().to_owned(),
            cluster_secret: random_base64()?,
            bootstrap_token: random_token()?,
            secretbox_secret: Some(random_base64()?),
            aescbc_secret: None,
            machine_token: random_token()?,
            etcd: authority(AuthorityKind::Etcd)?,
            kubernetes: authority(AuthorityKind::Kubernetes)?,
            aggregator: authority(AuthorityKind::Aggregator)?,
            service_account: new_service_account_key()?,
            os: authority(AuthorityKind::Os)?,
        })
    }

    /// Reads a bundle file. Unknown keys are errors.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        let file: File = serde_yaml::from_str(text).map_err(|source| Error::Yaml { what: "secrets bundle", source })?;
        let some = |text: String| (!text.is_empty()).then(|| Secret::new(text));
        Ok(Self {
            cluster_id: file.cluster.id,
            cluster_secret: Secret::new(file.cluster.secret),
            bootstrap_token: Secret::new(file.secrets.bootstraptoken),
            secretbox_secret: some(file.secrets.secretboxencryptionsecret),
            aescbc_secret: some(file.secrets.aescbcencryptionsecret),
            machine_token: Secret::new(file.trustdinfo.token),
            etcd: file.certs.etcd.open("certs.etcd")?,
            kubernetes: file.certs.k8s.open("certs.k8s")?,
            aggregator: file.certs.k8saggregator.open("certs.k8saggregator")?,
            service_account: decode_base64_text("certs.k8sserviceaccount.key", &file.certs.k8sserviceaccount.key)?,
            os: file.certs.os.open("certs.os")?,
        })
    }

    /// The bundle file. It is as secret as its content.
    pub fn to_yaml(&self) -> Result<Secret, Error> {
        let plain = |secret: &Option<Secret>| secret.as_ref().map_or_else(String::new, |s| s.expose().to_owned());
        let file = File {
            cluster: ClusterPart { id: self.cluster_id.clone(), secret: self.cluster_secret.expose().to_owned() },
            secrets: SecretsPart {
                bootstraptoken: self.bootstrap_token.expose().to_owned(),
                secretboxencryptionsecret: plain(&self.secretbox_secret),
                aescbcencryptionsecret: plain(&self.aescbc_secret),
            },
            trustdinfo: TrustdPart { token: self.machine_token.expose().to_owned() },
            certs: CertsPart {
                etcd: PairPart::close(&self.etcd),
                k8s: PairPart::close(&self.kubernetes),
                k8saggregator: PairPart::close(&self.aggregator),
                k8sserviceaccount: KeyPart { key: encode_base64(self.service_account.expose()) },
                os: PairPart::close(&self.os),
            },
        };
        serde_yaml::to_string(&file).map(Secret::new).map_err(|source| Error::Yaml { what: "secrets bundle", source })
    }

    /// An admin's client certificate, valid for a year.
    pub fn admin(&self, now: SystemTime) -> Result<Identity, Error> {
        let key = self.os.key_pem.as_ref().ok_or(Error::MissingBlock { what: "certs.os", wanted: "PRIVATE KEY" })?;
        let request = ClientRequest { common_name: None, organization: "os:admin", life: YEAR };
        Authority::from_pem(&self.os.cert_pem, key)?.issue_client(&request, now)
    }
}

impl PairPart {
    fn open(self, what: &str) -> Result<AuthorityPem, Error> {
        let cert_pem = decode_base64_text(&format!("{what}.crt"), &self.crt)?.expose().to_owned();
        let key = Secret::new(self.key);
        let key_pem = if key.is_empty() { None } else { Some(decode_base64_text(&format!("{what}.key"), key.expose())?) };
        Ok(AuthorityPem { cert_pem, key_pem })
    }

    fn close(pair: &AuthorityPem) -> Self {
        let key = pair.key_pem.as_ref().map_or_else(String::new, |key| encode_base64(key.expose()));
        Self { crt: encode_base64(&pair.cert_pem), key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_survives_its_file_and_hides_its_secrets() {
        let bundle = SecretsBundle::generate(SystemTime::now()).expect("a bundle");
        let text = bundle.to_yaml().expect("a file");
        let again = SecretsBundle::from_yaml(text.expose()).expect("readable");
        assert_eq!(again.to_yaml().expect("a file"), text);
        let shown = format!("{bundle:?}");
        for secret in [&bundle.cluster_secret, &bundle.machine_token, &bundle.service_account, &bundle.bootstrap_token] {
            assert!(!shown.contains(secret.expose()));
        }
        assert!(!shown.contains("PRIVATE KEY"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = SecretsBundle::from_yaml("cluster:\n  id: a\n  secret: b\n  colour: red\n").map(|_| ());
        let source = match error {
            Err(Error::Yaml { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(source.contains("colour") && source.contains("line 4"), "{source}");
    }
}
