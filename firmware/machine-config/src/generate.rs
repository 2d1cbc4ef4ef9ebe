//! The configurations of a new cluster, in the shape that clients of the generation make them: one main document
//! with the sections that every client since contract 1.9 knows, and a `HostnameConfig` document (contract 1.12 on).
//! Container images are left out: a node then uses those of its own version.

use std::{fmt::Write, time::SystemTime};

use pki::{AuthorityPem, Context, Secret, SecretsBundle, Talosconfig};

use crate::{MachineType, endpoint, quote::scalar};

/// Disk named in a generated configuration when none is given.
pub const DEFAULT_INSTALL_DISK: &str = "/dev/sda";
/// Installer image named when none is given. A flashed node does not use it.
pub const DEFAULT_INSTALL_IMAGE: &str = concat!("keelson/installer:v", env!("CARGO_PKG_VERSION"));

/// What to make configurations for.
#[derive(Clone, Debug)]
pub struct GenerateInput<'a> {
    /// Cluster name: a DNS label.
    pub cluster_name: &'a str,
    /// URL of the Kubernetes API server, `https://host[:port]`.
    pub endpoint: &'a str,
    /// The cluster's secrets.
    pub secrets: &'a SecretsBundle,
    /// Disk to install to.
    pub install_disk: &'a str,
    /// Installer image.
    pub install_image: &'a str,
    /// Further names and addresses for certificates.
    pub additional_sans: &'a [String],
    /// Domain of services; normally `cluster.local`.
    pub dns_domain: &'a str,
    /// The moment the admin's certificate is made at.
    pub now: SystemTime,
}

impl<'a> GenerateInput<'a> {
    /// With every default.
    #[must_use]
    pub const fn new(cluster_name: &'a str, endpoint: &'a str, secrets: &'a SecretsBundle, now: SystemTime) -> Self {
        Self {
            cluster_name,
            endpoint,
            secrets,
            install_disk: DEFAULT_INSTALL_DISK,
            install_image: DEFAULT_INSTALL_IMAGE,
            additional_sans: &[],
            dns_domain: "cluster.local",
            now,
        }
    }
}

/// The files of a new cluster.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Configuration of control-plane nodes.
    pub controlplane: Secret,
    /// Configuration of workers.
    pub worker: Secret,
    /// The admin's client configuration; its endpoints are empty until nodes are known.
    pub talosconfig: Talosconfig,
}

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The cluster name cannot be one.
    #[error("cluster name {0:?} is not a DNS label (lower-case letters, digits and dashes, at most 63)")]
    ClusterName(String),
    /// The endpoint cannot be one.
    #[error("endpoint {given:?} is not usable: {why}")]
    Endpoint {
        /// As given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The admin's certificate could not be made.
    #[error("the admin's client certificate could not be made")]
    Admin(#[source] pki::Error),
}

/// Makes the configurations. Everything but the admin's certificate depends on the input alone.
pub fn generate(input: &GenerateInput<'_>) -> Result<Generated, GenerateError> {
    if !is_label(input.cluster_name) {
        return Err(GenerateError::ClusterName(input.cluster_name.into()));
    }
    let host = endpoint::host(input.endpoint).map_err(|why| GenerateError::Endpoint { given: input.endpoint.into(), why: why.into() })?;
    let admin = input.secrets.admin(input.now).map_err(GenerateError::Admin)?;
    let context = Context::new(Vec::new(), &input.secrets.os.cert_pem, &admin);
    Ok(Generated {
        controlplane: Secret::new(document(input, host, MachineType::ControlPlane)),
        worker: Secret::new(document(input, host, MachineType::Worker)),
        talosconfig: Talosconfig::single(input.cluster_name, context),
    })
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 63 && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Text under construction; writing to a `String` cannot fail.
struct Text(String);

impl Text {
    /// A line with a key and a value.
    fn value(&mut self, indent: usize, key: &str, value: &str) {
        let _ = writeln!(self.0, "{:indent$}{key}: {}", "", scalar(value));
    }

    /// A line as it is.
    fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.0, "{:indent$}{line}", "");
    }

    /// A key with a list.
    fn list(&mut self, indent: usize, key: &str, items: &[&str]) {
        if items.is_empty() {
            return self.line(indent, &format!("{key}: []"));
        }
        self.line(indent, &format!("{key}:"));
        for item in items {
            let _ = writeln!(self.0, "{:1$}- {2}", "", indent + 2, scalar(item));
        }
    }

    /// An authority; without its key for those who may not issue.
    fn authority(&mut self, indent: usize, key: &str, pem: &AuthorityPem, with_key: bool) {
        self.line(indent, &format!("{key}:"));
        self.value(indent + 2, "crt", &pki::encode_base64(&pem.cert_pem));
        let private = pem.key_pem.as_ref().filter(|_| with_key);
        self.value(indent + 2, "key", &private.map_or_else(String::new, |key| pki::encode_base64(key.expose())));
    }
}

fn document(input: &GenerateInput<'_>, host: &str, kind: MachineType) -> String {
    let mut text = Text(String::with_capacity(16 << 10));
    text.line(0, "version: v1alpha1");
    text.line(0, "debug: false");
    text.line(0, "persist: true");
    machine(&mut text, input, kind);
    cluster(&mut text, input, host, kind);
    text.line(0, "---");
    text.line(0, "apiVersion: v1alpha1");
    text.line(0, "kind: HostnameConfig");
    text.line(0, "auto: stable # the name is made from the node's identity; or give one with `hostname:` and auto: off");
    text.0
}

fn machine(text: &mut Text, input: &GenerateInput<'_>, kind: MachineType) {
    let control_plane = kind == MachineType::ControlPlane;
    let sans: Vec<_> = input.additional_sans.iter().map(String::as_str).collect();
    text.line(0, "machine:");
    text.line(2, &format!("type: {} # controlplane or worker", kind.as_str()));
    text.value(2, "token", input.secrets.machine_token.expose());
    text.line(2, "# The authority of the machine API; only control-plane nodes hold its key.");
    text.authority(2, "ca", &input.secrets.os, control_plane);
    text.line(2, "# Names and addresses under which the machine API is reached beside the node's own.");
    text.list(2, "certSANs", &sans);
    text.line(2, "kubelet:");
    text.line(4, "defaultRuntimeSeccompProfileEnabled: true");
    text.line(4, "disableManifestsDirectory: true");
    text.line(2, "# Without settings every physical link asks for an address by DHCP.");
    text.line(2, "network: {}");
    text.line(2, "install:");
    text.value(4, "disk", input.install_disk);
    text.value(4, "image", input.install_image);
    text.line(4, "wipe: false");
    text.line(2, "features:");
    text.line(4, "diskQuotaSupport: true");
    text.line(4, "kubePrism:");
    text.line(6, "enabled: true");
    text.line(6, "port: 7445");
    text.line(4, "hostDNS:");
    text.line(6, "enabled: true");
    text.line(6, "forwardKubeDNSToHost: true");
    if control_plane {
        text.line(2, "nodeLabels:");
        text.line(4, "node.kubernetes.io/exclude-from-external-load-balancers: \"\"");
    }
}

fn cluster(text: &mut Text, input: &GenerateInput<'_>, host: &str, kind: MachineType) {
    let control_plane = kind == MachineType::ControlPlane;
    let secrets = input.secrets;
    text.line(0, "cluster:");
    text.value(2, "id", &secrets.cluster_id);
    text.value(2, "secret", secrets.cluster_secret.expose());
    text.line(2, "controlPlane:");
    text.value(4, "endpoint", input.endpoint);
    if control_plane {
        text.value(2, "clusterName", input.cluster_name);
    }
    text.line(2, "network:");
    text.value(4, "dnsDomain", input.dns_domain);
    text.list(4, "podSubnets", &["10.244.0.0/16"]);
    text.list(4, "serviceSubnets", &["10.96.0.0/12"]);
    text.value(2, "token", secrets.bootstrap_token.expose());
    if control_plane {
        control_plane_secrets(text, secrets);
        let mut sans = vec![host];
        sans.extend(input.additional_sans.iter().map(String::as_str).filter(|name| *name != host));
        text.line(2, "apiServer:");
        text.list(4, "certSANs", &sans);
        text.line(4, "disablePodSecurityPolicy: true");
    } else {
        text.authority(2, "ca", &secrets.kubernetes, false);
    }
    text.line(2, "discovery:");
    text.line(4, "enabled: true");
    text.line(4, "registries:");
    text.line(6, "kubernetes:");
    text.line(8, "disabled: true");
    text.line(6, "service: {}");
    if control_plane {
        text.line(2, "etcd:");
        text.authority(4, "ca", &secrets.etcd, true);
    }
}

fn control_plane_secrets(text: &mut Text, secrets: &SecretsBundle) {
    if let Some(secret) = &secrets.aescbc_secret {
        text.value(2, "aescbcEncryptionSecret", secret.expose());
    }
    if let Some(secret) = &secrets.secretbox_secret {
        text.value(2, "secretboxEncryptionSecret", secret.expose());
    }
    text.authority(2, "ca", &secrets.kubernetes, true);
    text.authority(2, "aggregatorCA", &secrets.aggregator, true);
    text.line(2, "serviceAccount:");
    text.value(4, "key", &pki::encode_base64(secrets.service_account.expose()));
}
