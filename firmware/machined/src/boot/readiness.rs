//! Stage and readiness, derived from what the parts of the node say. Pure but for [`keep`].

use std::sync::Arc;

use crate::{
    node::{MachineStatus, NetworkStatus, Node, ServiceState, ServiceStatus, Stage, Unmet},
    time::TimeStatus,
};

/// Services without which no node is ready.
const REQUIRED: [&str; 2] = ["machined", "apid"];

/// What is missing. Judged only while booting and running, as clients expect.
#[must_use]
pub fn unmet(stage: Stage, time: &TimeStatus, network: &NetworkStatus, services: &[ServiceStatus]) -> Vec<Unmet> {
    if !matches!(stage, Stage::Booting | Stage::Running) {
        return Vec::new();
    }
    let mut unmet = Vec::new();
    let mut add = |name: &str, reasons: Vec<String>| {
        if !reasons.is_empty() {
            unmet.push(Unmet { name: name.to_owned(), reason: reasons.join(", ") });
        }
    };
    add("time", time_reasons(time));
    add("network", network_reasons(network));
    add("services", missing_services(services));
    unmet
}

fn time_reasons(time: &TimeStatus) -> Vec<String> {
    let why = time.problem.as_ref().map_or_else(String::new, |problem| format!(": {problem}"));
    if time.synced { Vec::new() } else { vec![format!("the time is not synchronised{why}")] }
}

fn network_reasons(network: &NetworkStatus) -> Vec<String> {
    let checks = [
        (network.addresses().next().is_none(), "no address"),
        (network.gateways.is_empty(), "no default gateway"),
        (network.hostname.is_empty(), "no host name"),
        (!network.etc_files, "resolv.conf and hosts are not written"),
    ];
    checks.into_iter().filter(|(missing, _)| *missing).map(|(_, reason)| reason.to_owned()).collect()
}

/// What is missing of the services.
#[must_use]
pub fn missing_services(services: &[ServiceStatus]) -> Vec<String> {
    let absent = REQUIRED.iter().filter(|id| services.iter().all(|service| service.id != **id));
    let mut reasons: Vec<String> = absent.map(|id| format!("{id} is not started")).collect();
    for service in services {
        match (service.state, service.healthy) {
            (ServiceState::Running, Some(false)) if service.health_message.is_empty() => {
                reasons.push(format!("{} is not healthy", service.id));
            }
            (ServiceState::Running, Some(false)) => {
                reasons.push(format!("{} is not healthy: {}", service.id, service.health_message));
            }
            (ServiceState::Running | ServiceState::Finished | ServiceState::Skipped, _) => {}
            _ => reasons.push(format!("{} is not running", service.id)),
        }
    }
    reasons
}

/// Derives the status anew whenever something it depends on changes, until the node goes down.
pub async fn keep(node: Arc<Node>) {
    let mut sequence = node.sequence.subscribe();
    let mut time = node.time.subscribe();
    let mut network = node.network.subscribe();
    let mut services = node.services.subscribe();
    loop {
        let wanted = {
            let stage = sequence.borrow_and_update().stage();
            let unmet = unmet(stage, &time.borrow_and_update(), &network.borrow_and_update(), &services.borrow_and_update());
            MachineStatus { stage, unmet }
        };
        publish(&node, wanted);
        note_api(&node);
        tokio::select! {
            () = node.stop.cancelled() => return,
            result = sequence.changed() => if result.is_err() { return },
            result = time.changed() => if result.is_err() { return },
            result = network.changed() => if result.is_err() { return },
            result = services.changed() => if result.is_err() { return },
        }
    }
}

/// Keeps the moment at which the API answered for the first time.
fn note_api(node: &Node) {
    let answers = |service: &ServiceStatus| service.id == "apid" && service.healthy == Some(true);
    if node.boot.borrow().api_ready_ms.is_some() || !node.services.borrow().iter().any(answers) {
        return;
    }
    let after = u64::try_from(linux::clock::since_boot().as_millis()).unwrap_or(u64::MAX);
    log::info!(target: "boot", "the API answers, {after} ms after the kernel started");
    node.boot.send_modify(|boot| boot.api_ready_ms = Some(after));
}

fn publish(node: &Node, wanted: MachineStatus) {
    let ready = wanted.stage == Stage::Running && wanted.unmet.is_empty();
    let changed = node.machine.send_if_modified(|current| {
        let other = *current != wanted;
        *current = wanted;
        other
    });
    if changed && ready {
        log::info!(target: "machined", "the node is ready");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::LinkStatus;

    fn service(id: &str, state: ServiceState, healthy: Option<bool>) -> ServiceStatus {
        let health_message = if healthy == Some(false) { "refused".to_owned() } else { String::new() };
        let (health_changed, events) = (Duration::ZERO, Vec::new());
        ServiceStatus { id: id.to_owned(), state, healthy, health_message, health_changed, events, pid: None }
    }

    fn network() -> NetworkStatus {
        NetworkStatus {
            kubernetes: vec![],
            domain: String::new(),
            search: vec![],
            time_servers: vec![],
            hostname: "n".to_owned(),
            links: vec![LinkStatus {
                name: "eth0".to_owned(),
                mac: String::new(),
                up: true,
                addresses: vec!["10.0.2.15/24".parse().expect("address")],
                source: "dhcp".to_owned(),
            }],
            gateways: vec!["10.0.2.2".parse().expect("address")],
            resolvers: Vec::new(),
            etc_files: true,
        }
    }

    #[track_caller]
    fn check(stage: Stage, time: &TimeStatus, network: &NetworkStatus, services: &[ServiceStatus], wanted: &[(&str, &str)]) {
        let found = unmet(stage, time, network, services);
        let found: Vec<_> = found.iter().map(|unmet| (unmet.name.as_str(), unmet.reason.as_str())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn conditions() {
        let machined = service("machined", ServiceState::Running, Some(true));
        let apid = service("apid", ServiceState::Running, None);
        let good = [machined.clone(), apid.clone()];
        let synced = TimeStatus { synced: true, ..TimeStatus::default() };
        let unsynced = TimeStatus { problem: Some("nobody answers".to_owned()), ..TimeStatus::default() };
        check(Stage::Running, &synced, &network(), &good, &[]);
        check(Stage::Running, &unsynced, &network(), &good, &[("time", "the time is not synchronised: nobody answers")]);
        check(Stage::Maintenance, &unsynced, &NetworkStatus::default(), &[], &[]);
        check(
            Stage::Booting,
            &synced,
            &NetworkStatus::default(),
            &[],
            &[
                ("network", "no address, no default gateway, no host name, resolv.conf and hosts are not written"),
                ("services", "machined is not started, apid is not started"),
            ],
        );
        let sick = service("apid", ServiceState::Running, Some(false));
        let waiting = service("etcd", ServiceState::Waiting, None);
        let skipped = service("x", ServiceState::Skipped, None);
        check(
            Stage::Running,
            &synced,
            &network(),
            &[machined, sick, waiting, skipped],
            &[("services", "apid is not healthy: refused, etcd is not running")],
        );
    }
}
