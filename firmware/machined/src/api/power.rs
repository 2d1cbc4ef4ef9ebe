//! Reboot and shutdown.

use tokio::sync::mpsc::error::TrySendError;
use tonic::Status;
use uuid::Uuid;
use wire::machine::{Reboot, RebootRequest, RebootResponse, Shutdown, ShutdownRequest, ShutdownResponse, reboot_request};

use super::Sources;
use crate::node::{Command, PowerAction};

pub(super) fn reboot(sources: &Sources, request: RebootRequest) -> Result<RebootResponse, Status> {
    // A power cycle and a default reboot are the same here: there is no kexec.
    let force = request.mode() == reboot_request::Mode::Force;
    let actor_id = order(sources, PowerAction::Reboot, force)?;
    Ok(RebootResponse { messages: vec![Reboot { metadata: None, actor_id }] })
}

pub(super) fn shutdown(sources: &Sources, request: ShutdownRequest) -> Result<ShutdownResponse, Status> {
    let actor_id = order(sources, PowerAction::PowerOff, request.force)?;
    Ok(ShutdownResponse { messages: vec![Shutdown { metadata: None, actor_id }] })
}

/// Gives the order; returns the id that its events will carry.
pub(super) fn order(sources: &Sources, action: PowerAction, force: bool) -> Result<String, Status> {
    let actor = Uuid::new_v4().to_string();
    log::info!(target: "api", "{action:?} asked for over the API (force: {force}, actor {actor})");
    match sources.node.commands.try_send(Command::Power { action, force, actor: actor.clone() }) {
        Ok(()) => Ok(actor),
        Err(TrySendError::Full(_)) => Err(Status::resource_exhausted("too many commands are waiting; try again")),
        Err(TrySendError::Closed(_)) => Err(Status::unavailable("the node is going down")),
    }
}
