//! One service: where it is and where it goes next.

use std::time::Duration;

use crate::{Action, Exit, Health, Id, Publication, Restart, Signal, Spec, State, backoff::Backoff, graph::Links};

/// Longest wait of a service that is to end for those that need it. The reference's figure.
pub const DEPENDANTS_LIMIT: Duration = Duration::from_secs(30);
/// From the word that cannot be ignored to giving up on a run that does not end all the same.
pub const KILL_LIMIT: Duration = Duration::from_secs(10);
/// What a service waits for is told anew at most so often. The reference's figure.
const TELL_PERIOD: Duration = Duration::from_secs(1);
/// A health check whose answer is so late after its own limit will have none.
const CHECK_SLACK: Duration = Duration::from_secs(1);
/// Longest piece of a last log line in a message, bytes.
const MAX_LAST_LINE: usize = 256;

/// Collects actions; counts runs and checks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) actions: Vec<Action>,
    runs: u64,
    checks: u64,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing of it is there, nothing is to come.
    Down,
    /// For services, conditions or what is left of an earlier run. `told`: what people know of that; `late`: they do not know
    /// the latest, and will at `tell_at`.
    Waiting {
        told: String,
        tell_at: Duration,
        late: bool,
    },
    /// Between a run that ended by itself and the next.
    Pausing {
        until: Duration,
    },
    Preparing {
        run: u64,
    },
    /// The run is about to begin.
    Launching {
        run: u64,
    },
    Running(Running),
    /// `begun`: there was more than preparing; `broken`: the run counts as failed for this reason.
    Stopping {
        run: u64,
        begun: bool,
        killed: bool,
        until: Duration,
        broken: Option<String>,
    },
}

/// A run that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    run: u64,
    since: Duration,
    check: Option<Check>,
    /// A check of this run has succeeded.
    proven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Due(Duration),
    Asked { number: u64, until: Duration },
}

/// A service that is to end lets those that need it end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    until: Duration,
    told: bool,
}

/// A run that does not end; `begun`: there was more than preparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost {
    run: u64,
    begun: bool,
}

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) spec: Spec,
    pub(crate) links: Links,
    /// Whether it should run.
    pub(crate) wanted: bool,
    pub(crate) phase: Phase,
    pub(crate) state: State,
    pub(crate) health: Health,
    pub(crate) actor: Id,
    pub(crate) hold: Option<Hold>,
    /// A run that was given up on although it did not end. Nothing is started beside it.
    lost: Option<Lost>,
    backoff: Backoff,
}

impl Service {
    pub(crate) fn new(spec: Spec) -> Self {
        Self {
            spec,
            links: Links::default(),
            wanted: false,
            phase: Phase::Down,
            state: State::Initialized,
            health: Health::default(),
            actor: "".into(),
            hold: None,
            lost: None,
            backoff: Backoff::default(),
        }
    }

    /// Others that need it may start.
    pub(crate) fn is_up(&self) -> bool {
        match self.state {
            State::Skipped => true,
            State::Running => self.spec.health.is_none() || self.health.healthy == Some(true),
            _ => false,
        }
    }

    /// The run that is there, or about to be.
    pub(crate) const fn run(&self) -> Option<u64> {
        match &self.phase {
            Phase::Preparing { run } | Phase::Launching { run } | Phase::Stopping { run, .. } => Some(*run),
            Phase::Running(Running { run, .. }) => Some(*run),
            Phase::Down | Phase::Waiting { .. } | Phase::Pausing { .. } => None,
        }
    }

    /// Whether a run that was given up on is still there.
    pub(crate) const fn has_leftover(&self) -> bool {
        self.lost.is_some()
    }

    /// A run, or only its preparing, has ended: it may be one that was given up on.
    pub(crate) fn gone(&mut self, run: u64, preparing: bool) {
        self.lost = self.lost.filter(|lost| lost.run != run || (preparing && lost.begun));
    }

    /// When time alone changes something.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let own = match &self.phase {
            Phase::Waiting { tell_at, late: true, .. } => Some(*tell_at),
            Phase::Pausing { until } | Phase::Stopping { until, .. } => Some(*until),
            Phase::Running(Running { check: Some(Check::Due(at) | Check::Asked { until: at, .. }), .. }) => Some(*at),
            _ => None,
        };
        let hold = self.hold.map(|hold| hold.until);
        own.into_iter().chain(hold).min()
    }

    fn publish(&mut self, state: State, message: String, out: &mut Outbox) {
        self.state = state;
        if state != State::Running {
            self.health = Health::default();
        }
        let (id, health, actor) = (Id::clone(&self.spec.id), self.health.clone(), Id::clone(&self.actor));
        out.actions.push(Action::Publish(Publication { id, state, message, health, actor }));
    }

    // Requests.

    /// From nothing, or from a pause that somebody does not want to wait for.
    pub(crate) fn begin(&mut self, now: Duration, out: &mut Outbox) {
        self.wanted = true;
        self.hold = None;
        self.publish(State::Starting, "Starting service".to_owned(), out);
        self.wait(now);
    }

    fn wait(&mut self, now: Duration) {
        self.phase = Phase::Waiting { told: String::new(), tell_at: now, late: false };
    }

    /// It should not run any more, from now on or once those that need it have ended.
    pub(crate) fn unwant(&mut self, hold_until: Option<Duration>, actor: &Id) {
        self.wanted = false;
        if self.phase == Phase::Down {
            return;
        }
        self.actor = Id::clone(actor);
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        let earlier = self.hold.map_or(Duration::MAX, |hold| hold.until);
        let told = self.hold.is_some_and(|hold| hold.told);
        self.hold = hold_until.map(|until| Hold { until: until.min(earlier), told });
    }

    /// Ends the run that is there; what follows depends on `wanted` and `broken`.
    pub(crate) fn terminate(&mut self, now: Duration, why: &str, broken: Option<String>, out: &mut Outbox) {
        let Some(run) = self.run() else { return };
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        let begun = !matches!(self.phase, Phase::Preparing { .. });
        self.hold = None;
        self.phase = Phase::Stopping { run, begun, killed: false, until: now.saturating_add(self.spec.stop_grace), broken };
        let how = self.spec.kind.terminating();
        self.publish(State::Stopping, if why.is_empty() { how.to_owned() } else { format!("{how}: {why}") }, out);
        out.actions.push(Action::Signal { id: Id::clone(&self.spec.id), run, signal: Signal::Terminate });
    }

    // Answers.

    pub(crate) fn prepared(&mut self, result: Result<bool, String>, now: Duration, out: &mut Outbox) {
        match (&self.phase, result) {
            // It was under way when the word to stop went out: nothing has begun.
            (Phase::Stopping { begun: false, .. }, _) => self.ended(Exit::Success, None, now, out),
            (Phase::Preparing { .. }, Ok(_)) if !self.wanted => self.ended(Exit::Success, None, now, out),
            (Phase::Preparing { run }, Ok(true)) => {
                let run = *run;
                self.launch(run, out);
            }
            (Phase::Preparing { .. }, Ok(false)) => self.rest(State::Skipped, "Service skipped".to_owned(), out),
            (Phase::Preparing { .. }, Err(cause)) => {
                self.ended(Exit::Failure(format!("Failed to run pre stage: {cause}")), None, now, out);
            }
            _ => {}
        }
    }

    pub(crate) fn started(&mut self, message: String, now: Duration, out: &mut Outbox) {
        let Phase::Launching { run } = self.phase else { return };
        let check = self.spec.health.map(|health| Check::Due(now.saturating_add(health.initial_delay)));
        self.phase = Phase::Running(Running { run, since: now, check, proven: false });
        self.publish(State::Running, message, out);
        if self.wanted {
            // What was asked for is done; what happens from here on nobody asked for.
            self.actor = "".into();
        }
    }

    pub(crate) fn ended(&mut self, exit: Exit, last_line: Option<String>, now: Duration, out: &mut Outbox) {
        self.hold = None;
        let exit = match exit {
            Exit::Failure(text) => Err(with_last_line(text, last_line)),
            Exit::Success => Ok(()),
        };
        match (std::mem::replace(&mut self.phase, Phase::Down), self.wanted) {
            (Phase::Stopping { broken: Some(reason), .. }, true) => self.crashed(Err(reason), Duration::ZERO, now, out),
            (Phase::Stopping { .. }, true) => self.begin(now, out),
            (Phase::Stopping { killed: true, .. }, false) => {
                let grace = self.spec.stop_grace.as_secs();
                self.rest(State::Finished, format!("Service finished: it did not stop within {grace} s and was killed"), out);
            }
            (Phase::Stopping { .. }, false) => self.rest(State::Finished, FINISHED.to_owned(), out),
            (phase, true) => {
                let uptime = if let Phase::Running(run) = phase { now.saturating_sub(run.since) } else { Duration::ZERO };
                self.crashed(exit, uptime, now, out);
            }
            (_, false) => match exit {
                Ok(()) => self.rest(State::Finished, FINISHED.to_owned(), out),
                Err(cause) => self.rest(State::Failed, cause, out),
            },
        }
    }

    /// A run ended although it should not: what now?
    fn crashed(&mut self, exit: Result<(), String>, uptime: Duration, now: Duration, out: &mut Outbox) {
        self.actor = "".into();
        let id = Id::clone(&self.spec.id);
        let again = match (self.spec.restart, &exit) {
            (Restart::Never, _) | (Restart::UntilSuccess, Ok(())) => None,
            (Restart::Always, Ok(())) => Some(format!("Runner of {id} exited without error, going to restart it")),
            (Restart::Always, Err(_)) => Some(format!("Error running {id}, going to restart forever")),
            (Restart::UntilSuccess, Err(_)) => Some(format!("Error running {id}, going to restart until it succeeds")),
        };
        match (again, exit) {
            (None, Ok(())) => self.rest(State::Finished, FINISHED.to_owned(), out),
            (None, Err(cause)) => self.rest(State::Failed, cause, out),
            (Some(again), exit) => {
                if let Err(cause) = exit {
                    self.publish(State::Failed, cause, out);
                }
                let pause = self.backoff.after(uptime);
                self.phase = Phase::Pausing { until: now.saturating_add(pause) };
                self.publish(State::Waiting, format!("{again}, in {} s", pause.as_secs()), out);
            }
        }
    }

    /// It ends here until somebody starts it again.
    fn rest(&mut self, state: State, message: String, out: &mut Outbox) {
        self.wanted = false;
        self.hold = None;
        self.phase = Phase::Down;
        self.publish(state, message, out);
        self.actor = "".into();
    }

    pub(crate) fn checked(&mut self, number: u64, result: Result<(), String>, now: Duration, out: &mut Outbox) {
        let (Phase::Running(running), Some(health)) = (&mut self.phase, self.spec.health) else { return };
        if !matches!(running.check, Some(Check::Asked { number: asked, .. }) if asked == number) {
            return;
        }
        running.proven |= result.is_ok();
        let pause = if running.proven { health.period } else { health.eager_period };
        // Never at once: a health check must not keep the machine busy.
        running.check = Some(Check::Due(now.saturating_add(pause.max(Duration::from_millis(1)))));
        let patient = !running.proven && now.saturating_sub(running.since) < health.patience;
        let (healthy, message) = match result {
            Err(_) if patient => return,
            Err(message) => (false, message),
            Ok(()) => (true, String::new()),
        };
        let changed = self.health.healthy != Some(healthy);
        let text = if healthy { "Health check successful".to_owned() } else { format!("Health check failed: {message}") };
        let known = std::mem::replace(&mut self.health, Health { healthy: Some(healthy), message });
        if changed {
            self.publish(State::Running, text, out);
        } else if known != self.health {
            out.actions.push(Action::HealthNote { id: Id::clone(&self.spec.id), health: self.health.clone() });
        }
    }

    // What follows from where everything is.

    /// Goes as far as it can; says whether that was anywhere. `unmet`: what it still has to wait for before it starts; `held_by`:
    /// what it lets end first.
    pub(crate) fn advance(&mut self, now: Duration, unmet: &str, held_by: &str, out: &mut Outbox) -> bool {
        match &mut self.phase {
            Phase::Down => false,
            Phase::Waiting { .. } | Phase::Pausing { .. } if !self.wanted => {
                self.rest(State::Finished, FINISHED.to_owned(), out);
                true
            }
            Phase::Waiting { .. } if unmet.is_empty() => {
                self.prepare(out);
                true
            }
            Phase::Waiting { told, tell_at, late } => {
                *late = told != unmet && now < *tell_at;
                if told == unmet || *late {
                    return false;
                }
                (*told, *tell_at) = (unmet.to_owned(), now.saturating_add(TELL_PERIOD));
                self.publish(State::Waiting, format!("Waiting for {unmet}"), out);
                true
            }
            Phase::Pausing { until } => {
                let over = *until <= now;
                if over {
                    self.wait(now);
                }
                over
            }
            Phase::Stopping { .. } => self.press(now, out),
            Phase::Preparing { .. } | Phase::Launching { .. } | Phase::Running(_) => {
                self.let_go(now, held_by, out) || self.check_health(now, out)
            }
        }
    }

    fn prepare(&mut self, out: &mut Outbox) {
        out.runs = out.runs.saturating_add(1);
        let run = out.runs;
        if !self.spec.prepares {
            return self.launch(run, out);
        }
        self.phase = Phase::Preparing { run };
        self.publish(State::Preparing, "Running pre state".to_owned(), out);
        out.actions.push(Action::Prepare { id: Id::clone(&self.spec.id), run });
    }

    fn launch(&mut self, run: u64, out: &mut Outbox) {
        self.phase = Phase::Launching { run };
        self.publish(State::Preparing, "Creating service runner".to_owned(), out);
        out.actions.push(Action::Run { id: Id::clone(&self.spec.id), run });
    }

    /// Ends the run of a service that should not run, unless it is held by those that need it.
    fn let_go(&mut self, now: Duration, held_by: &str, out: &mut Outbox) -> bool {
        if self.wanted {
            return false;
        }
        if let Some(hold) = self.hold.as_mut().filter(|hold| now < hold.until && !held_by.is_empty()) {
            let first = !std::mem::replace(&mut hold.told, true);
            if first {
                self.publish(self.state, format!("Waiting for {held_by}"), out);
            }
            return first;
        }
        self.terminate(now, "", None, out);
        true
    }

    /// A run that should have ended: made to, then given up on.
    fn press(&mut self, now: Duration, out: &mut Outbox) -> bool {
        let Phase::Stopping { run, begun, killed, until, .. } = &mut self.phase else { return false };
        if now < *until {
            return false;
        }
        let (run, begun) = (*run, *begun);
        if !std::mem::replace(killed, true) {
            *until = now.saturating_add(KILL_LIMIT);
            let message = format!("{}: it did not stop within {} s", self.spec.kind.killing(), self.spec.stop_grace.as_secs());
            self.publish(State::Stopping, message, out);
            out.actions.push(Action::Signal { id: Id::clone(&self.spec.id), run, signal: Signal::Kill });
            return true;
        }
        self.lost = Some(Lost { run, begun });
        let wanted = self.wanted;
        self.rest(State::Failed, format!("Service does not end, {} s after it was killed: given up", KILL_LIMIT.as_secs()), out);
        if wanted {
            self.begin(now, out);
        }
        true
    }

    fn check_health(&mut self, now: Duration, out: &mut Outbox) -> bool {
        let (Phase::Running(running), Some(health)) = (&mut self.phase, self.spec.health) else { return false };
        match running.check {
            Some(Check::Due(at)) if at <= now => {
                out.checks = out.checks.saturating_add(1);
                let (run, check) = (running.run, out.checks);
                let until = now.saturating_add(health.timeout).saturating_add(CHECK_SLACK);
                running.check = Some(Check::Asked { number: check, until });
                out.actions.push(Action::Check { id: Id::clone(&self.spec.id), run, check, timeout: health.timeout });
                true
            }
            Some(Check::Asked { number, until }) if until <= now => {
                self.checked(number, Err(format!("no answer within {} ms", health.timeout.as_millis())), now, out);
                true
            }
            _ => false,
        }
    }
}

/// The end of a service that was told to.
const FINISHED: &str = "Service finished successfully";

fn with_last_line(mut text: String, line: Option<String>) -> String {
    let Some(mut line) = line.filter(|line| !line.trim().is_empty()) else { return text };
    if line.len() > MAX_LAST_LINE {
        line.truncate(line.floor_char_boundary(MAX_LAST_LINE));
        line.push_str("...");
    }
    text.push_str("; last line: ");
    text.push_str(line.trim());
    text
}
