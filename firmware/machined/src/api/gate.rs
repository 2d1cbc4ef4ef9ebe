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
use wire::server::{
    cluster::cluster_service_server::ClusterServiceServer,
    cosi::state_server::StateServer,
    inspect::inspect_service_server::InspectServiceServer,
    machine::{machine_service_server::MachineServiceServer, storage_service_server::StorageServiceServer as VolumesServer},
    storage::storage_service_server::StorageServiceServer,
    time::time_service_server::TimeServiceServer,
};

use super::{
    Context,
    health::Health,
    inspect::Inspect,
    machine::Machine,
    roles::{Roles, required},
    statfs::Volumes,
    storage::Storage,
    time::Time,
    unserved,
};

type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Path of the resource API.
const STATE: &str = "/cosi.resource.State/";

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
        let machine = self.context.sources.node.config.borrow().active.as_ref().map(|active| active.config.machine_type());
        if known.is_some() && !required(path, machine.is_some()).meets(roles) {
            return Err(Status::permission_denied("not authorized"));
        }
        if known.is_none_or(|method| !method.served) {
            return Err(unserved::answer(path, known, machine));
        }
        Ok(roles)
    }
}

/// Resources are written down when they are first asked for.
async fn resources(context: Context, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let node = &context.sources.node;
    let store = node.resources.settled(node).await.store().clone();
    let is_admin = |extensions: &http::Extensions| extensions.get::<Roles>().is_some_and(|roles| roles.is_admin());
    StateServer::new(reconcile::service::Service::new(store, is_admin, context.stop.clone())).call(request).await
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
                // apid writes the line that people read, with who asked.
                log::debug!(target: "api", "{}: {}", request.uri().path(), status.message());
                Box::pin(ready(Ok(status.into_http())))
            }
            Ok(roles) => {
                request.extensions_mut().insert(roles);
                match request.uri().path() {
                    path if path.starts_with(STATE) => Box::pin(resources(self.context.clone(), request)),
                    path if path.starts_with("/cluster.") => {
                        Box::pin(ClusterServiceServer::new(Health(self.context.clone())).call(request))
                    }
                    path if path.starts_with("/inspect.") => {
                        Box::pin(InspectServiceServer::new(Inspect(self.context.clone())).call(request))
                    }
                    path if path.starts_with("/machine.StorageService/") => {
                        Box::pin(VolumesServer::new(Volumes(self.context.clone())).call(request))
                    }
                    path if path.starts_with("/storage.") => self.storage.call(request),
                    path if path.starts_with("/time.") => Box::pin(TimeServiceServer::new(Time(self.context.clone())).call(request)),
                    _ => self.machine.call(request),
                }
            }
        }
    }
}
