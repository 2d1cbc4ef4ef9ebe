//! The views as lines of text. Pure: the same snapshot gives the same lines.
//!
//! Lines are printable ASCII and one column shorter than the terminal, because some scroll when the last column of the
//! last row is written. What does not fit is cut from the bottom, the least important parts being there.

use std::{net::IpAddr, path::Path, time::Duration};

use super::{
    screen::{Size, clean, fit},
    snapshot::{Service, Snapshot},
};
use crate::node::{LinkStatus, PartitionStatus, ServiceState, Slot, Stage};

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The node's status.
    #[default]
    Status,
    /// The kernel's log.
    Kernel,
    /// The log of the service with this index.
    Service(usize),
    /// The keys.
    Help,
}

impl View {
    /// The view after a key, on a node with so many services.
    #[must_use]
    pub fn after_key(self, key: char, services: usize) -> Self {
        let at = |index: usize| if index < services { Self::Service(index) } else { self };
        match (key, self) {
            ('1' | 's', _) => Self::Status,
            ('2' | 'k', _) => Self::Kernel,
            ('l', _) => at(0),
            ('3'..='9', _) => at(key as usize - '3' as usize),
            ('n', Self::Service(index)) if services > 0 => Self::Service((index + 1) % services),
            ('p', Self::Service(index)) if services > 0 => Self::Service((index + services - 1) % services),
            ('n' | 'p', _) => at(0),
            ('?' | 'h', _) => Self::Help,
            ('q', Self::Status) => Self::Help,
            ('q', _) => Self::Status,
            (_, view) => view,
        }
    }
}

/// The last line of every view.
const KEYS: &str = "keys: 1 status  2 kernel log  3 service logs (n next, p previous)  ? help";

/// Lines of a view; `log` holds the newest log lines for the views that show one. At most `size.rows` lines.
#[must_use]
pub fn render(snapshot: &Snapshot, view: View, size: Size, log: &[String]) -> Vec<String> {
    let width = usize::from(size.columns).saturating_sub(1);
    let rows = usize::from(size.rows);
    let mut lines = match view {
        View::Status => status(snapshot, width),
        View::Kernel => titled("kernel log", log, rows.saturating_sub(1)),
        View::Service(index) => {
            let title = snapshot
                .services
                .get(index)
                .map_or_else(|| "no such service".to_owned(), |service| format!("log of {} ({})", service.id, state_name(service.state)));
            titled(&title, log, rows.saturating_sub(1))
        }
        View::Help => help(),
    };
    lines.truncate(rows.saturating_sub(1));
    lines.push(KEYS.to_owned());
    lines.iter().map(|line| fit(&clean(line), width)).collect()
}

/// A title over the end of a log.
fn titled(title: &str, log: &[String], rows: usize) -> Vec<String> {
    let newest = log.len().saturating_sub(rows.saturating_sub(1));
    let mut lines = vec![format!("== {title} ==")];
    lines.extend(log.iter().skip(newest).cloned());
    if log.is_empty() {
        lines.push("(empty)".to_owned());
    }
    lines
}

fn help() -> Vec<String> {
    [
        "== keys ==",
        "1 or s   status",
        "2 or k   kernel log",
        "3 ... 9  log of the first ... seventh service; l the first",
        "n, p     next and previous service log",
        "r        draw everything anew",
        "q        back to the status",
        "",
        "This console is read-only: the node is managed through its API.",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn status(snapshot: &Snapshot, width: usize) -> Vec<String> {
    let mut lines = head(snapshot);
    lines.extend(network(snapshot));
    if snapshot.machine.stage == Stage::Maintenance {
        lines.extend(maintenance(snapshot));
    }
    lines.extend(disk(snapshot, width));
    lines.extend(services(&snapshot.services, width));
    lines.push(memory(snapshot));
    lines.extend(warnings(snapshot));
    lines
}

fn head(snapshot: &Snapshot) -> Vec<String> {
    let boot = &snapshot.boot;
    let slot = match boot.slot {
        Some(Slot::A) => "slot A",
        Some(Slot::B) => "slot B",
        None => "no slot",
    };
    let root = if boot.root_hash.is_empty() { "none (root is not behind verity)" } else { &boot.root_hash };
    let mut lines = vec![
        format!(
            "Keelson {}  {}  {slot}  Linux {}  up {}",
            snapshot.version,
            or_dash(&boot.board),
            or_dash(&boot.kernel),
            clock(snapshot.uptime)
        ),
        format!("verity   {root}"),
    ];
    let stage = snapshot.machine.stage.as_str();
    let unmet = &snapshot.machine.unmet;
    let ready = match (snapshot.machine.stage, unmet.is_empty()) {
        (_, false) => {
            let list: Vec<_> = unmet.iter().map(|one| format!("{} ({})", one.name, one.reason)).collect();
            format!(", not ready: {}", list.join(", "))
        }
        (Stage::Maintenance, true) => ", waiting for a configuration".to_owned(),
        (Stage::Running, true) => ", ready".to_owned(),
        (_, true) => String::new(),
    };
    lines.push(format!("stage    {stage}{ready}"));
    if let Some(error) = &snapshot.config_error {
        lines.extend(labelled("config", error.lines().map(str::to_owned)));
    } else if let Some(source) = snapshot.config_source {
        lines.push(format!("config   from {source}"));
    }
    lines
}

fn network(snapshot: &Snapshot) -> Vec<String> {
    let network = &snapshot.network;
    let mut lines = vec![format!("host     {}", or_dash(&network.hostname))];
    lines.extend(labelled("net", network.links.iter().map(link)));
    let joined = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if !network.gateways.is_empty() || !network.resolvers.is_empty() {
        let gateways = or_dash(&joined(&network.gateways)).to_owned();
        lines.push(format!("         gateway {gateways}  dns {}", or_dash(&joined(&network.resolvers))));
    }
    if let Some(port) = snapshot.api.port {
        lines.push(format!("api      port {port}"));
    }
    lines
}

fn link(link: &LinkStatus) -> String {
    let state = if link.up { "up" } else { "no carrier" };
    let mut text = format!("{} {state} {}", link.name, link.mac);
    for address in &link.addresses {
        text.push_str(&format!(" {address}"));
    }
    if !link.source.is_empty() {
        text.push_str(&format!(" ({})", link.source));
    }
    text
}

/// What a person types next: the certificate to compare with and the commands, ready to copy.
fn maintenance(snapshot: &Snapshot) -> Vec<String> {
    let Some(fingerprint) = &snapshot.api.maintenance_fingerprint else {
        return vec!["setup    the API is being started".to_owned()];
    };
    let mut lines = vec![format!("setup    certificate fingerprint {fingerprint}")];
    let address = snapshot.network.addresses().find(IpAddr::is_ipv4).or_else(|| snapshot.network.addresses().next());
    let Some(address) = address else {
        lines.push("         no address yet".to_owned());
        return lines;
    };
    for program in ["keelctl", "talosctl"] {
        lines.push(format!("  {program} apply-config --insecure --nodes {address} --file config.yaml \\"));
        lines.push(format!("    --cert-fingerprint '{fingerprint}'"));
    }
    lines
}

fn disk(snapshot: &Snapshot, width: usize) -> Vec<String> {
    let disk = &snapshot.disk;
    let mut lines = Vec::new();
    if disk.name.is_empty() {
        lines.push("disk     not found".to_owned());
    } else {
        lines.push(format!("disk     {} {}, {}-byte sectors", disk.name, bytes(disk.size), disk.sector));
        lines.extend(columns(&disk.partitions.iter().map(partition).collect::<Vec<_>>(), width));
    }
    if let Some(problem) = &disk.problem {
        lines.extend(labelled("!", problem.lines().map(str::to_owned)));
    }
    if disk.state_lost {
        lines.push("!        STATE cannot be used: a configuration is taken only with an admin certificate".to_owned());
    }
    lines
}

fn partition(partition: &PartitionStatus) -> String {
    let mut text = format!("{} {} {} {}", partition.number, partition.label, bytes(partition.size), partition.content);
    if let Some(mount) = &partition.mounted_on {
        text.push_str(&format!(" {}", Path::display(mount)));
    }
    text
}

fn services(services: &[Service], width: usize) -> Vec<String> {
    if services.is_empty() {
        return vec!["services none".to_owned()];
    }
    let mut lines = vec!["services".to_owned()];
    let cells: Vec<_> = services
        .iter()
        .map(|service| {
            let health = match service.healthy {
                Some(true) => " healthy",
                Some(false) => " unhealthy",
                None => "",
            };
            format!("{} {}{health}", service.id, state_name(service.state))
        })
        .collect();
    lines.extend(columns(&cells, width));
    for service in services.iter().filter(|service| !service.message.is_empty()) {
        lines.push(format!("  {}: {}", service.id, service.message));
    }
    lines
}

fn memory(snapshot: &Snapshot) -> String {
    let mut text = match snapshot.memory {
        Some((total, available)) => format!("memory   {} free of {}", bytes(available), bytes(total)),
        None => "memory   unknown".to_owned(),
    };
    for (name, count) in &snapshot.dropped {
        text.push_str(&format!("  {name}: {count} lines dropped"));
    }
    text
}

/// The newest first: the oldest are cut when there is no room.
fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let newest = snapshot.warnings.iter().rev().map(|warning| {
        let seconds = warning.at.as_secs() % 86_400;
        let text = warning.text.lines().next().unwrap_or_default();
        format!("{} {text}", clock_of_day(seconds))
    });
    labelled("warnings", newest)
}

/// Puts a label before the first line and the same indent before the others.
fn labelled(label: &str, lines: impl Iterator<Item = String>) -> Vec<String> {
    lines.enumerate().map(|(index, line)| format!("{:<8} {line}", if index == 0 { label } else { "" })).collect()
}

/// Short texts side by side, as many as fit; reading order is by row.
fn columns(cells: &[String], width: usize) -> Vec<String> {
    let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default() + 2;
    let count = (width.saturating_sub(2) / widest.max(1)).clamp(1, 3);
    cells
        .chunks(count)
        .map(|row| {
            let text: String = row.iter().map(|cell| format!("{cell:<widest$}")).collect();
            format!("  {}", text.trim_end())
        })
        .collect()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A size in the largest binary unit that leaves at most four digits before the point.
fn bytes(size: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let (unit, shift) = UNITS.into_iter().find(|(_, shift)| size >> shift > 0).unwrap_or(("B", 0));
    let tenths = (size & ((1_u64 << shift) - 1)).saturating_mul(10) >> shift;
    if tenths == 0 { format!("{} {unit}", size >> shift) } else { format!("{}.{tenths} {unit}", size >> shift) }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let days = seconds / 86_400;
    let rest = clock_of_day(seconds % 86_400);
    if days > 0 { format!("{days}d {rest}") } else { rest }
}

fn clock_of_day(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn state_name(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Initialized => "initialized",
        ServiceState::Preparing => "preparing",
        ServiceState::Waiting => "waiting",
        ServiceState::Running => "running",
        ServiceState::Stopping => "stopping",
        ServiceState::Finished => "finished",
        ServiceState::Failed => "failed",
        ServiceState::Skipped => "skipped",
        ServiceState::Starting => "starting",
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
