//! What apid is started with, decided from the configuration and the network. Pure: the time is an argument.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use machine_config::Config;
use pki::{Authority, AuthorityKind, Identity, Secret, ServerRequest};
use wire::apid_config::{ApidConfig, Mode};
use zeroize::Zeroizing;

use crate::node::ConfigText;

/// Lifetime of apid's server certificate; it is made anew at half of it.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
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
    /// Text of the active configuration; `None` in maintenance. Secret: it is compared, never shown.
    pub config: Option<ConfigText>,
    /// How often the clock jumped far: certificates are dated anew after that.
    pub time_epoch: u64,
}

impl Inputs {
    /// Adds addresses; those that are gone stay, because certificates only grow until the next start of the node.
    pub fn add_addresses(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.addresses.extend(addresses);
        self.addresses.sort_unstable();
        self.addresses.dedup();
    }
}

/// apid's start configuration and what people are told about it.
#[derive(Debug)]
pub struct Plan {
    /// For apid's standard input.
    pub config: ApidConfig,
    /// Fingerprint of the server key, in maintenance.
    pub fingerprint: Option<String>,
    /// What a person should know.
    pub warning: Option<&'static str>,
    /// The server key, for the next time in maintenance.
    pub key: Secret,
}

/// Plans what apid is told, with fresh certificates. In maintenance `key`, when there is one, is certified again: people
/// compare its fingerprint with the console's, so it must not change when an address arrives.
///
/// # Errors
/// When the configuration's authority cannot issue.
pub fn plan(
    inputs: &Inputs,
    config: Option<&Config>,
    key: Option<&Secret>,
    listen: SocketAddr,
    socket: &Path,
    now: SystemTime,
) -> Result<Plan, pki::Error> {
    let addresses: Vec<IpAddr> = inputs.addresses.iter().copied().chain(LOOPBACK).collect();
    let mut names: Vec<String> = vec!["localhost".to_owned()];
    names.extend(Some(inputs.hostname.clone()).filter(|name| !name.is_empty()));
    names.extend(config.iter().flat_map(|config| config.cert_sans().iter().cloned()));
    let common_name = match config {
        Some(_) if !inputs.hostname.is_empty() => inputs.hostname.as_str(),
        Some(_) => "localhost",
        None => MAINTENANCE_NAME,
    };
    let request = ServerRequest { common_name, names: &names, addresses: &addresses, life: CERTIFICATE_LIFE };
    let (authority, warning) = authority(config, now)?;
    let Identity { cert_pem, key_pem } = match (config, key) {
        (None, Some(key)) => authority.renew_server(&request, key, now)?,
        _ => authority.issue_server(&request, now)?,
    };
    let fingerprint = match config {
        Some(_) => None,
        None => pki::read_chain(&cert_pem)?.first().map(|leaf| pki::spki_fingerprint(leaf)).transpose()?,
    };
    Ok(Plan {
        config: ApidConfig {
            mode: if config.is_some() { Mode::Running } else { Mode::Maintenance },
            listen,
            server_chain_pem: cert_pem,
            server_key_pem: Zeroizing::new(key_pem.expose().to_owned()),
            client_ca_pem: config.map(Config::client_cas_pem),
            local_addresses: addresses,
            hostname: inputs.hostname.clone(),
            socket: socket.to_owned(),
        },
        fingerprint,
        warning,
        key: key_pem,
    })
}

/// Who signs the server certificate: the machine authority where its key is, else a throw-away one.
fn authority(config: Option<&Config>, now: SystemTime) -> Result<(Authority, Option<&'static str>), pki::Error> {
    let Some(config) = config else { return Ok((Authority::generate(AuthorityKind::Maintenance, now)?, None)) };
    let ca = config.machine_ca();
    match &ca.key_pem {
        Some(key) => Ok((Authority::from_pem(&ca.cert_pem, key)?, None)),
        None => Ok((
            Authority::generate(AuthorityKind::Maintenance, now)?,
            Some(
                "this node has no key of the machine authority and this version has no trustd to ask: \
                 its API shows a self-signed certificate, which clients cannot verify",
            ),
        )),
    }
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
    use super::*;

    fn inputs() -> Inputs {
        let mut inputs = Inputs { hostname: "node-1".into(), ..Inputs::default() };
        inputs.add_addresses(["10.0.2.15".parse().expect("address"), "10.0.2.15".parse().expect("address")].into_iter());
        inputs
    }

    #[test]
    fn maintenance_has_a_fingerprint_and_asks_for_no_certificate() {
        let listen = "0.0.0.0:50000".parse().expect("address");
        let plan = plan(&inputs(), None, None, listen, Path::new("/s"), SystemTime::now()).expect("planned");
        assert_eq!((plan.config.mode, plan.config.client_ca_pem.as_deref()), (Mode::Maintenance, None));
        assert_eq!(plan.fingerprint.map(|text| text.len()), Some(44));
        assert_eq!(plan.config.local_addresses.len(), 3);
        let leaf = &pki::read_chain(&plan.config.server_chain_pem).expect("chain")[0];
        assert_eq!(pki::common_name(leaf).expect("name").as_deref(), Some(MAINTENANCE_NAME));
    }

    #[test]
    fn another_address_keeps_the_fingerprint_in_maintenance() {
        let listen = "0.0.0.0:50000".parse().expect("address");
        let mut inputs = inputs();
        let first = plan(&inputs, None, None, listen, Path::new("/s"), SystemTime::now()).expect("planned");
        inputs.add_addresses(["10.0.2.16".parse().expect("address")].into_iter());
        let second = plan(&inputs, None, Some(&first.key), listen, Path::new("/s"), SystemTime::now()).expect("planned");
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_ne!(first.config.server_chain_pem, second.config.server_chain_pem);
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
