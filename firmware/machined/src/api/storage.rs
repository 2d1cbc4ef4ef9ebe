//! storage.StorageService.

use tonic::{Request, Response, Status};
use wire::{server::storage::storage_service_server::StorageService, storage::DisksResponse};

use super::{Context, disks};

/// The handlers.
#[derive(Clone, Debug)]
pub(super) struct Storage(pub(super) Context);

#[tonic::async_trait]
impl StorageService for Storage {
    async fn disks(&self, _: Request<()>) -> Result<Response<DisksResponse>, Status> {
        let system = self.0.sources.node.disk.borrow().name.clone();
        self.0.blocking.run(move || disks::disks(&system)).await?.map(Response::new)
    }
}
