//! The clock: what time it is by others' account, and making it so.
//!
//! - [`start`] runs it all: one task that asks, decides and acts (`client`).
//! - [`packet`], [`agree`], [`discipline`], [`sources`] decide, as functions of values; [`exchange`] asks; [`Clock`] is what is
//!   changed, so that tests change one of their own.
//! - [`check`] asks a server for whoever calls the API.
//!
//! Absent so far: NTS, PTP, a drift file. Why a client of our own: `docs/decisions/0024-time.md`.

pub mod agree;
mod client;
pub mod discipline;
pub mod exchange;
pub mod packet;
pub mod sources;

use std::{sync::Arc, time::Duration};

use linux::clock::{self, AdjustError, Adjustment, ClockState};

use crate::node::Node;
pub use exchange::AskError;

/// What is known of the time: written by the one task here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeStatus {
    /// The time can be relied on, or nobody wants to wait for that.
    pub synced: bool,
    /// How often the clock jumped by a quarter of an hour or more: dates made before are not to be trusted.
    pub epoch: u64,
    /// The configuration wants no synchronisation.
    pub disabled: bool,
    /// Who is asked.
    pub servers: Vec<String>,
    /// How often in a row servers agreed on a time that is not believed yet.
    pub spikes: u32,
    /// What the kernel says after the last measurement.
    pub clock: Option<ClockState>,
    /// Why the last round brought nothing; nothing when it did.
    pub problem: Option<String>,
}

/// A clock that can be set.
pub trait Clock: Send + Sync + 'static {
    /// What it shows, since the Unix epoch.
    fn now(&self) -> Duration;
    /// Moves it by nanoseconds.
    ///
    /// # Errors
    /// When it cannot be set.
    fn jump(&self, by: i64) -> Result<(), AdjustError>;
    /// Makes it run faster or slower.
    ///
    /// # Errors
    /// When it cannot be adjusted.
    fn adjust(&self, adjustment: &Adjustment) -> Result<ClockState, AdjustError>;
    /// Has its time outlive a power cut.
    ///
    /// # Errors
    /// When it cannot.
    fn keep(&self) -> Result<(), clock::RtcError>;
}

/// The kernel's clock, and the board's behind it.
#[derive(Clone, Copy, Debug)]
struct Kernel;

impl Clock for Kernel {
    fn now(&self) -> Duration {
        clock::now()
    }

    fn jump(&self, by: i64) -> Result<(), AdjustError> {
        clock::jump(by)
    }

    fn adjust(&self, adjustment: &Adjustment) -> Result<ClockState, AdjustError> {
        clock::adjust(adjustment)
    }

    fn keep(&self) -> Result<(), clock::RtcError> {
        clock::set_rtc(clock::now()).map(drop)
    }
}

/// Keeps the clock right until the node goes down; returns at once. No time before `floor` is believed. It begins when there are
/// an address and a decision about the configuration.
pub fn start(node: &Arc<Node>, floor: Duration) {
    start_with(node, floor, Kernel);
}

/// As [`start`], with another clock.
pub fn start_with(node: &Arc<Node>, floor: Duration, clock: impl Clock) {
    let work = client::Client::new(Arc::clone(node), floor, clock).run();
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(work));
}

/// What a server said when somebody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// This node's clock, since the Unix epoch.
    pub local: Duration,
    /// The server's at the same moment.
    pub remote: Duration,
}

/// A server that is further back than this (or as far ahead) is not understood by [`check`]: the protocol counts to 136 years.
const CHECK_RANGE: Duration = Duration::from_secs(25 * 365 * 86400);

/// Asks a server without using what it says.
///
/// # Errors
/// [`AskError`] of the last address tried.
pub async fn check(server: &str) -> Result<Checked, AskError> {
    let mut last = AskError::NoAddress { server: server.to_owned() };
    for address in exchange::resolve(server).await? {
        match exchange::ask(address, clock::now, clock::now().saturating_sub(CHECK_RANGE)).await {
            Ok(measured) => {
                let local = clock::now();
                return Ok(Checked { local, remote: shifted(local, measured.offset) });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A time `by` nanoseconds later; never before the Unix epoch.
fn shifted(time: Duration, by: i64) -> Duration {
    let distance = Duration::from_nanos(by.unsigned_abs());
    if by < 0 { time.saturating_sub(distance) } else { time.saturating_add(distance) }
}

/// A time as people read it.
fn shown(time: Duration) -> String {
    let second = i64::try_from(time.as_secs()).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map_or_else(|| format!("{} s", time.as_secs()), |second| second.to_string())
}
