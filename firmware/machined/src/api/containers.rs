//! `Containers`, `Stats` and `Restart`: services that run in a sandbox.
//!
//! Clients know them as the containers of the namespace `system` (design, section 3). A service is one when its process has a
//! mount namespace of its own: that is asked of the kernel, so what is shown is what is. Pods would be in `k8s.io`; this version
//! runs no containerd, so there are none, which is an answer and no error: `talosctl cgroups` asks for them too.

use std::{collections::HashMap, fs};

use linux::cgroup::Cgroup;
use supervise::Operation;
use tonic::Status;
use wire::{
    common::ContainerDriver,
    machine::{
        Container, ContainerInfo, ContainersRequest, ContainersResponse, Restart, RestartRequest, RestartResponse, Stat, Stats,
        StatsRequest, StatsResponse,
    },
};

use super::{Context, services};
use crate::node::ServiceStatus;

/// The namespace of the node's own containers, and that of pods.
const SYSTEM: &str = "system";
const PODS: &str = "k8s.io";
/// All of the node's programs are one file; this is what clients get to see as its image.
const IMAGE: &str = concat!("keelson:", env!("CARGO_PKG_VERSION"));
/// What a container that has a process is.
const RUNNING: &str = "RUNNING";
/// Nanoseconds in the unit of cpu.stat.
const MICROSECOND: u64 = 1000;

pub(super) async fn containers(context: &Context, request: ContainersRequest) -> Result<ContainersResponse, Status> {
    let found = running(context, &request.namespace, request.driver).await?;
    let containers = found.into_iter().map(|(id, pid)| info(id, pid)).collect();
    Ok(ContainersResponse { messages: vec![Container { metadata: None, containers }] })
}

pub(super) async fn stats(context: &Context, request: StatsRequest) -> Result<StatsResponse, Status> {
    let found = running(context, &request.namespace, request.driver).await?;
    // One that ends while it is looked at is left out.
    let job = move || found.into_iter().filter_map(|(id, pid)| stat(id, pid)).collect();
    let stats = context.blocking.run(job).await?;
    Ok(StatsResponse { messages: vec![Stats { metadata: None, stats }] })
}

/// The service is started anew, if users may do that to it.
pub(super) async fn restart(context: &Context, request: RestartRequest) -> Result<RestartResponse, Status> {
    let found = running(context, &request.namespace, request.driver).await?;
    if !found.iter().any(|(id, _)| *id == request.id) {
        return Err(Status::not_found(format!("there is no container {:?} in the namespace {:?}", request.id, request.namespace)));
    }
    services::ask(&context.sources, Operation::Restart, &request.id).await?;
    Ok(RestartResponse { messages: vec![Restart { metadata: None }] })
}

/// The containers there, by name, with their processes.
async fn running(context: &Context, namespace: &str, driver: i32) -> Result<Vec<(String, u32)>, Status> {
    if !is_ours(namespace, driver)? {
        return Ok(Vec::new());
    }
    let services = context.sources.node.services.borrow().clone();
    context.blocking.run(move || sandboxed(&services, &mount_namespace)).await
}

/// Whether our own containers are meant. Rule: reference, behaviour (c): the driver for pods has one namespace only.
fn is_ours(namespace: &str, driver: i32) -> Result<bool, Status> {
    if namespace.is_empty() {
        return Err(Status::invalid_argument("a namespace is needed"));
    }
    match ContainerDriver::try_from(driver) {
        Err(_) => Err(Status::invalid_argument(format!("container driver {driver} is unknown"))),
        Ok(ContainerDriver::Cri) if namespace != PODS => {
            Err(Status::unknown(format!("the driver CRI has containers in the namespace {PODS:?} only, not in {namespace:?}")))
        }
        Ok(ContainerDriver::Cri) => Ok(false),
        Ok(ContainerDriver::Containerd) => Ok(namespace == SYSTEM),
    }
}

/// Services whose process has another mount namespace than this one. `space` names that of a process (`None`: of this one).
fn sandboxed(services: &[ServiceStatus], space: &dyn Fn(Option<u32>) -> Option<String>) -> Vec<(String, u32)> {
    let Some(own) = space(None) else { return Vec::new() };
    let processes = services.iter().filter_map(|service| Some((service.id.clone(), service.pid?)));
    processes.filter(|(_, pid)| space(Some(*pid)).is_some_and(|space| space != own)).collect()
}

fn mount_namespace(pid: Option<u32>) -> Option<String> {
    let pid = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    Some(fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?.to_string_lossy().into_owned())
}

/// A container that is its own pod, as clients show one without.
fn info(id: String, pid: u32) -> ContainerInfo {
    ContainerInfo {
        namespace: SYSTEM.to_owned(),
        image: IMAGE.to_owned(),
        pid,
        status: RUNNING.to_owned(),
        pod_id: id.clone(),
        name: id.clone(),
        network_namespace: String::new(),
        internal_id: id.clone(),
        uid: String::new(),
        id,
    }
}

fn stat(id: String, pid: u32) -> Option<Stat> {
    let group = |pid: &str| Some(group(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)?.to_owned());
    // Without a group of its own, the figures would be this process's.
    let own = group(&pid.to_string()).filter(|name| Some(name) != group("self").as_ref())?;
    let cgroup = Cgroup::at(&own);
    let read = |file: &str| cgroup.read(file).ok();
    let (memory_usage, cpu_usage) = (working_set(&read("memory.current")?, &read("memory.stat")?), cpu(&read("cpu.stat")?));
    Some(Stat { namespace: SYSTEM.to_owned(), memory_usage, cpu_usage, pod_id: id.clone(), name: id.clone(), id })
}

/// The group in `0::/system/apid`.
fn group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/")).filter(|name| !name.split('/').any(|part| part == ".."))
}

/// What cannot be taken back without a loss: all but file contents that nobody has touched for long. Bytes.
fn working_set(current: &str, stat: &str) -> u64 {
    let current: u64 = current.trim().parse().unwrap_or(0);
    current.saturating_sub(pairs(stat).get("inactive_file").copied().unwrap_or(0))
}

/// Nanoseconds.
fn cpu(stat: &str) -> u64 {
    pairs(stat).get("usage_usec").copied().unwrap_or(0).saturating_mul(MICROSECOND)
}

/// Lines of `name number`.
fn pairs(text: &str) -> HashMap<&str, u64> {
    text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(name, value)| Some((name, value.trim().parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::node::ServiceState;

    #[test]
    fn namespaces_and_drivers() {
        let check = |namespace: &str, driver: i32, wanted: Result<bool, Code>| {
            assert_eq!(is_ours(namespace, driver).map_err(|status| status.code()), wanted, "{namespace} {driver}");
        };
        check("system", 0, Ok(true));
        check("k8s.io", 0, Ok(false));
        check("k8s.io", 1, Ok(false));
        check("system", 1, Err(Code::Unknown));
        check("", 0, Err(Code::InvalidArgument));
        check("system", 2, Err(Code::InvalidArgument));
    }

    fn service(id: &str, pid: Option<u32>) -> ServiceStatus {
        ServiceStatus {
            id: id.to_owned(),
            state: ServiceState::Running,
            healthy: None,
            health_message: String::new(),
            health_changed: Duration::ZERO,
            events: Vec::new(),
            pid,
        }
    }

    #[test]
    fn those_with_a_mount_namespace_of_their_own_are_containers() {
        let services = [service("apid", Some(7)), service("gone", Some(8)), service("machined", None), service("udevd", Some(9))];
        let space = |pid: Option<u32>| match pid {
            Some(7) => Some("mnt:[2]".to_owned()),
            Some(8) => None,
            _ => Some("mnt:[1]".to_owned()),
        };
        assert_eq!(sandboxed(&services, &space), [("apid".to_owned(), 7)]);
        assert!(sandboxed(&[service("self", Some(std::process::id()))], &mount_namespace).is_empty());
        let shown = info("apid".to_owned(), 7);
        assert_eq!((shown.id == shown.pod_id, shown.pid, shown.status.as_str()), (true, 7, "RUNNING"));
    }

    #[test]
    fn figures_are_read() {
        assert_eq!(working_set("1000\n", "anon 5\ninactive_file 300\nfile 400\n"), 700);
        assert_eq!(working_set("100\n", "inactive_file 300\n"), 0);
        assert_eq!((working_set("", ""), cpu("user_usec 1\nusage_usec 25\n"), cpu("")), (0, 25_000, 0));
        for (text, wanted) in [
            ("0::/system/apid\n", Some("system/apid")),
            ("1:cpu:/x\n0::/\n", Some("")),
            ("0::/../x\n", None),
            ("", None),
            ("1:cpu:/x", None),
        ] {
            assert_eq!(group(text), wanted, "{text}");
        }
    }
}
