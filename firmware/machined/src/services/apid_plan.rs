//! What apid is started with, decided from the configuration and the network. Pure: the time is an argument.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use machine_config::{Config, MachineType};
use pki::{Authority, AuthorityKind, ClientRequest, Identity, Role, Secret, ServerRequest};
use wire::apid_config::{ApidConfig, Impersonator, Mode};
use zeroize::Zeroizing;

use crate::node::{ConfigText, NetworkStatus};

/// Lifetime of a node's own certificates; they are made anew at half of it.
pub(crate) const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Common name of the certificate in maintenance.
const MAINTENANCE_NAME: &str = "maintenance-service.talos.dev";
/// Addresses of this host that every certificate has.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Everything that decides what apid is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// All addresses that the node has had since it started, sorted.
    pub addresses: Vec<IpAddr>,
    /// Host name; empty while there is none.
    pub hostname: String,
    /// Its domain; empty when there is none.
    pub domain: String,
    /// Name servers in force.
    pub resolvers: Vec<IpAddr>,
    /// Text of the active configuration; `None` in maintenance. Secret: it is compared, never shown.
    pub config: Option<ConfigText>,
    /// How often the clock jumped far: certificates are dated anew after that.
    pub time_epoch: u64,
}

impl Inputs {
    /// Takes over how the network is. Addresses that are gone stay, because certificates only grow until the next start of the node;
    /// those of pods and services are not the node's.
    pub fn see(&mut self, network: &NetworkStatus) {
        let own = network.addresses().filter(|address| !network.kubernetes.iter().any(|range| range.contains(address)));
        self.addresses.extend(own);
        self.addresses.sort_unstable();
        self.addresses.dedup();
        self.hostname.clone_from(&network.hostname);
        self.domain.clone_from(&network.domain);
        self.resolvers.clone_from(&network.resolvers);
    }

    /// Host name with its domain.
    fn fqdn(&self) -> Option<String> {
        match (self.hostname.as_str(), self.domain.as_str()) {
            ("", _) => None,
            (hostname, "") => Some(hostname.to_owned()),
            (hostname, domain) => Some(format!("{hostname}.{domain}")),
        }
    }

    /// Names that mean this node: short and long.
    fn own_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            [Some(self.hostname.clone()), self.fqdn()].into_iter().flatten().filter(|name| !name.is_empty()).collect();
        names.dedup();
        names
    }
}

/// What a server certificate of this node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Common name.
    pub common_name: String,
    /// Names, and addresses that the configuration names.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl Subject {
    /// Of apid's certificate, and trustd's.
    pub fn of(inputs: &Inputs, config: Option<&Config>) -> Self {
        let mut names = vec!["localhost".to_owned()];
        names.extend(inputs.own_names());
        names.extend(config.iter().flat_map(|config| config.cert_sans().iter().cloned()));
        let common_name = match config {
            Some(_) => inputs.fqdn().unwrap_or_else(|| "localhost".to_owned()),
            None => MAINTENANCE_NAME.to_owned(),
        };
        Self { common_name, names, addresses: inputs.addresses.iter().copied().chain(LOOPBACK).collect() }
    }

    /// As a request for a certificate.
    pub fn request(&self) -> ServerRequest<'_> {
        ServerRequest { common_name: &self.common_name, names: &self.names, addresses: &self.addresses, life: CERTIFICATE_LIFE }
    }
}

/// apid's start configuration and what people are told about it.
#[derive(Debug)]
pub struct Plan {
    /// For apid's standard input.
    pub config: ApidConfig,
    /// Fingerprint of the server key, in maintenance.
    pub fingerprint: Option<String>,
    /// The server key, for the next time in maintenance.
    pub key: Secret,
}

/// Who signs a node's certificates.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// Nobody that clients know: a throw-away authority. A key that is known already is certified again: people compare its fingerprint with the
    /// console's, so it must not change when an address arrives.
    Maintenance(Option<&'a Secret>),
    /// The machine authority, with its key, of this configuration: a control plane.
    Own(&'a Config, &'a Secret),
    /// A control plane has signed this for a worker with this configuration.
    Trustd(&'a Config, &'a Identity),
}

/// Whether the node makes its certificates itself. A control plane's configuration has the key.
pub fn own_key(config: &Config) -> Option<&Secret> {
    config.machine_ca().key_pem.as_ref().filter(|_| config.machine_type() == MachineType::ControlPlane)
}

/// Plans what apid is told, with fresh certificates.
///
/// # Errors
/// When the configuration's authority cannot issue.
pub fn plan(inputs: &Inputs, signer: Signer<'_>, listen: SocketAddr, socket: &Path, now: SystemTime) -> Result<Plan, pki::Error> {
    let config = match signer {
        Signer::Maintenance(_) => None,
        Signer::Own(config, _) | Signer::Trustd(config, _) => Some(config),
    };
    let subject = Subject::of(inputs, config);
    let (server, impersonator) = match signer {
        Signer::Maintenance(known) => {
            let authority = Authority::generate(AuthorityKind::Maintenance, now)?;
            let server = match known {
                Some(key) => authority.renew_server(&subject.request(), key, now)?,
                None => authority.issue_server(&subject.request(), now)?,
            };
            (server, None)
        }
        Signer::Own(config, key) => {
            let authority = Authority::from_pem(&config.machine_ca().cert_pem, key)?;
            (authority.issue_server(&subject.request(), now)?, Some(impersonator(&authority, &subject.common_name, now)?))
        }
        Signer::Trustd(_, identity) => (identity.clone(), None),
    };
    let fingerprint = match config {
        Some(_) => None,
        None => pki::read_chain(&server.cert_pem)?.first().map(|leaf| pki::spki_fingerprint(leaf)).transpose()?,
    };
    Ok(Plan {
        config: ApidConfig {
            mode: if config.is_some() { Mode::Running } else { Mode::Maintenance },
            listen,
            server_chain_pem: server.cert_pem,
            server_key_pem: Zeroizing::new(server.key_pem.expose().to_owned()),
            client_ca_pem: config.map(Config::client_cas_pem),
            impersonator,
            local_addresses: subject.addresses,
            local_names: inputs.own_names(),
            resolvers: inputs.resolvers.clone(),
            socket: socket.to_owned(),
        },
        fingerprint,
        key: server.key_pem,
    })
}

/// What this node shows to the others.
fn impersonator(authority: &Authority, name: &str, now: SystemTime) -> Result<Impersonator, pki::Error> {
    let request = ClientRequest { common_name: Some(name), organization: Role::Impersonator.as_str(), life: CERTIFICATE_LIFE };
    let Identity { cert_pem, key_pem } = authority.issue_client(&request, now)?;
    Ok(Impersonator { chain_pem: cert_pem, key_pem: Zeroizing::new(key_pem.expose().to_owned()) })
}

/// Whether a certificate made at `made` should be replaced at `now`. Also after a jump of the clock.
#[must_use]
pub fn is_stale(made: SystemTime, now: SystemTime) -> bool {
    match now.duration_since(made) {
        Ok(age) => age >= CERTIFICATE_LIFE / 2,
        // Certificates reach back a year (see crate `pki`).
        Err(set_back) => set_back.duration() >= pki::YEAR / 2,
    }
}

#[cfg(test)]
mod tests {
    use machine_config::GenerateInput;
    use pki::SecretsBundle;

    use super::*;
    use crate::node::LinkStatus;

    fn network(addresses: &[&str]) -> NetworkStatus {
        let link = LinkStatus {
            name: "eth0".into(),
            mac: String::new(),
            up: true,
            addresses: addresses.iter().map(|text| text.parse().expect("address")).collect(),
            source: String::new(),
        };
        NetworkStatus {
            hostname: "node-1".into(),
            domain: "lan".into(),
            kubernetes: vec!["10.244.0.0/16".parse().expect("range")],
            links: vec![link],
            ..NetworkStatus::default()
        }
    }

    fn inputs() -> Inputs {
        let mut inputs = Inputs::default();
        inputs.see(&network(&["10.0.2.15/24", "10.0.2.15/24", "10.244.0.1/24"]));
        inputs
    }

    const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 50000);

    fn planned(inputs: &Inputs, signer: Signer<'_>) -> Plan {
        plan(inputs, signer, LISTEN, Path::new("/s"), SystemTime::now()).expect("planned")
    }

    #[test]
    fn addresses_only_grow_and_are_the_nodes_own() {
        let mut inputs = inputs();
        inputs.see(&network(&["10.0.2.16/24"]));
        let wanted: Vec<IpAddr> = ["10.0.2.15", "10.0.2.16"].iter().map(|text| text.parse().expect("address")).collect();
        assert_eq!(inputs.addresses, wanted);
        assert_eq!(inputs.own_names(), ["node-1", "node-1.lan"]);
        inputs.domain.clear();
        assert_eq!(inputs.own_names(), ["node-1"]);
    }

    #[test]
    fn maintenance_has_a_fingerprint_and_asks_for_no_certificate() {
        let plan = planned(&inputs(), Signer::Maintenance(None));
        assert_eq!((plan.config.mode, plan.config.client_ca_pem.as_deref()), (Mode::Maintenance, None));
        assert_eq!(plan.fingerprint.map(|text| text.len()), Some(44));
        assert_eq!(plan.config.local_addresses.len(), 3);
        let leaf = &pki::read_chain(&plan.config.server_chain_pem).expect("chain")[0];
        assert_eq!(pki::common_name(leaf).expect("name").as_deref(), Some(MAINTENANCE_NAME));
    }

    #[test]
    fn another_address_keeps_the_fingerprint_in_maintenance() {
        let mut inputs = inputs();
        let first = planned(&inputs, Signer::Maintenance(None));
        inputs.see(&network(&["10.0.2.16/24"]));
        let second = planned(&inputs, Signer::Maintenance(Some(&first.key)));
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_ne!(first.config.server_chain_pem, second.config.server_chain_pem);
    }

    #[test]
    fn a_control_plane_signs_for_itself_and_a_worker_takes_what_it_is_given() {
        let secrets = SecretsBundle::generate(SystemTime::now()).expect("secrets");
        let input = GenerateInput::new("c", "https://10.0.2.15:6443", &secrets, SystemTime::now());
        let generated = machine_config::generate(&input).expect("generated");
        let parse = |text: &Secret| Config::parse(text.expose()).expect("valid").config;
        let (control_plane, worker) = (parse(&generated.controlplane), parse(&generated.worker));
        assert!(own_key(&worker).is_none());

        let plan = planned(&inputs(), Signer::Own(&control_plane, own_key(&control_plane).expect("a key")));
        let leaf = |pem: &str| pki::read_chain(pem).expect("chain").remove(0);
        assert_eq!(pki::common_name(&leaf(&plan.config.server_chain_pem)).expect("name").as_deref(), Some("node-1.lan"));
        let own = leaf(&plan.config.impersonator.as_ref().expect("a client").chain_pem);
        assert_eq!(
            (pki::common_name(&own).expect("name").as_deref(), pki::roles(&own).expect("roles")),
            (Some("node-1.lan"), vec!["os:impersonator".to_owned()])
        );

        let identity = Identity { cert_pem: plan.config.server_chain_pem, key_pem: plan.key };
        let plan = planned(&inputs(), Signer::Trustd(&worker, &identity));
        assert_eq!((plan.config.mode, plan.config.impersonator, plan.config.server_chain_pem), (Mode::Running, None, identity.cert_pem));
    }

    #[test]
    fn certificates_go_stale_at_half_life_and_after_jumps() {
        let made = SystemTime::UNIX_EPOCH + pki::YEAR * 50;
        for (now, wanted) in [
            (made, false),
            (made + CERTIFICATE_LIFE / 2 - Duration::from_secs(1), false),
            (made + CERTIFICATE_LIFE / 2, true),
            (made + pki::YEAR, true),
            (made - Duration::from_secs(3600), false),
            (made - pki::YEAR, true),
        ] {
            assert_eq!(is_stale(made, now), wanted, "{now:?}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert!(!format!("{:?}", ConfigText::from("secret".to_owned())).contains("secret"));
    }
}
