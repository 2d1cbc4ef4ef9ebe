//! Generated configurations against those that the reference's own generator made (`tests/contracts`).

use std::{
    fs,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use pki::SecretsBundle;

use super::*;
use crate::{Config, Problems, patch::equal, tree};

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/contracts").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn same(what: &str, ours: &str, theirs: &str) {
    let mut problems = Problems::default();
    let (left, right) = (tree::read(ours, &mut problems), tree::read(theirs, &mut problems));
    assert!(problems.is_empty(), "{what}: {problems}");
    for (left, right) in left.iter().zip(&right) {
        let (left_text, right_text) = (write::documents([left]), write::documents([right]));
        assert!(equal(left, right), "{what}\n{}\nis not\n{}", *left_text, *right_text);
    }
    assert_eq!(left.len(), right.len(), "{what}: number of documents");
}

#[test]
fn every_contract_is_made_as_the_reference_makes_it() {
    let secrets = SecretsBundle::from_yaml(&fixture("secrets.yaml")).expect("a bundle");
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let sans = ["10.0.0.11".to_owned(), "api.home.lan".to_owned()];
    let mirrors =
        [("docker.io", "https://mirror.home.lan/v2"), ("ghcr.io", "http://10.0.0.9:5000"), ("docker.io", "https://second.home.lan")];
    let mirrors = mirrors.map(|(host, url)| (host.to_owned(), url.to_owned()));
    for contract in ["v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14"] {
        let plain = GenerateInput {
            contract: contract.parse().expect("a contract"),
            kubernetes_version: "1.34.1",
            install_image: "example.org/installer:v1",
            discovery: false,
            ..GenerateInput::new("fixture", "https://10.0.0.10:6443", &secrets, now)
        };
        let options = GenerateInput {
            endpoint: "https://api.home.lan:443",
            kubernetes_version: "v1.33.4",
            install_image: "example.org/installer:v2",
            install_disk: "/dev/nvme0n1",
            dns_domain: "home.lan",
            additional_sans: &sans,
            registry_mirrors: &mirrors,
            kubespan: Some(true),
            discovery: true,
            ..plain.clone()
        };
        for (name, input) in [("plain", plain), ("options", options)] {
            let made = generate(&input).expect("generated");
            for (file, text) in [("controlplane", &made.controlplane), ("worker", &made.worker)] {
                let what = format!("{contract}/{name}/{file}.yaml");
                same(&what, text.expose(), &fixture(&what));
                let parsed = Config::parse(text.expose()).unwrap_or_else(|problems| panic!("{what}: {problems}"));
                let cluster = parsed.config.cluster();
                assert_eq!((cluster.name.as_str(), cluster.endpoint.as_str()), ("fixture", input.endpoint), "{what}");
                assert_eq!(cluster.ca.as_ref().map(|ca| ca.cert_pem.trim()), Some(secrets.kubernetes.cert_pem.trim()), "{what}");
                assert_eq!(cluster.dns_domain, input.dns_domain, "{what}");
                assert_eq!(cluster.id, secrets.cluster_id, "{what}");
                assert_eq!(cluster.service_account.is_some(), file == "controlplane", "{what}");
                assert_eq!(parsed.config.machine_type().as_str(), file);
            }
        }
    }
}

#[test]
fn versions_that_cannot_be_made() {
    for text in ["v1.8", "1.15", "v2.9", "1", "", "v1.x", "1.9999999999", "one"] {
        assert!(text.parse::<Contract>().expect_err(text).to_string().contains("v1.9 to v1.14"));
    }
    assert_eq!("v1.12.7".parse::<Contract>().expect("a contract").to_string(), "1.12");
    for (text, wanted) in
        [("1.37.0", true), ("v1.37.0-rc.0", true), ("1.37", false), ("", false), ("1.37.0-", false), ("1.37.0 x", false), ("a.b.c", false)]
    {
        assert_eq!(is_version(text), wanted, "{text}");
    }
}
