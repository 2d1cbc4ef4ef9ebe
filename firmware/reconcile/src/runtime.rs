//! Runs reconcilers.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt, future::select_all};
use resource::{Delivery, Phase, Resource, Start, Target, WatchError, kinds::runtime::ReconcilerSpec};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Context, Declaration, Failure, Graph, GraphError, Input, Output, Reconciler, Store, Strength, Task, Watching, backoff::Backoff,
};

/// Owner of the reports about reconcilers.
const OWNER: &str = "reconcile";
/// Events that are looked at at once.
const LOOK: usize = 256;

/// The reconcilers and what they work on.
#[derive(Debug)]
pub struct Runtime {
    store: Store,
    graph: Graph,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// How many reconcilers have had their first turn.
    begun: watch::Sender<usize>,
}

impl Runtime {
    /// Without reconcilers. Their tasks belong to `tasks` and end with `stop`.
    #[must_use]
    pub fn new(store: Store, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { store, graph: Graph::default(), tasks, stop, begun: watch::Sender::default() }
    }

    /// Starts a reconciler.
    ///
    /// # Errors
    /// [`GraphError`]: it does not fit in with the others.
    pub fn add(&mut self, reconciler: impl Reconciler) -> Result<(), GraphError> {
        let declaration = reconciler.declaration();
        self.graph.add(&declaration)?;
        let run = Run {
            inputs: watched(&declaration).map(|input| Watched::new(&self.store, input)).collect(),
            context: Context::new(self.store.clone(), declaration),
            store: self.store.clone(),
            reconciler,
            backoff: Backoff::default(),
            told: String::new(),
        };
        let (stop, begun) = (self.stop.clone(), self.begun.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = run.forever(&begun) => {}
            }
        });
        Ok(())
    }

    /// Waits until every reconciler has had its first turn: then what there is to know is known, unless the log says why not.
    pub async fn settled(&self) {
        // The sender is in here.
        let _ = self.begun.subscribe().wait_for(|begun| *begun >= self.graph.reconcilers()).await;
    }

    /// What they work on.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Who reads and writes what.
    #[must_use]
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// One reconciler at work.
struct Run<R> {
    reconciler: R,
    inputs: Vec<Watched>,
    context: Context,
    store: Store,
    backoff: Backoff,
    /// The failure that the log has.
    told: String,
}

impl<R: Reconciler> Run<R> {
    async fn forever(mut self, begun: &watch::Sender<usize>) {
        let mut again = self.once().await;
        begun.send_modify(|begun| *begun += 1);
        loop {
            self.wait(again).await;
            again = self.once().await;
        }
    }

    /// Does the work once; how long to wait before trying again.
    async fn once(&mut self) -> Option<Duration> {
        let worked = AssertUnwindSafe(self.reconciler.reconcile(&self.context)).catch_unwind().await;
        let failure = match worked {
            Ok(Ok(())) => return self.worked(),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::from("it panicked; the log has the place"),
        };
        let again = self.backoff.failed();
        let text = daemon::report(&*failure).to_string();
        let name = self.name();
        // Once for each reason, not for each attempt; the report has the count.
        if self.told != text {
            log::warn!("{name}: {text}; trying again, at last every minute");
            self.told.clone_from(&text);
        }
        self.report(ReconcilerSpec { failing: true, failures: self.backoff.failures(), error: text });
        Some(again)
    }

    fn worked(&mut self) -> Option<Duration> {
        if self.backoff.failures() > 0 {
            log::info!("{}: works again", self.name());
            self.told.clear();
        }
        self.backoff.worked();
        self.report(ReconcilerSpec::default());
        None
    }

    /// Until there is something to do.
    async fn wait(&mut self, again: Option<Duration>) {
        let later = async {
            match again {
                Some(again) => tokio::time::sleep(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.reconciler.stirred() => {}
            () = any(&mut self.inputs) => {}
            () = later => {}
        }
    }

    fn report(&self, status: ReconcilerSpec) {
        let key = Resource::of(self.name(), status.clone()).metadata.key;
        let done = match self.store.get(&key) {
            Some(old) => self.store.update(Resource::clone(&old).with(std::sync::Arc::new(status)), OWNER),
            None => self.store.create(Resource::of(self.name(), status), OWNER),
        };
        if let Err(error) = done {
            log::warn!("{}: report its state: {}", self.name(), daemon::report(&error));
        }
    }

    const fn name(&self) -> &'static str {
        self.context.declaration().name
    }
}

/// What wakes a reconciler: its inputs, and outputs that were held and can go now.
fn watched(declaration: &Declaration) -> impl Iterator<Item = Input> {
    let ready = |output: &Output| Input { place: output.place.clone(), id: None, strength: Strength::DestroyReady };
    declaration.inputs.iter().cloned().chain(declaration.outputs.iter().map(ready))
}

/// Ends when one of the inputs has changed.
async fn any(inputs: &mut [Watched]) {
    if inputs.is_empty() {
        return std::future::pending().await;
    }
    let changes: Vec<Task<'_, ()>> = inputs.iter_mut().map(|input| Box::pin(input.changed()) as Task<'_, ()>).collect();
    select_all(changes).await;
}

/// An input that wakes its reconciler.
struct Watched {
    store: Store,
    input: Input,
    /// `None`: to be begun anew, and the reconciler looks at everything anyway.
    watching: Option<Watching>,
}

impl Watched {
    fn new(store: &Store, input: Input) -> Self {
        let mut watched = Self { store: store.clone(), input, watching: None };
        watched.begin();
        watched
    }

    fn begin(&mut self) {
        let target = self.input.id.map_or_else(|| Target::All(resource::Query::default()), |id| Target::One(id.into()));
        self.watching = self.store.watch(&self.input.place, target, Start::Now).ok().map(|(watching, _)| watching);
    }

    /// Ends when there is something that concerns the reconciler. Nothing is lost when it is dropped before.
    async fn changed(&mut self) {
        loop {
            let Some(watching) = &mut self.watching else { return self.begin() };
            match watching.next(LOOK).await {
                Ok(told) if told.iter().any(|delivery| concerns(self.input.strength, delivery)) => return,
                Ok(_) => {}
                // More has happened than is kept: reason enough.
                Err(WatchError::Behind { .. } | WatchError::Bookmark) => return self.begin(),
            }
        }
    }
}

fn concerns(strength: Strength, delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Changed { resource, .. } if strength == Strength::DestroyReady => {
            resource.metadata.phase == Phase::TearingDown && resource.metadata.finalizers.is_empty()
        }
        _ => true,
    }
}
