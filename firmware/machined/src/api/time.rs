//! time.TimeService: this clock beside a server's.

use tonic::{Request, Response, Status};
use wire::{
    server::time::time_service_server::TimeService,
    time::{Time as Reading, TimeRequest, TimeResponse},
};

use super::Context;
use crate::{services::wire_time, time};

/// Longest name of a server (RFC 1035) with a port.
const MAX_SERVER: usize = 253 + 8;

/// The handlers.
#[derive(Clone, Debug)]
pub(super) struct Time(pub(super) Context);

#[tonic::async_trait]
impl TimeService for Time {
    /// By the server that the node itself asks first.
    async fn time(&self, _: Request<()>) -> Result<Response<TimeResponse>, Status> {
        let first = self.0.sources.node.time.borrow().servers.first().cloned();
        let server =
            first.ok_or_else(|| Status::failed_precondition("no time server is chosen yet: try again when the node has an address"))?;
        read(server).await
    }

    async fn time_check(&self, request: Request<TimeRequest>) -> Result<Response<TimeResponse>, Status> {
        let server = request.into_inner().server;
        if server.is_empty() || server.len() > MAX_SERVER {
            return Err(Status::invalid_argument("the name of a time server is required"));
        }
        read(server).await
    }
}

async fn read(server: String) -> Result<Response<TimeResponse>, Status> {
    match time::check(&server).await {
        Ok(time::Checked { local, remote }) => {
            let reading = Reading { metadata: None, server, localtime: Some(wire_time(local)), remotetime: Some(wire_time(remote)) };
            Ok(Response::new(TimeResponse { messages: vec![reading] }))
        }
        Err(error) => Err(Status::unavailable(format!("{server} tells no time: {}", daemon::report(&error)))),
    }
}
