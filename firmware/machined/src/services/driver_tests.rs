//! The driver with services that are tasks, in a time of their own.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use supervise::{Allowed, HealthCheck};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    events::{Events, Tail},
    node::{LinkStatus, ServiceState, ServiceStatus},
    services::Handle,
};

/// Longest wait for anything in here, in the tests' time.
const LIMIT: Duration = Duration::from_secs(120);

struct Fixture {
    node: Arc<Node>,
    events: Arc<Events>,
    handle: Handle,
    driving: JoinHandle<()>,
}

/// What ran when, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, text: String) {
        self.0.lock().expect("not poisoned").push(text);
    }

    fn text(&self) -> String {
        self.0.lock().expect("not poisoned").join(", ")
    }
}

fn start(services: Vec<Service>) -> Fixture {
    let (node, _commands) = Node::new();
    let events = Events::new();
    let (sender, requests) = mpsc::channel(4);
    let board = Board::new(Arc::clone(&node), Arc::clone(&events));
    let mut driver = Driver::new(&node, &Logs::new(), board, requests, &TaskTracker::new());
    driver.add(services).expect("sound");
    Fixture { node, events, handle: Handle(sender), driving: tokio::spawn(driver.run()) }
}

fn spec(id: &str, depends: &[&str]) -> Spec {
    Spec { depends: depends.iter().map(|id| Id::from(*id)).collect(), allowed: Allowed::ALL, ..Spec::new(id, Kind::Task) }
}

/// A task that works until it is told to end.
fn obedient(spec: Spec, diary: &Diary) -> Service {
    let diary = diary.clone();
    let runner = Runner::task(move |run| {
        let diary = diary.clone();
        async move {
            diary.note(format!("{} begins", run.id));
            run.started("Service started as a task".to_owned(), None).await;
            run.terminate.cancelled().await;
            diary.note(format!("{} ends", run.id));
            Exit::Success
        }
    });
    Service::new(spec, runner)
}

impl Fixture {
    async fn wait(&self, id: &str, what: &str, wanted: impl Fn(&ServiceStatus) -> bool) -> ServiceStatus {
        let mut services = self.node.services.subscribe();
        let find = |list: &Vec<ServiceStatus>| list.iter().find(|service| service.id == id && wanted(service)).cloned();
        let seen = timeout(LIMIT, services.wait_for(|list| find(list).is_some())).await.map(|seen| find(&seen.expect("the node lives")));
        seen.ok().flatten().unwrap_or_else(|| panic!("{id} {what}: {:?}", self.node.services.borrow()))
    }

    async fn stop_all(&self, actor: &str) {
        let (reply, stopped) = oneshot::channel();
        self.handle.0.send(Request::StopAll { actor: actor.into(), reply }).await.expect("taken");
        timeout(LIMIT, stopped).await.expect("in time").expect("answered");
    }
}

fn told(service: &ServiceStatus) -> Vec<String> {
    service.events.iter().map(|event| format!("{:?}: {}", event.state, event.message)).collect()
}

#[tokio::test(start_paused = true)]
async fn services_start_and_stop_in_their_order() {
    let diary = Diary::default();
    let health = Some(HealthCheck::default());
    let sick = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&sick);
    let base = obedient(Spec { health, ..spec("base", &[]) }, &diary).healthy_when(move || {
        let times = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            match times {
                0 => Err("refused".to_owned()),
                // Cut off.
                1 => std::future::pending().await,
                _ => Ok(()),
            }
        }
    });
    let node = start(vec![obedient(spec("top", &["base"]), &diary), base]);
    let top = node.wait("top", "runs", |service| service.state == ServiceState::Running).await;
    assert_eq!(
        told(&top),
        [
            "Starting: Starting service",
            "Waiting: Waiting for service \"base\" to be \"up\"",
            "Preparing: Creating service runner",
            "Running: Service started as a task",
        ]
    );
    let base = node.wait("base", "is healthy", |service| service.healthy == Some(true)).await;
    assert_eq!(told(&base)[3..], ["Running: Health check failed: refused", "Running: Health check successful"]);

    let mut seen = node.events.subscribe(Tail::None);
    node.stop_all("me").await;
    assert_eq!(diary.text(), "base begins, top begins, top ends, base ends");
    node.driving.await.expect("ended");
    // Held, stopping, finished; stopping, finished.
    for _ in 0..5 {
        assert_eq!(&*seen.next().await.expect("an event").actor, "me");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_has_failed_and_comes_back() {
    let times = Arc::new(AtomicUsize::new(0));
    let runs = Arc::clone(&times);
    let runner = Runner::task(move |run| {
        let first = runs.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            run.started("Service started as a task".to_owned(), None).await;
            assert!(!first, "oh dear");
            run.terminate.cancelled().await;
            Exit::Success
        }
    });
    let before = Instant::now();
    let node = start(vec![Service::new(spec("a", &[]), runner)]);
    let back = node.wait("a", "comes back", |service| service.events.len() > 5 && service.state == ServiceState::Running).await;
    assert_eq!(before.elapsed().as_secs(), 5);
    assert_eq!(
        told(&back)[3..],
        [
            "Failed: Task panicked: oh dear",
            "Waiting: Error running a, going to restart forever, in 5 s",
            "Preparing: Creating service runner",
            "Running: Service started as a task",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_listen_is_aborted() {
    let runner = Runner::task(|run| async move {
        run.started("Service started as a task".to_owned(), None).await;
        std::future::pending().await
    });
    let node = start(vec![Service::new(spec("deaf", &[]), runner)]);
    node.wait("deaf", "runs", |service| service.state == ServiceState::Running).await;
    let before = Instant::now();
    node.stop_all("").await;
    assert_eq!(before.elapsed().as_secs(), 10);
    let deaf = node.node.services.borrow()[0].clone();
    assert_eq!(
        told(&deaf)[3..],
        [
            "Stopping: Asking the task to end",
            "Stopping: Aborting the task: it did not stop within 10 s",
            "Finished: Service finished: it did not stop within 10 s and was killed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_a_run() {
    let diary = Diary::default();
    let never = Spec { restart: supervise::Restart::Never, ..spec("panics", &[]) };
    let node = start(vec![
        obedient(spec("fine", &[]), &diary).prepared_by(|| async { Ok(true) }),
        obedient(spec("skipped", &[]), &diary).prepared_by(|| async { Ok(false) }),
        obedient(never, &diary).prepared_by(|| async { panic!("oh dear") }),
        obedient(spec("slow", &[]), &diary).prepared_by(std::future::pending),
        obedient(spec("needs", &["skipped"]), &diary),
    ]);
    for (id, state) in [
        ("fine", ServiceState::Running),
        ("skipped", ServiceState::Skipped),
        ("panics", ServiceState::Failed),
        ("slow", ServiceState::Preparing),
        ("needs", ServiceState::Running),
    ] {
        node.wait(id, "gets there", |service| service.state == state).await;
    }
    let failed = node.wait("panics", "says why", |service| service.state == ServiceState::Failed).await;
    assert_eq!(failed.events.last().expect("one").message, "Failed to run pre stage: panic: oh dear");
    // Preparing that takes for ever does not keep the node up.
    let before = Instant::now();
    node.stop_all("").await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn conditions_are_waited_for() {
    let diary = Diary::default();
    let both = vec![conditions::TIME.into(), conditions::NETWORK.into()];
    let node = start(vec![obedient(Spec { conditions: both, ..spec("a", &[]) }, &diary)]);
    let waits = async |message: &str| {
        node.wait("a", message, |service| service.events.last().is_some_and(|event| event.message == message)).await;
    };
    waits("Waiting for time sync, network").await;
    node.node.network.send_modify(|network| {
        network.hostname = "n".to_owned();
        network.etc_files = true;
        let addresses = vec!["10.0.2.15/24".parse().expect("address")];
        network.links = vec![LinkStatus { name: "eth0".to_owned(), mac: String::new(), up: true, addresses, source: String::new() }];
    });
    waits("Waiting for time sync").await;
    node.node.time.send_modify(|time| time.synced = true);
    node.wait("a", "runs", |service| service.state == ServiceState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_wait_begins_after_the_api_or_after_its_time() {
    let diary = Diary::default();
    let later = Spec { conditions: vec![conditions::API.into()], ..spec("later", &[]) };
    let before = Instant::now();
    let node = start(vec![obedient(later.clone(), &diary)]);
    node.wait("later", "waits", |service| {
        service.events.last().is_some_and(|event| event.message == "Waiting for the API's first answers")
    })
    .await;
    node.wait("later", "runs", |service| service.state == ServiceState::Running).await;
    assert_eq!(before.elapsed().as_secs(), 11, "without an API");
    let before = Instant::now();
    let health = Some(HealthCheck::default());
    let apid = obedient(Spec { health, ..spec("apid", &[]) }, &diary).healthy_when(|| async { Ok(()) });
    let node = start(vec![apid, obedient(later, &diary)]);
    node.wait("later", "runs", |service| service.state == ServiceState::Running).await;
    assert_eq!(before.elapsed().as_secs(), 2, "the first check after a second, and a second of quiet");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_started_and_stopped_as_it_is_wanted() {
    let diary = Diary::default();
    let wanted = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&wanted);
    let closed = Spec { allowed: Allowed::default(), ..spec("a", &[]) };
    let node = start(vec![obedient(closed, &diary).prepared_by(move || {
        let wanted = asked.load(Ordering::Relaxed) > 0;
        async move { Ok(wanted) }
    })]);
    node.wait("a", "is not needed", |service| service.state == ServiceState::Skipped).await;
    wanted.store(1, Ordering::Relaxed);
    node.handle.start("a", "").await;
    node.wait("a", "runs", |service| service.state == ServiceState::Running).await;
    node.handle.start("a", "").await;
    node.handle.stop("a", "").await;
    node.wait("a", "ends", |service| service.state == ServiceState::Finished).await;
    node.handle.start("nobody", "").await;
    node.handle.start("a", "").await;
    node.wait("a", "runs again", |service| service.state == ServiceState::Running).await;
    assert_eq!(diary.text(), "a begins, a ends, a begins");
    node.stop_all("").await;
}

#[tokio::test(start_paused = true)]
async fn what_users_ask_for() {
    let diary = Diary::default();
    let closed = Spec { allowed: Allowed::default(), ..spec("closed", &[]) };
    let node = start(vec![obedient(spec("open", &[]), &diary), obedient(closed, &diary)]);
    node.wait("closed", "runs", |service| service.state == ServiceState::Running).await;
    let ask = async |operation, id: &str| node.handle.ask(operation, id, "me").await.map_err(|error| error.to_string());
    assert_eq!(ask(Operation::Start, "closed").await, Ok(()));
    assert_eq!(ask(Operation::Stop, "closed").await, Err("service \"closed\" doesn't support stop operation via API".to_owned()));
    assert_eq!(ask(Operation::Restart, "nobody").await, Err("service \"nobody\" not defined".to_owned()));
    // The answer comes once what was running has ended.
    assert_eq!(ask(Operation::Stop, "open").await, Ok(()));
    let open = node.wait("open", "is known", |_| true).await;
    assert_eq!((open.state, diary.text().as_str()), (ServiceState::Finished, "open begins, closed begins, open ends"));
    assert_eq!(ask(Operation::Stop, "open").await, Ok(()));
    assert_eq!(ask(Operation::Restart, "open").await, Ok(()));
    node.wait("open", "runs again", |service| service.state == ServiceState::Running).await;
    node.stop_all("").await;
    assert_eq!(ask(Operation::Start, "open").await, Err("the node is going down: its services have been stopped".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn part_of_the_services_can_end_before_the_rest() {
    let diary = Diary::default();
    let parts = vec![obedient(spec("cri", &[]), &diary), obedient(spec("etcd", &["cri"]), &diary), obedient(spec("apid", &[]), &diary)];
    let node = start(parts);
    node.wait("etcd", "runs", |service| service.state == ServiceState::Running).await;
    node.handle.deny_starts().await;
    node.handle.stop("nobody", "me").await;
    node.handle.stop("cri", "me").await;
    assert_eq!(diary.text(), "cri begins, apid begins, etcd begins, etcd ends, cri ends");
    let refused = node.handle.ask(Operation::Start, "cri", "").await.expect_err("going down");
    assert_eq!(refused.to_string(), "the node is going down: no service is started any more");
    node.stop_all("me").await;
    assert!(diary.text().ends_with("apid ends"), "{}", diary.text());
}
