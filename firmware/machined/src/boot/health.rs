//! Feeds the hardware watchdog, only while the main loop answers.

use std::{sync::Arc, time::Duration};

use linux::watchdog::Watchdog;
use tokio::{
    sync::{mpsc, oneshot},
    time::{interval, timeout},
};

use crate::node::Node;

/// The watchdog's timeout: longer than any step of a healthy node, shorter than a person's patience.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Feeds within a timeout. Many, because the device counts in its own time: a virtual machine on a busy host may have
/// a clock that runs several times too slow.
const FEEDS: u32 = 12;

/// A question to the main loop: answering it is the proof of life.
pub type Ping = oneshot::Sender<()>;

/// Arms the board's watchdog, if it has one. Blocks for a moment.
pub fn arm(node: &Node) -> Option<Watchdog> {
    match Watchdog::arm(TIMEOUT) {
        Ok(Some(watchdog)) => {
            log::info!(target: "watchdog", "{} armed, {} s", watchdog.identity(), watchdog.timeout().as_secs());
            Some(watchdog)
        }
        Ok(None) => {
            log::info!(target: "watchdog", "this board has none");
            None
        }
        Err(error) => {
            let text = format!("no watchdog: {}", daemon::report(&error));
            log::warn!(target: "watchdog", "{text}");
            node.warnings.push(text);
            None
        }
    }
}

/// Asks the main loop and feeds, [`FEEDS`] times in a timeout. Ends with the node and leaves the watchdog armed:
/// it is the last word when going down hangs. The main loop itself is bounded on the way down.
pub async fn keep(mut watchdog: Watchdog, pings: mpsc::Sender<Ping>, node: Arc<Node>) {
    let every = (watchdog.timeout() / FEEDS).max(Duration::from_millis(250));
    let mut ticks = interval(every);
    loop {
        tokio::select! {
            () = node.stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let (ping, answer) = oneshot::channel();
        if pings.try_send(ping).is_err() || !matches!(timeout(every, answer).await, Ok(Ok(()))) {
            log::error!(target: "watchdog", "the main loop does not answer: not feeding");
            continue;
        }
        if let Err(error) = watchdog.feed() {
            log::error!(target: "watchdog", "{}", daemon::report(&error));
        }
    }
    // One more full timeout for unmounting and writing out.
    if let Err(error) = watchdog.feed() {
        log::error!(target: "watchdog", "{}", daemon::report(&error));
    }
}
