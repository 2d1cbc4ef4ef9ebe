//! META's keys: stored and removed. They are read as resources.

use std::sync::Arc;

use layout::meta::MetaError;
use tonic::Status;
use wire::machine::{MetaDelete, MetaDeleteRequest, MetaDeleteResponse, MetaWrite, MetaWriteRequest, MetaWriteResponse};

use super::Context;
use crate::disk::keys::{self, KeysError};

pub(super) async fn write(context: &Context, request: MetaWriteRequest) -> Result<MetaWriteResponse, Status> {
    let key = key(request.key)?;
    let length = request.value.len();
    let node = Arc::clone(&context.sources.node);
    let _one_at_a_time = context.meta.lock().await;
    context.blocking.run(move || keys::write(&node, key, request.value)).await?.map_err(|error| status(&error))?;
    log::info!(target: "api", "META key {key:#04x} is set ({length} bytes)");
    Ok(MetaWriteResponse { messages: vec![MetaWrite::default()] })
}

pub(super) async fn delete(context: &Context, request: MetaDeleteRequest) -> Result<MetaDeleteResponse, Status> {
    let key = key(request.key)?;
    let node = Arc::clone(&context.sources.node);
    let _one_at_a_time = context.meta.lock().await;
    if !context.blocking.run(move || keys::delete(&node, key)).await?.map_err(|error| status(&error))? {
        return Err(Status::not_found(format!("META key {key:#04x} is not set")));
    }
    log::info!(target: "api", "META key {key:#04x} is removed");
    Ok(MetaDeleteResponse { messages: vec![MetaDelete::default()] })
}

fn key(key: u32) -> Result<u8, Status> {
    u8::try_from(key).map_err(|_| Status::invalid_argument(format!("META key {key} is not from 0 to 255")))
}

/// Codes are the reference's (behaviour (a) "META"), where it has such a case.
fn status(error: &KeysError) -> Status {
    let text = daemon::report(error).to_string();
    match error {
        KeysError::Encode { source: MetaError::Full(_) | MetaError::Value { .. }, .. } => Status::resource_exhausted(text),
        KeysError::NoPartition | KeysError::Corrupt => Status::failed_precondition(text),
        KeysError::Device { .. } | KeysError::Differs { .. } => Status::internal(text),
    }
}
