//! `support`: everything about nodes that helps to find a trouble, in one file, without their secrets.
//!
//! What cannot be collected is listed (on standard error and as `failures.txt`) and stops nothing.

mod bundle;

use std::{fmt::Write as _, future::Future, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use tonic::Streaming;
use wire::{
    common::Data,
    cosi::ListRequest,
    machine::{ServiceInfo, Version},
};

use crate::client::{Client, ClientError, Containerd, next_data};

use super::{
    args, chain,
    get::{self, definition::Definition},
    inspect,
    nodes::{Fleet, Node},
    report::bytes,
    show,
};
use bundle::Bundle;

/// Largest file of a bundle; a longer log ends there.
const MAX_FILE: usize = 64 << 20;
/// How long one collector may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Logs that are no service's.
const LOGS: [&str; 2] = ["controller-runtime", "dns-resolve-cache"];

pub async fn run(fleet: &Fleet, args: args::Support) -> Result<ExitCode> {
    ensure!(
        args.force || !args.output.exists(),
        "{} is there already: --force overwrites it, --output names another",
        args.output.display()
    );
    let nodes = fleet.nodes(&args.insecure).await?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let mut bundle = Bundle::create(&args.output, now)?;
    let (mut failures, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for Node { name, client } in nodes {
        match client {
            Ok(client) => {
                let mut collector = Collector { node: &name, client: &client, bundle: &mut bundle, failures: &mut failures };
                if !collector.all().await? {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                failures.push(format!("{name}: {}", chain(&error)));
                code = ExitCode::FAILURE;
            }
        }
    }
    // The cluster's objects need a client of Kubernetes, which this program does not have.
    failures
        .push("cluster: kubernetesResources (nodes, systemPods) are not collected: `kubectl get nodes,pods -A -o yaml` has them".into());
    finish(bundle, &failures, &args.output)?;
    Ok(code)
}

fn finish(mut bundle: Bundle, failures: &[String], path: &Path) -> Result<()> {
    let nothing = bundle.files == 0;
    bundle.add("failures.txt", "", (failures.join("\n") + "\n").as_bytes())?;
    let files = bundle.files;
    for failure in failures {
        eprintln!("not collected: {failure}");
    }
    ensure!(!nothing, "no node gave anything");
    bundle.finish()?;
    eprintln!(
        "{files} files in {}; secrets are left out, addresses and names are not: look through it before you pass it on",
        path.display()
    );
    Ok(())
}

/// Collects from one node.
struct Collector<'a> {
    node: &'a str,
    client: &'a Client,
    bundle: &'a mut Bundle,
    failures: &'a mut Vec<String>,
}

impl Collector<'_> {
    /// Everything; false when the node does not answer at all, which is not waited for once a file. Fails only when the bundle
    /// itself cannot be written.
    async fn all(&mut self) -> Result<bool> {
        let client = self.client;
        let Some(summary) = self.asked("summary", async { Ok(summary(client.version().await?)) }).await else { return Ok(false) };
        self.bundle.add(self.node, "summary", summary.as_bytes())?;
        self.file("dmesg.log", async { stream("Dmesg", client.dmesg(false, false).await?).await }).await?;
        for log in LOGS {
            self.file(&format!("{log}.log"), async { stream("Logs", client.logs(log, false, -1).await?).await }).await?;
        }
        self.file("dependencies.dot", async { Ok(inspect::dot(&client.dependencies().await?).into_bytes()) }).await?;
        self.file("mounts", async { Ok(mounts(&client.mounts().await?).into_bytes()) }).await?;
        self.file("devices", async { stream("Read", client.read("/proc/bus/pci/devices").await?).await }).await?;
        self.file("io", async { Ok(format!("{:#?}\n", client.disk_stats().await?).into_bytes()) }).await?;
        self.file("processes", async { Ok(processes(&client.processes().await?).into_bytes()) }).await?;
        self.file("memory", async { Ok(memory(&client.memory().await?).into_bytes()) }).await?;
        self.services().await?;
        self.containers().await?;
        self.resources().await?;
        Ok(true)
    }

    /// One file, or one line among the failures.
    async fn file(&mut self, name: &str, content: impl Future<Output = Result<Vec<u8>>>) -> Result<()> {
        if let Some(content) = self.asked(name, content).await {
            self.bundle.add(self.node, name, &content)?;
        }
        Ok(())
    }

    async fn asked<T>(&mut self, name: &str, question: impl Future<Output = Result<T>>) -> Option<T> {
        let answer = tokio::time::timeout(LIMIT, question).await.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", LIMIT.as_secs())));
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.failures.push(format!("{}: {name}: {}", self.node, chain(&error)));
                None
            }
        }
    }

    async fn services(&mut self) -> Result<()> {
        let client = self.client;
        let Some(services) = self.asked("service-logs", async { Ok(client.services().await?) }).await else { return Ok(()) };
        eprintln!("{}: logs of {} services", self.node, services.len());
        for service in &services {
            let id = &service.id;
            self.file(&format!("service-logs/{id}.log"), async { stream("Logs", client.logs(id, false, -1).await?).await }).await?;
            self.bundle.add(self.node, &format!("service-logs/{id}.state"), state(self.node, service).as_bytes())?;
        }
        Ok(())
    }

    async fn containers(&mut self) -> Result<()> {
        let client = self.client;
        let asked = self.asked("kubernetes-logs", async { Ok(client.containers(Containerd::Kubernetes).await?) }).await;
        for container in asked.into_iter().flatten() {
            // Sandboxes have no log, and other namespaces are the users' own.
            if container.id == container.pod_id || !container.id.starts_with("kube-system/") {
                continue;
            }
            let id = &container.id;
            let log = async { stream("Logs", client.logs_of(Containerd::Kubernetes, id, false, -1).await?).await };
            self.file(&format!("kubernetes-logs/{id}.log"), log).await?;
        }
        Ok(())
    }

    async fn resources(&mut self) -> Result<()> {
        let client = self.client;
        let Some(definitions) = self.asked("resources", get::definitions(client)).await else { return Ok(()) };
        eprintln!("{}: resources of {} types", self.node, definitions.len());
        for definition in &definitions {
            let name = format!("resources/{}.yaml", definition.kind);
            let node = self.node;
            let Some(text) = self.asked(&name, resources(node, client, definition)).await else { continue };
            if !text.is_empty() {
                self.bundle.add(self.node, &name, text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// All resources of a type as documents, without secrets.
async fn resources(node: &str, client: &Client, definition: &Definition) -> Result<String> {
    let request = ListRequest { namespace: definition.namespace.clone(), r#type: definition.kind.clone(), options: None };
    let sensitive = bundle::is_sensitive(definition);
    let mut text = String::new();
    for mut resource in client.resources(request).await? {
        if sensitive {
            // Not even read: what cannot be parsed would stand in an error.
            resource.spec = None;
        }
        let mut document = get::document(node, &resource)?;
        if sensitive {
            bundle::redact(&mut document);
        }
        let _ = write!(text, "---\n{}", serde_yaml::to_string(&document)?); // a String takes everything, here and below
        ensure!(text.len() <= MAX_FILE, "there is more than {}", bytes(MAX_FILE as u64));
    }
    Ok(text)
}

/// A stream to its end, or to the largest size.
async fn stream(method: &'static str, mut stream: Streaming<Data>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match next_data(method, &mut stream).await {
            Ok(Some(piece)) => all.extend_from_slice(&piece),
            Ok(None) => return Ok(all),
            Err(ClientError::Call { status, .. }) if status.code() == tonic::Code::Cancelled => return Ok(all),
            Err(error) if all.is_empty() => return Err(error).context("read it"),
            Err(error) => {
                all.extend_from_slice(format!("\n... broken off: {}\n", chain(&error.into())).as_bytes());
                return Ok(all);
            }
        }
        if all.len() > MAX_FILE {
            all.truncate(MAX_FILE);
            all.extend_from_slice(b"\n... there is more\n");
            return Ok(all);
        }
    }
}

fn summary(reply: Version) -> String {
    let version = reply.version.unwrap_or_default();
    let platform = reply.platform.unwrap_or_default();
    format!(
        "Tag:       {}\nSHA:       {}\nBuilt:     {}\nOS/Arch:   {}/{}\nPlatform:  {} ({})\n",
        version.tag, version.sha, version.built, version.os, version.arch, platform.name, platform.mode
    )
}

fn state(node: &str, service: &ServiceInfo) -> String {
    show::detail(node, service)
}

fn mounts(mounts: &[wire::machine::MountStat]) -> String {
    mounts.iter().fold("FILESYSTEM SIZE AVAILABLE MOUNTED-ON\n".to_owned(), |mut text, mount| {
        let _ = writeln!(text, "{} {} {} {}", mount.filesystem, mount.size, mount.available, mount.mounted_on);
        text
    })
}

fn memory(info: &wire::machine::MemInfo) -> String {
    super::meminfo::figures(info).iter().fold(String::new(), |mut text, (name, figure)| {
        let _ = writeln!(text, "{name}: {figure}");
        text
    })
}

fn processes(list: &[wire::machine::ProcessInfo]) -> String {
    list.iter().fold("PID PPID STATE THREADS CPU-TIME VIRTMEM RESMEM LABEL COMMAND\n".to_owned(), |mut text, process| {
        let command = [&process.args, &process.executable, &process.command].into_iter().find(|text| !text.is_empty());
        let _ = writeln!(
            text,
            "{} {} {} {} {:.2} {} {} {} {}",
            process.pid,
            process.ppid,
            process.state,
            process.threads,
            process.cpu_time,
            process.virtual_memory,
            process.resident_memory,
            if process.label.is_empty() { "-" } else { &process.label },
            command.map_or("", String::as_str)
        );
        text
    })
}
