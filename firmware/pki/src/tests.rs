//! Certificates as another TLS stack sees them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
    server::WebPkiClientVerifier,
};

use crate::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn at(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).expect("after 1970"))
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in read_chain(authority.cert_pem()).expect("a chain") {
        store.add(certificate).expect("an authority");
    }
    Arc::new(store)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_valid(authority: &Authority, identity: &Identity, name: &str, time: SystemTime) -> bool {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(authority), provider()).build().expect("a verifier");
    let chain = read_chain(&identity.cert_pem).expect("a chain");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    verifier.verify_server_cert(&chain[0], &[], &name, &[], at(time)).is_ok()
}

fn client_valid(authority: &Authority, identity: &Identity, time: SystemTime) -> bool {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider()).build().expect("a verifier");
    let chain = read_chain(&identity.cert_pem).expect("a chain");
    verifier.verify_client_cert(&chain[0], &[], at(time)).is_ok()
}

#[test]
fn every_authority_issues_what_verifies() {
    for kind in [AuthorityKind::Os, AuthorityKind::Etcd, AuthorityKind::Kubernetes, AuthorityKind::Aggregator, AuthorityKind::Maintenance] {
        let authority = Authority::generate(kind, now()).expect("an authority");
        let request = ServerRequest {
            common_name: "node",
            names: &["node.lan".into(), "10.0.0.9".into(), String::new(), "node.lan".into()],
            addresses: &["10.0.0.1".parse().expect("address"), "::1".parse().expect("address")],
            life: DAY,
        };
        let server = authority.issue_server(&request, now()).expect("a certificate");
        for name in ["node.lan", "10.0.0.1", "10.0.0.9", "::1"] {
            assert!(server_valid(&authority, &server, name, now()), "{kind:?} {name}");
        }
        assert!(!server_valid(&authority, &server, "other", now()), "{kind:?}");
        assert!(!server_valid(&authority, &server, "node.lan", now() + DAY * 2), "{kind:?}");
        assert!(!client_valid(&authority, &server, now()), "a server certificate is no client's: {kind:?}");
    }
}

#[test]
fn a_client_carries_its_role_and_is_valid_early() {
    let authority = Authority::generate(AuthorityKind::Os, now()).expect("an authority");
    let request = ClientRequest { common_name: Some("me"), organization: Role::Reader.as_str(), life: DAY };
    let client = authority.issue_client(&request, now()).expect("a certificate");
    let leaf = &read_chain(&client.cert_pem).expect("a chain")[0];
    assert_eq!(roles(leaf).expect("roles"), ["os:reader"]);
    assert_eq!(common_name(leaf).expect("name").as_deref(), Some("me"));
    assert_eq!(expires(leaf).expect("end"), now() + DAY);
    assert!(issued_by(leaf, &read_chain(authority.cert_pem()).expect("a chain")[0]).expect("readable"));
    assert!(client_valid(&authority, &client, now() - YEAR + DAY), "a node with an old clock accepts it");
    assert!(!client_valid(&authority, &client, now() + DAY + DAY));
    let other = Authority::generate(AuthorityKind::Os, now()).expect("an authority");
    assert!(!client_valid(&other, &client, now()));
}

#[test]
fn a_client_may_have_several_roles() {
    let rsa = Authority::generate_for("rsa", KeyKind::Rsa, YEAR, now()).expect("an authority");
    let others = [AuthorityKind::Os, AuthorityKind::Etcd].map(|kind| Authority::generate(kind, now()).expect("an authority"));
    let long = "x".repeat(300);
    for authority in others.iter().chain([&rsa]) {
        for wanted in [&["os:reader"][..], &["os:reader", "os:etcd:backup", "os:operator"], &["os:meta:writer", &long]] {
            let client = authority.issue_client_of(wanted, DAY, now()).expect("a certificate");
            let leaf = &read_chain(&client.cert_pem).expect("a chain")[0];
            assert_eq!(
                (roles(leaf).expect("roles").as_slice(), common_name(leaf).expect("name")),
                (&wanted.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>()[..], None)
            );
            assert_eq!(expires(leaf).expect("end"), now() + DAY);
            assert!(client_valid(authority, &client, now()) && !client_valid(authority, &client, now() + DAY * 2), "{wanted:?}");
        }
    }
}

#[test]
fn an_authority_is_read_back_and_keys_must_match() {
    let one = Authority::generate(AuthorityKind::Os, now()).expect("an authority").to_pem().expect("pem");
    let two = Authority::generate(AuthorityKind::Os, now()).expect("an authority").to_pem().expect("pem");
    let key = |pem: &AuthorityPem| pem.key_pem.clone().expect("a key");
    let again = Authority::from_pem(&one.cert_pem, &key(&one)).expect("its own key");
    let request = ClientRequest { common_name: None, organization: "os:admin", life: DAY };
    assert!(client_valid(&again, &again.issue_client(&request, now()).expect("a certificate"), now()));
    assert!(matches!(Authority::from_pem(&one.cert_pem, &key(&two)), Err(Error::KeyMismatch)));
}

#[test]
fn a_bundle_of_another_maker_is_usable() {
    // Made with openssl: PKCS#8 version 1, as the reference writes it.
    const CERT: &str = include_str!("../testdata/openssl-ed25519.crt");
    const KEY: &str = include_str!("../testdata/openssl-ed25519.key");
    let authority = Authority::from_pem(CERT, &Secret::new(KEY)).expect("an authority");
    let leaf = &read_chain(CERT).expect("a chain")[0];
    assert_eq!(spki_fingerprint(leaf).expect("a fingerprint"), include_str!("../testdata/openssl-ed25519.spki").trim());
    let pem = authority.to_pem().expect("pem");
    let key = pem.key_pem.expect("a key");
    assert_eq!(key.expose(), KEY.replace("BEGIN PRIVATE", "BEGIN ED25519 PRIVATE").replace("END PRIVATE", "END ED25519 PRIVATE"));
}
