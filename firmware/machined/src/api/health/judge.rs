//! What answers of the nodes mean. Pure; figures and order: reference, talosctl section 5.

use std::{collections::BTreeSet, fmt::Write};

use machine_config::MachineType;
use tonic::{Code, Status};
use wire::machine::{EtcdMember, MountStat, ServiceInfo};

const MIB: u64 = 1 << 20;
/// `MemTotal` that a node has to have, KiB.
const LEAST_MEMORY: (u64, u64) = (1698 * 1024, 874 * 1024);
/// What is left of a disk of 6 GiB for EPHEMERAL in the reference's layout, less what its file system takes for itself (a fiftieth).
const LEAST_DISK: u64 = 3932 * MIB / 50 * 49;

/// How a check stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// It does not apply.
    Skip,
    /// Not yet, and why.
    Wait(String),
}

/// What is wrong with one node.
pub(super) type Problem = (String, String);

/// The problems of all nodes as one text, as clients know it.
pub(super) fn verdict(problems: &[Problem]) -> Verdict {
    if problems.is_empty() {
        return Verdict::Ok;
    }
    let mut text = if problems.len() == 1 { "1 error occurred:".to_owned() } else { format!("{} errors occurred:", problems.len()) };
    for (node, problem) in problems {
        // Writing to text does not fail.
        let _ = write!(text, "\n\t* {node}: {problem}");
    }
    Verdict::Wait(text)
}

/// A status as clients of the generation write it.
pub(super) fn plain(status: &Status) -> String {
    // The library's name of this one is spelt otherwise.
    let code = if status.code() == Code::Cancelled { "Canceled".to_owned() } else { format!("{:?}", status.code()) };
    format!("rpc error: code = {code} desc = {}", status.message())
}

/// Whether a node lacks what it is asked for: a resource, or the type of it.
pub(super) fn is_absent(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::PermissionDenied)
}

/// What keeps a service from being well.
pub(super) fn service(services: &[ServiceInfo], id: &str) -> Option<String> {
    let Some(service) = services.iter().find(|service| service.id == id) else {
        return Some(format!("service {id:?} not found"));
    };
    let last = service.events.as_ref().and_then(|events| events.events.last());
    let (state, message) = last.map_or(("", ""), |event| (event.state.as_str(), event.msg.as_str()));
    if state != "Running" {
        return Some(format!("service {id:?} not in expected state \"Running\": current state [{state}] {message}"));
    }
    let healthy = service.health.as_ref().is_some_and(|health| health.healthy);
    (!healthy).then(|| format!("service is not healthy: {id}"))
}

pub(super) fn memory(kibibytes: u64, machine: MachineType) -> Option<String> {
    let least = match machine {
        MachineType::ControlPlane => LEAST_MEMORY.0,
        MachineType::Worker => LEAST_MEMORY.1,
    };
    let (has, kind) = (kibibytes / 1024, machine.as_str());
    (kibibytes < least).then(|| format!("{has} MiB of memory are less than the {} MiB that a {kind} needs", least / 1024))
}

/// EPHEMERAL is mounted on `/var`.
pub(super) fn disk(mounts: &[MountStat]) -> Option<String> {
    match mounts.iter().find(|mount| mount.mounted_on == "/var") {
        None => Some("EPHEMERAL is not mounted".to_owned()),
        Some(var) if var.size < LEAST_DISK => {
            Some(format!("EPHEMERAL has {} MiB, which is less than the {} MiB that a node needs", var.size / MIB, LEAST_DISK / MIB))
        }
        Some(_) => None,
    }
}

/// `MachineStatuses/machine` as YAML.
pub(super) fn stage(yaml: &str) -> Option<String> {
    let stage = yaml.lines().find_map(|line| line.strip_prefix("stage: ")).unwrap_or("unknown");
    (stage != "running").then(|| format!("expected stage running, it is {stage}"))
}

/// All nodes list the same members.
pub(super) fn consistent(lists: &[(String, Vec<EtcdMember>)]) -> Verdict {
    let of = |members: &[EtcdMember]| -> BTreeSet<(u64, String, bool)> {
        members.iter().map(|member| (member.id, member.hostname.clone(), member.is_learner)).collect()
    };
    let Some(((first, known), others)) = lists.split_first() else { return Verdict::Wait("there are no control plane nodes".to_owned()) };
    let known = of(known);
    let other = others.iter().find(|(_, members)| of(members) != known);
    other.map_or(Verdict::Ok, |(node, _)| Verdict::Wait(format!("etcd members of {first} and {node} are not the same")))
}

/// Each member is reached at the address of a control plane.
pub(super) fn on_control_planes(members: &[EtcdMember], control_planes: &[String]) -> Verdict {
    let host = |url: &String| {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    };
    let strangers = members.iter().filter(|member| !member.peer_urls.iter().map(host).any(|host| control_planes.contains(&host)));
    let strangers: Vec<&str> = strangers.map(|member| member.hostname.as_str()).collect();
    if strangers.is_empty() {
        return Verdict::Ok;
    }
    Verdict::Wait(format!("etcd members {strangers:?} are not among the control plane nodes {control_planes:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::machine::{ServiceEvent, ServiceEvents, ServiceHealth};

    use super::*;

    #[test]
    fn problems_are_one_text() {
        let problem = |node: &str, text: &str| (node.to_owned(), text.to_owned());
        assert_eq!(verdict(&[]), Verdict::Ok);
        assert_eq!(verdict(&[problem("a", "x")]), Verdict::Wait("1 error occurred:\n\t* a: x".into()));
        assert_eq!(verdict(&[problem("a", "x"), problem("b", "y")]), Verdict::Wait("2 errors occurred:\n\t* a: x\n\t* b: y".into()));
        assert_eq!(plain(&Status::unavailable("gone")), "rpc error: code = Unavailable desc = gone");
        assert_eq!(plain(&Status::cancelled("gone")), "rpc error: code = Canceled desc = gone");
    }

    #[test]
    fn services_are_judged_by_their_last_state() {
        let info = |state: &str, healthy| ServiceInfo {
            id: "etcd".into(),
            state: state.into(),
            events: Some(ServiceEvents { events: vec![ServiceEvent { msg: "so".into(), state: state.into(), ts: None }] }),
            health: Some(ServiceHealth { healthy, ..ServiceHealth::default() }),
        };
        let text = |services: &[ServiceInfo]| service(services, "etcd").unwrap_or_default();
        assert_eq!(text(&[]), "service \"etcd\" not found");
        assert_eq!(text(&[info("Waiting", false)]), "service \"etcd\" not in expected state \"Running\": current state [Waiting] so");
        assert_eq!(text(&[info("Running", false)]), "service is not healthy: etcd");
        assert_eq!(text(&[info("Running", true)]), "");
        assert!(text(&[ServiceInfo { events: None, health: None, ..info("Running", true) }]).contains("current state []"));
    }

    #[test]
    fn sizes_have_their_least() {
        for (kibibytes, machine, enough) in [
            (1698 * 1024, MachineType::ControlPlane, true),
            (1698 * 1024 - 1, MachineType::ControlPlane, false),
            (874 * 1024, MachineType::Worker, true),
            (874 * 1024 - 1, MachineType::Worker, false),
            (0, MachineType::Worker, false),
        ] {
            assert_eq!(memory(kibibytes, machine).is_none(), enough, "{kibibytes} {machine:?}");
        }
        let mount = |on: &str, size| MountStat { mounted_on: on.into(), size, ..MountStat::default() };
        assert_eq!(disk(&[mount("/", 1 << 40)]).as_deref(), Some("EPHEMERAL is not mounted"));
        assert!(disk(&[mount("/var", LEAST_DISK - 1)]).is_some_and(|text| text.contains("less than the 3853 MiB")));
        assert_eq!(disk(&[mount("/var", LEAST_DISK)]), None);
    }

    #[test]
    fn stages() {
        assert_eq!(stage("stage: running\nstatus:\n    ready: false\n"), None);
        assert_eq!(stage("stage: booting\n").as_deref(), Some("expected stage running, it is booting"));
        assert!(stage("").is_some());
    }

    fn member(id: u64, url: &str) -> EtcdMember {
        EtcdMember { id, hostname: format!("n{id}"), peer_urls: vec![url.into()], ..EtcdMember::default() }
    }

    #[test]
    fn members_of_etcd() {
        let (one, two) = (member(1, "https://10.0.0.1:2380"), member(2, "https://[fd00::2]:2380"));
        let list = |node: &str, members: &[&EtcdMember]| (node.to_owned(), members.iter().map(|member| (*member).clone()).collect());
        assert_eq!(consistent(&[list("a", &[&one, &two]), list("b", &[&two, &one])]), Verdict::Ok);
        assert_eq!(
            consistent(&[list("a", &[&one, &two]), list("b", &[&two])]),
            Verdict::Wait("etcd members of a and b are not the same".into())
        );
        assert!(matches!(consistent(&[]), Verdict::Wait(_)));
        let planes = ["10.0.0.1".to_owned(), "fd00::2".to_owned()];
        assert_eq!(on_control_planes(&[one.clone(), two], &planes), Verdict::Ok);
        let Verdict::Wait(text) = on_control_planes(&[one, member(3, "https://10.0.0.9:2380")], &planes) else { panic!("accepted") };
        assert!(text.contains("[\"n3\"] are not among"), "{text}");
    }

    proptest! {
        #[test]
        fn any_url_is_read(url in ".{0,60}") {
            let _ = on_control_planes(&[member(1, &url)], &[]);
        }
    }
}
