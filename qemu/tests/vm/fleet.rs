//! Three nodes of one cluster, driven through one of them: two control planes and a worker on a network of the harness.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use pki::{Authority, AuthorityKind, SecretsBundle, Talosconfig};
use qemu::{
    Api, Arch, Machine, TestVm,
    api::{refused, wait_for},
    lan::Lan,
    limits,
    node::{Access, NO_TIME, maintenance, running},
};
use tonic::{Code, Request};
use wire::machine::{ApplyConfigurationRequest, Version, apply_configuration_request::Mode};

use crate::trial;

/// The nodes' addresses on the network: the first two are control planes.
const NODES: [&str; 3] = ["10.4.0.2", "10.4.0.3", "10.4.0.4"];
/// Nobody has it.
const NOBODY: &str = "10.4.0.9";

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("fleet/{arch}"), move || three_nodes(Machine::new(arch)))).collect()
}

/// A cluster's secrets and the authorities that it accepts beside its own.
struct Cluster {
    secrets: SecretsBundle,
    accepted: Vec<String>,
}

impl Cluster {
    fn new() -> Result<Self> {
        Ok(Self { secrets: SecretsBundle::generate(SystemTime::now())?, accepted: Vec::new() })
    }

    /// The configuration of a node, and the keys to it.
    fn access(&self, node: &str) -> Result<Access> {
        let sans = ["127.0.0.1".to_owned()];
        let input = machine_config::GenerateInput {
            additional_sans: &sans,
            ..machine_config::GenerateInput::new("fleet", "https://10.4.0.2:6443", &self.secrets, SystemTime::now())
        };
        let generated = machine_config::generate(&input)?;
        let config = if node == NODES[2] { &generated.worker } else { &generated.controlplane };
        let accepted: String = self.accepted.iter().map(|pem| format!("    - crt: {}\n", pki::encode_base64(pem))).collect();
        let mut patches = Vec::new();
        if !accepted.is_empty() {
            let patch = machine_config::Patch::parse(&format!("machine:\n  acceptedCAs:\n{accepted}"));
            patches.push(patch.map_err(|problems| anyhow::anyhow!("{problems}"))?);
        }
        let mut config = machine_config::patch(config.expose(), &patches)?.expose().trim_end().to_owned();
        config.push('\n');
        config.push_str(NO_TIME);
        for document in
            ["kind: DHCPv4Config\nname: eth0".to_owned(), format!("kind: LinkConfig\nname: eth1\naddresses: [{{address: {node}/24}}]")]
        {
            config.push_str(&format!("---\napiVersion: v1alpha1\n{document}\n"));
        }
        Ok(Access { config, talosconfig: generated.talosconfig })
    }
}

fn three_nodes(machine: Machine) -> Result<()> {
    let lan = Lan::new()?;
    let mut cluster = Cluster::new()?;
    let mut vms = Vec::new();
    for node in NODES {
        vms.push(
            join(Machine { cables: vec![lan.plug()], ..machine.clone() }, &cluster.access(node)?)
                .with_context(|| format!("node {node}"))?,
        );
    }
    let access = cluster.access(NODES[0])?;
    let api = running(&mut vms[0], &access)?;
    all_answer(&api)?;
    merged(&api)?;
    the_worker_was_signed_for(&api, &mut vms[2], &access)?;
    trustd_can_do_little(&api)?;

    let new = rotated(&vms, &mut cluster, api)?;
    let api = Api::with_talosconfig(vms[0].api_address(), &new)?;
    a_wrong_token_is_refused(&api, &cluster)?;

    // A control plane that is off is an entry, and the other one goes on.
    drop(vms.remove(1));
    let down = entries(&api, &[NODES[0], NODES[1]])?;
    ensure!(down.len() == 2 && code(&down, NODES[0])? == Code::Ok && code(&down, NODES[1])? != Code::Ok, "{down:?}");
    let log = api.dmesg()?;
    let killed: Vec<&str> = log.lines().filter(|line| line.contains("type=1326")).collect();
    ensure!(killed.is_empty(), "system calls that the lists lack: {killed:?}");
    Ok(())
}

/// First boot, a configuration, and the node answering with it: for the worker that means that a control plane has signed its certificate.
fn join(machine: Machine, access: &Access) -> Result<TestVm> {
    let mut vm = TestVm::boot(machine)?;
    let api = maintenance(&mut vm)?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    running(&mut vm, access)?;
    Ok(vm)
}

fn aimed<T>(message: T, key: &'static str, nodes: &[&str]) -> Result<Request<T>> {
    let mut request = Request::new(message);
    for node in nodes {
        request.metadata_mut().append(key, node.parse()?);
    }
    Ok(request)
}

/// Each node, asked for by itself: with one target nothing is added to the reply.
fn all_answer(api: &Api) -> Result<()> {
    for node in NODES {
        wait_for(&format!("{node} through the first node"), limits::SETTLE, || {
            let mut client = api.machine();
            let messages = api.call(client.version(aimed((), "node", &[node])?))?.messages;
            ensure!(messages.len() == 1 && messages[0].metadata.is_none() && messages[0].version.is_some(), "{messages:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// What each of several nodes says, asked in one call.
fn entries(api: &Api, nodes: &[&str]) -> Result<Vec<Version>> {
    let mut client = api.machine();
    Ok(api.call(client.version(aimed((), "nodes", nodes)?))?.messages)
}

fn code(entries: &[Version], node: &str) -> Result<Code> {
    let metadata = entries.iter().filter_map(|entry| entry.metadata.as_ref()).find(|metadata| metadata.hostname == node);
    let metadata = metadata.with_context(|| format!("no entry of {node}"))?;
    Ok(metadata.status.as_ref().map_or(Code::Ok, |status| status.code.into()))
}

/// All nodes and one that is not there, asked in one call.
fn merged(api: &Api) -> Result<()> {
    let asked = [&NODES[..], &[NOBODY]].concat();
    let found = entries(api, &asked)?;
    ensure!(found.len() == asked.len(), "{found:?}");
    for node in NODES {
        ensure!(code(&found, node)? == Code::Ok, "{node}: {found:?}");
    }
    ensure!(code(&found, NOBODY)? == Code::Unavailable, "{found:?}");
    ensure!(found.iter().filter(|entry| entry.version.is_some()).count() == NODES.len(), "{found:?}");
    // A stream: lines of all three, each with its node.
    let mut client = api.machine();
    let request = wire::machine::LogsRequest { namespace: "system".into(), id: "apid".into(), tail_lines: 1, ..Default::default() };
    let lines = api.all(api.call(client.logs(aimed(request, "nodes", &NODES)?))?)?;
    for node in NODES {
        let own = lines.iter().filter(|data| data.metadata.as_ref().is_some_and(|metadata| metadata.hostname == node));
        ensure!(own.into_iter().any(|data| !data.bytes.is_empty()), "no line of {node}: {lines:?}");
    }
    Ok(())
}

/// The worker has no key of the authority, yet shows a certificate of it (the harness would not connect otherwise); and forwards nothing.
fn the_worker_was_signed_for(api: &Api, worker: &mut TestVm, access: &Access) -> Result<()> {
    let log = api.logs("trustd", -1)?;
    ensure!(log.lines().any(|line| line.contains("signed (Token)") && line.contains(NODES[2])), "trustd says:\n{log}");
    let direct = running(worker, access)?;
    let mut client = direct.machine();
    refused(direct.call(client.version(aimed((), "node", &[NODES[0]])?)), Code::PermissionDenied)?;
    direct.call(client.version(aimed((), "node", &[NODES[2]])?))?;
    let services = direct.services()?;
    let trustd = services.iter().find(|service| service.id == "trustd");
    ensure!(trustd.is_none_or(|service| service.state != "Running"), "trustd runs on a worker: {trustd:?}");
    Ok(())
}

/// trustd on a control plane, as the kernel tells it.
fn trustd_can_do_little(api: &Api) -> Result<()> {
    let processes = api.processes()?;
    let pid = processes.iter().find(|process| process.command == "trustd").context("no trustd")?.pid;
    let status = api.read_text(&format!("/proc/{pid}/status"))?;
    for (name, wanted) in [
        ("Uid", "51 51 51 51"),
        ("Gid", "51 51 51 51"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Threads", "1"),
        ("VmSwap", "0 kB"),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("(missing)");
        let found = line.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(found == wanted, "{name} of trustd is {found:?}, not {wanted:?}");
    }
    ensure!(api.read_text(&format!("/proc/{pid}/cgroup"))?.trim() == "0::/system/trustd", "trustd's control group");
    ensure!(api.read_text(&format!("/proc/{pid}/oom_score_adj"))?.trim() == "-998", "trustd's OOM score");
    let mut client = api.machine();
    let root = wire::machine::ListRequest { root: format!("/proc/{pid}/root/."), ..Default::default() };
    let files = api.all(api.call(client.list(root))?)?;
    ensure!(files.iter().all(|file| file.relative_name == "."), "trustd sees {files:?}");
    Ok(())
}

/// Another authority takes over in three rounds, through the one node: no round loses a node. Returns the keys afterwards.
fn rotated(vms: &[TestVm], cluster: &mut Cluster, api: Api) -> Result<Talosconfig> {
    let old = cluster.access(NODES[0])?.talosconfig;
    let old_ca = cluster.secrets.os.cert_pem.clone();
    let next = Authority::generate(AuthorityKind::Os, SystemTime::now())?.to_pem()?;
    // Both are accepted, the old one signs.
    cluster.accepted = vec![next.cert_pem.clone()];
    everywhere(&api, cluster).context("accept the new authority")?;
    // Both are accepted, the new one signs.
    cluster.secrets.os = next;
    cluster.accepted = vec![old_ca];
    everywhere(&api, cluster).context("sign with the new authority")?;
    let new = cluster.access(NODES[0])?.talosconfig;
    for (vm, node) in vms.iter().zip(NODES) {
        wait_for(&format!("{node} with a certificate of the new authority"), limits::API, || {
            Api::with_talosconfig(vm.api_address(), &new)?.version().map(drop)
        })?;
    }
    // The old one goes.
    let by_new = Api::with_talosconfig(vms[0].api_address(), &new)?;
    cluster.accepted.clear();
    everywhere(&by_new, cluster).context("drop the old authority")?;
    for (vm, node) in vms.iter().zip(NODES) {
        wait_for(&format!("{node} to refuse the old authority's clients"), limits::SETTLE, || {
            let stranger = Api::with_talosconfig(vm.api_address(), &old).and_then(|api| api.version());
            ensure!(stranger.is_err(), "still in");
            Ok(())
        })?;
    }
    wait_for("the old connection to end", limits::SETTLE, || {
        ensure!(api.version().is_err(), "still open");
        Ok(())
    })?;
    all_answer(&by_new)?;
    Ok(new)
}

/// Gives each node its configuration, through the one node; control planes first, as they sign for workers.
fn everywhere(api: &Api, cluster: &Cluster) -> Result<()> {
    for node in NODES {
        give(api, node, &cluster.access(node)?.config)?;
        all_answer(api).with_context(|| format!("after {node} was changed"))?;
    }
    Ok(())
}

fn give(api: &Api, node: &str, config: &str) -> Result<()> {
    let data = config.as_bytes().to_vec();
    let request = ApplyConfigurationRequest { data, mode: Mode::NoReboot.into(), dry_run: false, try_mode_timeout: None };
    let mut client = api.machine();
    api.call(client.apply_configuration(aimed(request, "node", &[node])?)).with_context(|| format!("configure {node}"))?;
    Ok(())
}

/// A worker that begins with another token gets no certificate: its API stays away, and the control plane says why.
fn a_wrong_token_is_refused(api: &Api, cluster: &Cluster) -> Result<()> {
    let config = cluster.access(NODES[2])?.config;
    let wrong = config.replace(cluster.secrets.machine_token.expose(), "aaaaaa.aaaaaaaaaaaaaaaa");
    ensure!(wrong != config, "the configuration has no token");
    give(api, NODES[2], &wrong)?;
    // While it runs it needs none: its certificate renews itself.
    all_answer(api)?;
    let mut client = api.machine();
    let reboot = wire::machine::RebootRequest { mode: wire::machine::reboot_request::Mode::Default.into() };
    api.call(client.reboot(aimed(reboot, "node", &[NODES[2]])?))?;
    wait_for("trustd to refuse the worker", limits::API, || {
        let log = api.logs("trustd", -1)?;
        ensure!(log.lines().any(|line| line.contains(NODES[2]) && line.contains("refused: invalid token")), "it says:\n{log}");
        Ok(())
    })?;
    let found = entries(api, &[NODES[0], NODES[2]])?;
    ensure!(code(&found, NODES[0])? == Code::Ok && code(&found, NODES[2])? == Code::Unavailable, "{found:?}");
    Ok(())
}
