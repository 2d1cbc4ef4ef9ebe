//! Who runs and who comes next. Pure: the caller does what it says.

use std::sync::Arc;

use super::Kind;
use crate::disk::reset::Order;

/// What somebody wants to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which sequence.
    pub kind: Kind,
    /// Actor id, stamped on its events; empty when nobody asked over the API.
    pub actor: String,
    /// Skip what is only polite.
    pub force: bool,
    /// What a reset does.
    pub reset: Option<Arc<Order>>,
}

impl Request {
    /// A request of nobody in particular.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { kind, actor: String::new(), force: false, reset: None }
    }
}

/// What becomes of the machine after a sequence that goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It starts again.
    Restart,
    /// It is off.
    PowerOff,
}

impl Request {
    /// What becomes of the machine afterwards, when the sequence goes down.
    #[must_use]
    pub fn ending(&self) -> Ending {
        let restart = match self.kind {
            Kind::Shutdown => false,
            Kind::Reset => self.reset.as_ref().is_some_and(|order| order.restart),
            _ => true,
        };
        if restart { Ending::Restart } else { Ending::PowerOff }
    }
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing runs: start it.
    Start(Request),
    /// End the running one; the request is kept until [`Control::ended`].
    TakeOver,
}

/// The request is refused: something runs that does not give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{running} is under way and does not give way to {wanted}")]
pub struct Locked {
    /// What runs, or is about to.
    pub running: Kind,
    /// What was asked for.
    pub wanted: Kind,
}

/// At most one sequence runs and at most one waits for its end.
#[derive(Clone, Debug, Default)]
pub struct Control {
    running: Option<Kind>,
    next: Option<Request>,
}

impl Control {
    /// Takes a request; `take_over` makes whatever runs give way (shutdown over the API, keys at the machine).
    ///
    /// # Errors
    /// [`Locked`]: what runs, or what waits to replace it, does not give way.
    pub fn request(&mut self, request: Request, take_over: bool) -> Result<Decision, Locked> {
        let Some(running) = self.running else {
            self.running = Some(request.kind);
            return Ok(Decision::Start(request));
        };
        // Who waits has won already: a newcomer has to get past both.
        let in_the_way = self.next.as_ref().map(|next| next.kind).into_iter().chain([running]);
        for holder in in_the_way {
            if !take_over && !holder.gives_way_to(request.kind) {
                return Err(Locked { running: holder, wanted: request.kind });
            }
        }
        self.next = Some(request);
        Ok(Decision::TakeOver)
    }

    /// The running one has ended; gives what is to be started now.
    pub fn ended(&mut self) -> Option<Request> {
        let next = self.next.take();
        self.running = next.as_ref().map(|next| next.kind);
        next
    }

    /// What runs.
    #[must_use]
    pub const fn running(&self) -> Option<Kind> {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(kind: Kind) -> Request {
        Request { actor: kind.to_string(), ..Request::of(kind) }
    }

    /// Requests with and without force, `-` for the end of the running one; what each led to.
    #[track_caller]
    fn check(steps: &[(&str, &str)]) {
        let mut control = Control::default();
        for (step, wanted) in steps {
            let name = step.trim_end_matches('!');
            let found = match Kind::ALL.into_iter().find(|kind| kind.as_str() == name) {
                Some(kind) => match control.request(request(kind), step.ends_with('!')) {
                    Ok(Decision::Start(started)) => format!("start {}", started.kind),
                    Ok(Decision::TakeOver) => "take over".into(),
                    Err(locked) => format!("locked by {}", locked.running),
                },
                None => control.ended().map_or("idle".into(), |next| format!("start {}", next.kind)),
            };
            assert_eq!(found, *wanted, "{step} of {steps:?}");
        }
    }

    #[test]
    fn one_at_a_time() {
        check(&[("initialize", "start initialize"), ("boot", "locked by initialize"), ("-", "idle"), ("boot", "start boot")]);
        check(&[("boot", "start boot"), ("reboot", "take over"), ("-", "start reboot"), ("shutdown", "locked by reboot")]);
        check(&[("shutdown", "start shutdown"), ("reboot", "locked by shutdown"), ("reboot!", "take over"), ("-", "start reboot")]);
        // The one that waits counts as well.
        check(&[("boot", "start boot"), ("shutdown!", "take over"), ("reboot", "locked by shutdown"), ("-", "start shutdown")]);
        check(&[("boot", "start boot"), ("reboot", "take over"), ("reboot", "take over"), ("-", "start reboot"), ("-", "idle")]);
    }

    #[test]
    fn what_becomes_of_the_machine() {
        for (kind, ending) in [(Kind::Reboot, Ending::Restart), (Kind::Shutdown, Ending::PowerOff), (Kind::Upgrade, Ending::Restart)] {
            assert_eq!(request(kind).ending(), ending);
        }
        for (restart, ending) in [(true, Ending::Restart), (false, Ending::PowerOff)] {
            let order = Order { system: None, user_disks: vec![], restart };
            assert_eq!(Request { reset: Some(Arc::new(order)), ..request(Kind::Reset) }.ending(), ending);
        }
    }

    proptest! {
        /// Whatever is asked for in whatever order: nothing starts beside another, and what was accepted last starts next.
        #[test]
        fn never_two(steps in prop::collection::vec((0_usize..10, any::<bool>()), 0..60)) {
            let mut control = Control::default();
            let (mut running, mut accepted) = (None, None);
            for (pick, force) in steps {
                match Kind::ALL.get(pick) {
                    Some(kind) => match control.request(request(*kind), force) {
                        Ok(Decision::Start(started)) => {
                            prop_assert_eq!(running.replace(started.kind), None);
                        }
                        Ok(Decision::TakeOver) => {
                            prop_assert!(running.is_some());
                            accepted = Some(*kind);
                        }
                        Err(locked) => {
                            prop_assert!(!force);
                            prop_assert!(running == Some(locked.running) || accepted == Some(locked.running));
                        }
                    },
                    None => {
                        running = control.ended().map(|next| next.kind);
                        prop_assert_eq!(running, accepted.take());
                    }
                }
                prop_assert_eq!(control.running(), running);
            }
        }
    }
}
