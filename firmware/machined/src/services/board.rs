//! States and health of all services: one writer for `node.services`, the log lines and the events.

use std::{sync::Arc, time::Duration};

use linux::clock;
use supervise::{Health, Publication};
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
}

impl Board {
    /// An empty board.
    #[must_use]
    pub const fn new(node: Arc<Node>, events: Arc<Events>) -> Self {
        Self { node, events }
    }

    /// Makes services known that nobody has started yet.
    pub fn know<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let known: Vec<ServiceStatus> = ids.map(unknown).collect();
        self.node.services.send_modify(|services| {
            services.extend(known);
            services.sort_by(|a, b| a.id.cmp(&b.id));
        });
    }

    /// Tells everybody what happened.
    pub fn publish(&self, told: &Publication) {
        log::info!(target: "services", "service[{}]({:?}): {}", told.id, told.state, told.message);
        let at = clock::now();
        self.change(&told.id, |service| {
            service.state = told.state;
            note(service, &told.health, at);
            if service.events.len() >= EVENTS_KEPT {
                service.events.remove(0);
            }
            service.events.push(ServiceEvent { state: told.state, message: told.message.clone(), at });
        });
        let health = self.node.services.borrow().iter().find(|service| *service.id == *told.id).map(wire_health);
        let event =
            ServiceStateEvent { service: told.id.to_string(), action: action(told.state).into(), message: told.message.clone(), health };
        self.events.publish(&event, &told.actor);
    }

    /// Notes a health that is worth no event.
    pub fn health(&self, id: &str, health: &Health) {
        self.change(id, |service| note(service, health, clock::now()));
    }

    /// The process of a service; `None` when it has none any more.
    pub fn pid(&self, id: &str, pid: Option<u32>) {
        self.change(id, |service| service.pid = pid);
    }

    fn change(&self, id: &str, act: impl FnOnce(&mut ServiceStatus)) {
        self.node.services.send_if_modified(|services| {
            let Some(service) = services.iter_mut().find(|service| service.id == id) else { return false };
            act(service);
            true
        });
    }
}

fn note(service: &mut ServiceStatus, health: &Health, at: Duration) {
    if service.healthy != health.healthy {
        service.health_changed = at;
    }
    service.healthy = health.healthy;
    service.health_message.clone_from(&health.message);
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

    fn publish(board: &Board, state: ServiceState, message: &str, healthy: Option<bool>) {
        let health = Health { healthy, message: if healthy == Some(false) { "refused".to_owned() } else { String::new() } };
        board.publish(&Publication { id: "apid".into(), state, message: message.to_owned(), health, actor: "me".into() });
    }

    #[tokio::test]
    async fn changes_are_kept_published_and_bounded() {
        let (node, _commands) = Node::new();
        let events = Events::new();
        let board = Board::new(Arc::clone(&node), Arc::clone(&events));
        board.know(["machined", "apid"].into_iter());
        assert_eq!(node.services.borrow()[0], unknown_at("apid", node.services.borrow()[0].health_changed));
        publish(&board, ServiceState::Running, "Started", None);
        board.pid("apid", Some(7));
        publish(&board, ServiceState::Running, "Health check failed: refused", Some(false));
        let service = node.services.borrow()[0].clone();
        assert_eq!((service.healthy, service.health_message.as_str(), service.pid), (Some(false), "refused", Some(7)));
        let messages: Vec<_> = service.events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["Started", "Health check failed: refused"]);

        let mut seen = events.subscribe(Tail::All);
        for _ in 0..2 {
            let entry = seen.next().await.expect("published");
            assert_eq!((entry.name, &*entry.actor), ("machine.ServiceStateEvent", "me"));
        }
        board.health("apid", &Health { healthy: Some(false), message: "no answer".to_owned() });
        assert_eq!(node.services.borrow()[0].health_message, "no answer");
        assert_eq!(node.services.borrow()[0].events.len(), 2);
        (0..100).for_each(|_| publish(&board, ServiceState::Waiting, "again", None));
        board.pid("apid", None);
        let service = node.services.borrow()[0].clone();
        assert_eq!((service.events.len(), service.healthy, service.pid), (EVENTS_KEPT, None, None));
    }

    fn unknown_at(id: &str, health_changed: Duration) -> ServiceStatus {
        ServiceStatus { health_changed, ..unknown(id) }
    }
}
