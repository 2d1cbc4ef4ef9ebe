//! `containers`, `stats` and `restart`.

use std::process::ExitCode;

use anyhow::Result;
use wire::machine::{ContainerInfo, Stat};

use crate::client::Client;

use super::{
    args::{self, Insecure},
    nodes::{Fleet, each},
    report::{Cell, Report, bytes},
};

pub async fn list(fleet: &Fleet, args: args::Containers) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: Client| Ok(client.containers(args.whose.into()).await?)).await;
    table(replies).print(args.output.output)?;
    Ok(code)
}

fn table(replies: Vec<(String, Vec<ContainerInfo>)>) -> Report {
    let mut report = Report::new(&["NODE", "NAMESPACE", "ID", "IMAGE", "PID", "STATUS"]);
    for (node, mut containers) in replies {
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        for container in containers {
            // Those of a pod stand below it.
            let id = if container.id == container.pod_id || container.pod_id.is_empty() {
                Cell::from(container.id)
            } else {
                Cell::shown(container.id.clone(), format!("└─ {}", container.id))
            };
            let pid = if container.pid == 0 { Cell::shown(0, "") } else { u64::from(container.pid).into() };
            report.row([node.clone().into(), container.namespace.into(), id, container.image.into(), pid, container.status.into()]);
        }
    }
    report
}

pub async fn stats(fleet: &Fleet, args: args::Containers) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: Client| Ok(client.container_stats(args.whose.into()).await?)).await;
    stats_table(replies).print(args.output.output)?;
    Ok(code)
}

fn stats_table(replies: Vec<(String, Vec<Stat>)>) -> Report {
    let mut report = Report::new(&["NODE", "NAMESPACE", "ID", "MEMORY", "CPU"]);
    for (node, mut stats) in replies {
        stats.sort_by(|a, b| a.id.cmp(&b.id));
        for stat in stats {
            // Processor time comes in nanoseconds.
            let cpu = Cell::shown(stat.cpu_usage, format!("{:.2} s", stat.cpu_usage as f64 / 1e9));
            let memory = Cell::shown(stat.memory_usage, bytes(stat.memory_usage));
            report.row([node.clone().into(), stat.namespace.into(), stat.id.into(), memory, cpu]);
        }
    }
    report
}

pub async fn restart(fleet: &Fleet, args: &args::Restart) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (done, code) = each(nodes, async |_, client: Client| Ok(client.restart_container(args.whose.into(), &args.id).await?)).await;
    for (node, ()) in done {
        eprintln!("{node}: {} was ended", args.id);
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn containers_stand_below_their_pod() {
        let container = |id: &str, pid| ContainerInfo {
            namespace: "k8s.io".into(),
            id: id.into(),
            pod_id: "kube-system/dns".into(),
            image: "i".into(),
            pid,
            status: "CONTAINER_RUNNING".into(),
            ..ContainerInfo::default()
        };
        let replies = vec![("n".to_owned(), vec![container("kube-system/dns:dns:1", 9), container("kube-system/dns", 0)])];
        let text = table(replies).render(Format::Table).expect("text");
        let expect = "NODE   NAMESPACE   ID                         IMAGE   PID   STATUS\n\
                      n      k8s.io      kube-system/dns            i             CONTAINER_RUNNING\n\
                      n      k8s.io      └─ kube-system/dns:dns:1   i       9     CONTAINER_RUNNING\n";
        assert_eq!(text, expect);
    }

    #[test]
    fn figures_are_read_by_people() {
        let stat =
            Stat { id: "apid".into(), namespace: "system".into(), memory_usage: 3 << 20, cpu_usage: 1_500_000_000, ..Stat::default() };
        let report = stats_table(vec![("n".into(), vec![stat])]);
        assert_eq!(report.render(Format::Table).expect("text").lines().nth(1), Some("n      system      apid   3 MiB    1.50 s"));
        assert!(report.render(Format::Json).expect("text").contains("\"memory\": 3145728"));
    }
}
