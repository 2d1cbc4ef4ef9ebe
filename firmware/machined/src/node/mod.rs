//! What the node knows about itself: one value a subject, each with one writer.
//!
//! Writers publish whole values; readers (console, API, readiness) take snapshots or wait for changes.
//! Nothing in here does I/O. The writer of each subject is named beside it; nobody else may send.

mod status;
mod warnings;

pub use status::*;
pub use warnings::{Warning, Warnings};

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{firewall::FirewallStatus, params::ParamStatus, resources::Resources, sequence, time::TimeStatus};

/// How many commands may wait for the main loop; a caller beyond that is told to try again.
const COMMAND_QUEUE: usize = 16;

/// The node's shared state. Cheap to clone through [`Arc`].
#[derive(Debug)]
pub struct Node {
    /// Boot facts: written by `boot`, as they are found out.
    pub boot: watch::Sender<BootStatus>,
    /// The disk booted from and its partitions: written by `disk`.
    pub disk: watch::Sender<DiskStatus>,
    /// Who the node is: written by `identity`.
    pub identity: watch::Sender<IdentityStatus>,
    /// META's keys: written by `disk`, when it is brought up and by [`crate::disk::keys`].
    pub meta: watch::Sender<MetaStatus>,
    /// What the place that the node is in says of it: written by `platform`.
    pub platform: watch::Sender<PlatformStatus>,
    /// Links, addresses, resolvers, host name: written by `net`.
    pub network: watch::Sender<NetworkStatus>,
    /// The sequence that runs: written by `boot::sequencer`, but for `maintenance`, which its step writes.
    pub sequence: watch::Sender<sequence::Status>,
    /// What is wanted of the network: written by `net`.
    pub network_specs: watch::Sender<NetworkSpecs>,
    /// The node's own name server: written by `services`.
    pub host_dns: watch::Sender<HostDnsStatus>,
    /// Kernel parameters and modules: written by `params`.
    pub params: watch::Sender<ParamStatus>,
    /// What keeps packets out: written by `firewall`.
    pub firewall: watch::Sender<FirewallStatus>,
    /// What is known of the time: written by `time`.
    pub time: watch::Sender<TimeStatus>,
    /// Stage and unmet conditions: written by `boot::readiness`.
    pub machine: watch::Sender<MachineStatus>,
    /// The active configuration, or why there is none: written by `config`.
    pub config: watch::Sender<ConfigStatus>,
    /// How the API is reached: written by `services` when it starts apid.
    pub api: watch::Sender<ApiStatus>,
    /// Services with state, health and history: written by `services`.
    pub services: watch::Sender<Vec<ServiceStatus>>,
    /// The same subjects as resources: filled by `resources` once somebody asks.
    pub resources: Resources,
    /// The last warnings, for the console and the API: anybody may add.
    pub warnings: Warnings,
    /// Requests to the main loop (reboot, shutdown, apply).
    pub commands: mpsc::Sender<Command>,
    /// Owner of every task that lives as long as the node.
    pub tasks: TaskTracker,
    /// Cancelled when the node goes down: every task ends within its grace.
    pub stop: CancellationToken,
}

impl Node {
    /// A node that knows nothing yet, and the receiving end of its commands for the main loop.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let node = Self {
            boot: watch::Sender::default(),
            disk: watch::Sender::default(),
            identity: watch::Sender::default(),
            meta: watch::Sender::default(),
            platform: watch::Sender::default(),
            network: watch::Sender::default(),
            sequence: watch::Sender::default(),
            network_specs: watch::Sender::default(),
            host_dns: watch::Sender::default(),
            params: watch::Sender::default(),
            firewall: watch::Sender::default(),
            time: watch::Sender::default(),
            machine: watch::Sender::default(),
            config: watch::Sender::default(),
            api: watch::Sender::default(),
            services: watch::Sender::default(),
            resources: Resources::default(),
            warnings: Warnings::default(),
            commands,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        (Arc::new(node), receiver)
    }
}
