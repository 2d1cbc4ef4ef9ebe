//! The configurations of a new cluster, as clients of the generation make them for each version of the contract.
//!
//! The contract says which shape a configuration has: up to 1.11 one document, since then more and more of it in
//! documents of their own, with 1.14 all that is about Kubernetes. `main` makes the first document, `documents` the others.

mod build;
mod contract;
mod documents;
mod main;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use pki::{Context, Secret, SecretsBundle, Talosconfig};

pub use contract::{Contract, ContractError};

use crate::{MachineType, endpoint, write};

/// Disk named in a generated configuration when none is given.
pub const DEFAULT_INSTALL_DISK: &str = "/dev/sda";
/// Installer image named when none is given. A flashed node does not use it.
pub const DEFAULT_INSTALL_IMAGE: &str = concat!("keelson/installer:v", env!("CARGO_PKG_VERSION"));
/// Version of Kubernetes' images when none is given.
pub const DEFAULT_KUBERNETES_VERSION: &str = "1.37.0";

/// First lines of every generated file.
const HEAD: &str = "# Made by gen config. What may be here, and what this version acts on: docs/configuration.md\n";

/// What to make configurations for.
#[derive(Clone, Debug)]
pub struct GenerateInput<'a> {
    /// Cluster name: a DNS label.
    pub cluster_name: &'a str,
    /// URL of the Kubernetes API server, `https://host[:port]`.
    pub endpoint: &'a str,
    /// The cluster's secrets.
    pub secrets: &'a SecretsBundle,
    /// Which version's shape they have.
    pub contract: Contract,
    /// Version of Kubernetes, with or without `v`.
    pub kubernetes_version: &'a str,
    /// Disk to install to; empty for none.
    pub install_disk: &'a str,
    /// Installer image.
    pub install_image: &'a str,
    /// Further names and addresses for certificates.
    pub additional_sans: &'a [String],
    /// Domain of services; normally `cluster.local`.
    pub dns_domain: &'a str,
    /// Mirrors of image registries: the registry's host and a mirror's URL, several for one host in their order.
    pub registry_mirrors: &'a [(String, String)],
    /// Whether nodes find one another through the discovery service.
    pub discovery: bool,
    /// Whether nodes build an encrypted network among them; `None` leaves it unsaid.
    pub kubespan: Option<bool>,
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
            contract: Contract::CURRENT,
            kubernetes_version: DEFAULT_KUBERNETES_VERSION,
            install_disk: DEFAULT_INSTALL_DISK,
            install_image: DEFAULT_INSTALL_IMAGE,
            additional_sans: &[],
            dns_domain: "cluster.local",
            registry_mirrors: &[],
            discovery: true,
            kubespan: None,
            now,
        }
    }

    /// A Kubernetes image of the version wanted.
    fn image(&self, name: &str) -> String {
        format!("{name}:v{}", self.kubernetes_version.trim_start_matches('v'))
    }

    /// The mirrors by host, hosts in the order of the alphabet.
    fn mirrors(&self) -> Vec<(&str, Vec<&str>)> {
        let mut mirrors: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
        for (host, url) in self.registry_mirrors {
            mirrors.entry(host).or_default().push(url);
        }
        mirrors.into_iter().collect()
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
    /// The version of Kubernetes cannot be one.
    #[error("{0:?} is no version of Kubernetes (1.37.0)")]
    KubernetesVersion(String),
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
    if !is_version(input.kubernetes_version) {
        return Err(GenerateError::KubernetesVersion(input.kubernetes_version.into()));
    }
    let admin = input.secrets.admin(input.now).map_err(GenerateError::Admin)?;
    let context = Context::new(Vec::new(), &input.secrets.os.cert_pem, &admin);
    Ok(Generated {
        controlplane: stream(input, host, MachineType::ControlPlane),
        worker: stream(input, host, MachineType::Worker),
        talosconfig: Talosconfig::single(input.cluster_name, context),
    })
}

fn stream(input: &GenerateInput<'_>, host: &str, kind: MachineType) -> Secret {
    let control_plane = kind == MachineType::ControlPlane;
    let first = main::document(input, host, control_plane);
    let others = documents::all(input, control_plane);
    let text = write::documents(std::iter::once(&first).chain(&others));
    let mut whole = String::with_capacity(HEAD.len() + text.len()); // grows no more: no copy stays behind
    whole.push_str(HEAD);
    whole.push_str(&text);
    Secret::new(whole)
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 63 && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Three numbers, and what may follow a dash or a plus.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, rest) = text.split_once(['-', '+']).unwrap_or((text, "x"));
    let number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && !rest.is_empty()
        && rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
}
