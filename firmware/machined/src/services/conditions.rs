//! What services may wait for beside each other.

use std::sync::Arc;

use supervise::{Condition, Event};
use tokio::sync::mpsc;

use super::service::Report;
use crate::node::{NetworkStatus, Node};

/// A link has an address, the node a name, and both are in `/etc`.
pub(super) const NETWORK: &str = "network";

/// All conditions. Absent on purpose: synchronised time, which this version has nobody to tell of.
pub(super) fn all() -> Vec<Condition> {
    vec![Condition { name: NETWORK.into(), description: NETWORK.to_owned() }]
}

/// Reports how the condition is and whenever that changes, until the node goes down. Nothing looks at what no service waits for.
pub(super) fn watch(name: &str, node: &Arc<Node>, reports: &mpsc::Sender<Report>) {
    if name != NETWORK {
        return;
    }
    let (mut network, reports, stop) = (node.network.subscribe(), reports.clone(), node.stop.clone());
    let watching = async move {
        let mut known = None;
        loop {
            let met = is_ready(&network.borrow_and_update());
            if known != Some(met) {
                known = Some(met);
                drop(reports.send(Report::Event(Event::Condition { name: NETWORK.into(), met })).await);
            }
            if network.changed().await.is_err() {
                return;
            }
        }
    };
    node.tasks.spawn(stop.run_until_cancelled_owned(watching));
}

fn is_ready(network: &NetworkStatus) -> bool {
    network.addresses().next().is_some() && !network.hostname.is_empty() && network.etc_files
}
