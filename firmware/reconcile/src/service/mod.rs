//! The `State` service of the resource API: read-only.
//!
//! Who may read what (reference, behaviour (d)): the type must be one that is filled here, a sensitive one is for
//! administrators only, and the namespace must exist; everything else is refused in that order.

mod convert;
mod watch;

pub(crate) use convert::query;

use std::pin::Pin;

use futures_util::{Stream, stream};
use resource::{Definition, Key, Place, Query, kinds};
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Response, Status};
use wire::{
    cosi::{GetRequest, GetResponse, ListRequest, ListResponse, WatchRequest, WatchResponse},
    server::cosi::state_server::State,
};

use crate::Store;

/// A stream of answers.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What writers are told, whoever they are.
pub const READ_ONLY: &str = "write access is not allowed";

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
    /// Whether a call is an administrator's.
    is_admin: fn(&Extensions) -> bool,
    /// Ends every watch.
    stop: CancellationToken,
}

impl Service {
    /// Over a store; `is_admin` tells administrators by what came with their call. Watches end with `stop`.
    #[must_use]
    pub const fn new(store: Store, is_admin: fn(&Extensions) -> bool, stop: CancellationToken) -> Self {
        Self { store, is_admin, stop }
    }

    /// The place that a call is about, if the caller may look there.
    fn place(&self, namespace: &str, kind: &str, extensions: &Extensions) -> Result<Place, Status> {
        let definition = definition(kind).ok_or_else(|| Status::permission_denied(format!("resource type {kind:?} is not supported")))?;
        if definition.sensitive && !(self.is_admin)(extensions) {
            return Err(Status::permission_denied("not authorized"));
        }
        if !kinds::NAMESPACES.iter().any(|(name, _)| *name == namespace) {
            return Err(Status::permission_denied(format!("namespace {namespace:?} is not supported")));
        }
        Ok(Place::new(namespace, definition.kind))
    }
}

/// Of a type by its full name in any case.
fn definition(kind: &str) -> Option<&'static Definition> {
    kinds::all().map(|registered| &registered.definition).find(|definition| definition.kind.eq_ignore_ascii_case(kind))
}

#[tonic::async_trait]
impl State for Service {
    type ListStream = Replies<ListResponse>;
    type WatchStream = Replies<WatchResponse>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let wanted = request.get_ref();
        let place = self.place(&wanted.namespace, &wanted.r#type, request.extensions())?;
        let key = Key { namespace: place.namespace, kind: place.kind, id: wanted.id.as_str().into() };
        let found = self.store.get(&key).ok_or_else(|| Status::not_found(format!("resource {key} doesn't exist")))?;
        Ok(Response::new(GetResponse { resource: Some(convert::resource(&found)?) }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let wanted = request.get_ref();
        let place = self.place(&wanted.namespace, &wanted.r#type, request.extensions())?;
        let query = match &wanted.options {
            Some(options) => convert::query(&options.label_query, options.id_query.as_ref())?,
            None => Query::default(),
        };
        let found = self.store.list(&place, &query).into_iter();
        let answers = found.map(|found| Ok(ListResponse { resource: Some(convert::resource(&found)?) }));
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let wanted = request.get_ref();
        let place = self.place(&wanted.namespace, &wanted.r#type, request.extensions())?;
        Ok(Response::new(watch::answers(&self.store, &place, request.get_ref(), self.stop.clone())?))
    }
}

#[cfg(test)]
mod tests;
