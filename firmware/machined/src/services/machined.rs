//! The service machined: the machine API's server, a task of this process.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use linux::process::User;
use supervise::{Exit, HealthCheck, Kind, Spec};
use tokio::net::UnixStream;

use super::service::{Run, Runner, Service};
use crate::api::{BindError, Server, Sources};

/// Name of the service.
pub const ID: &str = "machined";

/// What the server is made of.
struct Machined {
    socket: PathBuf,
    peer: User,
    sources: Sources,
    /// Bound before anything is started, because a node that cannot bind it is of no use.
    first: Mutex<Option<Server>>,
}

/// The service, with its socket bound.
///
/// # Errors
/// When the socket cannot be bound.
pub(super) fn service(socket: PathBuf, peer: User, sources: Sources) -> Result<Service, BindError> {
    let first = Server::bind(&socket, peer, sources.clone())?;
    let own = Arc::new(Machined { socket: socket.clone(), peer, sources, first: Mutex::new(Some(first)) });
    let spec = Spec { health: Some(HealthCheck { initial_delay: Duration::ZERO, ..HealthCheck::default() }), ..Spec::new(ID, Kind::Task) };
    let runner = Runner::task(move |run| serve(Arc::clone(&own), run));
    Ok(Service::new(spec, runner).healthy_when(move || {
        let socket = socket.clone();
        async move {
            let connected = UnixStream::connect(&socket).await;
            connected.map(drop).map_err(|error| format!("connect to {}: {error}", socket.display()))
        }
    }))
}

/// Serves until told to stop.
async fn serve(own: Arc<Machined>, run: Run) -> Exit {
    let first = own.first.lock().unwrap_or_else(PoisonError::into_inner).take();
    let server = match first.map_or_else(|| Server::bind(&own.socket, own.peer, own.sources.clone()), Ok) {
        Ok(server) => server,
        Err(error) => return Exit::Failure(daemon::report(&error).to_string()),
    };
    run.started("Service started as a task".to_owned(), None).await;
    server.serve(run.terminate.clone()).await;
    if run.terminate.is_cancelled() { Exit::Success } else { Exit::Failure("The machine API's server ended".to_owned()) }
}
