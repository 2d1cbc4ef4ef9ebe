//! File I/O away from the reactor, a bounded number at a time.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use tonic::Status;

/// Jobs at the same time; each may hold a thread.
const JOBS: usize = 4;
/// Longest wait for a turn.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// Runs blocking jobs.
#[derive(Clone, Debug)]
pub(super) struct Blocking(Arc<Semaphore>);

impl Default for Blocking {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(JOBS)))
    }
}

impl Blocking {
    /// Runs `job` on a thread that may block. The turn ends with the job, also when the caller has gone.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let turn = timeout(TURN_LIMIT, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Status::resource_exhausted("too many calls that read files; try again"));
        };
        let job = move || {
            let done = job();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(job).await.map_err(|_| Status::internal("the call's worker failed; see the log of machined"))
    }
}
