//! The machine API's authorities as a resource: what a client reads before it changes them.

use std::net::IpAddr;

use machine_config::Config;
use reconcile::Output;
use resource::{
    SecretText,
    kinds::secrets::{Certificate, CertificateAndKey, OS_ROOT, OsRootSpec, Pem},
};
use zeroize::Zeroizing;

use super::mirror::Mirror;
use crate::node::{ConfigStatus, Node};

pub(super) fn reconciler(node: &Node) -> Mirror<ConfigStatus> {
    Mirror::new("secrets.root", &node.config, vec![Output::exclusive::<OsRootSpec>()], |status, context| {
        context.keep(status.active.as_ref().map(|active| (OS_ROOT.to_owned(), root(&active.config))))?;
        Ok(())
    })
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
