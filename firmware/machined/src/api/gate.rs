//! In front of all handlers: what the caller's roles allow, then which service the call is for.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::Service;
use wire::server::{machine::machine_service_server::MachineServiceServer, storage::storage_service_server::StorageServiceServer};

use super::{
    Context,
    machine::Machine,
    roles::{Roles, required},
    storage::Storage,
};

type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// All services behind the role check.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    machine: MachineServiceServer<Machine>,
    storage: StorageServiceServer<Storage>,
    context: Context,
}

impl Gate {
    pub(super) fn new(context: Context) -> Self {
        Self {
            machine: MachineServiceServer::new(Machine(context.clone())).max_decoding_message_size(wire::MAX_MESSAGE),
            storage: StorageServiceServer::new(Storage(context.clone())),
            context,
        }
    }

    /// The caller's roles, or why the call goes no further.
    fn check(&self, request: &Request<Body>) -> Result<Roles, Status> {
        let path = request.uri().path();
        let known = wire::methods::find(path);
        let names = request.headers().get_all(wire::ROLE_KEY).iter().filter_map(|value| value.to_str().ok());
        let roles = Roles::from_names(names);
        let configured = self.context.sources.node.config.borrow().active.is_some();
        if known.is_some() && !required(path, configured).meets(roles) {
            return Err(Status::permission_denied("not authorized"));
        }
        if known.is_none_or(|method| !method.served) {
            let name = path.trim_start_matches('/');
            return Err(Status::unimplemented(format!("{name} is not in this version")));
        }
        Ok(roles)
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Reply;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Reply {
        match self.check(&request) {
            Err(status) => {
                log::info!(target: "api", "{}: {}", request.uri().path(), status.message());
                Box::pin(ready(Ok(status.into_http())))
            }
            Ok(roles) => {
                request.extensions_mut().insert(roles);
                if request.uri().path().starts_with("/storage.") { self.storage.call(request) } else { self.machine.call(request) }
            }
        }
    }
}
