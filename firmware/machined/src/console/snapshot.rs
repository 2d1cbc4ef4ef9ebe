//! Everything the status shows, as one value.

use std::{sync::Arc, time::Duration};

use super::{Consoles, Sources, session::Watched};
use crate::node::{ApiStatus, BootStatus, DiskStatus, MachineStatus, NetworkStatus, Node, ServiceState, Stage, Warning};

/// How many warnings the status may show.
const WARNINGS: usize = 8;

/// The node as the status shows it. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The project's own version.
    pub version: String,
    /// Time since the kernel started.
    pub uptime: Duration,
    /// Boot facts.
    pub boot: BootStatus,
    /// System disk.
    pub disk: DiskStatus,
    /// Network.
    pub network: NetworkStatus,
    /// Stage and what is missing.
    pub machine: MachineStatus,
    /// Where the active configuration came from.
    pub config_source: Option<&'static str>,
    /// Why there is no configuration, when one was tried.
    pub config_error: Option<String>,
    /// How the API is reached.
    pub api: ApiStatus,
    /// Services: name, state, health, text of the last failed check.
    pub services: Vec<Service>,
    /// Total and available memory in bytes; `None` when the kernel does not say.
    pub memory: Option<(u64, u64)>,
    /// Lines dropped by console name, only those that dropped some.
    pub dropped: Vec<(String, u64)>,
    /// The last warnings, oldest first.
    pub warnings: Vec<Warning>,
}

/// A service in the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name.
    pub id: String,
    /// State.
    pub state: ServiceState,
    /// Health, when checked.
    pub healthy: Option<bool>,
    /// Why it is not healthy or failed; empty otherwise.
    pub message: String,
}

impl Snapshot {
    /// The part whose change is worth a new block on a terminal that cannot be redrawn.
    #[must_use]
    pub fn lasting(&self) -> Self {
        Self { uptime: Duration::ZERO, memory: None, dropped: Vec::new(), ..self.clone() }
    }

    /// Whether the node is on its way up or down, when the log is worth more than the status.
    #[must_use]
    pub fn in_transition(&self) -> bool {
        !matches!(self.machine.stage, Stage::Maintenance | Stage::Running)
    }
}

/// The live node behind the snapshots.
#[derive(Debug)]
pub struct World {
    node: Arc<Node>,
    consoles: Arc<Consoles>,
    sources: Arc<Sources>,
}

impl World {
    /// Over a node, its consoles and its logs.
    #[must_use]
    pub fn new(node: Arc<Node>, consoles: Arc<Consoles>, sources: Arc<Sources>) -> Self {
        Self { node, consoles, sources }
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

impl Watched for World {
    fn snapshot(&self) -> Snapshot {
        let node = &self.node;
        let (config_source, config_error) = {
            let config = node.config.borrow();
            (config.active.as_ref().map(|active| active.source), config.error.clone())
        };
        let services = node.services.borrow().iter().map(service).collect();
        let mut warnings = node.warnings.list();
        warnings.drain(..warnings.len().saturating_sub(WARNINGS));
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: uptime(),
            boot: node.boot.borrow().clone(),
            disk: node.disk.borrow().clone(),
            network: node.network.borrow().clone(),
            machine: node.machine.borrow().clone(),
            config_source,
            config_error,
            api: node.api.borrow().clone(),
            services,
            memory: std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(memory),
            dropped: self
                .consoles
                .ports()
                .iter()
                .filter(|port| port.dropped() > 0)
                .map(|port| (port.name().to_owned(), port.dropped()))
                .collect(),
            warnings,
        }
    }

    fn kernel(&self, lines: usize) -> Vec<String> {
        (self.sources.kernel)(lines)
    }

    fn service(&self, id: &str, lines: usize) -> Vec<String> {
        (self.sources.service)(id, lines)
    }
}

fn service(status: &crate::node::ServiceStatus) -> Service {
    let message = match (status.healthy, status.state) {
        (Some(false), _) => status.health_message.clone(),
        (_, ServiceState::Failed | ServiceState::Waiting) => status.events.last().map(|event| event.message.clone()).unwrap_or_default(),
        _ => String::new(),
    };
    Service { id: status.id.clone(), state: status.state, healthy: status.healthy, message }
}

fn uptime() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Total and available bytes from the text of `/proc/meminfo`.
fn memory(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernel_text() {
        let text = "MemTotal:         499000 kB\nMemFree:           1 kB\nMemAvailable:     300000 kB\n";
        assert_eq!(memory(text), Some((499_000 * 1024, 300_000 * 1024)));
        assert_eq!(memory("MemTotal: x kB\n"), None);
        assert_eq!(memory(""), None);
    }

    #[test]
    fn uptime_and_memory_alone_are_no_news() {
        let one = Snapshot { uptime: Duration::from_secs(1), memory: Some((1, 1)), ..Snapshot::default() };
        let two = Snapshot { uptime: Duration::from_secs(2), memory: None, ..Snapshot::default() };
        assert_eq!(one.lasting(), two.lasting());
    }
}
