//! `usage` and `df`: what takes room, and where there is some.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use tonic::Code;
use wire::{
    cosi::ListRequest,
    machine::{DiskUsageInfo, DiskUsageRequest, StorageServiceStatfsResponse},
};

use crate::client::{Client, ClientError, next};

use super::{
    args::{self, Insecure},
    chain,
    nodes::{Fleet, each},
    report::{Cell, Report, bytes},
};

/// Types that tell the mounts of volumes, in this namespace. The first one names them in full; nodes have one or both.
const NAMESPACE: &str = "runtime";
const MOUNTS: [&str; 2] = ["MountStatuses.block.talos.dev", "MountStatuses.runtime.talos.dev"];
pub async fn usage(fleet: &Fleet, args: args::Usage) -> Result<ExitCode> {
    let request = DiskUsageRequest {
        // Zero is the paths themselves; the node counts from one.
        recursion_depth: args.depth.saturating_add(1),
        all: args.all,
        threshold: args.threshold,
        paths: args.paths.clone(),
    };
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let request = &request;
    let call = async |_, client: Client| {
        let mut stream = client.disk_usage(request.clone()).await?;
        let mut found: Vec<DiskUsageInfo> = Vec::new();
        // What came before an error is shown; the error then counts for the node.
        loop {
            match next("DiskUsage", &mut stream).await {
                Ok(Some(entry)) => found.push(entry),
                Ok(None) => return Ok((found, None)),
                Err(error) if found.is_empty() => return Err(error.into()),
                Err(error) => return Ok((found, Some(anyhow::Error::from(error)))),
            }
        }
    };
    let (replies, mut code) = each(nodes, call).await;
    let mut report = Report::new(&["NODE", "SIZE", "NAME"]);
    for (node, (entries, end)) in replies {
        for entry in entries {
            if !entry.error.is_empty() {
                eprintln!("{node}: {}: {}", entry.name, entry.error);
                code = ExitCode::FAILURE;
                continue;
            }
            let size = if args.humanize { Cell::shown(entry.size, bytes(entry.size.unsigned_abs())) } else { entry.size.into() };
            let name = if args.paths.len() > 1 || entry.relative_name.is_empty() { entry.name } else { entry.relative_name };
            report.row([node.clone().into(), size, name.into()]);
        }
        if let Some(error) = end {
            eprintln!("error from node {node}: {}", chain(&error));
            code = ExitCode::FAILURE;
        }
    }
    report.print(args.output.output)?;
    Ok(code)
}

/// A volume: its name, where it is mounted, its room.
type Volume = (String, String, StorageServiceStatfsResponse);

pub async fn df(fleet: &Fleet, args: args::Df) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let wanted = &args.volumes;
    let (replies, code) = each(nodes, async |_, client: Client| volumes(&client, wanted).await).await;
    df_report(replies, args.inodes, args.bytes).print(args.output.output)?;
    Ok(code)
}

async fn volumes(client: &Client, wanted: &[String]) -> Result<Vec<Volume>> {
    let mut places = mounted(client).await?;
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    for name in wanted {
        ensure!(
            places.iter().any(|(place, _)| place.eq_ignore_ascii_case(name)),
            "there is no mounted volume {name:?}: `keelctl df` lists them"
        );
    }
    places.retain(|(name, _)| is_wanted(name));
    let mut volumes = Vec::new();
    for (name, path) in places {
        let room = client.statfs(&path).await?;
        volumes.push((name, path, room));
    }
    Ok(volumes)
}

/// Names of volumes with the folders they are mounted on.
async fn mounted(client: &Client) -> Result<Vec<(String, String)>> {
    for kind in MOUNTS {
        let request = ListRequest { namespace: NAMESPACE.into(), r#type: kind.into(), options: None };
        let found = match client.resources(request).await {
            Ok(found) => found,
            Err(error) if unknown(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        let places = found.into_iter().filter_map(|resource| place(&resource.metadata?.id, &resource.spec?.yaml_spec));
        let places: Vec<_> = places.collect();
        if !places.is_empty() {
            return Ok(places);
        }
    }
    Ok(Vec::new())
}

/// A type that the node does not have.
fn unknown(error: &ClientError) -> bool {
    matches!(error.code(), Some(Code::NotFound | Code::InvalidArgument | Code::PermissionDenied))
}

/// Volume and folder of a mount; none for what is detached or has no source. The mount's own id is the volume's, unless it says
/// another.
fn place(id: &str, yaml: &str) -> Option<(String, String)> {
    let mount: MountStatus = serde_yaml::from_str(yaml).ok()?;
    let volume = Some(mount.spec.volume_id).filter(|volume| !volume.is_empty()).unwrap_or_else(|| id.to_owned());
    (!mount.source.is_empty() && !mount.target.is_empty() && !mount.detached).then_some((volume, mount.target))
}

/// What a mount says, as far as it matters here.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct MountStatus {
    spec: MountRequest,
    source: String,
    target: String,
    detached: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct MountRequest {
    #[serde(rename = "volumeID")]
    volume_id: String,
}

fn df_report(replies: Vec<(String, Vec<Volume>)>, inodes: bool, exact: bool) -> Report {
    let mut report = Report::new(if inodes {
        &["NODE", "VOLUME", "INODES", "USED", "FREE", "PERCENT USED", "MOUNTED ON"]
    } else {
        &["NODE", "VOLUME", "SIZE", "USED", "AVAILABLE", "PERCENT USED", "MOUNTED ON"]
    });
    for (node, volumes) in replies {
        for (name, path, room) in volumes {
            let figures = if inodes { [room.inodes, room.inodes_used, room.inodes_free] } else { [room.size, room.used, room.available] };
            let [total, used, _] = figures;
            let percent = if total == 0 { 0.0 } else { used as f64 * 100.0 / total as f64 };
            let cells = figures.map(|figure| if inodes || exact { figure.into() } else { Cell::shown(figure, bytes(figure)) });
            let mut row: Vec<Cell> = vec![node.clone().into(), name.into()];
            row.extend(cells);
            row.extend([Cell::shown(percent, format!("{percent:.1}%")), path.into()]);
            report.row(row);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn only_what_is_mounted_has_room() {
        let check = |yaml, wanted: Option<&str>| assert_eq!(place("EPHEMERAL", yaml).map(|(_, path)| path).as_deref(), wanted, "{yaml}");
        let named = place("x", "spec: {volumeID: STATE, readOnly: false}\nsource: /dev/vda5\ntarget: /system/state\nfilesystem: xfs\n");
        assert_eq!(named, Some(("STATE".into(), "/system/state".into())));
        check("source: /dev/vda6\ntarget: /var\n", Some("/var"));
        check("source: /dev/vda6\ntarget: /var\ndetached: false\n", Some("/var"));
        check("source: /dev/vda6\ntarget: /var\ndetached: true\n", None);
        check("source: ''\ntarget: /var\n", None);
        check("source: [", None);
    }

    #[test]
    fn room_in_bytes_and_inodes() {
        let room =
            StorageServiceStatfsResponse { size: 4 << 30, used: 1 << 30, available: 3 << 30, inodes: 10, inodes_used: 5, inodes_free: 5 };
        let replies = vec![("n".to_owned(), vec![("EPHEMERAL".to_owned(), "/var".to_owned(), room)])];
        let shown = |inodes, exact| {
            df_report(replies.clone(), inodes, exact).render(Format::Table).expect("text").lines().nth(1).map(str::to_owned)
        };
        assert_eq!(shown(false, false).as_deref(), Some("n      EPHEMERAL   4 GiB   1 GiB   3 GiB       25.0%          /var"));
        assert_eq!(shown(false, true).as_deref(), Some("n      EPHEMERAL   4294967296   1073741824   3221225472   25.0%          /var"));
        assert_eq!(shown(true, false).as_deref(), Some("n      EPHEMERAL   10       5      5      50.0%          /var"));
    }
}
