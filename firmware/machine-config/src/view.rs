//! What the node uses of a configuration, typed.

use ipnet::IpNet;
use pki::{AuthorityPem, Secret};

use crate::{
    Network, Problems, endpoint,
    host::{self, Host},
    network, stream,
    take::Taker,
    validate,
};

/// Control plane or worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineType {
    /// `controlplane`, or `init` of old configurations, which means the same.
    ControlPlane,
    /// `worker`
    Worker,
}

impl MachineType {
    /// The name in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }
}

/// Where a node runs, which decides what a configuration must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RunMode {
    /// On a machine of its own.
    #[default]
    Metal,
    /// In a cloud.
    Cloud,
    /// In a container.
    Container,
}

/// A setting that is understood but that this version does not act on, or an advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line in the text, from 1; 0 when it is about several.
    pub line: usize,
    /// Path of the value.
    pub path: String,
    /// What to know about it.
    pub text: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}: {}", self.path, self.text),
        }
    }
}

/// Warnings for a log: one line for each thing to know, with the places it is about.
#[must_use]
pub fn summary(warnings: &[Warning]) -> Vec<String> {
    let mut places: Vec<(&str, Vec<String>)> = Vec::new();
    for Warning { line, path, text } in warnings {
        let place = if *line == 0 { "at the end of the list".to_owned() } else { format!("{path} (line {line})") };
        match places.iter_mut().find(|(known, _)| known == text) {
            Some((_, list)) => list.push(place),
            None => places.push((text, vec![place])),
        }
    }
    places.into_iter().map(|(text, list)| format!("{text}: {}", list.join(", "))).collect()
}

/// A configuration that is right, and what to know about it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Settings without effect, and advice.
    pub warnings: Vec<Warning>,
}

/// `machine.install`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// Disk to install to.
    pub disk: String,
    /// Installer image.
    pub image: String,
    /// Wipe the disk first.
    pub wipe: bool,
}

/// `cluster`.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Cluster id.
    pub id: String,
    /// Discovery secret.
    pub secret: Secret,
    /// Name.
    pub name: String,
    /// The API server's URL, `https://host:port`.
    pub endpoint: String,
    /// Kubernetes bootstrap token.
    pub token: Secret,
    /// Kubernetes' authority.
    pub ca: Option<AuthorityPem>,
    /// The aggregator's authority.
    pub aggregator_ca: Option<AuthorityPem>,
    /// etcd's authority.
    pub etcd_ca: Option<AuthorityPem>,
    /// Key for service-account tokens, PEM.
    pub service_account: Option<Secret>,
    /// Domain of services.
    pub dns_domain: String,
    /// Ranges of pods.
    pub pod_subnets: Vec<IpNet>,
    /// Ranges of services.
    pub service_subnets: Vec<IpNet>,
}

impl Cluster {
    /// The host of the API server's URL: an address without brackets, or a name.
    #[must_use]
    pub fn endpoint_host(&self) -> Option<&str> {
        endpoint::host(&self.endpoint).ok()
    }
}

/// A complete, checked configuration. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) machine_type: MachineType,
    pub(crate) token: Secret,
    pub(crate) ca: AuthorityPem,
    pub(crate) accepted_cas: Vec<String>,
    pub(crate) cert_sans: Vec<String>,
    pub(crate) network: Network,
    pub(crate) host: Host,
    pub(crate) install: Option<Install>,
    pub(crate) cluster: Cluster,
}

impl Config {
    /// Reads and checks the configuration of a machine. Fails with every problem found, not just the first.
    pub fn parse(text: &str) -> Result<Parsed, Problems> {
        Self::parse_for(text, RunMode::Metal)
    }

    /// Reads and checks a configuration for where it is used. Fails with every problem found.
    pub fn parse_for(text: &str, mode: RunMode) -> Result<Parsed, Problems> {
        let mut stream = stream::read(text);
        let problems = std::mem::take(&mut stream.problems);
        let unread = stream.main().is_none() && !problems.is_empty();
        let mut taker = Taker { problems };
        let mut config = stream.main().and_then(|node| taker.config(node));
        if stream.main().is_none() && !unread {
            taker.problems.add(0, "", "there is no main document (one with machine: and cluster:)");
        }
        if let (Some(config), Some(main)) = (&mut config, stream.main()) {
            let document = |kind: &str| stream.of_kind(kind).next();
            taker.hostname(config, main, document("HostnameConfig"));
            taker.network_documents(&mut config.network, &stream.among(&network::KINDS));
            config.host = taker.host(main.get("machine"), &stream.among(&host::KINDS));
            taker.cluster_documents(&mut config.cluster, document);
            validate::check(config, &stream, main, mode, &mut taker.problems);
        }
        validate::documents(&stream, &mut taker.problems);
        taker.problems.sort();
        stream.warnings.sort_by_key(|warning| (warning.line == 0, warning.line));
        match config {
            Some(config) if taker.problems.is_empty() => Ok(Parsed { config, warnings: stream.warnings }),
            _ => Err(taker.problems),
        }
    }

    /// Control plane or worker.
    #[must_use]
    pub const fn machine_type(&self) -> MachineType {
        self.machine_type
    }

    /// The token of joining nodes.
    #[must_use]
    pub const fn token(&self) -> &Secret {
        &self.token
    }

    /// The machine API's authority; with its key on a control plane.
    #[must_use]
    pub const fn machine_ca(&self) -> &AuthorityPem {
        &self.ca
    }

    /// Further authorities whose clients are accepted, PEM each.
    #[must_use]
    pub fn accepted_cas(&self) -> &[String] {
        &self.accepted_cas
    }

    /// All authorities whose clients are accepted, as one PEM text: the machine's own and the accepted ones.
    #[must_use]
    pub fn client_cas_pem(&self) -> String {
        std::iter::once(&self.ca.cert_pem).chain(&self.accepted_cas).map(|pem| format!("{}\n", pem.trim_end())).collect()
    }

    /// Further names and addresses for the API's server certificate.
    #[must_use]
    pub fn cert_sans(&self) -> &[String] {
        &self.cert_sans
    }

    /// The host name given, if any.
    #[must_use]
    pub fn hostname(&self) -> Option<&str> {
        self.network.hostname.as_deref()
    }

    /// Network settings.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Install settings, if there are any.
    #[must_use]
    pub const fn install(&self) -> Option<&Install> {
        self.install.as_ref()
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
