//! The service machined: the machine API's server, a task of this process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use crate::{api::Server, node::ServiceState};

/// Name of the service.
const ID: &str = "machined";
/// Between health checks, and the limit of one.
const CHECK_PERIOD: Duration = Duration::from_secs(5);
const CHECK_LIMIT: Duration = Duration::from_millis(500);

/// Serves until `stop`.
pub async fn run(server: Server, socket: PathBuf, board: Arc<Board>, stop: CancellationToken) {
    board.state(ID, ServiceState::Running, "Service started as a task");
    let checking = async {
        loop {
            board.health(ID, check(&socket).await);
            sleep(CHECK_PERIOD).await;
        }
    };
    tokio::join!(server.serve(stop.clone()), stop.run_until_cancelled(checking));
    board.state(ID, ServiceState::Finished, "Service finished successfully");
}

async fn check(socket: &Path) -> Result<(), String> {
    match timeout(CHECK_LIMIT, UnixStream::connect(socket)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("connect to {}: {error}", socket.display())),
        Err(_) => Err(format!("connect to {}: no answer within {} ms", socket.display(), CHECK_LIMIT.as_millis())),
    }
}
