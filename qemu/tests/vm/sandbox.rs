//! What a service can see and do on a booted node, as the kernel tells it.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine,
    api::wait_for,
    limits,
    node::{Access, configured, running},
};
use tonic::Code;
use wire::machine::{FileInfo, ListRequest};

use crate::trial;

/// Connections at the same time, each with its own handshake.
const CONNECTIONS: usize = 20;

/// A service in a sandbox.
pub struct Service {
    /// Name of its program.
    pub name: &'static str,
    /// Its user, and its group.
    pub user: u32,
    /// Its capabilities, as the kernel shows them.
    pub capabilities: &'static str,
    /// When memory runs out.
    pub oom_score: &'static str,
    /// Its control group.
    pub group: &'static str,
    /// What that may have, MiB.
    pub memory_mib: u64,
    /// What is mounted in it.
    pub mounts: &'static [&'static str],
    /// All files and folders that it sees.
    pub tree: &'static [&'static str],
}

const APID: Service = Service {
    name: "apid",
    user: 50,
    capabilities: "0000000000000000",
    oom_score: "-998",
    group: "system/apid",
    memory_mib: 128,
    mounts: &["/", "/run/machined"],
    tree: &[".", "run", "run/machined", "run/machined/machined.sock"],
};

impl Service {
    /// Checks all of it; gives the process id.
    pub fn expect(&self, api: &Api) -> Result<i32> {
        let pid = self.pid(api)?;
        expect_privileges(api, pid, self)?;
        expect_limits(api, pid, self)?;
        expect_namespaces(api, pid, self)?;
        expect_root(api, pid, self)?;
        expect_descriptors(api, pid)?;
        Ok(pid)
    }

    /// The process id; there is one.
    pub fn pid(&self, api: &Api) -> Result<i32> {
        let processes = api.processes()?;
        let found: Vec<_> = processes.iter().filter(|process| process.command == self.name).collect();
        ensure!(
            found.len() == 1 && found.iter().all(|process| process.executable == "/usr/bin/keelson"),
            "{} among {processes:?}",
            self.name
        );
        found.first().map(|process| process.pid).with_context(|| format!("no {}", self.name))
    }
}

/// The kernel has killed nobody for a system call.
pub fn no_call_was_refused(api: &Api) -> Result<()> {
    let log = api.dmesg()?;
    let killed: Vec<&str> = log.lines().filter(|line| line.contains("type=1326")).collect();
    ensure!(killed.is_empty(), "system calls that a list lacks: {killed:?}");
    Ok(())
}

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("sandbox/{arch}/apid"), move || apid_sees_and_does_little(Machine::new(arch)))).collect()
}

/// apid went from maintenance to a configured node, serves what it is asked, and has nothing that it does not need.
fn apid_sees_and_does_little(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    let pid = APID.expect(&api)?;
    // Others are started about now: each has its launcher for a moment.
    wait_for("launchers to be gone", limits::SETTLE, || {
        let processes = api.processes()?;
        ensure!(!processes.iter().any(|process| process.command == "launcher"), "a launcher is left: {processes:?}");
        Ok(())
    })?;

    // Then all that it does, and in the end the same process, of which the kernel has nothing to say.
    let more: Vec<Api> = (0..CONNECTIONS).map(|_| running(&mut vm, &access)).collect::<Result<_>>()?;
    for api in &more {
        ensure!(api.version()?.version.is_some(), "no version");
    }
    drop(more);
    let foreign = Access::generate()?;
    let stranger = Api::with_talosconfig(vm.api_address(), &foreign.talosconfig).and_then(|api| api.version());
    ensure!(stranger.is_err(), "a foreign cluster's certificate was taken");
    list(&api, "/usr", true)?;
    api.logs("machined", -1)?;
    renamed(&api, &access)?;
    ensure!(running(&mut vm, &access)?.version()?.version.is_some(), "no answer under the new certificate");
    no_call_was_refused(&api)?;
    ensure!(APID.pid(&api)? == pid, "apid was started anew");
    // It hears of SIGTERM, although it is the first process of its namespace.
    api.shutdown()?;
    vm.wait_power_off()
}

fn expect_privileges(api: &Api, pid: i32, service: &Service) -> Result<()> {
    let (name_of, user) = (service.name, vec![service.user.to_string(); 4].join(" "));
    let status = api.read_text(&format!("/proc/{pid}/status"))?;
    let values = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("(missing)");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, wanted) in [
        ("Uid", user.as_str()),
        ("Gid", &user),
        ("Groups", ""),
        ("CapInh", service.capabilities),
        ("CapPrm", service.capabilities),
        ("CapEff", service.capabilities),
        ("CapBnd", service.capabilities),
        ("CapAmb", service.capabilities),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Threads", "1"),
        ("Umask", "0077"),
        ("SigBlk", "0000000000000000"),
        ("NSpid", &format!("{pid} 1")),
    ] {
        ensure!(values(name) == wanted, "{name} of {name_of} is {:?}, not {wanted:?}", values(name));
    }
    // Memory that its own user may not look into belongs to root here.
    let about = list(api, &format!("/proc/{pid}/mem"), false)?;
    ensure!(about.iter().all(|file| file.uid == 0) && about.len() == 1, "the memory of {name_of} is open to its user: {about:?}");
    Ok(())
}

fn expect_limits(api: &Api, pid: i32, service: &Service) -> Result<()> {
    let limits = api.read_text(&format!("/proc/{pid}/limits"))?;
    for (name, wanted) in [("Max open files", "1024 1024 files"), ("Max core file size", "0 0 bytes"), ("Max file size", "0 0 bytes")] {
        let found = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        ensure!(found.split_whitespace().collect::<Vec<_>>().join(" ") == wanted, "{name}: {found}");
    }
    let Service { name, oom_score, group, memory_mib, .. } = service;
    ensure!(api.read_text(&format!("/proc/{pid}/oom_score_adj"))?.trim() == *oom_score, "{name}'s OOM score");
    ensure!(api.read_text(&format!("/proc/{pid}/cgroup"))?.trim() == format!("0::/{group}"), "{name}'s control group");
    wait_for(&format!("{name}'s memory limit"), self::limits::SETTLE, || {
        let max = api.read_text(&format!("/sys/fs/cgroup/{group}/memory.max"))?;
        ensure!(max.trim() == (memory_mib << 20).to_string(), "it is {}", max.trim());
        Ok(())
    })
}

/// Its own, or the node's.
fn expect_namespaces(api: &Api, pid: i32, service: &Service) -> Result<()> {
    let links = |pid: i32| -> Result<Vec<FileInfo>> { list(api, &format!("/proc/{pid}/ns"), false) };
    let (own, node) = (links(pid)?, links(1)?);
    let link = |list: &[FileInfo], name: &str| list.iter().find(|file| file.relative_name == name).map(|file| file.link.clone());
    for (name, shared) in [("mnt", false), ("pid", false), ("ipc", false), ("uts", false), ("net", true), ("user", true)] {
        let (own, node) = (link(&own, name).context("no such namespace")?, link(&node, name).context("no such namespace")?);
        ensure!((own == node) == shared, "namespace {name}: {} {own}, node {node}", service.name);
    }
    Ok(())
}

/// Read-only, nothing on it can be executed, and it holds nothing that is not expected.
fn expect_root(api: &Api, pid: i32, service: &Service) -> Result<()> {
    let name_of = service.name;
    let mounts = api.read_text(&format!("/proc/{pid}/mountinfo"))?;
    let mut places = Vec::new();
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (place, options) = words.get(4).zip(words.get(5)).with_context(|| format!("a line of mountinfo: {line}"))?;
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            ensure!(options.split(',').any(|set| set == option), "{place} is not {option}: {line}");
        }
        places.push(*place);
    }
    ensure!(places == service.mounts, "{name_of}'s mounts:\n{mounts}");
    let tree = list(api, &format!("/proc/{pid}/root/."), true)?;
    let names: Vec<&str> = tree.iter().map(|file| file.relative_name.as_str()).collect();
    ensure!(names == service.tree, "{name_of} sees {names:?}");
    for gone in ["system/state", "var", "sys", "dev", "proc", "etc", "usr"] {
        let looked = api.read(&format!("/proc/{pid}/root/{gone}/."));
        ensure!(looked.as_ref().is_err_and(|status| status.code() == Code::NotFound), "{name_of} has /{gone}: {looked:?}");
    }
    Ok(())
}

/// Sockets, pipes and what the runtime waits with: no file, no folder to climb out by.
fn expect_descriptors(api: &Api, pid: i32) -> Result<()> {
    let open = list(api, &format!("/proc/{pid}/fd"), false)?;
    ensure!(open.len() > 5, "{open:?}");
    for file in open.iter().filter(|file| file.relative_name != ".") {
        let kind = file.link.split(':').next().unwrap_or_default();
        ensure!(["socket", "pipe", "anon_inode"].contains(&kind), "descriptor {} is {}", file.relative_name, file.link);
    }
    Ok(())
}

/// Another host name, so that apid is told of another certificate.
fn renamed(api: &Api, access: &Access) -> Result<()> {
    let next = access.config.replacen("\nauto: stable", "\nhostname: in-a-box.example.org\nauto: off", 1);
    ensure!(next != access.config, "the generated configuration has no place for a host name");
    api.apply(&next)?;
    wait_for("apid to be told", limits::SETTLE, || {
        let log = api.logs("apid", -1)?;
        ensure!(log.contains("new certificate and names in force"), "it says:\n{log}");
        Ok(())
    })
}

/// Files below a path, the path itself first.
fn list(api: &Api, path: &str, recurse: bool) -> Result<Vec<FileInfo>> {
    let request = ListRequest { root: path.to_owned(), recurse, ..ListRequest::default() };
    let mut client = api.machine();
    let stream = api.call(client.list(request)).with_context(|| format!("list {path}"))?;
    Ok(api.all(stream)?)
}
