//! What a service is, as plain values.

use std::time::Duration;

use crate::Id;

/// What a service's work is done by; decides the words that people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A process on the host.
    #[default]
    Process,
    /// A task in PID 1.
    Task,
    /// A container.
    Container,
}

impl Kind {
    /// What is done to end it, as people read it.
    pub(crate) const fn terminating(self) -> &'static str {
        match self {
            Self::Process | Self::Container => "Sending SIGTERM",
            Self::Task => "Asking the task to end",
        }
    }

    /// The same, once asking has not helped.
    pub(crate) const fn killing(self) -> &'static str {
        match self {
            Self::Process | Self::Container => "Sending SIGKILL",
            Self::Task => "Aborting the task",
        }
    }
}

/// Whether a run that ended by itself is followed by another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// Only one run.
    Never,
    /// Until one ends well.
    UntilSuccess,
}

/// How a running service is asked whether it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// From the start of the run to the first check.
    pub initial_delay: Duration,
    /// From a check's answer to the next check.
    pub period: Duration,
    /// The same until the first check of the run that succeeds: somebody may be waiting for it.
    pub eager_period: Duration,
    /// Limit of one check.
    pub timeout: Duration,
    /// A run that has never been healthy is reported unhealthy only after this long: listening takes a moment.
    pub patience: Duration,
}

impl Default for HealthCheck {
    /// The reference's figures.
    fn default() -> Self {
        let period = Duration::from_secs(5);
        Self {
            initial_delay: Duration::from_secs(1),
            period,
            eager_period: period,
            timeout: Duration::from_millis(500),
            patience: Duration::ZERO,
        }
    }
}

/// What API users may do to a service. The reference allows `start` and `restart` of the kubelet, and all of extension services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Start it.
    pub start: bool,
    /// Stop it.
    pub stop: bool,
    /// Restart it.
    pub restart: bool,
}

impl Allowed {
    /// Everything.
    pub const ALL: Self = Self { start: true, stop: true, restart: true };
}

/// Something outside the services that one may wait for, such as synchronised time. It is met or not at any moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its name in [`Spec::conditions`] and [`crate::Event::Condition`].
    pub name: Id,
    /// What people read behind `Waiting for `.
    pub description: String,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name: 1 to 64 of `a-z`, `0-9`, `-`, `_`.
    pub id: Id,
    /// What its work is done by.
    pub kind: Kind,
    /// Services that have to be up before it starts, and that stop only after it. "Up" is running and, if health-checked,
    /// healthy; or skipped.
    pub depends: Vec<Id>,
    /// Services that stop only after it although it does not wait for them.
    pub stops_before: Vec<Id>,
    /// Conditions that have to be met before it starts.
    pub conditions: Vec<Id>,
    /// Whether something has to be prepared before each run.
    pub prepares: bool,
    /// How it is asked whether it works; `None`: it works as long as it runs.
    pub health: Option<HealthCheck>,
    /// What follows a run that ended by itself.
    pub restart: Restart,
    /// From the word to stop to the one that cannot be ignored.
    pub stop_grace: Duration,
    /// What API users may do to it.
    pub allowed: Allowed,
}

impl Spec {
    /// Without dependencies and health check; always restarted; 10 s to stop; API users may do nothing to it.
    pub fn new(id: impl Into<Id>, kind: Kind) -> Self {
        Self {
            id: id.into(),
            kind,
            depends: Vec::new(),
            stops_before: Vec::new(),
            conditions: Vec::new(),
            prepares: false,
            health: None,
            restart: Restart::default(),
            stop_grace: Duration::from_secs(10),
            allowed: Allowed::default(),
        }
    }
}
