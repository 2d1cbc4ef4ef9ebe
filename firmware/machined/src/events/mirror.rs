//! Stage, readiness and addresses as events, whenever they change.

use std::sync::Arc;

use wire::machine::{
    AddressEvent, MachineStatusEvent,
    machine_status_event::{MachineStage, MachineStatus as WireStatus, machine_status::UnmetCondition},
};

use super::Events;
use crate::node::{MachineStatus, NetworkStatus, Node, Stage};

/// Publishes changes of stage, readiness and addresses until the node stops.
pub async fn mirror(node: Arc<Node>, events: Arc<Events>) {
    let mut machine = node.machine.subscribe();
    let mut network = node.network.subscribe();
    let mut last_status = None;
    let mut last_address = None;
    loop {
        let changed = tokio::select! {
            () = node.stop.cancelled() => return,
            changed = machine.changed() => changed,
            changed = network.changed() => changed,
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
    }
}

fn address_event(network: &NetworkStatus) -> AddressEvent {
    AddressEvent { hostname: network.hostname.clone(), addresses: network.addresses().map(|address| address.to_string()).collect() }
}

fn status_event(status: &MachineStatus) -> MachineStatusEvent {
    let unmet_conditions =
        status.unmet.iter().map(|unmet| UnmetCondition { name: unmet.name.clone(), reason: unmet.reason.clone() }).collect();
    let ready = status.unmet.is_empty() && matches!(status.stage, Stage::Booting | Stage::Running);
    MachineStatusEvent { stage: wire_stage(status.stage).into(), status: Some(WireStatus { ready, unmet_conditions }) }
}

fn wire_stage(stage: Stage) -> MachineStage {
    match stage {
        Stage::Unknown => MachineStage::Unknown,
        Stage::Booting => MachineStage::Booting,
        Stage::Installing => MachineStage::Installing,
        Stage::Maintenance => MachineStage::Maintenance,
        Stage::Running => MachineStage::Running,
        Stage::Rebooting => MachineStage::Rebooting,
        Stage::ShuttingDown => MachineStage::ShuttingDown,
        Stage::Resetting => MachineStage::Resetting,
        Stage::Upgrading => MachineStage::Upgrading,
    }
}
