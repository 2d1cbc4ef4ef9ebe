//! Reads the blocks of the root that boot did not, so that rot is found while the other slot still works.
//!
//! dm-verity checks a block when it is read and panics on a bad one; reading is all there is to do. Slow on purpose:
//! the disk belongs to the workloads.

use std::{path::PathBuf, sync::Arc, time::Duration};

use linux::block::{Access, Device, DeviceError};
use log::{info, warn};

use crate::node::Node;

/// How long after boot the scrub begins: the API and the workloads come first.
const DELAY: Duration = Duration::from_secs(120);
/// Bytes of one read.
const STEP: usize = 1 << 20;
/// Pause between reads: about 10 MiB/s at most.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause between two whole passes.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Starts the scrub of the root's mapping. It ends when the node goes down.
pub fn start(node: &Arc<Node>, root: PathBuf) {
    let stop = node.stop.clone();
    let work = async move {
        let mut wait = DELAY;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                result = pass(root.clone()) => match result {
                    Ok(bytes) => info!("scrub: {} MiB of the root are as they were signed", bytes >> 20),
                    Err(err) => warn!("scrub: {}", daemon::report(&err)),
                }
            }
            wait = AGAIN;
        }
    };
    drop(node.tasks.spawn(work));
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum ScrubError {
    #[error("read the root")]
    Read { source: DeviceError },
    #[error("the reading task ended early")]
    Task { source: tokio::task::JoinError },
}

/// Reads the whole mapping once, past the page cache; gives the bytes read.
async fn pass(root: PathBuf) -> Result<u64, ScrubError> {
    let open = move || Device::open(&root, Access::Read).map_err(|source| ScrubError::Read { source });
    let device = Arc::new(blocking(open).await?);
    let mut at = 0;
    while at < device.size() {
        let left = usize::try_from(device.size() - at).unwrap_or(STEP);
        let reader = device.clone();
        let step = left.min(STEP);
        blocking(move || reader.read(at, step).map(drop).map_err(|source| ScrubError::Read { source })).await?;
        at = at.saturating_add(u64::try_from(step).unwrap_or(u64::MAX));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(at)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ScrubError> + Send + 'static) -> Result<T, ScrubError> {
    tokio::task::spawn_blocking(work).await.map_err(|source| ScrubError::Task { source })?
}
