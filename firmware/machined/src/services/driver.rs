//! Drives the machine of crate `supervise`: one task owns it, feeds it what happens and does what it says.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use supervise::{Action, Event, Exit, GraphError, Id, Kind, Machine, Operation, Refused, Signal, Spec};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    board::Board,
    conditions,
    service::{Job, Report, Run, Runner, Service},
};
use crate::{logs::Logs, node::Node};

/// Reports of runs that may wait for the driver; who has more to say waits in turn.
const REPORTS: usize = 64;

/// A request to the driver, with where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    /// An API user's wish. Answered once it is done as far as it ends something, and begun as far as it starts something.
    Ask { operation: Operation, id: String, actor: Id, reply: oneshot::Sender<Result<(), Refused>> },
    /// A service runs, whoever may ask for that. Not answered.
    Start { id: Id, actor: Id },
    /// No service is started from here on.
    DenyStarts,
    /// A service ends, after those that need it. Answered once it has; at once when it is not there.
    Stop { id: Id, actor: Id, reply: oneshot::Sender<Result<(), Refused>> },
    /// All services end. Answered once they have.
    StopAll { actor: Id, reply: oneshot::Sender<()> },
}

/// How a service's work is done.
struct Means {
    kind: Kind,
    runner: Runner,
    check: Option<Job<Result<(), String>>>,
    prepare: Option<Job<Result<bool, String>>>,
}

/// What ends a run.
#[derive(Clone)]
struct Ends {
    terminate: CancellationToken,
    kill: CancellationToken,
}

/// A caller who waits for a run to end.
struct Waiter {
    id: Id,
    run: Option<u64>,
    reply: oneshot::Sender<Result<(), Refused>>,
}

/// The owner of the machine.
pub(super) struct Driver {
    machine: Machine,
    board: Board,
    logs: Arc<Logs>,
    node: Arc<Node>,
    started: Instant,
    timer: Option<Duration>,
    means: HashMap<Id, Means>,
    runs: HashMap<u64, Ends>,
    waiters: Vec<Waiter>,
    stopped: Option<oneshot::Sender<()>>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    requests: mpsc::Receiver<Request>,
    tasks: TaskTracker,
}

impl Driver {
    /// No services yet. What runs is a task of `tasks`.
    pub(super) fn new(node: &Arc<Node>, logs: &Arc<Logs>, board: Board, requests: mpsc::Receiver<Request>, tasks: &TaskTracker) -> Self {
        Self {
            machine: Machine::new(conditions::all()),
            board,
            logs: Arc::clone(logs),
            node: Arc::clone(node),
            started: Instant::now(),
            timer: None,
            means: HashMap::new(),
            runs: HashMap::new(),
            waiters: Vec::new(),
            stopped: None,
            reports: mpsc::channel(REPORTS),
            requests,
            tasks: tasks.clone(),
        }
    }

    /// Makes services known, all of them or none, and starts them as far as they need not wait.
    ///
    /// # Errors
    /// As [`Machine::add`].
    pub(super) fn add(&mut self, services: Vec<Service>) -> Result<(), GraphError> {
        let specs: Vec<Spec> = services.iter().map(|service| service.spec.clone()).collect();
        self.machine.add(specs.clone())?;
        self.board.know(specs.iter().map(|spec| &*spec.id));
        for name in specs.iter().flat_map(|spec| &spec.conditions) {
            conditions::watch(name, &self.node, &self.reports.0);
        }
        for Service { spec, runner, check, prepare } in services {
            self.means.insert(spec.id, Means { kind: spec.kind, runner, check, prepare });
        }
        for spec in specs {
            self.feed(Event::Start { id: spec.id, actor: "".into() });
        }
        Ok(())
    }

    /// Drives until all services have been stopped.
    pub(super) async fn run(mut self) {
        let mut asking = true;
        while self.stopped.as_ref().is_none_or(|_| !self.machine.all_down()) {
            let timer = self.timer.and_then(|at| self.started.checked_add(at));
            let elapsed = async {
                match timer {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = self.reports.1.recv() => self.hear(report),
                request = self.requests.recv(), if asking => match request {
                    Some(request) => self.serve(request),
                    // Nobody can ask any more: what runs goes on.
                    None => asking = false,
                },
                () = elapsed => self.feed(Event::Tick),
            }
            self.answer();
        }
        if let Some(reply) = self.stopped {
            // Who asked may have lost patience.
            let _ = reply.send(());
        }
    }

    fn hear(&mut self, report: Option<Report>) {
        match report {
            Some(Report::Event(Event::Ended { id, run, exit, .. })) => {
                // Also of a run that was given up on: nothing was started beside it.
                if self.runs.remove(&run).is_some() {
                    self.board.pid(&id, None);
                }
                let last_line = self.last_line(&id).filter(|_| exit != Exit::Success);
                self.feed(Event::Ended { id, run, exit, last_line });
            }
            Some(Report::Event(event)) => {
                if let Event::Prepared { run, .. } = event {
                    self.runs.remove(&run);
                }
                self.feed(event);
            }
            Some(Report::Started { id, run, message, pid }) => {
                if pid.is_some() && self.machine.run(&id) == Some(run) {
                    self.board.pid(&id, pid);
                }
                self.feed(Event::Started { id, run, message });
            }
            // A sender of ours is always there.
            None => {}
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Ask { operation, id, actor, reply } => match self.machine.ask(operation, &id, &actor) {
                Ok(Some(event)) => {
                    let id = Id::from(id);
                    let run = self.machine.run(&id).filter(|_| operation != Operation::Start);
                    self.feed(event);
                    self.waiters.push(Waiter { id, run, reply });
                }
                // Who asked may have gone away, here and below.
                Ok(None) => drop(reply.send(Ok(()))),
                Err(refused) => drop(reply.send(Err(refused))),
            },
            Request::Start { id, actor } => self.feed(Event::Start { id, actor }),
            Request::DenyStarts => self.feed(Event::DenyStarts),
            Request::Stop { id, actor, reply } => {
                let run = self.machine.run(&id);
                self.feed(Event::Stop { id: Id::clone(&id), dependants: true, actor });
                self.waiters.push(Waiter { id, run, reply });
            }
            Request::StopAll { actor, reply } => {
                self.stopped = Some(reply);
                self.feed(Event::StopAll { actor });
            }
        }
    }

    /// Answers callers whose run has ended; forgets those who have gone away.
    fn answer(&mut self) {
        let machine = &self.machine;
        let ended = |waiter: &Waiter| waiter.run.is_none_or(|run| machine.run(&waiter.id) != Some(run));
        let over = self.waiters.extract_if(.., |waiter| ended(waiter) || waiter.reply.is_closed());
        over.for_each(|waiter| drop(waiter.reply.send(Ok(()))));
    }

    fn feed(&mut self, event: Event) {
        for action in self.machine.step(self.started.elapsed(), event) {
            match action {
                Action::Publish(told) => self.board.publish(&told),
                Action::HealthNote { id, health } => self.board.health(&id, &health),
                Action::Timer(at) => self.timer = at,
                Action::Prepare { id, run } => self.prepare(id, run),
                Action::Run { id, run } => self.start(id, run),
                Action::Signal { run, signal, .. } => self.signal(run, signal),
                Action::Check { id, run, check, timeout } => self.check(id, run, check, timeout),
            }
        }
    }

    fn prepare(&mut self, id: Id, run: u64) {
        let Some(prepare) = self.means.get(&id).and_then(|means| means.prepare.clone()) else { return };
        let terminate = self.enter(run).terminate;
        let reports = self.reports.0.clone();
        self.tasks.spawn(async move {
            let work = AssertUnwindSafe(async { prepare().await }).catch_unwind();
            let result = match terminate.run_until_cancelled(work).await {
                Some(Ok(result)) => result,
                Some(Err(panic)) => Err(format!("panic: {}", daemon::panic_text(&*panic))),
                // What it would have said is not asked for any more.
                None => Ok(false),
            };
            // Nobody listens any more once all services are down; here and below.
            drop(reports.send(Report::Event(Event::Prepared { id, run, result })).await);
        });
    }

    fn start(&mut self, id: Id, number: u64) {
        let Some(runner) = self.means.get(&id).map(|means| means.runner.clone()) else { return };
        let Ends { terminate, kill } = self.enter(number);
        let reports = self.reports.0.clone();
        let run = Run { id: Id::clone(&id), number, terminate, kill, reports: reports.clone() };
        self.tasks.spawn(async move {
            let exit = runner.run(run).await;
            drop(reports.send(Report::Event(Event::Ended { id, run: number, exit, last_line: None })).await);
        });
    }

    /// Enters a run, or what prepares it, into the table.
    fn enter(&mut self, run: u64) -> Ends {
        let ends = Ends { terminate: CancellationToken::new(), kill: CancellationToken::new() };
        self.runs.insert(run, ends.clone());
        ends
    }

    fn signal(&self, run: u64, signal: Signal) {
        let Some(ends) = self.runs.get(&run) else { return };
        match signal {
            Signal::Terminate => ends.terminate.cancel(),
            Signal::Kill => ends.kill.cancel(),
        }
    }

    fn check(&self, id: Id, run: u64, check: u64, limit: Duration) {
        let Some(work) = self.means.get(&id).and_then(|means| means.check.clone()) else { return };
        let reports = self.reports.0.clone();
        self.tasks.spawn(async move {
            let late = || Err(format!("no answer within {} ms", limit.as_millis()));
            let result = timeout(limit, work()).await.unwrap_or_else(|_| late());
            drop(reports.send(Report::Event(Event::Checked { id, run, check, result })).await);
        });
    }

    /// What a process said last. A task's words are in the log of all of PID 1.
    fn last_line(&self, id: &str) -> Option<String> {
        let speaks = self.means.get(id).is_some_and(|means| means.kind != Kind::Task);
        self.logs.get(id).filter(|_| speaks).and_then(|ring| ring.tail(1).pop())
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
