//! cluster.ClusterService: whether a cluster is well, told line by line.
//!
//! The checks, their order and their words are the reference's (talosctl, section 5): each is done over and over until it holds or
//! the time is up, and none begins before the one in front of it holds. Every node is asked through this node's own apid ([`nodes`]);
//! what the answers mean is in [`judge`].

mod judge;
mod nodes;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use machine_config::MachineType;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};
use wire::{
    cluster::{ClusterInfo, HealthCheckProgress, HealthCheckRequest},
    machine::EtcdMemberListRequest,
    server::cluster::cluster_service_server::ClusterService,
};

use super::{Context, Replies, streams::until_stop};
use crate::node::{ActiveConfig, NetworkStatus};
use judge::Verdict;
use nodes::{Cluster, Member};

/// Pause between two tries of a check.
const PERIOD: Duration = Duration::from_secs(5);
/// How long is waited for all checks when the request does not say; what clients of the generation say.
const DEFAULT_WAIT: Duration = Duration::from_secs(20 * 60);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Most nodes of a request.
const MOST_NODES: usize = 256;
/// Longest name of a node, bytes (RFC 1035).
const MAX_NAME: usize = 253;
/// Clients that are told at the same time: each takes a connection of apid's.
const CLIENTS: usize = 4;
/// Lines that wait for a slow client.
const LINES: usize = 8;
/// Metadata of the caller's roles that is passed on.
const MAX_ROLES: usize = 16;

/// The handlers.
#[derive(Clone, Debug)]
pub(super) struct Health(pub(super) Context);

/// Turns for clients.
#[derive(Clone, Debug)]
pub(super) struct Checks(Arc<Semaphore>);

impl Default for Checks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CLIENTS)))
    }
}

/// A check, by what clients know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    EtcdHealthy,
    EtcdConsistent,
    EtcdMembers,
    Apid,
    Memory,
    Disks,
    Diagnostics,
    Kubelet,
    Booted,
    /// One of Kubernetes': it is the same for all of them what this version can say.
    Kubernetes(&'static str),
}

const CHECKS: [Check; 16] = [
    Check::EtcdHealthy,
    Check::EtcdConsistent,
    Check::EtcdMembers,
    Check::Apid,
    Check::Memory,
    Check::Disks,
    Check::Diagnostics,
    Check::Kubelet,
    Check::Booted,
    Check::Kubernetes("all k8s nodes to report"),
    Check::Kubernetes("all control plane static pods to be running"),
    Check::Kubernetes("all control plane components to be ready"),
    Check::Kubernetes("all k8s nodes to report ready"),
    Check::Kubernetes("kube-proxy to report ready"),
    Check::Kubernetes("coredns to report ready"),
    Check::Kubernetes("all k8s nodes to report schedulable"),
];

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::EtcdHealthy => "etcd to be healthy",
            Self::EtcdConsistent => "etcd members to be consistent across nodes",
            Self::EtcdMembers => "etcd members to be control plane nodes",
            Self::Apid => "apid to be ready",
            Self::Memory => "all nodes memory sizes",
            Self::Disks => "all nodes disk sizes",
            Self::Diagnostics => "no diagnostics",
            Self::Kubelet => "kubelet to be healthy",
            Self::Booted => "all nodes to finish boot sequence",
            Self::Kubernetes(name) => name,
        }
    }
}

#[tonic::async_trait]
impl ClusterService for Health {
    type HealthCheckStream = Replies<HealthCheckProgress>;

    async fn health_check(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::HealthCheckStream>, Status> {
        let context = &self.0;
        let node = &context.sources.node;
        let active = node.config.borrow().active.clone();
        let active = active.ok_or_else(|| Status::failed_precondition("the node has no configuration: it belongs to no cluster"))?;
        if active.config.machine_type() == MachineType::Worker {
            // It has no certificate that other nodes let in.
            return Err(Status::unimplemented("cluster.ClusterService/HealthCheck is only available on control plane nodes"));
        }
        let roles = roles(request.metadata());
        let HealthCheckRequest { wait_timeout, cluster_info } = request.into_inner();
        let wait = wait(wait_timeout)?;
        let mut members = named(cluster_info.unwrap_or_default())?;
        if members.is_empty() {
            // Others are found once nodes discover one another.
            members = this_node(&node.network.borrow(), active.config.machine_type());
        }
        let port = node.api.borrow().port.ok_or_else(|| Status::unavailable("apid has not started yet"))?;
        let turn = Arc::clone(&context.checks.0).try_acquire_owned();
        let turn = turn.map_err(|_| Status::resource_exhausted(format!("{CLIENTS} health checks are running; wait for one of them")))?;
        let (lines, stream) = mpsc::channel(LINES);
        let running = async move {
            let _turn = turn;
            let checked = timeout(wait, run(&active, port, members, roles, &lines)).await;
            let ended = checked.unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded")));
            if let Err(status) = ended {
                // Who has gone needs no end.
                let _ = lines.send(Err(status)).await;
            }
        };
        node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(running));
        Ok(Response::new(until_stop(context, ReceiverStream::new(stream))))
    }
}

/// As they came from apid.
fn roles(metadata: &MetadataMap) -> Vec<MetadataValue<Ascii>> {
    metadata.get_all(wire::ROLE_KEY).iter().take(MAX_ROLES).cloned().collect()
}

/// Not by the conversion of `prost_types`: the least number of seconds overflows in it.
fn wait(wanted: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let Some(prost_types::Duration { seconds, nanos }) = wanted else { return Ok(DEFAULT_WAIT) };
    let parts = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000));
    let wait = parts.map(|(seconds, nanos)| Duration::new(seconds, nanos)).filter(|wait| !wait.is_zero() && *wait <= LONGEST_WAIT);
    let hours = LONGEST_WAIT.as_secs() / 3600;
    wait.ok_or_else(|| Status::invalid_argument(format!("wait_timeout should be positive and at most {hours} h")))
}

/// The nodes of a request, each once.
fn named(info: ClusterInfo) -> Result<Vec<Member>, Status> {
    let ClusterInfo { control_plane_nodes, worker_nodes, force_endpoint: _ } = info;
    if control_plane_nodes.len() + worker_nodes.len() > MOST_NODES {
        return Err(Status::invalid_argument(format!("at most {MOST_NODES} nodes can be checked at once")));
    }
    let planes = control_plane_nodes.into_iter().map(|name| Member { name, machine: MachineType::ControlPlane });
    let workers = worker_nodes.into_iter().map(|name| Member { name, machine: MachineType::Worker });
    let mut known = BTreeSet::new();
    let mut members = Vec::new();
    for member in planes.chain(workers) {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_name = !member.name.is_empty() && member.name.len() <= MAX_NAME && member.name.bytes().all(letter);
        if !is_name && member.name.parse::<IpAddr>().is_err() {
            return Err(Status::invalid_argument(format!("node {:?} is neither an address nor a name", member.name)));
        }
        if known.insert(member.name.clone()) {
            members.push(member);
        }
    }
    Ok(members)
}

/// By its first address that is its own, and not a pod's or a service's.
fn this_node(network: &NetworkStatus, machine: MachineType) -> Vec<Member> {
    let address = network.addresses().find(|address| !network.kubernetes.iter().any(|range| range.contains(address)));
    vec![Member { name: address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string()), machine }]
}

type Lines = mpsc::Sender<Result<HealthCheckProgress, Status>>;

async fn say(lines: &Lines, message: String) -> Result<(), Status> {
    let gone = |_| Status::cancelled("the client has gone");
    lines.send(Ok(HealthCheckProgress { metadata: None, message })).await.map_err(gone)
}

async fn run(
    active: &Arc<ActiveConfig>,
    port: u16,
    members: Vec<Member>,
    roles: Vec<MetadataValue<Ascii>>,
    lines: &Lines,
) -> Result<(), Status> {
    let cluster = Cluster::connect(active, port, members, roles).await?;
    let mut names: Vec<&str> = cluster.members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    say(lines, format!("discovered nodes: [{}]", names.join(" "))).await?;
    let with_etcd = active.config.cluster().etcd_ca.is_some();
    for check in CHECKS {
        let name = check.name();
        say(lines, format!("waiting for {name}: ...")).await?;
        let mut told = String::new();
        loop {
            let verdict = tokio::select! {
                verdict = look(check, &cluster, with_etcd) => verdict,
                // Nobody listens any more.
                () = lines.closed() => return Ok(()),
            };
            match verdict {
                Verdict::Ok => break say(lines, format!("waiting for {name}: OK")).await?,
                Verdict::Skip => break say(lines, format!("waiting for {name}: SKIP")).await?,
                Verdict::Wait(problem) if problem != told => {
                    say(lines, format!("waiting for {name}: {problem}")).await?;
                    told = problem;
                }
                Verdict::Wait(_) => {}
            }
            tokio::select! {
                () = sleep(PERIOD) => {}
                () = lines.closed() => return Ok(()),
            }
        }
    }
    Ok(())
}

/// How a check stands now.
async fn look(check: Check, cluster: &Cluster, with_etcd: bool) -> Verdict {
    match check {
        Check::EtcdHealthy | Check::EtcdConsistent | Check::EtcdMembers if !with_etcd => Verdict::Skip,
        Check::EtcdHealthy => service(cluster, "etcd", cluster.of(Some(MachineType::ControlPlane))).await,
        Check::EtcdConsistent => etcd(cluster, judge::consistent).await,
        Check::EtcdMembers => {
            let planes: Vec<String> = cluster.of(Some(MachineType::ControlPlane)).map(|member| member.name.clone()).collect();
            let members = |lists: &[(String, Vec<_>)]| match lists.first() {
                Some((_, members)) => judge::on_control_planes(members, &planes),
                None => Verdict::Wait("there are no control plane nodes".to_owned()),
            };
            etcd(cluster, members).await
        }
        Check::Apid => {
            let version = async |asked: nodes::Asked| asked.machine().version(asked.request(())).await.map(Response::into_inner);
            judge::verdict(&cluster.problems(cluster.of(None), version, |_, _| None).await)
        }
        Check::Memory => {
            let memory = async |asked: nodes::Asked| asked.machine().memory(asked.request(())).await.map(Response::into_inner);
            let judge = |member: &Member, answer: wire::machine::MemoryResponse| {
                let total = answer.messages.first().and_then(|message| message.meminfo.as_ref()).map_or(0, |memory| memory.memtotal);
                judge::memory(total, member.machine)
            };
            judge::verdict(&cluster.problems(cluster.of(None), memory, judge).await)
        }
        Check::Disks => {
            let mounts = async |asked: nodes::Asked| asked.machine().mounts(asked.request(())).await.map(Response::into_inner);
            let judge = |_: &Member, answer: wire::machine::MountsResponse| {
                judge::disk(answer.messages.first().map(|message| message.stats.as_slice()).unwrap_or_default())
            };
            judge::verdict(&cluster.problems(cluster.of(None), mounts, judge).await)
        }
        Check::Diagnostics => diagnostics(cluster).await,
        Check::Kubelet if has_kubelet(cluster).await => service(cluster, "kubelet", cluster.of(Some(MachineType::ControlPlane))).await,
        Check::Kubelet => Verdict::Skip,
        Check::Booted => {
            let status = async |asked: nodes::Asked| asked.resource("runtime", "MachineStatuses.runtime.talos.dev", "machine").await;
            judge::verdict(&cluster.problems(cluster.of(None), status, |_, yaml| judge::stage(&yaml)).await)
        }
        Check::Kubernetes(_) if has_kubelet(cluster).await => {
            Verdict::Wait("this version cannot ask Kubernetes; leave the check to a client that can (--server=false)".to_owned())
        }
        Check::Kubernetes(_) => Verdict::Skip,
    }
}

async fn service(cluster: &Cluster, id: &str, members: impl Iterator<Item = &Member>) -> Verdict {
    let list = async |asked: nodes::Asked| asked.machine().service_list(asked.request(())).await.map(Response::into_inner);
    let judge = |_: &Member, answer: wire::machine::ServiceListResponse| {
        judge::service(answer.messages.first().map(|message| message.services.as_slice()).unwrap_or_default(), id)
    };
    judge::verdict(&cluster.problems(members, list, judge).await)
}

/// Judges what each control plane lists as members of etcd.
async fn etcd(cluster: &Cluster, judge: impl Fn(&[(String, Vec<wire::machine::EtcdMember>)]) -> Verdict) -> Verdict {
    let list = async |asked: nodes::Asked| {
        let request = asked.request(EtcdMemberListRequest { query_local: true });
        asked.machine().etcd_member_list(request).await.map(Response::into_inner)
    };
    let (mut lists, mut problems) = (Vec::new(), Vec::new());
    for (member, answer) in cluster.ask(cluster.of(Some(MachineType::ControlPlane)), list).await {
        match answer {
            Ok(answer) => lists.push((member.name, answer.messages.into_iter().flat_map(|message| message.members).collect())),
            Err(status) => problems.push((member.name, judge::plain(&status))),
        }
    }
    if problems.is_empty() { judge(&lists) } else { judge::verdict(&problems) }
}

/// Nodes whose type of resource is not there, or not for this caller, are passed over (talosctl, section 1).
async fn diagnostics(cluster: &Cluster) -> Verdict {
    let list = async |asked: nodes::Asked| asked.resources("runtime", "Diagnostics.runtime.talos.dev").await;
    let (mut looked, mut problems) = (false, Vec::new());
    for (member, answer) in cluster.ask(cluster.of(None), list).await {
        match answer {
            Ok(found) => {
                looked = true;
                problems.extend(found.iter().map(|yaml| (member.name.clone(), yaml.trim_end().to_owned())));
            }
            Err(status) if judge::is_absent(&status) => {}
            Err(status) => problems.push((member.name, judge::plain(&status))),
        }
    }
    if looked || !problems.is_empty() { judge::verdict(&problems) } else { Verdict::Skip }
}

/// Whether any node runs, or is to run, a kubelet. One that cannot be asked is not known to have none: it will be asked again by name.
async fn has_kubelet(cluster: &Cluster) -> bool {
    let config = async |asked: nodes::Asked| asked.resource("k8s", "KubeletConfigs.kubernetes.talos.dev", "kubelet").await;
    let answers = cluster.ask(cluster.of(None), config).await;
    answers.iter().any(|(_, answer)| answer.as_ref().err().is_none_or(|status| !judge::is_absent(status)))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn checks_are_the_references_in_its_order() {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.name()).collect();
        let wanted = "etcd to be healthy|etcd members to be consistent across nodes|etcd members to be control plane nodes|\
            apid to be ready|all nodes memory sizes|all nodes disk sizes|no diagnostics|kubelet to be healthy|\
            all nodes to finish boot sequence|all k8s nodes to report|all control plane static pods to be running|\
            all control plane components to be ready|all k8s nodes to report ready|kube-proxy to report ready|\
            coredns to report ready|all k8s nodes to report schedulable";
        assert_eq!(names.join("|"), wanted);
    }

    #[test]
    fn waits_are_positive_and_end() {
        let of = |seconds, nanos| wait(Some(prost_types::Duration { seconds, nanos })).map_err(|status| status.code());
        assert_eq!(wait(None).ok(), Some(DEFAULT_WAIT));
        assert_eq!(of(1, 500_000_000), Ok(Duration::from_millis(1500)));
        assert_eq!(of(24 * 3600, 0), Ok(LONGEST_WAIT));
        for (seconds, nanos) in [(0, 0), (-1, 0), (0, -1), (i64::MIN, i32::MIN), (24 * 3600, 1), (i64::MAX, 0)] {
            assert_eq!(of(seconds, nanos), Err(Code::InvalidArgument), "{seconds} {nanos}");
        }
    }

    #[test]
    fn nodes_are_named_once_and_well() {
        let info = |planes: &[&str], workers: &[&str]| ClusterInfo {
            control_plane_nodes: planes.iter().map(|name| (*name).to_owned()).collect(),
            worker_nodes: workers.iter().map(|name| (*name).to_owned()).collect(),
            force_endpoint: String::new(),
        };
        let members = named(info(&["10.0.0.1", "fd00::1", "10.0.0.1"], &["node-2", "10.0.0.1"])).expect("named");
        let found: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.machine)).collect();
        let (plane, worker) = (MachineType::ControlPlane, MachineType::Worker);
        assert_eq!(found, [("10.0.0.1", plane), ("fd00::1", plane), ("node-2", worker)]);
        assert!(named(info(&[], &[])).expect("named").is_empty());
        let (long, many) = ("x".repeat(254), vec!["n"; MOST_NODES + 1]);
        for wrong in [info(&[""], &[]), info(&[], &["10.0.0.1:50000"]), info(&["a b"], &[]), info(&[&long], &[]), info(&[], &many)] {
            assert_eq!(named(wrong.clone()).expect_err("refused").code(), Code::InvalidArgument, "{wrong:?}");
        }
    }
}
