//! The supervisor with a stand-in for apid: a script that stores what it was told and waits.
//! One test, because a process has one reaper.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use linux::process::User;
use machined::{
    events::Events,
    logs::Logs,
    node::{ActiveConfig, ConfigStatus, LinkStatus, Node, ServiceState, ServiceStatus},
    services::{ApidSettings, DaemonSettings, Settings, Supervisor},
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::apid_config::{ApidConfig, Mode};

/// Longest wait for a state; more than the pause before a restart.
const LIMIT: Duration = Duration::from_secs(20);

/// One line of output for each line of input.
const SCRIPT: &str = r#"#!/bin/sh
while IFS= read -r line; do
  printf '%s' "$line" > "$0.new" && mv "$0.new" "$0.told"
  echo "told as $$"
done
"#;

async fn wait(node: &Node, what: &str, wanted: impl Fn(&ServiceStatus) -> bool) -> ServiceStatus {
    let mut services = node.services.subscribe();
    let found = |list: &Vec<ServiceStatus>| list.iter().find(|service| service.id == "apid" && wanted(service)).cloned();
    let result = timeout(LIMIT, services.wait_for(|list| found(list).is_some())).await;
    let list = result.unwrap_or_else(|_| panic!("{what}: {:?}", node.services.borrow())).expect("node lives");
    found(&list).expect("just seen")
}

fn told(program: &Path) -> Option<ApidConfig> {
    let text = fs::read(format!("{}.told", program.display())).ok()?;
    serde_json::from_slice(&text).ok()
}

async fn wait_told(node: &Node, logs: &Logs, program: &Path, lines: usize) -> ApidConfig {
    let mut reader = logs.ring("apid").reader(None);
    let mut seen = 0;
    let read = async {
        while seen < lines {
            reader.wait().await;
            seen += reader.read(4096).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
        }
    };
    timeout(LIMIT, read).await.unwrap_or_else(|_| panic!("start {lines}: {:?}", node.services.borrow()));
    told(program).expect("told")
}

fn controlplane() -> String {
    let now = std::time::SystemTime::now();
    let secrets = pki::SecretsBundle::generate(now).expect("secrets");
    let input = machine_config::GenerateInput::new("test", "https://10.0.2.15:6443", &secrets, now);
    machine_config::generate(&input).expect("generated").controlplane.expose().to_owned()
}

#[tokio::test]
async fn apid_is_started_restarted_and_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    let program = folder.path().join("apid");
    fs::write(&program, SCRIPT).expect("script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
    let (tasks, reaping) = (TaskTracker::new(), CancellationToken::new());
    linux::process::start_reaper(&tasks, reaping.clone()).expect("reaper");

    let (node, _commands) = Node::new();
    let (logs, events) = (Logs::new(), Events::new());
    let user = User { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() };
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
            trustd_port: 2,
        },
        trustd: DaemonSettings::bare(folder.path().join("trustd"), ([127, 0, 0, 1], 2)),
        // Nobody answers on port 1, so its turn does not come here.
        dnsd: DaemonSettings::bare("/nonexistent", ([127, 0, 0, 1], 1)),
    };
    let supervisor = Supervisor::start(settings, &node, &logs, &events).expect("started");
    let mode = fs::metadata(folder.path().join("run/s")).expect("socket").permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);

    // The process is there before boot knows whether there is a configuration, and is told once it does.
    wait(&node, "preparing", |service| service.state == ServiceState::Preparing).await;
    assert!(told(&program).is_none());
    node.config.send_modify(|config| config.settled = true);
    assert!(told(&program).is_none(), "nobody is let in before the firewall is up");
    node.firewall.send_modify(|firewall| firewall.settled = true);

    // It starts in maintenance without waiting for an address, with a fingerprint for people, and is told addresses as they come.
    let config = wait_told(&node, &logs, &program, 1).await;
    assert_eq!((config.mode, config.client_ca_pem.is_some()), (Mode::Maintenance, false));
    let fingerprint = node.api.borrow().maintenance_fingerprint.clone();
    assert!(fingerprint.is_some());
    let first = wait(&node, "running", |service| service.pid.is_some()).await;
    node.network.send_modify(|network| {
        network.hostname = "node-1".into();
        network.links = vec![LinkStatus {
            name: "eth0".into(),
            mac: String::new(),
            up: true,
            addresses: vec!["10.0.2.15/24".parse().expect("prefix")],
            source: "dhcp".into(),
        }];
    });
    let config = wait_told(&node, &logs, &program, 2).await;
    assert!(config.local_addresses.contains(&"10.0.2.15".parse().expect("address")));
    assert_eq!(config.local_names, ["node-1"]);
    assert_eq!(node.api.borrow().maintenance_fingerprint, fingerprint);

    // A configuration: started anew, with client certificates asked for.
    let text = controlplane();
    let parsed = machine_config::Config::parse(&text).expect("valid");
    let active = ActiveConfig { text: text.into(), source: "api", config: parsed.config };
    node.config.send_replace(ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() });
    let config = wait_told(&node, &logs, &program, 3).await;
    assert_eq!((config.mode, config.client_ca_pem.is_some()), (Mode::Running, true));
    assert_eq!(node.api.borrow().maintenance_fingerprint, None);
    let second = wait(&node, "running anew", |service| service.pid.is_some_and(|pid| Some(pid) != first.pid)).await;

    let told: Vec<_> = second.events.iter().map(|event| format!("{:?}: {}", event.state, event.message)).collect();
    let begins = ["Starting: Starting service", "Preparing: Creating service runner", "Running: Process "];
    let stops = ["Stopping: Sending SIGTERM: starting anew with new settings"];
    // Health is its own matter: nothing listens here.
    let told = told.iter().filter(|line| !line.contains("Health"));
    for (line, wanted) in told.zip(begins.into_iter().chain(stops).chain(begins)) {
        assert!(line.starts_with(wanted), "{line} instead of {wanted}");
    }

    // Another name: the same process is told, with a certificate for it.
    node.network.send_modify(|network| network.hostname = "node-2".into());
    let renamed = wait_told(&node, &logs, &program, 4).await;
    assert_eq!(renamed.local_names, ["node-2"]);
    assert_ne!(renamed.server_chain_pem, config.server_chain_pem);
    assert_eq!(wait(&node, "still running", |service| service.pid.is_some()).await.pid, second.pid);

    // It dies: failed, then started again after a pause.
    let pid = nix::unistd::Pid::from_raw(second.pid.expect("pid").cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    let failed = wait(&node, "failed", |service| service.events.iter().any(|event| event.state == ServiceState::Failed)).await;
    let message = failed.events.iter().find(|event| event.state == ServiceState::Failed).expect("failed");
    assert!(message.message.contains("killed by SIGKILL") && message.message.contains("told as"), "{}", message.message);
    let again = wait(&node, "running again", |service| service.pid.is_some_and(|pid| Some(pid) != second.pid)).await;
    let at = |state| again.events.iter().rev().find(|event| event.state == state).map(|event| event.at).expect("told");
    let paused = at(ServiceState::Preparing) - at(ServiceState::Waiting);
    assert!(paused >= Duration::from_millis(4900), "{paused:?}");

    // Nothing listens on port 1: health says so, in time.
    wait(&node, "unhealthy", |service| service.healthy == Some(false)).await;

    timeout(LIMIT, supervisor.stop_all("actor")).await.expect("stopped in time");
    let states: Vec<_> = node.services.borrow().iter().map(|service| (service.id.clone(), service.state)).collect();
    assert_eq!(states, ["apid", "dnsd", "machined", "trustd"].map(|id| (id.to_owned(), ServiceState::Finished)));
    reaping.cancel();
}
