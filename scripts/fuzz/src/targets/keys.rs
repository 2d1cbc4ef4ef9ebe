//! Certificates, keys and the files that hold them.

use pki::{Authority, Secret, SecretsBundle, Talosconfig, read_chain, read_key};

use super::seeds;
use crate::target::{MIB, Target, parts, text, words};

const CERTIFICATE_PEM: &str = include_str!("../../../../firmware/pki/testdata/openssl-ed25519.crt");
const KEY_PEM: &str = include_str!("../../../../firmware/pki/testdata/openssl-ed25519.key");

/// Armour around keys and certificates.
pub const PEM: Target = Target {
    name: "pem",
    bytes: "PEM of a certificate and of its key, `%%` between them",
    from: "configurations, talosconfigs",
    property: "an authority that is taken can be written and read again",
    words: || {
        words(&[
            "-----BEGIN ",
            "-----END ",
            "CERTIFICATE-----\n",
            "PRIVATE KEY-----\n",
            "EC PRIVATE KEY-----\n",
            "ED25519 PRIVATE KEY-----\n",
            "%%\n",
        ])
    },
    seeds: || vec![format!("{CERTIFICATE_PEM}%%\n{KEY_PEM}").into_bytes(), KEY_PEM.into(), CERTIFICATE_PEM.into()],
    check: |input| {
        let text = text(input);
        let [certificate, key] = parts::<2>(&text);
        for part in [&text, certificate, key] {
            drop((read_chain(part), read_key(part)));
        }
        if let Ok(authority) = Authority::from_pem(certificate, &Secret::new(key)) {
            let pem = authority.to_pem().expect("it can be written");
            let key = pem.key_pem.as_ref().expect("its key is known");
            Authority::from_pem(&pem.cert_pem, key).expect("it can be read again");
        }
    },
    ..Target::PLAIN
};

/// A certificate as it comes in a handshake.
pub const CERTIFICATE: Target = Target {
    name: "certificate",
    bytes: "DER of a certificate",
    from: "whoever connects to apid; servers, for the client",
    property: "roles that are read can be metadata, and are at most sixteen; two readings agree",
    seeds: || read_chain(CERTIFICATE_PEM).into_iter().flatten().map(|der| der.to_vec()).collect(),
    check: |input| {
        let read = pki::roles(input);
        let accepted = apid::fuzz::roles(input);
        assert!(accepted.len() <= 16 && (read.is_ok() || accepted.is_empty()));
        assert!(
            accepted.iter().all(|role| role.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\t' || *byte > 0x7f))
        );
        drop((pki::common_name(input), pki::expires(input), pki::issued_by(input, input)));
        assert_eq!(pki::spki_fingerprint(input).is_ok(), read.is_ok(), "a certificate for one reader only");
    },
    ..Target::PLAIN
};

/// The secrets of a cluster.
pub const BUNDLE: Target = Target {
    name: "bundle",
    bytes: "a secrets bundle",
    from: "people's files",
    property: "what is taken is the same after being written and read again",
    longest: 8192,
    memory: 16 * MIB,
    words: || {
        words(&[
            "cluster:\n",
            "secrets:\n",
            "trustdinfo:\n",
            "certs:\n",
            "  id: ",
            "  secret: ",
            "  bootstraptoken: ",
            "  token: ",
            "  etcd:\n",
            "  k8s:\n",
            "  k8saggregator:\n",
            "  k8sserviceaccount:\n",
            "  os:\n",
            "    crt: ",
            "    key: ",
            "geheim",
            "YQ==",
        ])
    },
    seeds: || {
        let pairs: String = ["etcd", "k8s", "k8saggregator", "os"].map(|name| format!("  {name}: {{crt: YQ==, key: YQ==}}\n")).concat();
        let bundle =
            "cluster: {id: a, secret: b}\nsecrets: {bootstraptoken: c, secretboxencryptionsecret: d}\ntrustdinfo: {token: e}\ncerts:\n";
        vec![format!("{bundle}{pairs}  k8sserviceaccount: {{key: YQ==}}\n").into_bytes()]
    },
    check: |input| {
        let Ok(bundle) = SecretsBundle::from_yaml(&text(input)) else { return };
        let once = bundle.to_yaml().expect("it can be written");
        let again = SecretsBundle::from_yaml(once.expose()).expect("it can be read again").to_yaml().expect("it can be written again");
        assert_eq!(once.expose(), again.expose());
    },
};

/// How a client reaches clusters.
pub const TALOSCONFIG: Target = Target {
    name: "talosconfig",
    bytes: "two talosconfigs, `%%` between them",
    from: "people's files",
    property: "written and read again it is the same; merged, no context is lost",
    longest: 8192,
    memory: 16 * MIB,
    words: || {
        words(&[
            "context: ",
            "contexts:\n",
            "  a:\n",
            "    endpoints: [",
            "    nodes: [",
            "    ca: ",
            "    crt: ",
            "    key: ",
            "    target: ",
            "a-1",
            "%%\n",
            "    auth: {siderov1: {identity: x}}\n",
            "!!binary ",
            "&a ",
            "*a",
        ])
    },
    seeds: || {
        seeds(&[
            "context: a\ncontexts:\n  a:\n    endpoints: [10.0.0.1, \"[fd00::1]:50000\"]\n    ca: YQ==\n    crt: YQ==\n    key: YQ==\n",
            "context: a\ncontexts: {a: {target: x}}\n%%\ncontext: a\ncontexts: {a: {}, a-1: {nodes: [b], cluster: c}}\n",
        ])
    },
    check: |input| {
        let text = text(input);
        let [one, other] = parts::<2>(&text).map(Talosconfig::from_yaml);
        let Ok(mut config) = one else { return };
        let written = config.to_yaml().expect("it can be written");
        let again = Talosconfig::from_yaml(written.expose()).expect("it can be read again");
        assert_eq!(again.to_yaml().expect("it can be written again").expose(), written.expose());
        if let Ok((name, context)) = config.get(None) {
            drop((context.ca_pem(name), context.identity(name)));
        }
        if let Ok(other) = other {
            let (before, more) = (config.contexts.len(), other.contexts.len());
            let _ = config.merge(other);
            assert_eq!(config.contexts.len(), before + more, "a context was lost");
        }
    },
};
