//! All services: events in, actions out.

use std::time::Duration;

use crate::{
    Action, Condition, Event, GraphError, Health, Id, Spec, State, graph,
    service::{DEPENDANTS_LIMIT, KILL_LIMIT, Outbox, Phase, Service},
};

/// What an API user may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start a service.
    Start,
    /// Stop a service.
    Stop,
    /// Restart a service.
    Restart,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        })
    }
}

/// What was asked for is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the objects in the message")]
pub enum Refused {
    #[error("service {id:?} not defined")]
    Unknown { id: String },
    #[error("service {id:?} doesn't support {operation} operation via API")]
    NotAllowed { id: String, operation: Operation },
    #[error("the node is going down: no service is started any more")]
    GoingDown,
}

/// All services of a node and where they are.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    services: Vec<Service>,
    conditions: Vec<(Condition, bool)>,
    denied: bool,
    now: Duration,
    timer: Option<Duration>,
    out: Outbox,
}

impl Machine {
    /// No services yet; none of the conditions is met.
    #[must_use]
    pub fn new(conditions: Vec<Condition>) -> Self {
        let conditions = conditions.into_iter().map(|condition| (condition, false)).collect();
        Self { conditions, ..Self::default() }
    }

    /// Makes services known, all of them or none.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn add(&mut self, specs: Vec<Spec>) -> Result<(), GraphError> {
        if self.denied {
            return Err(GraphError::GoingDown);
        }
        let conditions: Vec<Condition> = self.conditions.iter().map(|(condition, _)| condition.clone()).collect();
        let links = graph::links(self.services.iter().map(|service| &service.spec).chain(&specs), &conditions)?;
        self.services.extend(specs.into_iter().map(Service::new));
        for (service, links) in self.services.iter_mut().zip(links) {
            service.links = links;
        }
        Ok(())
    }

    /// What an API user's wish comes to: `None` when it is so already.
    ///
    /// # Errors
    /// [`Refused`]. Starting a running service or stopping a stopped one is not refused, whatever is allowed (as the reference does).
    pub fn ask(&self, operation: Operation, id: &str, actor: &Id) -> Result<Option<Event>, Refused> {
        let Some(service) = self.find(id) else { return Err(Refused::Unknown { id: id.to_owned() }) };
        let (id, actor) = (Id::clone(&service.spec.id), Id::clone(actor));
        let (down, allowed) = (service.phase == Phase::Down, service.spec.allowed);
        // Restarting what does not run is starting it.
        let operation = if down && operation == Operation::Restart { Operation::Start } else { operation };
        let (is_so, allowed, event) = match operation {
            Operation::Start => (service.wanted, allowed.start, Event::Start { id, actor }),
            Operation::Stop => (down, allowed.stop, Event::Stop { id, dependants: false, actor }),
            Operation::Restart => (false, allowed.restart, Event::Restart { id, reason: "restart via API".to_owned(), actor }),
        };
        match (is_so, allowed) {
            // A pause before the next run need not be waited for.
            (true, true) if matches!(service.phase, Phase::Pausing { .. }) => Ok(Some(event)),
            (true, _) => Ok(None),
            (false, false) => Err(Refused::NotAllowed { id: service.spec.id.to_string(), operation }),
            (false, true) if self.denied && operation != Operation::Stop => Err(Refused::GoingDown),
            (false, true) => Ok(Some(event)),
        }
    }

    /// Takes an event at `now` and says what to do. Events about what is not there change nothing.
    #[must_use]
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Action> {
        // A clock that goes back must not make pauses longer.
        self.now = self.now.max(now);
        self.take(event);
        self.settle();
        let timer = self.services.iter().filter_map(Service::deadline).min();
        if timer != self.timer {
            self.timer = timer;
            self.out.actions.push(Action::Timer(timer));
        }
        std::mem::take(&mut self.out.actions)
    }

    fn take(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Tick => {}
            Event::DenyStarts => self.denied = true,
            Event::StopAll { actor } => {
                self.denied = true;
                let until = now.saturating_add(DEPENDANTS_LIMIT);
                self.services.iter_mut().for_each(|service| service.unwant(Some(until), &actor));
            }
            Event::Stop { id, dependants, actor } => self.stop(&id, dependants, &actor),
            Event::Condition { name, met } => {
                let condition = self.conditions.iter_mut().find(|(condition, _)| condition.name == name);
                if let Some((_, known)) = condition {
                    *known = met;
                }
            }
            Event::Start { id, actor } => self.start(&id, &actor),
            Event::Restart { id, reason, actor } => self.restart(&id, &reason, &actor),
            Event::Broken { id, run, reason } => self.of_run(&id, run, |service, out| {
                let (why, broken) = (reason.clone(), Some(reason));
                service.terminate(now, &why, broken, out);
            }),
            Event::Prepared { id, run, result } => {
                self.of(&id, |service, _| service.gone(run, true));
                self.of_run(&id, run, |service, out| service.prepared(result, now, out));
            }
            Event::Started { id, run, message } => self.of_run(&id, run, |service, out| service.started(message, now, out)),
            Event::Checked { id, run, check, result } => {
                self.of_run(&id, run, |service, out| service.checked(check, result, now, out));
            }
            Event::Ended { id, run, exit, last_line } => {
                self.of(&id, |service, _| service.gone(run, false));
                self.of_run(&id, run, |service, out| service.ended(exit, last_line, now, out));
            }
        }
    }

    fn start(&mut self, id: &str, actor: &Id) {
        let (now, denied) = (self.now, self.denied);
        self.of(id, |service, out| {
            if denied {
                return;
            }
            match service.phase {
                Phase::Down | Phase::Pausing { .. } => {
                    service.actor = Id::clone(actor);
                    service.begin(now, out);
                }
                // It is there, or will be again once it has ended.
                _ if service.wanted => {}
                _ => {
                    service.actor = Id::clone(actor);
                    service.hold = None;
                    service.wanted = true;
                }
            }
        });
    }

    fn restart(&mut self, id: &str, reason: &str, actor: &Id) {
        let (now, denied) = (self.now, self.denied);
        self.of(id, |service, out| {
            if denied {
                return;
            }
            service.actor = Id::clone(actor);
            match service.phase {
                Phase::Down | Phase::Pausing { .. } => service.begin(now, out),
                _ => {
                    service.wanted = true;
                    service.terminate(now, reason, None, out);
                }
            }
        });
    }

    fn stop(&mut self, id: &str, dependants: bool, actor: &Id) {
        let Some(place) = self.services.iter().position(|service| *service.spec.id == *id) else { return };
        let until = dependants.then(|| self.now.saturating_add(DEPENDANTS_LIMIT));
        let mut places = vec![place];
        let mut next = 0;
        // Each place enters once, so this ends.
        while let Some(service) = places.get(next).copied().and_then(|place| self.services.get_mut(place)) {
            service.unwant(until, actor);
            if dependants {
                let more: Vec<usize> = service.links.dependants.iter().copied().filter(|place| !places.contains(place)).collect();
                places.extend(more);
            }
            next += 1;
        }
    }

    fn find(&self, id: &str) -> Option<&Service> {
        self.services.iter().find(|service| *service.spec.id == *id)
    }

    fn of(&mut self, id: &str, act: impl FnOnce(&mut Service, &mut Outbox)) {
        if let Some(service) = self.services.iter_mut().find(|service| *service.spec.id == *id) {
            act(service, &mut self.out);
        }
    }

    /// The same, unless the service is not in that run.
    fn of_run(&mut self, id: &str, run: u64, act: impl FnOnce(&mut Service, &mut Outbox)) {
        self.of(id, |service, out| {
            if service.run() == Some(run) {
                act(service, out);
            }
        });
    }

    /// Lets every service go as far as it can.
    fn settle(&mut self) {
        // A service makes at most seven steps by itself at one moment, from Stopping through Starting to Preparing, and each lets
        // the others take theirs; the bound only has to be there.
        for _ in 0..self.services.len().saturating_mul(8).saturating_add(8) {
            let mut moved = false;
            for place in 0..self.services.len() {
                let (unmet, held_by) =
                    self.services.get(place).map(|service| (self.unmet(service), self.held_by(service))).unwrap_or_default();
                if let Some(service) = self.services.get_mut(place) {
                    moved |= service.advance(self.now, &unmet, &held_by, &mut self.out);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// What a service that waits still has to wait for; empty: nothing.
    fn unmet(&self, service: &Service) -> String {
        if !matches!(service.phase, Phase::Waiting { .. }) {
            return String::new();
        }
        let left = service.has_leftover().then(|| "its earlier run to end".to_owned());
        let needed = service.links.depends.iter().filter_map(|place| self.services.get(*place));
        let down = needed.filter(|needed| !needed.is_up()).map(|needed| format!("service {:?} to be \"up\"", needed.spec.id));
        let conditions = service.links.conditions.iter().filter_map(|place| self.conditions.get(*place));
        let unmet = conditions.filter(|(_, met)| !met).map(|(condition, _)| condition.description.clone());
        left.into_iter().chain(down).chain(unmet).collect::<Vec<_>>().join(", ")
    }

    /// What a service that is to end lets end first; empty: nothing.
    fn held_by(&self, service: &Service) -> String {
        if service.hold.is_none() {
            return String::new();
        }
        let dependants = service.links.dependants.iter().filter_map(|place| self.services.get(*place));
        let there = dependants.filter(|dependant| dependant.phase != Phase::Down);
        there.map(|dependant| format!("service {:?} to be \"down\"", dependant.spec.id)).collect::<Vec<_>>().join(", ")
    }

    // Views.

    /// Nothing of any service is there, but for runs that were given up on.
    #[must_use]
    pub fn all_down(&self) -> bool {
        self.services.iter().all(|service| service.phase == Phase::Down)
    }

    /// From [`Event::StopAll`] to [`Machine::all_down`] it takes at most this long, whatever the services do.
    #[must_use]
    pub fn stop_bound(&self) -> Duration {
        let grace = self.services.iter().map(|service| service.spec.stop_grace).max().unwrap_or_default();
        DEPENDANTS_LIMIT.saturating_add(grace).saturating_add(KILL_LIMIT)
    }

    /// State and health of a service.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<(State, &Health)> {
        self.find(id).map(|service| (service.state, &service.health))
    }

    /// Whether a service should run; `false` for one that is not there.
    #[must_use]
    pub fn is_wanted(&self, id: &str) -> bool {
        self.find(id).is_some_and(|service| service.wanted)
    }

    /// The run of a service that is there, or about to be, or ending.
    #[must_use]
    pub fn run(&self, id: &str) -> Option<u64> {
        self.find(id).and_then(Service::run)
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub const fn timer(&self) -> Option<Duration> {
        self.timer
    }
}
