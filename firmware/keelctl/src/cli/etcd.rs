//! `etcd`: members, state, snapshots and alarms of the cluster's database; `bootstrap` and its snapshot.

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream;
use sha2::{Digest as _, Sha256};
use wire::{
    common::Data,
    machine::{BootstrapRequest, EtcdMember, EtcdMemberAlarm, EtcdMemberStatus, etcd_member_alarm::AlarmType},
};

use crate::client::{Client, next_data};

use super::{
    args::{self, Alarm, Downgrade, Etcd, Insecure, Output},
    nodes::{Fleet, each},
    progress::Transfer,
    report::{Cell, Report, bytes},
};

/// What a snapshot ends with: SHA-256 of all before it.
const DIGEST: usize = 32;
/// A database consists of whole blocks of this size, bytes.
const BLOCK: usize = 512;
/// Piece of a snapshot on its way to a node, bytes.
const PIECE: usize = 4096;

pub async fn run(fleet: &Fleet, command: Etcd) -> Result<ExitCode> {
    match command {
        Etcd::Members(output) => members(fleet, output).await,
        Etcd::Status(output) => status(fleet, output).await,
        Etcd::Snapshot { path } => snapshot(fleet, &path).await,
        Etcd::Leave => {
            let (name, client) = fleet.one("etcd leave").await?;
            client.etcd_leave().await.with_context(|| format!("have node {name} leave etcd"))?;
            Ok(ExitCode::SUCCESS)
        }
        Etcd::RemoveMember { id } => {
            each_says(fleet, async |client: Client| Ok(client.etcd_remove(id).await.map(|()| format!("member {id:016x} was removed"))?))
                .await
        }
        Etcd::ForfeitLeadership => {
            let call = async |client: Client| {
                let member = client.etcd_forfeit().await?;
                Ok(if member.is_empty() { "it does not lead".to_owned() } else { format!("{member} leads now") })
            };
            each_says(fleet, call).await
        }
        Etcd::Alarm(Alarm::List(output)) => {
            alarms(fleet, output, async |client: Client| Ok(client.etcd_alarms().await?.member_alarms)).await
        }
        Etcd::Alarm(Alarm::Disarm(output)) => {
            alarms(fleet, output, async |client: Client| Ok(client.etcd_disarm().await?.member_alarms)).await
        }
        Etcd::Defrag => {
            let (name, client) = fleet.one("etcd defrag").await?;
            client.etcd_defragment().await.with_context(|| format!("defragment etcd's database of node {name}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Etcd::Downgrade(command) => {
            let (name, client) = fleet.one("etcd downgrade").await?;
            let version = match &command {
                Downgrade::Validate { version } => client.etcd_downgrade_validate(version).await,
                Downgrade::Enable { version } => client.etcd_downgrade_enable(version).await,
                Downgrade::Cancel => client.etcd_downgrade_cancel().await,
            };
            let version = version.with_context(|| format!("downgrade etcd through node {name}"))?;
            println!("{name}: the cluster's version is {version}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One call a node, and its sentence.
async fn each_says(fleet: &Fleet, call: impl AsyncFn(Client) -> Result<String>) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_: String, client| call(client).await).await;
    for (node, text) in replies {
        println!("{node}: {text}");
    }
    Ok(code)
}

async fn members(fleet: &Fleet, output: Output) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: Client| Ok(client.etcd_members().await?)).await;
    members_table(replies).print(output.output)?;
    Ok(code)
}

fn members_table(replies: Vec<(String, Vec<EtcdMember>)>) -> Report {
    let mut report = Report::new(&["NODE", "ID", "HOSTNAME", "PEER URLS", "CLIENT URLS", "LEARNER"]);
    for (node, members) in replies {
        for member in members {
            report.row([
                node.clone().into(),
                format!("{:016x}", member.id).into(),
                member.hostname.into(),
                member.peer_urls.join(",").into(),
                member.client_urls.join(",").into(),
                Cell::shown(member.is_learner, member.is_learner.to_string()),
            ]);
        }
    }
    report
}

async fn status(fleet: &Fleet, output: Output) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let call = async |_, client: Client| Ok(client.etcd_status().await?.member_status.unwrap_or_default());
    let (replies, code) = each(nodes, call).await;
    status_table(replies).print(output.output)?;
    Ok(code)
}

fn status_table(replies: Vec<(String, EtcdMemberStatus)>) -> Report {
    let mut report = Report::new(&[
        "NODE",
        "MEMBER",
        "DB SIZE",
        "IN USE",
        "LEADER",
        "RAFT INDEX",
        "RAFT TERM",
        "RAFT APPLIED INDEX",
        "LEARNER",
        "PROTOCOL",
        "STORAGE",
        "ERRORS",
    ]);
    for (node, status) in replies {
        let percent = if status.db_size > 0 { status.db_size_in_use as f64 * 100.0 / status.db_size as f64 } else { 0.0 };
        let size = |size: i64| bytes(u64::try_from(size).unwrap_or_default());
        report.row([
            node.into(),
            format!("{:016x}", status.member_id).into(),
            Cell::shown(status.db_size, size(status.db_size)),
            Cell::shown(status.db_size_in_use, format!("{} ({percent:.2}%)", size(status.db_size_in_use))),
            format!("{:016x}", status.leader).into(),
            status.raft_index.into(),
            status.raft_term.into(),
            status.raft_applied_index.into(),
            Cell::shown(status.is_learner, status.is_learner.to_string()),
            status.protocol_version.into(),
            status.storage_version.into(),
            status.errors.join("; ").into(),
        ]);
    }
    report
}

async fn alarms(fleet: &Fleet, output: Output, call: impl AsyncFn(Client) -> Result<Vec<EtcdMemberAlarm>>) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_: String, client| call(client).await).await;
    let mut report = Report::new(&["NODE", "MEMBER", "ALARM"]);
    for (node, alarms) in replies {
        for alarm in alarms {
            let kind = match alarm.alarm() {
                AlarmType::None => "NONE",
                AlarmType::Nospace => "NOSPACE",
                AlarmType::Corrupt => "CORRUPT",
            };
            report.row([node.clone().into(), format!("{:016x}", alarm.member_id).into(), kind.into()]);
        }
    }
    report.print(output.output)?;
    Ok(code)
}

/// A file that is there whole or not at all.
async fn snapshot(fleet: &Fleet, path: &Path) -> Result<ExitCode> {
    let (name, client) = fleet.one("etcd snapshot").await?;
    let failed = || format!("save etcd's database of node {name}");
    let mut stream = client.etcd_snapshot().await.with_context(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("make a file in {}", folder.display()))?;
    let progress = Transfer::start(format!("etcd's database of {name}"), None);
    let mut check = Check::default();
    while let Some(piece) = next_data("EtcdSnapshot", &mut stream).await.with_context(failed)? {
        file.write_all(&piece).with_context(|| format!("write {}", path.display()))?;
        check.take(&piece);
        progress.add(piece.len());
    }
    drop(progress);
    let size = check.size;
    check.finish().with_context(failed)?;
    file.as_file().sync_all().with_context(|| format!("write {}", path.display()))?;
    file.persist(path).with_context(|| format!("write {}", path.display()))?;
    eprintln!("{} in {}, its digest is right", bytes(size), path.display());
    Ok(ExitCode::SUCCESS)
}

/// Digest of all but the last bytes, which are the digest that they should have.
#[derive(Default)]
struct Check {
    size: u64,
    digest: Sha256,
    last: Vec<u8>,
}

impl Check {
    fn take(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.last.extend_from_slice(piece);
        let sure = self.last.len().saturating_sub(DIGEST);
        self.digest.update(&self.last[..sure]);
        self.last.drain(..sure);
    }

    fn finish(self) -> Result<()> {
        ensure!(
            self.size > DIGEST as u64 && self.size as usize % BLOCK == DIGEST,
            "{} bytes are no snapshot: it has broken off, or the digest at its end is missing",
            self.size
        );
        ensure!(self.digest.finalize().as_slice() == self.last, "the digest at the end of the snapshot is wrong: it is damaged");
        Ok(())
    }
}

/// `bootstrap`
pub async fn bootstrap(fleet: &Fleet, args: &args::Bootstrap) -> Result<ExitCode> {
    let (name, client) = fleet.one("bootstrap").await?;
    if let Some(path) = &args.recover_from {
        recover(&name, &client, path, args.recover_skip_hash_check).await.with_context(|| format!("recover from {}", path.display()))?;
    }
    let request = BootstrapRequest { recover_etcd: args.recover_from.is_some(), recover_skip_hash_check: args.recover_skip_hash_check };
    client.bootstrap(request).await.with_context(|| format!("bootstrap the cluster on node {name}"))?;
    eprintln!("{name}: etcd is starting; `keelctl health` waits for the rest");
    Ok(ExitCode::SUCCESS)
}

async fn recover(name: &str, client: &Client, path: &Path, skip_hash: bool) -> Result<()> {
    let snapshot = fs::read(path).context("read it")?;
    if !skip_hash {
        let mut check = Check::default();
        check.take(&snapshot);
        check.finish().context("--recover-skip-hash-check is for a database that was copied as a file")?;
    }
    let progress = Transfer::start(format!("{} to {name}", path.display()), Some(snapshot.len() as u64));
    let snapshot = prost::bytes::Bytes::from(snapshot);
    let pieces = (0..snapshot.len()).step_by(PIECE).map(move |at| {
        let piece = snapshot.slice(at..snapshot.len().min(at + PIECE));
        progress.add(piece.len());
        Data { metadata: None, bytes: piece }
    });
    Ok(client.etcd_recover(stream::iter(pieces)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    fn sealed(blocks: usize) -> Vec<u8> {
        let mut snapshot = vec![7; blocks * BLOCK];
        let digest = Sha256::digest(&snapshot);
        snapshot.extend_from_slice(&digest);
        snapshot
    }

    #[test]
    fn snapshots_are_checked() {
        let check = |bytes: &[u8], piece: usize, wanted: Option<&str>| {
            let mut check = Check::default();
            bytes.chunks(piece).for_each(|piece| check.take(piece));
            let found = check.finish().err().map(|error| error.to_string());
            match wanted {
                None => assert_eq!(found, None),
                Some(wanted) => assert!(found.as_ref().is_some_and(|found| found.contains(wanted)), "{found:?}"),
            }
        };
        for piece in [1, 31, 32, 33, 512, 100_000] {
            check(&sealed(3), piece, None);
        }
        check(&sealed(3)[..1000], 100, Some("broken off"));
        check(&[], 1, Some("broken off"));
        check(&sealed(0), 1, Some("broken off"));
        let mut damaged = sealed(3);
        damaged[5] ^= 1;
        check(&damaged, 100, Some("damaged"));
    }

    #[test]
    fn members_have_ids_of_sixteen_digits() {
        let member = EtcdMember { id: 0xabc, hostname: "one".into(), peer_urls: vec!["a".into(), "b".into()], ..EtcdMember::default() };
        let text = members_table(vec![("n".into(), vec![member])]).render(Format::Table).expect("text");
        assert_eq!(text.lines().nth(1), Some("n      0000000000000abc   one        a,b                       false"));
        let status = EtcdMemberStatus { db_size: 200, db_size_in_use: 50, ..EtcdMemberStatus::default() };
        assert!(status_table(vec![("n".into(), status)]).render(Format::Table).expect("text").contains("50 B (25.00%)"));
    }
}
