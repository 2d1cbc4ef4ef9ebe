//! What goes into the machine and what comes out of it.

use std::{sync::Arc, time::Duration};

/// Name of a service, a condition, or the request that something belongs to.
pub type Id = Arc<str>;

/// Where a service is; the numbers are the wire's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Known, never started.
    #[default]
    Initialized = 0,
    /// Getting ready to run.
    Preparing = 1,
    /// Waiting for something, or for the next run.
    Waiting = 2,
    /// Running.
    Running = 3,
    /// Told to end.
    Stopping = 4,
    /// Ended as wanted.
    Finished = 5,
    /// Ended badly.
    Failed = 6,
    /// Not needed here.
    Skipped = 7,
    /// Asked to start.
    Starting = 8,
}

/// What the health checks of the present run say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `None` until one has answered.
    pub healthy: Option<bool>,
    /// Why the last one failed; empty when it succeeded.
    pub message: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Well.
    Success,
    /// Badly, or it could not be begun: what happened (`Process ended: exit code 1`).
    Failure(String),
}

/// Something that happened. `run` is that of the action it answers. Requests carry the `actor` that the events they cause are stamped
/// with; empty when nobody asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the variant's text speaks of")]
pub enum Event {
    /// Somebody wants a service to run.
    Start { id: Id, actor: Id },
    /// Somebody wants a service to end; with `dependants`, those that need it first.
    Stop { id: Id, dependants: bool, actor: Id },
    /// Somebody wants a service to begin anew, without a pause. `reason` is for people.
    Restart { id: Id, reason: String, actor: Id },
    /// A run is of no use any more although it has not ended: it is stopped, and counts as failed.
    Broken { id: Id, run: u64, reason: String },
    /// No service is started from here on.
    DenyStarts,
    /// The same, and all services end, those that others need last.
    StopAll { actor: Id },
    /// Preparing is done. `Ok(false)`: this service is not needed here.
    Prepared { id: Id, run: u64, result: Result<bool, String> },
    /// A run has begun; `message` says for people as what.
    Started { id: Id, run: u64, message: String },
    /// A run has ended; nothing of it is left. Answers [`Action::Run`] (sooner or later) and [`Action::Signal`].
    Ended { id: Id, run: u64, exit: Exit, last_line: Option<String> },
    /// A health check's answer.
    Checked { id: Id, run: u64, check: u64, result: Result<(), String> },
    /// A condition has become true or false.
    Condition { name: Id, met: bool },
    /// The timer of [`Action::Timer`] has gone off, or it is just later.
    Tick,
}

/// How urgently a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asked: SIGTERM, a cancelled token.
    Terminate,
    /// Made to: SIGKILL, an aborted task.
    Kill,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the variant's text speaks of")]
pub enum Action {
    /// Do what comes before a run; answered by [`Event::Prepared`].
    Prepare { id: Id, run: u64 },
    /// Begin a run; answered by [`Event::Started`] once it works, and by [`Event::Ended`].
    Run { id: Id, run: u64 },
    /// End a run, or its preparing; answered by [`Event::Ended`] (or [`Event::Prepared`] that was under way).
    Signal { id: Id, run: u64, signal: Signal },
    /// Ask a running service whether it works, for at most `timeout`; answered by [`Event::Checked`].
    Check { id: Id, run: u64, check: u64, timeout: Duration },
    /// Say [`Event::Tick`] at this time since boot; replaces the earlier one. `None`: nothing to wait for.
    Timer(Option<Duration>),
    /// Tell everybody.
    Publish(Publication),
    /// The text of a service's health is another one; worth noting, not worth an event.
    HealthNote { id: Id, health: Health },
}

/// What everybody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Which service.
    pub id: Id,
    /// Where it is from here on.
    pub state: State,
    /// What happened, for people.
    pub message: String,
    /// Its health from here on.
    pub health: Health,
    /// The request that this belongs to; empty when none.
    pub actor: Id,
}
