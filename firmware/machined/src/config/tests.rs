//! The rules of taking a configuration, on a folder that plays STATE.

use std::time::SystemTime;

use super::*;
use crate::node::{DiskStatus, PartitionStatus};

const NOWHERE: Seek = Seek::Nothing;

/// A generated configuration of each type, of one cluster.
fn texts() -> (String, String) {
    let now = SystemTime::now();
    let bundle = pki::SecretsBundle::generate(now).expect("secrets");
    let input = machine_config::GenerateInput::new("test", "https://10.0.0.1:6443", &bundle, now);
    let generated = machine_config::generate(&input).expect("generated");
    (generated.controlplane.expose().to_owned(), generated.worker.expose().to_owned())
}

struct Rig {
    node: Arc<Node>,
    manager: Arc<Manager>,
    folder: tempfile::TempDir,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().expect("folder");
    let (node, _commands) = Node::new();
    let state = PartitionStatus { mounted_on: Some(folder.path().into()), ..PartitionStatus::default() };
    node.disk.send_replace(DiskStatus { partitions: vec![state], ..DiskStatus::default() });
    let manager = Arc::new(Manager::in_folder(&node, folder.path()));
    Rig { node, manager, folder }
}

impl Rig {
    fn stored(&self) -> Option<String> {
        store::load(self.folder.path()).expect("loads")
    }

    fn active(&self) -> Option<(&'static str, String)> {
        self.node.config.borrow().active.as_ref().map(|active| (active.source, active.text.to_string()))
    }

    async fn apply(&self, text: &str, mode: ApplyMode) -> Result<ApplyOutcome, ApplyError> {
        self.manager.apply(text.to_owned(), mode, true).await
    }
}

#[tokio::test]
async fn a_fresh_node_takes_stores_and_finds_it_again() {
    let (control_plane, worker) = texts();
    let rig = rig();
    rig.manager.acquire(Vec::new(), NOWHERE).await;
    assert_eq!(rig.active(), None);

    let tried = rig.apply(&control_plane, ApplyMode::DryRun).await.expect("valid");
    assert!(tried.details.starts_with("Dry run summary:\n") && tried.details.contains("+machine:"), "{}", tried.details);
    let parsed = machine_config::Config::parse(&control_plane).expect("valid");
    assert!(!tried.details.contains(parsed.config.token().expose()), "a dry run shows no secret");
    assert_eq!((rig.active(), rig.stored()), (None, None));

    let taken = rig.apply(&control_plane, ApplyMode::Now).await.expect("taken");
    assert_eq!(taken.details, "Applied configuration without a reboot");
    assert_eq!(rig.active(), Some(("api", control_plane.clone())));
    assert_eq!(rig.stored(), Some(control_plane.clone()));
    let same = rig.apply(&control_plane, ApplyMode::DryRun).await.expect("valid");
    assert!(same.details.ends_with("Config diff:\n\nNo changes."), "{}", same.details);

    let refused = rig.apply(&worker, ApplyMode::Now).await.expect_err("another type");
    assert!(matches!(&refused, ApplyError::Invalid(text) if text.contains("from controlplane to worker")), "{refused:?}");
    let staged_text = format!("# staged\n{control_plane}");
    let staged = rig.apply(&staged_text, ApplyMode::Staged).await.expect("staged");
    assert_eq!(staged.details, "Staged configuration to be applied after the next reboot");
    assert_eq!(rig.active(), Some(("api", control_plane)));

    let second_boot = Arc::new(Manager::in_folder(&rig.node, rig.folder.path()));
    second_boot.acquire(Vec::new(), NOWHERE).await;
    assert_eq!(rig.active(), Some(("state", staged_text)));
}

#[tokio::test]
async fn bad_ones_change_nothing() {
    let rig = rig();
    for text in ["", "machine: [", "machine:\n  type: king\n"] {
        let refused = rig.apply(text, ApplyMode::Now).await.expect_err("not valid");
        assert!(matches!(refused, ApplyError::Invalid(_)), "{refused:?}");
    }
    let long = "a".repeat(usize::try_from(store::MAX_BYTES).expect("fits") + 1);
    assert!(matches!(rig.apply(&long, ApplyMode::Now).await, Err(ApplyError::Invalid(_))));
    assert_eq!((rig.active(), rig.stored()), (None, None));
}

#[tokio::test]
async fn a_lost_state_refuses_strangers() {
    let (control_plane, _) = texts();
    let rig = rig();
    rig.node.disk.send_modify(|disk| {
        disk.state_lost = true;
        disk.problem = Some("STATE does not mount".into());
        disk.partitions.clear();
    });
    let refused = rig.apply(&control_plane, ApplyMode::Now).await.expect_err("anonymous");
    assert!(matches!(&refused, ApplyError::Precondition(text) if text.contains("STATE does not mount")), "{refused:?}");
    let known = rig.manager.apply(control_plane, ApplyMode::Now, false).await.expect_err("nowhere to store it");
    assert!(matches!(&known, ApplyError::Precondition(text) if text.contains("cannot be stored")), "{known:?}");
}

#[tokio::test]
async fn an_unreadable_file_is_kept_and_shown() {
    let (control_plane, _) = texts();
    let rig = rig();
    store::persist(rig.folder.path(), "machine:\n  typo: x\n").expect("stored");
    rig.manager.acquire(Vec::new(), NOWHERE).await;
    let error = rig.node.config.borrow().error.clone().expect("shown");
    assert!(error.contains("typo"), "{error}");
    assert!(matches!(rig.apply(&control_plane, ApplyMode::Now).await, Err(ApplyError::Precondition(_))));
    assert_eq!(rig.stored().as_deref(), Some("machine:\n  typo: x\n"));
    rig.manager.apply(control_plane.clone(), ApplyMode::Now, false).await.expect("a known caller may");
    assert_eq!(rig.stored(), Some(control_plane));
}

#[tokio::test]
async fn inline_is_stored_and_put_in_force() {
    let (control_plane, worker) = texts();
    let rig = rig();
    let packed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, zstd::encode_all(worker.as_bytes(), 3).expect("packs"));
    rig.manager.acquire(vec![packed.clone()], NOWHERE).await;
    assert_eq!(rig.active(), Some(("inline", worker.clone())));
    assert_eq!(rig.stored(), Some(worker));
    store::persist(rig.folder.path(), &control_plane).expect("stored");
    let second_boot = Arc::new(Manager::in_folder(&rig.node, rig.folder.path()));
    second_boot.acquire(vec![packed], NOWHERE).await;
    assert_eq!(rig.active(), Some(("state", control_plane)));
}

/// Puts text in front of a configuration, which makes another one that means the same.
fn variant(text: &str, name: &str) -> String {
    format!("# {name}\n{text}")
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_taken_back() {
    let (control_plane, _) = texts();
    let rig = rig();
    rig.manager.acquire(Vec::new(), NOWHERE).await;
    let limit = Duration::from_secs(60);
    let refused = rig.apply(&control_plane, ApplyMode::Try(limit)).await.expect_err("nothing to go back to");
    assert!(matches!(&refused, ApplyError::Precondition(text) if text.contains("no configuration to go back to")), "{refused:?}");
    rig.apply(&control_plane, ApplyMode::Now).await.expect("taken");

    let mut config = rig.node.config.subscribe();
    let (one, two) = (variant(&control_plane, "one"), variant(&control_plane, "two"));
    let tried = rig.apply(&one, ApplyMode::Try(limit)).await.expect("tried");
    assert!(tried.details.ends_with("will be automatically reverted back in 1m0s"), "{}", tried.details);
    assert_eq!((rig.active(), rig.stored()), (Some(("api, on trial", one)), Some(control_plane.clone())));
    // A second trial begins its own time and goes back to what was there before the first.
    tokio::time::advance(limit / 2).await;
    rig.apply(&two, ApplyMode::Try(limit)).await.expect("tried");
    rig.apply(&two, ApplyMode::DryRun).await.expect("valid");
    tokio::time::advance(limit - Duration::from_secs(1)).await;
    assert_eq!(rig.active(), Some(("api, on trial", two)));
    config.wait_for(|config| config.active.as_ref().is_some_and(|active| active.source == "api")).await.expect("taken back");
    assert_eq!((rig.active(), rig.stored()), (Some(("api", control_plane.clone())), Some(control_plane)));
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_applied_stays() {
    let (control_plane, _) = texts();
    let rig = rig();
    rig.manager.acquire(Vec::new(), NOWHERE).await;
    rig.apply(&control_plane, ApplyMode::Now).await.expect("taken");
    let (tried, staged) = (variant(&control_plane, "tried"), variant(&control_plane, "staged"));
    let limit = Duration::from_secs(60);
    rig.apply(&tried, ApplyMode::Try(limit)).await.expect("tried");
    rig.apply(&tried, ApplyMode::Now).await.expect("taken");
    // Long after the time of the trial, and whatever timers do in it.
    tokio::time::sleep(limit * 3).await;
    assert_eq!((rig.active(), rig.stored()), (Some(("api", tried.clone())), Some(tried.clone())));
    // What is staged is for the next boot; the trial ends as if it were not there.
    rig.apply(&control_plane, ApplyMode::Try(limit)).await.expect("tried");
    rig.apply(&staged, ApplyMode::Staged).await.expect("staged");
    tokio::time::sleep(limit * 3).await;
    assert_eq!((rig.active(), rig.stored()), (Some(("api", tried)), Some(staged)));
}

/// A web server that gives these answers, one a connection; its address.
async fn server(answers: Vec<String>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a request"));
            }
            stream.write_all(answer.as_bytes()).await.expect("taken");
            stream.shutdown().await.expect("closed");
        }
    });
    origin
}

fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

fn online(node: &Node) {
    let addresses = vec!["10.0.2.15/24".parse().expect("an address")];
    let link = crate::node::LinkStatus { name: "eth0".into(), mac: String::new(), up: true, addresses, source: String::new() };
    node.network.send_modify(|network| network.links.push(link));
}

fn from_url(url: &str) -> Seek {
    Seek::Url(platform::template::Template::parse(url).expect("a URL"))
}

/// Waits until the configuration in force comes from `source`.
async fn in_force(rig: &Rig, source: &str) {
    let mut config = rig.node.config.subscribe();
    let comes = config.wait_for(|config| config.active.as_ref().is_some_and(|active| active.source == source));
    tokio::time::timeout(Duration::from_secs(60), comes).await.expect("in time").expect("the node lives");
}

#[tokio::test]
async fn a_configuration_is_fetched_once_there_is_a_network() {
    let (control_plane, _) = texts();
    let rig = rig();
    let url = server(vec!["HTTP/1.1 503 Busy\r\n\r\n".into(), ok("machine: {type: king}\n"), ok(&control_plane)]).await;
    rig.manager.acquire(Vec::new(), from_url(&url)).await;
    assert!(rig.node.config.borrow().settled && rig.active().is_none(), "boot goes on without it");
    online(&rig.node);
    in_force(&rig, "url").await;
    assert_eq!(rig.stored(), Some(control_plane));
    let warnings: Vec<String> = rig.node.warnings.list().into_iter().map(|warning| warning.text).collect();
    assert!(warnings.iter().any(|text| text.contains("no configuration yet") && text.contains("503")), "{warnings:?}");
}

#[tokio::test]
async fn a_configuration_over_the_api_ends_the_download() {
    let (control_plane, _) = texts();
    let rig = rig();
    // Nobody listens there.
    rig.manager.acquire(Vec::new(), from_url("http://127.0.0.1:1/")).await;
    online(&rig.node);
    let mut config = rig.node.config.subscribe();
    let told = config.wait_for(|config| config.error.as_ref().is_some_and(|error| error.contains("connect to 127.0.0.1")));
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("in time").expect("the node lives");
    rig.apply(&control_plane, ApplyMode::Now).await.expect("taken");
    rig.node.tasks.close();
    tokio::time::timeout(Duration::from_secs(60), rig.node.tasks.wait()).await.expect("the download ends");
    assert_eq!(rig.active(), Some(("api", control_plane)));
}

#[tokio::test]
async fn a_seed_gives_names_and_network_and_leads_to_the_configuration() {
    let (control_plane, _) = texts();
    let rig = rig();
    rig.node.platform.send_modify(|status| status.platform = Platform::NoCloud);
    let config = server(vec![ok(&control_plane)]).await;
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    let meta = ok("instance-id: i-9\n");
    let url = server(vec![meta, missing, ok(&format!("#include\n{config}/c\n"))]).await;
    let seed = platform::seed::parse(&format!("ds=nocloud-net;s={url}/seed/;h=n9")).expect("a seed").expect("a URL");
    online(&rig.node);
    rig.manager.acquire(Vec::new(), Seek::Seed(seed)).await;
    in_force(&rig, "nocloud-net").await;
    let status = rig.node.platform.borrow().clone();
    assert_eq!((status.metadata.instance_id.as_str(), status.network.hostname.as_deref()), ("i-9", Some("n9")));
}
