//! The proxy: calls go to machined, to another node or to several, as raw frames, with the caller's roles in their metadata.

use std::{
    convert::Infallible,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{Service, ServiceExt};

use crate::{
    Current,
    deadline::Deadline,
    hold::Held,
    merge::{self, Budget, Calling},
    peer::Peer,
    record::{Record, Recorded, Recorder},
    route::{Decision, Merge, Target},
};

/// Bytes of one reply that wait in here for a slow client.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
/// Replies under way over all connections; a call for several nodes has one of each. All of them stalled hold 30 MiB.
const REPLIES: usize = 480;
/// Room for all of them to be stalled at once: a client that does not read must not hold up the others, who share the
/// one connection to machined or another node.
pub(crate) const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 512;

const ROLE: HeaderName = HeaderName::from_static(wire::ROLE_KEY);
/// Marks a call that another node forwarded; its value is what the client called that node.
const PROXY_FROM: HeaderName = HeaderName::from_static("proxyfrom");
/// Which compressions the caller understands. It must not reach a node whose reply is merged.
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The service behind every connection.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    machined: Channel,
    current: watch::Receiver<Current>,
    replies: Arc<Semaphore>,
    budget: Budget,
    recorder: Arc<Recorder>,
}

impl Forward {
    pub(crate) fn new(socket: PathBuf, current: watch::Receiver<Current>) -> Self {
        let endpoint = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let machined = wire::unix::connect_lazy(endpoint, socket);
        Self { machined, current, replies: Arc::new(Semaphore::new(REPLIES)), budget: Budget::default(), recorder: Recorder::to_log() }
    }

    async fn forward(self, mut request: Request<Body>, record: &mut Record) -> Result<Response<Body>, Status> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("a call without a connection"));
        };
        let deadline = Deadline::of(request.headers())?;
        let decision = self.current.borrow().route.decide(request.uri().path(), request.headers())?;
        let roles = peer.roles(request.headers());
        record.went(&roles, &decision);
        match decision {
            Decision::Local => {
                let turn = self.turns(1)?;
                to_machined(request.headers_mut(), &roles);
                let response = local(self.machined, request).await?;
                Ok(response.map(|body| Body::new(Held::new(body, turn))))
            }
            Decision::One(target) => {
                let turn = self.turns(1)?;
                to_node(&mut request, &roles);
                let node = self.node(&target)?;
                let response = deadline.limit(remote(node, target, request, deadline)).await.flatten()?;
                Ok(response.map(|body| Body::new(Held::new(body, turn))))
            }
            Decision::Many { targets, merge } => self.many(request, &roles, targets, merge, deadline).await,
        }
    }

    /// The same request to each node.
    async fn many(
        self,
        request: Request<Body>,
        roles: &[HeaderValue],
        targets: Vec<Target>,
        merge: Merge,
        deadline: Deadline,
    ) -> Result<Response<Body>, Status> {
        let turns = self.turns(targets.len())?;
        let (mut parts, body) = request.into_parts();
        let message = deadline.limit(self.budget.request(body)).await.flatten()?;
        parts.headers.remove(&ACCEPT_ENCODING);
        parts.extensions.clear();
        let legs = targets.into_iter().map(|Target { name, local: here }| {
            let mut request = Request::from_parts(parts.clone(), Body::new(http_body_util::Full::new(message.clone())));
            let calling: Calling = if here {
                to_machined(request.headers_mut(), roles);
                Box::pin(local(self.machined.clone(), request))
            } else {
                to_node(&mut request, roles);
                match self.node(&name) {
                    Ok(node) => Box::pin(remote(node, name.clone(), request, deadline)),
                    Err(status) => Box::pin(std::future::ready(Err(status))),
                }
            };
            (name, calling)
        });
        let response = merge::respond(legs.collect(), merge, deadline, &self.budget);
        Ok(response.map(|body| Body::new(Held::new(body, turns))))
    }

    fn turns(&self, count: usize) -> Result<OwnedSemaphorePermit, Status> {
        let turns = u32::try_from(count).ok().and_then(|count| Arc::clone(&self.replies).try_acquire_many_owned(count).ok());
        turns.ok_or_else(|| Status::resource_exhausted("too many calls at the same time; try again"))
    }

    fn node(&self, target: &str) -> Result<Channel, Status> {
        let fleet = self.current.borrow().fleet.clone();
        // The decision was made with the same configuration, or the one before it.
        Ok(fleet.ok_or_else(|| Status::permission_denied("no request forwarding"))?.channel(target))
    }
}

async fn local(mut machined: Channel, request: Request<Body>) -> Result<Response<Body>, Status> {
    let unavailable = |error: tonic::transport::Error| {
        log::warn!(target: "apid", "machined does not answer: {}", daemon::report(&error));
        Status::unavailable("the node's API is not available at the moment")
    };
    machined.ready().await.map_err(unavailable)?.call(request).await.map_err(unavailable)
}

async fn remote(mut node: Channel, target: String, mut request: Request<Body>, deadline: Deadline) -> Result<Response<Body>, Status> {
    let unavailable = |error: tonic::transport::Error| Status::unavailable(format!("node {target}: {}", daemon::report(&error)));
    let node = node.ready().await.map_err(unavailable)?;
    // Connecting took its time.
    deadline.pass_on(request.headers_mut());
    node.call(request).await.map_err(unavailable)
}

/// The caller's roles take the place of whatever it sent; what concerned this hop only goes.
fn to_machined(headers: &mut HeaderMap, roles: &[HeaderValue]) {
    headers.remove(header::HOST);
    headers.remove("node");
    headers.remove("nodes");
    set_roles(headers, roles);
}

/// The same for another node, which has to know that it is asked by a node.
fn to_node(request: &mut Request<Body>, roles: &[HeaderValue]) {
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let headers = request.headers_mut();
    to_machined(headers, roles);
    headers.insert(PROXY_FROM, authority.unwrap_or(HeaderValue::from_static("unknown")));
}

fn set_roles(headers: &mut HeaderMap, roles: &[HeaderValue]) {
    headers.remove(&ROLE);
    for role in roles {
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
        let mut record = self.recorder.record(&request);
        let forward = self.clone();
        Box::pin(async move {
            Ok(match forward.forward(record.count(request), &mut record).await {
                Ok(response) => {
                    record.metadata(response.headers());
                    response.map(|body| Body::new(Recorded::new(body, record)))
                }
                Err(status) => {
                    record.refused(&status);
                    status.into_http()
                }
            })
        })
    }
}
