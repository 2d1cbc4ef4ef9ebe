//! What processes that serve the API are told is made of: how the node is, followed for as long as they run.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::apid_plan::{Inputs, is_stale};
use crate::node::{ActiveConfig, Node};

/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);
/// Longest wait for a process to take what it is told; one that does not is started anew.
const TELL_LIMIT: Duration = Duration::from_secs(5);
/// How often a certificate's age is looked at.
const AGE_PERIOD: Duration = Duration::from_secs(5);

/// Brings the inputs up to date; returns the active configuration that they speak of.
pub(super) fn refresh(node: &Node, inputs: &mut Inputs) -> Option<Arc<ActiveConfig>> {
    let active = node.config.borrow().active.clone();
    inputs.config = active.as_ref().map(|active| active.text.clone());
    inputs.time_epoch = node.time.borrow().epoch;
    inputs.see(&node.network.borrow());
    active
}

/// Waits until a process should be told something new. Cancel-safe: it compares, it does not count changes.
pub(super) async fn changed(node: &Node, inputs: &Inputs) {
    let mut network = node.network.subscribe();
    let mut config = node.config.subscribe();
    let mut time = node.time.subscribe();
    loop {
        let mut now = inputs.clone();
        refresh(node, &mut now);
        if now != *inputs {
            return sleep(SETTLE).await;
        }
        let open = tokio::select! {
            changed = network.changed() => changed,
            changed = config.changed() => changed,
            changed = time.changed() => changed,
        };
        if open.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Waits until a certificate made then has to be replaced. The clock may jump: it is asked, not waited for.
pub(super) async fn stale(made: SystemTime) {
    while !is_stale(made, SystemTime::now()) {
        sleep(AGE_PERIOD).await;
    }
}

/// Writes a configuration, from [`wire::orders::to_line`], to a process.
pub(super) async fn tell(orders: &mut pipe::Sender, line: Result<Zeroizing<Vec<u8>>, serde_json::Error>) -> Result<(), String> {
    let line = line.map_err(|error| format!("encode the configuration: {error}"))?;
    match timeout(TELL_LIMIT, orders.write_all(&line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("tell the process its configuration: {error}")),
        Err(_) => Err(format!("the process did not take its configuration within {} s", TELL_LIMIT.as_secs())),
    }
}
