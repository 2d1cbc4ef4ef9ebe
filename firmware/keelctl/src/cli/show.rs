//! Commands that ask once and show a table.

use std::{cmp::Reverse, process::ExitCode};

use anyhow::{Result, bail};
use futures_util::TryFutureExt as _;
use wire::machine::ServiceInfo;

use super::{
    args::{self, Insecure, Output, ServiceAction, Sort},
    nodes::{Fleet, Node, each},
    report::{Cell, Report, bytes},
};

pub async fn version(fleet: &Fleet, args: args::Version) -> Result<ExitCode> {
    let own = env!("CARGO_PKG_VERSION");
    if args.short {
        println!("Client v{own}");
    } else {
        println!("Client:\n    Tag:         v{own}\n    OS/Arch:     {}/{}", std::env::consts::OS, std::env::consts::ARCH);
    }
    if args.client {
        return Ok(ExitCode::SUCCESS);
    }
    let nodes = fleet.nodes(&args.insecure).await?;
    let (replies, code) = each(nodes, async |_, client: crate::Client| Ok(client.version().await?)).await;
    println!("Server:");
    for (node, reply) in replies {
        let version = reply.version.unwrap_or_default();
        let platform = reply.platform.unwrap_or_default();
        println!("    NODE:        {node}");
        println!("    Tag:         {}", version.tag);
        if args.short {
            continue;
        }
        println!("    SHA:         {}", version.sha);
        println!("    Built:       {}", version.built);
        println!("    OS/Arch:     {}/{}", version.os, version.arch);
        println!("    Platform:    {} ({})", platform.name, platform.mode);
        if reply.features.unwrap_or_default().rbac {
            println!("    Enabled:     RBAC");
        }
    }
    Ok(code)
}

pub async fn hostname(fleet: &Fleet) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: crate::Client| Ok(client.hostname().await?)).await;
    let mut report = Report::new(&["NODE", "HOSTNAME"]);
    for (node, hostname) in replies {
        report.row([node.into(), hostname.into()]);
    }
    report.print(args::Format::Table)?;
    Ok(code)
}

/// `OK`, `Fail` or `?`, as clients of this API say it.
pub(super) fn health(service: &ServiceInfo) -> &'static str {
    match &service.health {
        Some(health) if health.unknown => "?",
        Some(health) if health.healthy => "OK",
        Some(_) => "Fail",
        None => "?",
    }
}

pub(super) fn time(stamp: Option<&prost_types::Timestamp>) -> String {
    let stamp = stamp.and_then(|stamp| jiff::Timestamp::new(stamp.seconds, stamp.nanos).ok());
    stamp.map_or_else(String::new, |stamp| stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

pub async fn services(fleet: &Fleet, args: args::Services) -> Result<ExitCode> {
    let nodes = fleet.nodes(&args.insecure).await?;
    if let (Some(id), true) = (&args.id, args.action != ServiceAction::Status) {
        return act(nodes, id, args.action, args.output.output).await;
    }
    let wanted = args.id.as_deref();
    let call = async |_, client: crate::Client| {
        let mut services = client.services().await?;
        services.retain(|service| wanted.is_none_or(|wanted| service.id == wanted));
        match wanted {
            Some(wanted) if services.is_empty() => bail!("there is no service {wanted:?}; `keelctl services` lists them"),
            _ => Ok(services),
        }
    };
    let (replies, code) = each(nodes, call).await;
    if wanted.is_some() && args.output.output == args::Format::Table {
        for (node, services) in &replies {
            services.iter().for_each(|service| print!("{}", detail(node, service)));
        }
        return Ok(code);
    }
    let mut report = Report::new(&["NODE", "SERVICE", "STATE", "HEALTH", "LAST CHANGE", "LAST EVENT"]);
    for (node, services) in replies {
        for service in services {
            let last = service.events.as_ref().and_then(|events| events.events.last()).cloned().unwrap_or_default();
            let health = health(&service);
            report.row([
                node.clone().into(),
                service.id.into(),
                service.state.into(),
                health.into(),
                time(last.ts.as_ref()).into(),
                last.msg.into(),
            ]);
        }
    }
    report.print(args.output.output)?;
    Ok(code)
}

/// Has something done with a service and shows each node's words on it.
async fn act(nodes: Vec<Node>, id: &str, action: ServiceAction, format: args::Format) -> Result<ExitCode> {
    let call = async |_, client: crate::Client| {
        Ok(match action {
            ServiceAction::Start => client.start_service(id).await?,
            ServiceAction::Stop => client.stop_service(id).await?,
            ServiceAction::Restart => client.restart_service(id).await?,
            ServiceAction::Status => String::new(),
        })
    };
    let (replies, code) = each(nodes, call).await;
    let mut report = Report::new(&["NODE", "RESPONSE"]);
    for (node, response) in replies {
        report.row([node.into(), response.into()]);
    }
    report.print(format)?;
    Ok(code)
}

/// Everything about one service, history included.
pub(super) fn detail(node: &str, service: &ServiceInfo) -> String {
    use std::fmt::Write;
    let mut text = format!("NODE     {node}\nID       {}\nSTATE    {}\nHEALTH   {}\n", service.id, service.state, health(service));
    if let Some(health) = service.health.as_ref().filter(|health| !health.last_message.is_empty()) {
        let _ = writeln!(text, "LAST HEALTH MESSAGE   {}", health.last_message);
    }
    let events = service.events.as_ref().map_or(&[][..], |events| &events.events);
    for (at, event) in events.iter().rev().enumerate() {
        let title = if at == 0 { "EVENTS" } else { "" };
        let _ = writeln!(text, "{title:8} [{}]: {} ({})", event.state, event.msg, time(event.ts.as_ref()));
    }
    text
}

pub async fn mounts(fleet: &Fleet, output: Output) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: crate::Client| Ok(client.mounts().await?)).await;
    let mut report = Report::new(&["NODE", "FILESYSTEM", "SIZE", "USED", "AVAILABLE", "PERCENT USED", "MOUNTED ON"]);
    for (node, mounts) in replies {
        for mount in mounts.into_iter().filter(|mount| mount.size > 0) {
            let used = mount.size.saturating_sub(mount.available);
            let percent = used as f64 * 100.0 / mount.size as f64;
            report.row([
                node.clone().into(),
                mount.filesystem.into(),
                Cell::shown(mount.size, bytes(mount.size)),
                Cell::shown(used, bytes(used)),
                Cell::shown(mount.available, bytes(mount.available)),
                Cell::shown(percent, format!("{percent:.1}%")),
                mount.mounted_on.into(),
            ]);
        }
    }
    report.print(output.output)?;
    Ok(code)
}

pub async fn memory(fleet: &Fleet, args: args::Memory) -> Result<ExitCode> {
    let nodes = fleet.nodes(&args.insecure).await?;
    let (replies, code) = each(nodes, async |_, client: crate::Client| Ok(client.memory().await?)).await;
    if args.verbose {
        let mut report = Report::new(&["NODE", "NAME", "VALUE"]);
        for (node, info) in replies {
            for (name, kib) in super::meminfo::figures(&info) {
                report.row([node.clone().into(), name.into(), Cell::shown(kib, format!("{kib} kB"))]);
            }
        }
        report.print(args.output.output)?;
        return Ok(code);
    }
    let mut report = Report::new(&["NODE", "TOTAL", "USED", "FREE", "SHARED", "BUFFERS", "CACHE", "AVAILABLE"]);
    for (node, info) in replies {
        let used = info.memtotal.saturating_sub(info.memfree + info.cached + info.buffers);
        let figures = [info.memtotal, used, info.memfree, info.shmem, info.buffers, info.cached, info.memavailable];
        let cell = |kib: u64| Cell::shown(kib * 1024, (kib / 1024).to_string());
        report.row(std::iter::once(node.into()).chain(figures.map(cell)));
    }
    report.print(args.output.output)?;
    Ok(code)
}

pub async fn processes(fleet: &Fleet, args: args::Processes) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: crate::Client| Ok(client.processes().await?)).await;
    let mut report = Report::new(&["NODE", "PID", "STATE", "THREADS", "CPU-TIME", "VIRTMEM", "RESMEM", "COMMAND"]);
    for (node, mut list) in replies {
        match args.sort {
            Sort::Rss => list.sort_by_key(|process| Reverse(process.resident_memory)),
            Sort::Cpu => list.sort_by(|a, b| b.cpu_time.total_cmp(&a.cpu_time)),
        }
        for process in list {
            let command = [process.args, process.executable, process.command].into_iter().find(|text| !text.is_empty());
            report.row([
                node.clone().into(),
                i64::from(process.pid).into(),
                process.state.into(),
                i64::from(process.threads).into(),
                Cell::shown(process.cpu_time, format!("{:.2}", process.cpu_time)),
                Cell::shown(process.virtual_memory, bytes(process.virtual_memory)),
                Cell::shown(process.resident_memory, bytes(process.resident_memory)),
                command.unwrap_or_default().into(),
            ]);
        }
    }
    report.print(args.output.output)?;
    Ok(code)
}

pub async fn disks(fleet: &Fleet, args: args::Disks) -> Result<ExitCode> {
    let nodes = fleet.nodes(&args.insecure).await?;
    let (replies, code) = each(nodes, |_, client: crate::Client| async move { client.disks().err_into().await }).await;
    let mut report = Report::new(&["NODE", "DEV", "MODEL", "SERIAL", "TYPE", "SIZE", "BUS PATH", "SUBSYSTEM", "READ ONLY", "SYSTEM DISK"]);
    for (node, disks) in replies {
        for disk in disks {
            let kind = disk.r#type().as_str_name();
            report.row([
                node.clone().into(),
                disk.device_name.into(),
                disk.model.into(),
                disk.serial.into(),
                kind.into(),
                Cell::shown(disk.size, bytes(disk.size)),
                disk.bus_path.into(),
                disk.subsystem.into(),
                disk.readonly.into(),
                disk.system_disk.into(),
            ]);
        }
    }
    report.print(args.output.output)?;
    Ok(code)
}
