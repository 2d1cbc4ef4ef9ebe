//! Reboot and shutdown.

use tokio::sync::{mpsc::error::TrySendError, oneshot};
use tonic::Status;
use uuid::Uuid;
use wire::machine::{Reboot, RebootRequest, RebootResponse, Shutdown, ShutdownRequest, ShutdownResponse, reboot_request};

use super::Sources;
use crate::{
    node::Command,
    sequence::{Kind, Request},
};

pub(super) async fn reboot(sources: &Sources, request: RebootRequest) -> Result<RebootResponse, Status> {
    // A power cycle and a default reboot are the same here: there is no kexec.
    let force = request.mode() == reboot_request::Mode::Force;
    let actor_id = order(sources, Kind::Reboot, force).await?;
    Ok(RebootResponse { messages: vec![Reboot { metadata: None, actor_id }] })
}

pub(super) async fn shutdown(sources: &Sources, request: ShutdownRequest) -> Result<ShutdownResponse, Status> {
    let actor_id = order(sources, Kind::Shutdown, request.force).await?;
    Ok(ShutdownResponse { messages: vec![Shutdown { metadata: None, actor_id }] })
}

/// Gives the order; returns the id that its events will carry. Shutdown takes over from whatever runs.
pub(super) async fn submit(sources: &Sources, request: Request) -> Result<String, Status> {
    let (kind, force, actor) = (request.kind, request.force, Uuid::new_v4().to_string());
    log::info!(target: "api", "{kind} asked for over the API (force: {force}, actor {actor})");
    let (reply, answer) = oneshot::channel();
    let request = Request { actor: actor.clone(), ..request };
    let command = Command::Sequence { request, take_over: kind == Kind::Shutdown, reply };
    sources.node.commands.try_send(command).map_err(|error| match error {
        TrySendError::Full(_) => Status::resource_exhausted("too many commands are waiting; try again"),
        TrySendError::Closed(_) => going_down(),
    })?;
    match answer.await {
        Ok(Ok(())) => Ok(actor),
        Ok(Err(locked)) => Err(Status::failed_precondition(format!("{locked}; wait for its end, or force a shutdown"))),
        Err(_) => Err(going_down()),
    }
}

/// The same for what needs no more than its name.
pub(super) async fn order(sources: &Sources, kind: Kind, force: bool) -> Result<String, Status> {
    submit(sources, Request { force, ..Request::of(kind) }).await
}

fn going_down() -> Status {
    Status::unavailable("the node is going down")
}
