//! `reboot` and `shutdown`, and waiting until they are done.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use tonic::{Code, Streaming};
use wire::machine::{Event, EventsRequest, reboot_request::Mode as Wire};

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

#[derive(Clone, Copy)]
enum Action {
    Reboot(Wire),
    Shutdown { force: bool },
}

impl Action {
    async fn start(self, client: &Client) -> Result<String, ClientError> {
        match self {
            Self::Reboot(mode) => client.reboot(mode).await,
            Self::Shutdown { force } => client.shutdown(force).await,
        }
    }
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
        let watch = follow(action, &node, &client);
        let done = tokio::time::timeout(limit, watch).await;
        done.map_err(|_| anyhow!("not done after {} s; it may still be going on", limit.as_secs()))?
    };
    Ok(each(nodes, call).await.1)
}

/// Subscribes first, then acts, so that no event of the action is missed.
async fn follow(action: Action, node: &str, client: &Client) -> Result<()> {
    let mut stream = client.events(EventsRequest::default()).await?;
    next("Events", &mut stream).await?;
    let before = match (action, client.boot_id().await) {
        (Action::Shutdown { .. }, _) => None,
        (Action::Reboot(_), Ok(id)) => Some(id),
        (Action::Reboot(_), Err(error)) if error.code() == Some(Code::PermissionDenied) => None,
        (Action::Reboot(_), Err(error)) => return Err(error.into()),
    };
    let actor = action.start(client).await?;
    going_down(node, &actor, &mut stream).await?;
    match (action, before) {
        (Action::Reboot(_), Some(before)) => coming_up(node, client, &before).await,
        (Action::Reboot(_), None) => {
            eprintln!("{node}: restarting (only an admin can watch it come back)");
            Ok(())
        }
        (Action::Shutdown { .. }, _) => {
            eprintln!("{node}: powered off");
            Ok(())
        }
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
