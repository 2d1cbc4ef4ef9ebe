//! The machine API's authorities and certificates as resources: what a client reads before it changes them.

use std::net::IpAddr;

use machine_config::Config;
use reconcile::Output;
use resource::{
    SecretText,
    kinds::secrets::{API, ApiCertsSpec, Certificate, CertificateAndKey, OS_ROOT, OsRootSpec, Pem},
};
use wire::apid_config::{ApidConfig, Mode};
use zeroize::Zeroizing;

use super::mirror::Mirror;
use crate::node::{ApiStatus, ConfigStatus, Node};

pub(super) fn reconciler(node: &Node) -> Mirror<ConfigStatus> {
    Mirror::new("secrets.root", &node.config, vec![Output::exclusive::<OsRootSpec>()], |status, context| {
        context.keep(status.active.as_ref().map(|active| (OS_ROOT.to_owned(), root(&active.config))))?;
        Ok(())
    })
}

/// What apid was told last.
pub(super) fn api(node: &Node) -> Mirror<ApiStatus> {
    Mirror::new("secrets.api", &node.api, vec![Output::exclusive::<ApiCertsSpec>()], |status, context| {
        context.keep(status.told.as_deref().map(|told| (API.to_owned(), certificates(told))))?;
        Ok(())
    })
}

fn certificates(told: &ApidConfig) -> ApiCertsSpec {
    let pair = |certificate: &str, key: &str| CertificateAndKey { certificate: pem(certificate), key: pem(key) };
    ApiCertsSpec {
        accepted_cas: told.client_ca_pem.as_deref().map(authorities).unwrap_or_default(),
        client: told.impersonator.as_ref().map(|own| pair(&own.chain_pem, &own.key_pem)),
        server: Some(pair(&told.server_chain_pem, &told.server_key_pem)),
        open: told.mode == Mode::Maintenance,
    }
}

/// One after the other in a text.
fn authorities(text: &str) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----\n";
    text.split_inclusive(END).filter(|part| part.ends_with(END)).map(|part| Certificate { certificate: pem(part) }).collect()
}

fn pem(text: &str) -> Pem {
    Pem(secret(text))
}

fn secret(text: &str) -> SecretText {
    SecretText(Zeroizing::new(text.to_owned()))
}

/// The node's own authority is the last of those that are accepted, as the reference has it.
fn root(config: &Config) -> OsRootSpec {
    let ca = config.machine_ca();
    let accepted = config.accepted_cas().iter().map(String::as_str).chain([ca.cert_pem.as_str()]);
    let (addresses, names): (Vec<_>, Vec<_>) =
        config.cert_sans().iter().map(|name| (name.parse::<IpAddr>(), name)).partition(|(address, _)| address.is_ok());
    OsRootSpec {
        issuing_ca: ca.key_pem.as_ref().map(|key| CertificateAndKey { certificate: pem(&ca.cert_pem), key: pem(key.expose()) }),
        accepted_cas: accepted.map(|text| Certificate { certificate: pem(text) }).collect(),
        certificate_addresses: addresses.into_iter().filter_map(|(address, _)| address.ok()).collect(),
        certificate_names: names.into_iter().map(|(_, name)| name.clone()).collect(),
        token: secret(config.token().expose()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use resource::Value;

    use super::*;

    #[test]
    fn apids_certificates() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let told = ApidConfig {
            mode: Mode::Running,
            listen: "0.0.0.0:50000".parse().expect("address"),
            server_chain_pem: "chain".into(),
            server_key_pem: Zeroizing::new("key".into()),
            client_ca_pem: Some(format!("{one}{one}")),
            impersonator: None,
            local_addresses: Vec::new(),
            local_names: Vec::new(),
            resolvers: Vec::new(),
            socket: "/s".into(),
        };
        let spec = certificates(&told);
        assert_eq!((spec.accepted_cas.len(), &spec.accepted_cas[1].certificate, spec.open), (2, &pem(one), false));
        let yaml = spec.form().to_yaml().expect("yaml");
        assert!(
            yaml.contains("client: null\n") && yaml.contains("server:\n") && yaml.contains("skipVerifyingClientCert: false\n"),
            "{yaml}"
        );
        let open = certificates(&ApidConfig { mode: Mode::Maintenance, client_ca_pem: None, ..told });
        assert!(open.open && open.accepted_cas.is_empty());
    }

    #[test]
    fn a_control_plane_has_the_key_and_a_worker_has_not() {
        let secrets = pki::SecretsBundle::generate(SystemTime::now()).expect("secrets");
        let sans = ["10.0.0.9".to_owned(), "api.lan".to_owned()];
        let input = machine_config::GenerateInput {
            additional_sans: &sans,
            ..machine_config::GenerateInput::new("c", "https://10.0.0.1:6443", &secrets, SystemTime::now())
        };
        let generated = machine_config::generate(&input).expect("generated");
        let of = |text: &pki::Secret| root(&Config::parse(text.expose()).expect("valid").config);
        let (control_plane, worker) = (of(&generated.controlplane), of(&generated.worker));
        assert_eq!((control_plane.issuing_ca.is_some(), worker.issuing_ca.is_some()), (true, false));
        assert_eq!(worker.accepted_cas, control_plane.accepted_cas);
        assert_eq!(worker.certificate_addresses, ["10.0.0.9".parse::<IpAddr>().expect("address")]);
        assert_eq!(worker.certificate_names, ["api.lan"]);
        let yaml = worker.form().to_yaml().expect("yaml");
        let encoded = pki::encode_base64(&secrets.os.cert_pem);
        assert!(yaml.contains("issuingCA: null\n") && yaml.contains(&format!("acceptedCAs:\n- crt: {encoded}\n")), "{yaml}");
        assert!(!format!("{control_plane:?}").contains("PRIVATE"));
    }
}
