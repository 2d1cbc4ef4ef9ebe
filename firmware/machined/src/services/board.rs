//! States and health of all services: one writer for `node.services`, the log lines and the events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linux::clock;
use wire::machine::{ServiceHealth, ServiceStateEvent, service_state_event::Action};

use crate::{
    events::Events,
    node::{Node, ServiceEvent, ServiceState, ServiceStatus},
};

/// State changes kept for each service.
const EVENTS_KEPT: usize = 64;

/// The notice board.
#[derive(Debug)]
pub struct Board {
    node: Arc<Node>,
    events: Arc<Events>,
    /// Actor id of the sequence that is stopping services; empty otherwise.
    actor: Mutex<Arc<str>>,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new(node: Arc<Node>, events: Arc<Events>) -> Arc<Self> {
        Arc::new(Self { node, events, actor: Mutex::new("".into()) })
    }

    fn actor(&self) -> MutexGuard<'_, Arc<str>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on events carry this actor id.
    pub fn set_actor(&self, actor: &str) {
        *self.actor() = actor.into();
    }

    /// A new state, with what happened for people. A first state makes the service known.
    pub fn state(&self, id: &str, state: ServiceState, message: &str) {
        log::info!(target: "services", "service[{id}]({state:?}): {message}");
        let event = ServiceEvent { state, message: message.to_owned(), at: clock::now() };
        self.change(id, |service| {
            service.state = state;
            if !matches!(state, ServiceState::Running | ServiceState::Stopping) {
                service.healthy = None;
                service.health_message.clear();
                service.health_changed = event.at;
            }
            push(service, event);
        });
        self.publish(id, message);
    }

    /// The result of a health check: `Err` carries the reason. Only a change makes an event.
    pub fn health(&self, id: &str, result: Result<(), String>) {
        let (healthy, message) = match result {
            Ok(()) => (true, String::new()),
            Err(message) => (false, message),
        };
        let text = if healthy { "Health check successful".to_owned() } else { format!("Health check failed: {message}") };
        let at = clock::now();
        let mut changed = false;
        self.change(id, |service| {
            changed = service.healthy != Some(healthy) && service.state == ServiceState::Running;
            if changed {
                service.healthy = Some(healthy);
                service.health_changed = at;
                push(service, ServiceEvent { state: service.state, message: text.clone(), at });
            }
            service.health_message.clone_from(&message);
        });
        if changed {
            log::info!(target: "services", "service[{id}](Running): {text}");
            self.publish(id, &text);
        }
    }

    /// The process of a service; `None` when it has none any more.
    pub fn pid(&self, id: &str, pid: Option<u32>) {
        self.change(id, |service| service.pid = pid);
    }

    fn change(&self, id: &str, act: impl FnOnce(&mut ServiceStatus)) {
        self.node.services.send_modify(|services| {
            if !services.iter().any(|service| service.id == id) {
                services.push(unknown(id));
                services.sort_by(|a, b| a.id.cmp(&b.id));
            }
            if let Some(service) = services.iter_mut().find(|service| service.id == id) {
                act(service);
            }
        });
    }

    fn publish(&self, id: &str, message: &str) {
        let event = {
            let services = self.node.services.borrow();
            let Some(service) = services.iter().find(|service| service.id == id) else { return };
            ServiceStateEvent {
                service: id.to_owned(),
                action: action(service.state).into(),
                message: message.to_owned(),
                health: Some(wire_health(service)),
            }
        };
        let actor = Arc::clone(&self.actor());
        self.events.publish(&event, &actor);
    }
}

fn unknown(id: &str) -> ServiceStatus {
    ServiceStatus {
        id: id.to_owned(),
        state: ServiceState::Initialized,
        healthy: None,
        health_message: String::new(),
        health_changed: clock::now(),
        events: Vec::new(),
        pid: None,
    }
}

fn push(service: &mut ServiceStatus, event: ServiceEvent) {
    if service.events.len() >= EVENTS_KEPT {
        service.events.remove(0);
    }
    service.events.push(event);
}

/// The state's number in events.
fn action(state: ServiceState) -> Action {
    match state {
        ServiceState::Initialized => Action::Initialized,
        ServiceState::Preparing => Action::Preparing,
        ServiceState::Waiting => Action::Waiting,
        ServiceState::Running => Action::Running,
        ServiceState::Stopping => Action::Stopping,
        ServiceState::Finished => Action::Finished,
        ServiceState::Failed => Action::Failed,
        ServiceState::Skipped => Action::Skipped,
        ServiceState::Starting => Action::Starting,
    }
}

/// Health as on the wire: never absent, `unknown` until a check has answered.
pub(crate) fn wire_health(service: &ServiceStatus) -> ServiceHealth {
    ServiceHealth {
        unknown: service.healthy.is_none(),
        healthy: service.healthy == Some(true),
        last_message: service.health_message.clone(),
        last_change: Some(wire_time(service.health_changed)),
    }
}

/// A time since the Unix epoch as on the wire.
pub(crate) fn wire_time(at: std::time::Duration) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Tail;

    #[tokio::test]
    async fn changes_are_kept_published_and_bounded() {
        let (node, _commands) = Node::new();
        let events = Events::new();
        let board = Board::new(Arc::clone(&node), Arc::clone(&events));
        board.set_actor("me");
        board.state("apid", ServiceState::Running, "Started");
        board.health("apid", Ok(()));
        board.health("apid", Ok(()));
        board.health("apid", Err("refused".into()));
        board.pid("apid", Some(7));
        let service = node.services.borrow()[0].clone();
        assert_eq!((service.healthy, service.health_message.as_str(), service.pid), (Some(false), "refused", Some(7)));
        let messages: Vec<_> = service.events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["Started", "Health check successful", "Health check failed: refused"]);

        let mut seen = events.subscribe(Tail::All);
        for _ in 0..3 {
            let entry = seen.next().await.expect("published");
            assert_eq!((entry.name, &*entry.actor), ("machine.ServiceStateEvent", "me"));
        }
        (0..100).for_each(|_| board.state("apid", ServiceState::Waiting, "again"));
        let service = node.services.borrow()[0].clone();
        assert_eq!((service.events.len(), service.healthy), (EVENTS_KEPT, None));
    }
}
