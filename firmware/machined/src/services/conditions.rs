//! What services may wait for beside each other.

use std::sync::Arc;

use supervise::{Condition, Event};
use tokio::sync::{mpsc, watch};

use super::{api_answered, service::Report};
use crate::node::{NetworkStatus, Node};

/// A link has an address, the node a name, and both are in `/etc`.
pub(super) const NETWORK: &str = "network";
/// The clock can be relied on, or the configuration does not want to wait for that.
pub(super) const TIME: &str = "time";

/// The API has answered its first callers, or has had its time to.
pub(super) const API: &str = "api";

/// All conditions, in the reference's words where it has them.
pub(super) fn all() -> Vec<Condition> {
    let condition = |name: &str, description: &str| Condition { name: name.into(), description: description.to_owned() };
    vec![condition(TIME, "time sync"), condition(NETWORK, "network"), condition(API, "the API's first answers")]
}

/// Reports how the condition is and whenever that changes, until the node goes down. Nothing looks at what no service waits for.
pub(super) fn watch(name: &str, node: &Arc<Node>, reports: &mpsc::Sender<Report>) {
    match name {
        TIME => follow(TIME, node.time.subscribe(), |time| time.synced, node, reports),
        NETWORK => follow(NETWORK, node.network.subscribe(), is_ready, node, reports),
        API => {
            let (subject, reports) = (Arc::clone(node), reports.clone());
            let waiting = async move {
                api_answered(&subject).await;
                drop(reports.send(Report::Event(Event::Condition { name: API.into(), met: true })).await);
            };
            node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(waiting));
        }
        // The machine has refused what is not in the list.
        _ => {}
    }
}

fn follow<T: Send + Sync + 'static>(
    name: &'static str,
    mut subject: watch::Receiver<T>,
    is_met: fn(&T) -> bool,
    node: &Node,
    reports: &mpsc::Sender<Report>,
) {
    let reports = reports.clone();
    let watching = async move {
        // As the machine begins.
        let mut known = false;
        loop {
            let met = is_met(&subject.borrow_and_update());
            if known != met {
                known = met;
                drop(reports.send(Report::Event(Event::Condition { name: name.into(), met })).await);
            }
            if subject.changed().await.is_err() {
                return;
            }
        }
    };
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(watching));
}

fn is_ready(network: &NetworkStatus) -> bool {
    network.addresses().next().is_some() && !network.hostname.is_empty() && network.etc_files
}
