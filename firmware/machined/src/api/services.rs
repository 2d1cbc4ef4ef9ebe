//! Services: what they are doing, and the wish that they do something else.

use supervise::{Operation, Refused};
use tonic::Status;
use uuid::Uuid;
use wire::machine::{
    ServiceEvent, ServiceEvents, ServiceInfo, ServiceList, ServiceListResponse, ServiceRestart, ServiceRestartResponse, ServiceStart,
    ServiceStartResponse, ServiceStop, ServiceStopResponse,
};

use super::Sources;
use crate::{
    node::ServiceStatus,
    services::{AskError, wire_health, wire_time},
};

pub(super) fn list(sources: &Sources) -> ServiceListResponse {
    let services = sources.node.services.borrow().iter().map(service).collect();
    ServiceListResponse { messages: vec![ServiceList { metadata: None, services }] }
}

fn service(status: &ServiceStatus) -> ServiceInfo {
    let events = status
        .events
        .iter()
        .map(|event| ServiceEvent { msg: event.message.clone(), state: format!("{:?}", event.state), ts: Some(wire_time(event.at)) })
        .collect();
    ServiceInfo {
        id: status.id.clone(),
        state: format!("{:?}", status.state),
        events: Some(ServiceEvents { events }),
        health: Some(wire_health(status)),
    }
}

pub(super) async fn start(sources: &Sources, id: &str) -> Result<ServiceStartResponse, Status> {
    ask(sources, Operation::Start, id).await?;
    Ok(ServiceStartResponse { messages: vec![ServiceStart { metadata: None, resp: format!("Service {id:?} started") }] })
}

pub(super) async fn stop(sources: &Sources, id: &str) -> Result<ServiceStopResponse, Status> {
    ask(sources, Operation::Stop, id).await?;
    Ok(ServiceStopResponse { messages: vec![ServiceStop { metadata: None, resp: format!("Service {id:?} stopped") }] })
}

pub(super) async fn restart(sources: &Sources, id: &str) -> Result<ServiceRestartResponse, Status> {
    ask(sources, Operation::Restart, id).await?;
    Ok(ServiceRestartResponse { messages: vec![ServiceRestart { metadata: None, resp: format!("Service {id:?} restarted") }] })
}

/// Bounded by what the supervisor grants a service to stop.
pub(super) async fn ask(sources: &Sources, operation: Operation, id: &str) -> Result<(), Status> {
    let actor = Uuid::new_v4().to_string();
    log::info!(target: "api", "{operation} of service {id:?} asked for over the API (actor {actor})");
    sources.services.ask(operation, id, &actor).await.map_err(|error| {
        let text = error.to_string();
        match error {
            AskError::Refused(Refused::Unknown { .. }) => Status::not_found(text),
            AskError::Refused(_) => Status::failed_precondition(text),
            AskError::Busy => Status::resource_exhausted(text),
            AskError::Gone => Status::unavailable(text),
        }
    })
}
