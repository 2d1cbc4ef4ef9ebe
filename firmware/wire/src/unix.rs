//! Connections to machined's unix socket.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// A channel to a gRPC server on a unix socket. It connects at the first call and again after a loss;
/// calls made while the socket does not answer fail with `Unavailable`.
#[must_use]
pub fn channel(path: PathBuf) -> Channel {
    connect_lazy(Endpoint::from_static("http://localhost"), path)
}

/// Like [`channel`], with settings of the caller's.
#[must_use]
pub fn connect_lazy(endpoint: Endpoint, path: PathBuf) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    }))
}
