//! `reboot`, `shutdown` and `reset`, and waiting until they are done.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use tonic::{Code, Streaming};
use wire::machine::{
    Event, EventsRequest, ResetPartitionSpec, ResetRequest, reboot_request::Mode as Wire, reset_request::WipeMode as Wipe,
};

use crate::{
    ClientError,
    client::{Client, next},
};

use super::{
    args::{self, Insecure, Wait},
    events,
    nodes::{Fleet, each},
};

/// Pause between two attempts to reach a node that is down.
const RETRY: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum Action {
    Reboot(Wire),
    Shutdown { force: bool },
    Reset(ResetRequest),
}

/// How a node is found after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Up again, with its configuration.
    Running,
    /// Up again, waiting for one.
    Maintenance,
    /// Off, or nothing boots on it any more.
    Gone,
}

impl Action {
    async fn start(&self, client: &Client) -> Result<String, ClientError> {
        match self {
            Self::Reboot(mode) => client.reboot(*mode).await,
            Self::Shutdown { force } => client.shutdown(*force).await,
            Self::Reset(request) => client.reset(request.clone()).await,
        }
    }

    fn after(&self) -> After {
        match self {
            Self::Reboot(_) => After::Running,
            Self::Shutdown { .. } => After::Gone,
            Self::Reset(request) if !request.reboot => After::Gone,
            Self::Reset(request) if request.mode() == Wipe::UserDisks => After::Running,
            Self::Reset(request) => match request.system_partitions_to_wipe.as_slice() {
                [] => After::Gone,
                named if named.iter().any(|named| named.label == "STATE") => After::Maintenance,
                _ => After::Running,
            },
        }
    }
}

pub async fn reset(fleet: &Fleet, args: args::Reset) -> Result<ExitCode> {
    let mode = match args.wipe_mode {
        args::WipeMode::All => Wipe::All,
        args::WipeMode::SystemDisk => Wipe::SystemDisk,
        args::WipeMode::UserDisks => Wipe::UserDisks,
    };
    let labels = args.system_labels_to_wipe.into_iter();
    let request = ResetRequest {
        graceful: args.graceful,
        reboot: args.reboot,
        system_partitions_to_wipe: labels.map(|label| ResetPartitionSpec { label, wipe: true }).collect(),
        user_disks_to_wipe: args.user_disks_to_wipe,
        mode: mode.into(),
    };
    run(fleet, Action::Reset(request), args.wait).await
}

pub async fn reboot(fleet: &Fleet, args: args::Reboot) -> Result<ExitCode> {
    let mode = match args.mode {
        args::RebootMode::Default => Wire::Default,
        args::RebootMode::Powercycle => Wire::Powercycle,
        args::RebootMode::Force => Wire::Force,
    };
    run(fleet, Action::Reboot(mode), args.wait).await
}

pub async fn shutdown(fleet: &Fleet, args: args::Shutdown) -> Result<ExitCode> {
    run(fleet, Action::Shutdown { force: args.force }, args.wait).await
}

async fn run(fleet: &Fleet, action: Action, wait: Wait) -> Result<ExitCode> {
    let limit = Duration::try_from(wait.timeout).context("use --timeout")?;
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let call = async |node: String, client: Client| {
        if !wait.wait {
            action.start(&client).await?;
            return Ok(());
        }
        let watch = follow(&action, &node, &client);
        let done = tokio::time::timeout(limit, watch).await;
        done.map_err(|_| anyhow!("not done after {} s; it may still be going on", limit.as_secs()))?
    };
    Ok(each(nodes, call).await.1)
}

/// Subscribes first, then acts, so that no event of the action is missed.
async fn follow(action: &Action, node: &str, client: &Client) -> Result<()> {
    let mut stream = client.events(EventsRequest::default()).await?;
    next("Events", &mut stream).await?;
    let after = action.after();
    let before = match client.boot_id().await {
        _ if after == After::Gone => None,
        Ok(id) => Some(id),
        Err(error) if error.code() == Some(Code::PermissionDenied) => None,
        Err(error) => return Err(error.into()),
    };
    let actor = action.start(client).await?;
    going_down(node, &actor, &mut stream).await?;
    match (after, before) {
        (After::Running, Some(before)) => coming_up(node, client, &before).await,
        (After::Running, None) => {
            eprintln!("{node}: restarting (only an admin can watch it come back)");
            Ok(())
        }
        (After::Maintenance, before) => waiting(node, client, before.as_deref()).await,
        (After::Gone, _) => {
            let what = match action {
                Action::Reset(request) if request.reboot => "wiping what the machine boots from; it restarts without a system",
                Action::Reset(_) => "wiping, then powering off",
                Action::Reboot(_) | Action::Shutdown { .. } => "powered off",
            };
            eprintln!("{node}: {what}");
            Ok(())
        }
    }
}

/// Waits until the node answers strangers: it has forgotten whom it knew.
async fn waiting(node: &str, client: &Client, before: Option<&str>) -> Result<()> {
    eprintln!("{node}: waiting for it to come back without a configuration");
    // A node behind an endpoint is asked itself: without a configuration nobody forwards to it.
    let address = if client.address().host == node { client.address().to_string() } else { node.to_owned() };
    loop {
        let attempt = async { Client::connect_insecure(&address, None).await?.disks().await };
        if let Ok(Ok(_)) = tokio::time::timeout(ATTEMPT, attempt).await {
            eprintln!("{node}: it waits for a configuration");
            return Ok(());
        }
        // It still knows this client: what was to be wiped was not.
        let known = tokio::time::timeout(ATTEMPT, client.boot_id()).await;
        if let (Ok(Ok(id)), Some(before)) = (known, before)
            && id != before
        {
            return Err(anyhow!("it has come back with its configuration: the reset failed; its console tells why"));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Prints the action's events until the node stops everything or the connection ends.
async fn going_down(node: &str, actor: &str, stream: &mut Streaming<Event>) -> Result<()> {
    while let Ok(Some(event)) = next("Events", stream).await {
        if event.actor_id != actor {
            continue;
        }
        let Some((kind, message)) = events::describe(&event) else { continue };
        eprintln!("{node}: {message}");
        if kind == "SequenceEvent" && message.contains(" error ") {
            return Err(anyhow!("{message}"));
        }
        if kind == "TaskEvent" && message.starts_with("task stopAllServices") {
            break;
        }
    }
    Ok(())
}

/// Waits until the node has another boot id, that is until it has really been restarted, and says it is ready.
async fn coming_up(node: &str, client: &Client, before: &str) -> Result<()> {
    eprintln!("{node}: waiting for it to come back");
    loop {
        match tokio::time::timeout(ATTEMPT, client.boot_id()).await {
            Ok(Ok(id)) if id != before => match ready(node, client).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if passing(&error) => {}
                Err(error) => return Err(error.into()),
            },
            Ok(Err(error)) if !passing(&error) => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Follows the stages of the node, those already past included, until it runs and is ready. False when the
/// connection ended before.
async fn ready(node: &str, client: &Client) -> Result<bool, ClientError> {
    let mut stream = client.events(EventsRequest { tail_events: -1, ..EventsRequest::default() }).await?;
    while let Some(event) = next("Events", &mut stream).await? {
        if let Some(("MachineStatusEvent", message)) = events::describe(&event) {
            eprintln!("{node}: {message}");
        }
        if events::is_ready(&event) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Errors that a node on its way down or up gives.
fn passing(error: &ClientError) -> bool {
    matches!(error.code(), Some(Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_node_is_found_after_a_reset() {
        let check = |mode: Wipe, labels: &[&str], reboot, expect| {
            let named = labels.iter().map(|label| ResetPartitionSpec { label: (*label).to_owned(), wipe: true });
            let request = ResetRequest { mode: mode.into(), reboot, system_partitions_to_wipe: named.collect(), ..ResetRequest::default() };
            assert_eq!(Action::Reset(request).after(), expect, "{mode:?} {labels:?} {reboot}");
        };
        check(Wipe::All, &[], true, After::Gone);
        check(Wipe::SystemDisk, &["STATE", "EPHEMERAL"], true, After::Maintenance);
        check(Wipe::All, &["STATE", "EPHEMERAL"], false, After::Gone);
        check(Wipe::All, &["EPHEMERAL", "META"], true, After::Running);
        check(Wipe::UserDisks, &[], true, After::Running);
    }
}
