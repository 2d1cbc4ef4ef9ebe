//! The proxy: calls go to machined as raw frames, with the caller's roles in their metadata.

use std::{
    convert::Infallible,
    future::{Future, ready},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, Request, Response, header};
use tokio::sync::{Semaphore, watch};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{Service, ServiceExt};

use crate::{Current, hold::Held, peer::Peer};

/// Bytes of one reply that wait in here for a slow client.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Calls at the same time over all connections.
const CALLS: usize = 240;
/// Room for all of them to be stalled at once: a client that does not read must not hold up the others, who share the
/// one connection to machined.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 256;

const ROLE: HeaderName = HeaderName::from_static(wire::ROLE_KEY);

/// The service behind every connection.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    machined: Channel,
    current: watch::Receiver<Current>,
    calls: Arc<Semaphore>,
}

impl Forward {
    pub(crate) fn new(socket: PathBuf, current: watch::Receiver<Current>) -> Self {
        let endpoint = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Self { machined: wire::unix::connect_lazy(endpoint, socket), current, calls: Arc::new(Semaphore::new(CALLS)) }
    }

    async fn forward(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("a call without a connection"));
        };
        self.current.borrow().route.check(request.headers())?;
        let Ok(turn) = self.calls.try_acquire_owned() else {
            return Err(Status::resource_exhausted("too many calls at the same time; try again"));
        };
        rewrite(request.headers_mut(), &peer);
        let mut machined = self.machined;
        let unavailable = |error: tonic::transport::Error| {
            log::warn!(target: "apid", "machined does not answer: {}", daemon::report(&error));
            Status::unavailable("the node's API is not available at the moment")
        };
        let response = machined.ready().await.map_err(unavailable)?.call(request).await.map_err(unavailable)?;
        Ok(response.map(|body| Body::new(Held::new(body, turn))))
    }
}

/// The caller's roles take the place of whatever it sent; what concerned this hop only goes.
fn rewrite(headers: &mut HeaderMap, peer: &Peer) {
    headers.remove(&ROLE);
    headers.remove(header::HOST);
    headers.remove("node");
    headers.remove("nodes");
    for role in &peer.roles {
        headers.append(ROLE, role.clone());
    }
}

impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
        let call = self.clone().forward(request);
        Box::pin(async move {
            let response = call.await.unwrap_or_else(|status| {
                log::info!(target: "apid", "{path} from {}: {}", display(peer), status.message());
                status.into_http()
            });
            ready(Ok(response)).await
        })
    }
}

fn display(peer: Option<std::net::SocketAddr>) -> String {
    peer.map_or_else(|| "nobody".to_owned(), |address| address.to_string())
}
