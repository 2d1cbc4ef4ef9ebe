//! A service as one value: what the machine knows of it, and how its work is done.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use supervise::{Event, Exit, Id, Spec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A service.
pub(crate) struct Service {
    pub(super) spec: Spec,
    pub(super) runner: Runner,
    pub(super) check: Option<Job<Result<(), String>>>,
    pub(super) prepare: Option<Job<Result<bool, String>>>,
}

/// Work that can be done again.
pub(super) type Job<T> = Arc<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;

impl Service {
    /// A service without health check that needs nothing prepared.
    pub(super) fn new(spec: Spec, runner: Runner) -> Self {
        Self { spec: Spec { prepares: false, ..spec }, runner, check: None, prepare: None }
    }

    /// Asks this, as often as `spec.health` says, whether the service works. It may take as long as it likes: it is cut off.
    pub(super) fn healthy_when<F>(self, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { check: Some(Arc::new(move || check().boxed())), ..self }
    }

    /// Does this before each run; `false`: the service is not needed here.
    pub(super) fn prepared_by<F>(self, prepare: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<bool, String>> + Send + 'static,
    {
        let spec = Spec { prepares: true, ..self.spec };
        Self { spec, prepare: Some(Arc::new(move || prepare().boxed())), ..self }
    }
}

/// Does a service's work, one run at a time.
#[derive(Clone)]
pub(super) struct Runner(Arc<dyn Fn(Run) -> BoxFuture<'static, Exit> + Send + Sync>);

impl Runner {
    /// `work` says [`Run::started`] once it works and ends soon after [`Run::terminate`]; after [`Run::kill`] it has to end
    /// whatever that takes.
    pub(super) fn new<F>(work: impl Fn(Run) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        Self(Arc::new(move |run| work(run).boxed()))
    }

    /// The same for work that may be dropped anywhere: that is what [`Run::kill`] does to it.
    pub(super) fn task<F>(work: impl Fn(Run) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        Self::new(move |run| {
            let kill = run.kill.clone();
            let work = work(run);
            async move { kill.run_until_cancelled(work).await.unwrap_or_else(|| Exit::Failure("Task aborted".to_owned())) }
        })
    }

    /// A run to its end. One that panics has failed.
    pub(super) async fn run(&self, run: Run) -> Exit {
        let ended = AssertUnwindSafe(async { (self.0)(run).await }).catch_unwind().await;
        ended.unwrap_or_else(|panic| Exit::Failure(format!("Task panicked: {}", daemon::panic_text(&*panic))))
    }
}

/// What a run is told, and whom it tells.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) id: Id,
    pub(super) number: u64,
    /// It is to end.
    pub(super) terminate: CancellationToken,
    /// It must end now.
    pub(super) kill: CancellationToken,
    pub(super) reports: mpsc::Sender<Report>,
}

/// What a run says.
#[derive(Debug)]
pub(super) enum Report {
    /// What the machine has to know.
    Event(Event),
    /// It works, as this process.
    Started { id: Id, run: u64, message: String, pid: Option<u32> },
}

impl Run {
    /// It works; `message` says for people as what.
    pub(super) async fn started(&self, message: String, pid: Option<u32>) {
        self.report(Report::Started { id: Id::clone(&self.id), run: self.number, message, pid }).await;
    }

    /// It is of no use any more, and counts as failed.
    pub(super) async fn broken(&self, reason: String) {
        self.report(Report::Event(Event::Broken { id: Id::clone(&self.id), run: self.number, reason })).await;
    }

    /// It has to begin anew, because what it does has changed.
    pub(super) async fn anew(&self, reason: &str) {
        let event = Event::Restart { id: Id::clone(&self.id), reason: reason.to_owned(), actor: "".into() };
        self.report(Report::Event(event)).await;
    }

    async fn report(&self, report: Report) {
        // Nobody listens any more once all services are down.
        drop(self.reports.send(report).await);
    }
}
