//! Days in the life of services: what happens, when, and what is done about it. One test a story.

use std::time::Duration;

use supervise::{Action, Allowed, Condition, Event, Exit, HealthCheck, Id, Kind, Machine, Operation, Restart, Signal, Spec, State};

/// Feeds events and writes down what is done, in short lines.
struct Day {
    machine: Machine,
    now: Duration,
    done: Vec<String>,
}

fn service(id: &str, depends: &[&str]) -> Spec {
    Spec { depends: depends.iter().map(|id| Id::from(*id)).collect(), ..Spec::new(id, Kind::Process) }
}

fn id(text: &str) -> Id {
    text.into()
}

fn start(name: &str) -> Event {
    Event::Start { id: id(name), actor: id("") }
}

fn stop(name: &str, dependants: bool) -> Event {
    Event::Stop { id: id(name), dependants, actor: id("me") }
}

impl Day {
    fn new(specs: Vec<Spec>) -> Self {
        let condition = |name: &str, text: &str| Condition { name: id(name), description: text.to_owned() };
        let mut machine = Machine::new(vec![condition("time", "time sync"), condition("network", "network")]);
        machine.add(specs).expect("a sound graph");
        Self { machine, now: Duration::ZERO, done: Vec::new() }
    }

    fn run(&self, name: &str) -> u64 {
        self.machine.run(name).unwrap_or_else(|| panic!("{name} has no run"))
    }

    fn feed(&mut self, event: Event) {
        for action in self.machine.step(self.now, event) {
            self.done.extend(match action {
                Action::Publish(told) => Some(format!("{}({:?}): {}", told.id, told.state, told.message)),
                Action::Prepare { id, .. } => Some(format!("{id} prepare")),
                Action::Run { id, .. } => Some(format!("{id} run")),
                Action::Signal { id, signal: Signal::Terminate, .. } => Some(format!("{id} terminate")),
                Action::Signal { id, signal: Signal::Kill, .. } => Some(format!("{id} kill")),
                Action::Check { id, .. } => Some(format!("{id} check")),
                Action::HealthNote { id, health } => Some(format!("{id} note {}", health.message)),
                Action::Timer(_) => None,
            });
        }
    }

    fn started(&mut self, name: &str) {
        let event = Event::Started { id: id(name), run: self.run(name), message: "Started".to_owned() };
        self.feed(event);
    }

    fn ended(&mut self, name: &str, failure: &str) {
        let exit = if failure.is_empty() { Exit::Success } else { Exit::Failure(failure.to_owned()) };
        let event = Event::Ended { id: id(name), run: self.run(name), exit, last_line: Some("oh dear\n".to_owned()) };
        self.feed(event);
    }

    fn condition(&mut self, name: &str, met: bool) {
        self.feed(Event::Condition { name: id(name), met });
    }

    /// Goes to the next time at which the machine wants to be woken; gives how far that was.
    fn wake(&mut self) -> Duration {
        let at = self.machine.timer().expect("a timer");
        let waited = at - self.now;
        self.now = at;
        self.feed(Event::Tick);
        waited
    }

    #[track_caller]
    fn expect(&mut self, wanted: &[&str]) {
        assert_eq!(std::mem::take(&mut self.done), wanted, "at {:?}", self.now);
    }

    /// Started and running, with nothing left to look at.
    fn up(mut self, names: &[&str]) -> Self {
        for name in names {
            self.feed(start(name));
            self.started(name);
        }
        self.done.clear();
        self
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_needed_comes_first() {
    let mut day = Day::new(vec![
        Spec { conditions: vec![id("time"), id("network")], prepares: true, ..service("etcd", &["cri", "disk"]) },
        service("cri", &[]),
        Spec { prepares: true, ..service("disk", &[]) },
    ]);
    day.feed(start("etcd"));
    day.expect(&[
        "etcd(Starting): Starting service",
        "etcd(Waiting): Waiting for service \"cri\" to be \"up\", service \"disk\" to be \"up\", time sync, network",
    ]);
    day.feed(start("cri"));
    day.feed(start("disk"));
    day.started("cri");
    let run = day.run("disk");
    day.feed(Event::Prepared { id: id("disk"), run, result: Ok(false) });
    day.expect(&[
        "cri(Starting): Starting service",
        "cri(Preparing): Creating service runner",
        "cri run",
        "disk(Starting): Starting service",
        "disk(Preparing): Running pre state",
        "disk prepare",
        "cri(Running): Started",
        "disk(Skipped): Service skipped",
    ]);
    // What it waits for is told at most once a second.
    assert_eq!(day.wake(), SECOND);
    day.expect(&["etcd(Waiting): Waiting for time sync, network"]);
    day.condition("network", true);
    day.condition("time", true);
    day.expect(&["etcd(Preparing): Running pre state", "etcd prepare"]);
    // Preparing goes on whatever becomes of the conditions: they are asked at the start.
    day.condition("time", false);
    let run = day.run("etcd");
    day.feed(Event::Prepared { id: id("etcd"), run, result: Ok(true) });
    day.started("etcd");
    day.expect(&["etcd(Preparing): Creating service runner", "etcd run", "etcd(Running): Started"]);
}

#[test]
fn a_service_that_dies_comes_back_after_a_pause() {
    let mut day = Day::new(vec![service("apid", &[])]).up(&["apid"]);
    for pause in [5, 10, 20, 40, 40] {
        day.ended("apid", "Process ended: killed by SIGKILL");
        assert_eq!(day.wake(), SECOND * pause);
        day.started("apid");
        day.expect(&[
            "apid(Failed): Process ended: killed by SIGKILL; last line: oh dear",
            &format!("apid(Waiting): Error running apid, going to restart forever, in {pause} s"),
            "apid(Preparing): Creating service runner",
            "apid run",
            "apid(Running): Started",
        ]);
    }
    // A minute of work forgives.
    day.now += SECOND * 60;
    day.ended("apid", "");
    day.expect(&["apid(Waiting): Runner of apid exited without error, going to restart it, in 5 s"]);
    // Somebody does not want to wait for the pause.
    day.feed(start("apid"));
    day.expect(&["apid(Starting): Starting service", "apid(Preparing): Creating service runner", "apid run"]);
}

#[test]
fn how_often_it_is_tried_is_its_policy() {
    let with = |id, restart| Spec { restart, prepares: true, ..service(id, &[]) };
    let mut day = Day::new(vec![with("once", Restart::Never), with("until", Restart::UntilSuccess)]);
    for name in ["once", "until"] {
        day.feed(start(name));
        let run = day.run(name);
        day.feed(Event::Prepared { id: id(name), run, result: Err("no image".to_owned()) });
    }
    day.expect(&[
        "once(Starting): Starting service",
        "once(Preparing): Running pre state",
        "once prepare",
        "once(Failed): Failed to run pre stage: no image",
        "until(Starting): Starting service",
        "until(Preparing): Running pre state",
        "until prepare",
        "until(Failed): Failed to run pre stage: no image",
        "until(Waiting): Error running until, going to restart until it succeeds, in 5 s",
    ]);
    assert!(!day.machine.is_wanted("once"));
    day.wake();
    let run = day.run("until");
    day.feed(Event::Prepared { id: id("until"), run, result: Ok(true) });
    day.started("until");
    day.done.clear();
    day.ended("until", "");
    day.expect(&["until(Finished): Service finished successfully"]);
    assert_eq!((day.machine.timer(), day.machine.all_down()), (None, true));
}

#[test]
fn those_that_need_it_end_first() {
    let apid = Spec { stops_before: vec![id("machined")], ..service("apid", &[]) };
    let mut day = Day::new(vec![service("machined", &[]), apid, service("etcd", &["machined"]), service("kubelet", &["etcd"])]);
    day = day.up(&["machined", "apid", "etcd", "kubelet"]);
    day.feed(stop("etcd", true));
    day.expect(&[
        "etcd(Running): Waiting for service \"kubelet\" to be \"down\"",
        "kubelet(Stopping): Sending SIGTERM",
        "kubelet terminate",
    ]);
    day.ended("kubelet", "");
    day.expect(&["kubelet(Finished): Service finished successfully", "etcd(Stopping): Sending SIGTERM", "etcd terminate"]);
    day.ended("etcd", "Process ended: killed by SIGTERM");
    day.expect(&["etcd(Finished): Service finished successfully"]);
    day.feed(Event::StopAll { actor: id("me") });
    day.expect(&["machined(Running): Waiting for service \"apid\" to be \"down\"", "apid(Stopping): Sending SIGTERM", "apid terminate"]);
    day.ended("apid", "");
    day.ended("machined", "");
    assert!(day.machine.all_down());
    day.done.clear();
    // Nothing is started any more.
    day.feed(start("apid"));
    day.expect(&[]);
    assert!(day.machine.add(vec![service("late", &[])]).is_err());
}

#[test]
fn ending_is_bounded_whatever_they_do() {
    let mut day = Day::new(vec![service("containerd", &[]), Spec { stop_grace: SECOND * 15, ..service("apid", &["containerd"]) }]);
    day = day.up(&["containerd", "apid"]);
    day.feed(Event::StopAll { actor: id("") });
    day.expect(&["containerd(Running): Waiting for service \"apid\" to be \"down\"", "apid(Stopping): Sending SIGTERM", "apid terminate"]);
    assert_eq!(day.wake(), SECOND * 15);
    day.expect(&["apid(Stopping): Sending SIGKILL: it did not stop within 15 s", "apid kill"]);
    assert_eq!(day.wake(), SECOND * 10);
    day.expect(&[
        "apid(Failed): Service does not end, 10 s after it was killed: given up",
        "containerd(Stopping): Sending SIGTERM",
        "containerd terminate",
    ]);
    day.wake();
    day.ended("containerd", "Process ended: killed by SIGKILL");
    day.expect(&[
        "containerd(Stopping): Sending SIGKILL: it did not stop within 10 s",
        "containerd kill",
        "containerd(Finished): Service finished: it did not stop within 10 s and was killed",
    ]);
    assert!(day.machine.all_down() && day.now <= day.machine.stop_bound(), "{:?}", day.now);
}

#[test]
fn nothing_is_started_beside_what_does_not_end() {
    let mut day = Day::new(vec![service("a", &[])]).up(&["a"]);
    let lost = day.run("a");
    day.feed(Event::Restart { id: id("a"), reason: "new settings".to_owned(), actor: id("") });
    day.wake();
    day.wake();
    day.expect(&[
        "a(Stopping): Sending SIGTERM: new settings",
        "a terminate",
        "a(Stopping): Sending SIGKILL: it did not stop within 10 s",
        "a kill",
        "a(Failed): Service does not end, 10 s after it was killed: given up",
        "a(Starting): Starting service",
        "a(Waiting): Waiting for its earlier run to end",
    ]);
    day.feed(Event::Ended { id: id("a"), run: lost, exit: Exit::Success, last_line: None });
    day.expect(&["a(Preparing): Creating service runner", "a run"]);
}

#[test]
fn a_restart_asked_for_does_not_pause_and_a_broken_run_does() {
    let mut day = Day::new(vec![service("a", &[])]).up(&["a"]);
    day.feed(Event::Restart { id: id("a"), reason: "new settings".to_owned(), actor: id("") });
    day.ended("a", "Process ended: killed by SIGTERM");
    day.started("a");
    day.expect(&[
        "a(Stopping): Sending SIGTERM: new settings",
        "a terminate",
        "a(Starting): Starting service",
        "a(Preparing): Creating service runner",
        "a run",
        "a(Running): Started",
    ]);
    let run = day.run("a");
    // A word about an earlier run is nothing.
    day.feed(Event::Broken { id: id("a"), run: run - 1, reason: "old".to_owned() });
    day.feed(Event::Broken { id: id("a"), run, reason: "it does not listen".to_owned() });
    day.ended("a", "");
    day.expect(&[
        "a(Stopping): Sending SIGTERM: it does not listen",
        "a terminate",
        "a(Failed): it does not listen",
        "a(Waiting): Error running a, going to restart forever, in 5 s",
    ]);
    day.feed(stop("a", false));
    day.expect(&["a(Finished): Service finished successfully"]);
}

#[test]
fn health_is_asked_with_patience_and_told_when_it_changes() {
    let health = HealthCheck { eager_period: SECOND / 4, patience: SECOND, ..HealthCheck::default() };
    let mut day = Day::new(vec![Spec { health: Some(health), ..service("a", &[]) }, service("b", &["a"])]).up(&["a"]);
    let ask = |day: &mut Day, result: Result<(), &str>| {
        let waited = day.wake();
        let (run, check) = (day.run("a"), day.done.iter().filter(|line| *line == "a check").count());
        assert_eq!(check, 1);
        // Only the answer to the present check counts.
        for check in 0..50 {
            let event = Event::Checked { id: id("a"), run, check, result: result.map_err(str::to_owned) };
            day.feed(event);
        }
        waited
    };
    day.feed(start("b"));
    day.done.clear();
    assert_eq!(ask(&mut day, Err("refused")), SECOND);
    day.expect(&["a check", "a(Running): Health check failed: refused"]);
    assert_eq!(ask(&mut day, Err("timed out")), SECOND / 4);
    day.expect(&["a check", "a note timed out"]);
    assert_eq!(ask(&mut day, Ok(())), SECOND / 4);
    day.expect(&["a check", "a(Running): Health check successful", "b(Preparing): Creating service runner", "b run"]);
    assert_eq!(ask(&mut day, Ok(())), SECOND * 5);
    day.expect(&["a check"]);
    // A check that nobody answers has failed too.
    assert_eq!((day.wake(), day.wake()), (SECOND * 5, SECOND * 3 / 2));
    day.expect(&["a check", "a(Running): Health check failed: no answer within 500 ms"]);
    assert_eq!(day.machine.state("a").map(|(state, health)| (state, health.healthy)), Some((State::Running, Some(false))));
    day.ended("a", "Process ended: exit code 1");
    assert_eq!(day.machine.state("a").map(|(state, health)| (state, health.healthy)), Some((State::Waiting, None)));
}

#[test]
fn a_young_run_is_not_called_unhealthy() {
    let health = HealthCheck { initial_delay: SECOND / 4, eager_period: SECOND, patience: SECOND * 3, ..HealthCheck::default() };
    let mut day = Day::new(vec![Spec { health: Some(health), ..service("a", &[]) }]).up(&["a"]);
    let mut told = Vec::new();
    for _ in 0..4 {
        day.wake();
        let run = day.run("a");
        (0..50).for_each(|check| day.feed(Event::Checked { id: id("a"), run, check, result: Err("refused".to_owned()) }));
        told.push((day.now.as_millis(), day.done.iter().any(|line| line.contains("Health"))));
    }
    assert_eq!(told, [(250, false), (1250, false), (2250, false), (3250, true)]);
}

#[test]
fn what_api_users_may_do() {
    let kubelet = Allowed { start: true, stop: false, restart: true };
    let with = |id, allowed| Spec { allowed, ..service(id, &[]) };
    let mut day = Day::new(vec![with("apid", Allowed::default()), with("kubelet", kubelet), with("ext-a", Allowed::ALL)]);
    let ask =
        |day: &Day, operation, name| day.machine.ask(operation, name, &id("me")).map(|event| event.is_some()).map_err(|e| e.to_string());
    let refused = |name: &str, operation: &str| Err(format!("service {name:?} doesn't support {operation} operation via API"));
    use Operation::{Restart, Start, Stop};
    assert_eq!(ask(&day, Start, "nobody"), Err("service \"nobody\" not defined".to_owned()));
    for (name, wanted) in [
        ("apid", [refused("apid", "start"), Ok(false), refused("apid", "start")]),
        ("kubelet", [Ok(true), Ok(false), Ok(true)]),
        ("ext-a", [Ok(true), Ok(false), Ok(true)]),
    ] {
        assert_eq!([Start, Stop, Restart].map(|operation| ask(&day, operation, name)), wanted, "{name}, down");
    }
    day = day.up(&["apid", "kubelet", "ext-a"]);
    for (name, wanted) in [
        ("apid", [Ok(false), refused("apid", "stop"), refused("apid", "restart")]),
        ("kubelet", [Ok(false), refused("kubelet", "stop"), Ok(true)]),
        ("ext-a", [Ok(false), Ok(true), Ok(true)]),
    ] {
        assert_eq!([Start, Stop, Restart].map(|operation| ask(&day, operation, name)), wanted, "{name}, up");
    }
    day.feed(Event::DenyStarts);
    assert_eq!(ask(&day, Restart, "ext-a"), Err("the node is going down: no service is started any more".to_owned()));
    assert_eq!(ask(&day, Stop, "ext-a"), Ok(true));
}

#[test]
fn events_carry_who_asked_for_as_long_as_that_takes() {
    let mut machine = Machine::new(Vec::new());
    machine.add(vec![service("a", &[])]).expect("sound");
    let mut actors = |event: Event| {
        let actions = machine.step(Duration::ZERO, event);
        let actors = actions.into_iter().filter_map(|action| match action {
            Action::Publish(told) => Some(told.actor.to_string()),
            _ => None,
        });
        actors.collect::<Vec<_>>()
    };
    let ended = |run| Event::Ended { id: id("a"), run, exit: Exit::Failure("x".to_owned()), last_line: None };
    assert_eq!(actors(Event::Start { id: id("a"), actor: id("one") }), ["one", "one"]);
    assert_eq!(actors(Event::Started { id: id("a"), run: 1, message: String::new() }), ["one"]);
    assert_eq!(actors(Event::Restart { id: id("a"), reason: String::new(), actor: id("two") }), ["two"]);
    assert_eq!(actors(ended(1)), ["two", "two"]);
    assert_eq!(actors(Event::Started { id: id("a"), run: 2, message: String::new() }), ["two"]);
    assert_eq!(actors(ended(2)), ["", ""]);
    assert_eq!(actors(Event::StopAll { actor: id("three") }), ["three"]);
}

#[test]
fn a_last_line_of_any_length_and_language() {
    for (line, wanted) in [
        (Some("  \n".to_owned()), "x"),
        (None, "x"),
        (Some("end\n".to_owned()), "x; last line: end"),
        (Some("ä".repeat(1000)), &format!("x; last line: {}...", "ä".repeat(128))),
    ] {
        let mut day = Day::new(vec![Spec { restart: Restart::Never, ..service("a", &[]) }]).up(&["a"]);
        let event = Event::Ended { id: id("a"), run: day.run("a"), exit: Exit::Failure("x".to_owned()), last_line: line };
        day.feed(event);
        day.expect(&[&format!("a(Failed): {wanted}")]);
    }
}
