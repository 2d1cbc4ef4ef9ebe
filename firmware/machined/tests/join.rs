//! A worker that gets the certificate of its API from a control plane, with a stand-in for apid: a script that stores what it was told.
//! One test, because a process has one reaper.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use linux::process::User;
use machined::{
    events::Events,
    logs::Logs,
    node::{ActiveConfig, ConfigStatus, LinkStatus, Node},
    services::{ApidSettings, DaemonSettings, Settings, Supervisor},
};
use pki::{Authority, AuthorityKind, SecretsBundle, ServerRequest};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    apid_config::{ApidConfig, Mode},
    trustd_config::TrustdConfig,
};
use zeroize::Zeroizing;

/// Longest wait for a state; more than the pauses between rounds of asking.
const LIMIT: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LOCALHOST: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// One line of output for each line of input.
const SCRIPT: &str = r#"#!/bin/sh
while IFS= read -r line; do
  printf '%s' "$line" > "$0.new" && mv "$0.new" "$0.told"
  echo "told as $$"
done
"#;

/// A worker's configuration.
fn worker(secrets: &SecretsBundle) -> String {
    let input = machine_config::GenerateInput::new("test", "https://127.0.0.1:6443", secrets, SystemTime::now());
    machine_config::generate(&input).expect("generated").worker.expose().to_owned()
}

fn signer(secrets: &SecretsBundle, accepted: &str, token: &str) -> TrustdConfig {
    let key = secrets.os.key_pem.clone().expect("a key");
    let ca = Authority::from_pem(&secrets.os.cert_pem, &key).expect("authority");
    let request = ServerRequest { common_name: "node-1", names: &[], addresses: &LOCALHOST, life: DAY };
    let server = ca.issue_server(&request, SystemTime::now()).expect("certificate");
    TrustdConfig {
        listen: "127.0.0.1:0".parse().expect("address"),
        server_chain_pem: server.cert_pem,
        server_key_pem: Zeroizing::new(server.key_pem.expose().to_owned()),
        authority_pem: secrets.os.cert_pem.clone(),
        authority_key_pem: Zeroizing::new(key.expose().to_owned()),
        accepted_pem: accepted.to_owned(),
        token: Zeroizing::new(token.to_owned()),
    }
}

fn activate(node: &Node, text: &str) {
    let config = machine_config::Config::parse(text).expect("valid").config;
    let active = ActiveConfig { text: text.to_owned().into(), source: "api", config };
    node.config.send_replace(ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() });
}

/// What the process was told last, once it has been told `lines` more.
async fn told(logs: &Logs, program: &Path, reader: &mut machined::logs::Reader, lines: usize) -> ApidConfig {
    let mut seen = 0;
    let read = async {
        while seen < lines {
            reader.wait().await;
            seen += reader.read(4096).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
        }
    };
    timeout(LIMIT, read).await.unwrap_or_else(|_| panic!("not told: {:?}", logs.ring("apid").tail(5)));
    serde_json::from_slice(&fs::read(format!("{}.told", program.display())).expect("told")).expect("a configuration")
}

#[tokio::test]
async fn a_worker_serves_with_what_a_control_plane_signed() {
    let folder = tempfile::tempdir().expect("folder");
    let program = folder.path().join("apid");
    fs::write(&program, SCRIPT).expect("script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    linux::process::start_reaper(&tasks, stop.clone()).expect("reaper");

    let secrets = SecretsBundle::generate(SystemTime::now()).expect("secrets");
    let ca = secrets.os.cert_pem.clone();
    let bound = trustd::Signer::bind(signer(&secrets, &ca, "another.token")).await.expect("bound");
    let (port, changer, listen) = (bound.address().port(), bound.changer(), signer(&secrets, &ca, "x").listen);
    tasks.spawn(bound.serve(tasks.clone(), stop.clone()));

    let (node, _commands) = Node::new();
    let (logs, events) = (Logs::new(), Events::new());
    let user = User { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
    let nowhere = folder.path().join("nothing");
    let settings = Settings {
        socket: folder.path().join("run/s"),
        peer: user,
        apid: ApidSettings {
            program: program.clone(),
            user: None,
            cgroup: None,
            oom_score: None,
            sandbox: None,
            listen: "127.0.0.1:1".parse().expect("address"),
            socket: folder.path().join("run/s"),
            trustd_port: port,
        },
        dnsd: DaemonSettings::bare("/nonexistent", ([127, 0, 0, 1], 1)),
        trustd: DaemonSettings::bare(nowhere, ([127, 0, 0, 1], 2)),
    };
    let mut reader = logs.ring("apid").reader(None);
    let supervisor = Supervisor::start(settings, &node, &logs, &events).expect("started");
    node.firewall.send_modify(|firewall| firewall.settled = true);
    node.network.send_modify(|network| {
        network.hostname = "node-2".into();
        let addresses = vec!["10.0.2.16/24".parse().expect("prefix")];
        network.links = vec![LinkStatus { name: "eth0".into(), mac: String::new(), up: true, addresses, source: "dhcp".into() }];
    });
    activate(&node, &worker(&secrets));

    // A control plane that knows another token signs nothing, and people learn why.
    let complained = async {
        while !node.warnings.list().iter().any(|warning| warning.text.contains("invalid token")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, complained).await.expect("a warning");
    assert!(!Path::new(&format!("{}.told", program.display())).exists(), "nothing to serve with");

    // One that knows it signs, and apid serves.
    let token = secrets.machine_token.expose().to_owned();
    changer.change(&TrustdConfig { listen, ..signer(&secrets, &ca, &token) }).expect("changed");
    let config = told(&logs, &program, &mut reader, 1).await;
    assert_eq!(
        (config.mode, config.impersonator.is_none(), config.local_names.as_slice()),
        (Mode::Running, true, &["node-2".to_owned()][..])
    );
    assert_eq!(config.client_ca_pem.as_deref().map(str::trim_end), Some(ca.trim_end()));
    let first = pki::read_chain(&config.server_chain_pem).expect("chain").remove(0);
    let names = pki::server_names(&first).expect("names");
    assert!(["node-2", "10.0.2.16", "127.0.0.1", "localhost"].iter().all(|name| names.contains(*name)), "{names:?}");
    let key = pki::Secret::new(config.server_key_pem.as_str());
    pki::check_server(&config.server_chain_pem, &key, &ca, SystemTime::now()).expect("good");

    // What does not concern the certificate keeps it; the token has changed, and the certificate alone renews it after a time jump.
    node.network.send_modify(|network| network.resolvers = vec!["10.0.2.3".parse().expect("address")]);
    let config = told(&logs, &program, &mut reader, 1).await;
    assert_eq!(pki::read_chain(&config.server_chain_pem).expect("chain").remove(0), first);
    changer.change(&TrustdConfig { listen, ..signer(&secrets, &ca, "another.token") }).expect("changed");

    // Another authority takes over: it signs, the first one is still accepted, and what the first one signed renews.
    let mut next = secrets.clone();
    next.os = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority").to_pem().expect("pem");
    let both = format!("{}{ca}", next.os.cert_pem);
    changer.change(&TrustdConfig { listen, ..signer(&next, &both, "another.token") }).expect("changed");
    let old = format!("machine:\n  acceptedCAs:\n    - crt: {}\n", pki::encode_base64(&ca));
    let patch = machine_config::Patch::parse(&old).expect("a patch");
    let text = machine_config::patch(&worker(&next), &[patch]).expect("patched");
    activate(&node, text.expose());
    // First what it has, with the authorities that are accepted now; then what the new one signed.
    let config = told(&logs, &program, &mut reader, 2).await;
    let key = pki::Secret::new(config.server_key_pem.as_str());
    pki::check_server(&config.server_chain_pem, &key, &next.os.cert_pem, SystemTime::now()).expect("signed by the new one");

    supervisor.stop_all("").await;
    stop.cancel();
}
