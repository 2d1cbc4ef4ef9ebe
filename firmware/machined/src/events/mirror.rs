//! Stage, readiness, addresses and configurations that cannot be had as events, whenever they change.

use std::sync::Arc;

use wire::machine::{
    AddressEvent, ConfigLoadErrorEvent, MachineStatusEvent,
    machine_status_event::{MachineStatus as WireStatus, machine_status::UnmetCondition},
};

use super::Events;
use crate::node::{MachineStatus, NetworkStatus, Node};

/// Publishes changes of stage, readiness, addresses and load errors until the node stops.
pub async fn mirror(node: Arc<Node>, events: Arc<Events>) {
    let mut machine = node.machine.subscribe();
    let mut network = node.network.subscribe();
    let mut config = node.config.subscribe();
    let mut last_status = None;
    let mut last_error = None;
    let mut last_address = None;
    loop {
        let changed = tokio::select! {
            () = node.stop.cancelled() => return,
            changed = machine.changed() => changed,
            changed = network.changed() => changed,
            changed = config.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let status = status_event(&machine.borrow_and_update());
        if last_status.as_ref() != Some(&status) {
            events.publish(&status, "");
            last_status = Some(status);
        }
        let address = address_event(&network.borrow_and_update());
        if last_address.as_ref() != Some(&address) {
            events.publish(&address, "");
            last_address = Some(address);
        }
        let error = config.borrow_and_update().error.clone();
        if let Some(error) = error.clone().filter(|_| error != last_error) {
            events.publish(&ConfigLoadErrorEvent { error }, "");
        }
        last_error = error;
    }
}

fn address_event(network: &NetworkStatus) -> AddressEvent {
    AddressEvent { hostname: network.hostname.clone(), addresses: network.addresses().map(|address| address.to_string()).collect() }
}

fn status_event(status: &MachineStatus) -> MachineStatusEvent {
    let unmet_conditions =
        status.unmet.iter().map(|unmet| UnmetCondition { name: unmet.name.clone(), reason: unmet.reason.clone() }).collect();
    // Resources and events number the stages alike.
    MachineStatusEvent { stage: status.stage as i32, status: Some(WireStatus { ready: status.is_ready(), unmet_conditions }) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::machine::machine_status_event::MachineStage;

    use super::*;
    use crate::{events::Tail, node::Stage};

    #[tokio::test]
    async fn a_load_error_is_told_once() {
        let (node, _commands) = Node::new();
        let events = Events::new();
        let mut told = events.subscribe(Tail::None);
        let mirror = tokio::spawn(mirror(Arc::clone(&node), Arc::clone(&events)));
        tokio::task::yield_now().await;
        for error in ["one", "one", "two"] {
            node.config.send_modify(|config| config.error = Some(error.to_owned()));
            tokio::task::yield_now().await;
        }
        let mut errors = Vec::new();
        while errors.len() < 2 {
            let entry = tokio::time::timeout(Duration::from_secs(10), told.next()).await.expect("in time").expect("not overtaken");
            if entry.name == "machine.ConfigLoadErrorEvent" {
                errors.push(String::from_utf8_lossy(&entry.value).into_owned());
            }
        }
        assert!(errors[0].ends_with("one") && errors[1].ends_with("two"), "{errors:?}");
        node.stop.cancel();
        mirror.await.expect("ends");
    }

    #[test]
    fn stages_have_the_events_numbers() {
        for stage in [
            Stage::Unknown,
            Stage::Booting,
            Stage::Installing,
            Stage::Maintenance,
            Stage::Running,
            Stage::Rebooting,
            Stage::ShuttingDown,
            Stage::Resetting,
            Stage::Upgrading,
        ] {
            let name = MachineStage::try_from(stage as i32).map(|stage| stage.as_str_name().to_lowercase().replace('_', " "));
            assert_eq!(name.as_deref(), Ok(stage.as_str()));
        }
    }
}
