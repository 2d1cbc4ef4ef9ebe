//! storage.StorageService.

use tonic::{Request, Response, Status};
use wire::{
    server::storage::storage_service_server::StorageService,
    storage::{BlockDeviceWipeRequest, BlockDeviceWipeResponse, DisksResponse},
};

use super::{Context, disks, wipe};

/// The handlers.
#[derive(Clone, Debug)]
pub(super) struct Storage(pub(super) Context);

#[tonic::async_trait]
impl StorageService for Storage {
    async fn disks(&self, _: Request<()>) -> Result<Response<DisksResponse>, Status> {
        let system = self.0.sources.node.disk.borrow().name.clone();
        self.0.blocking.run(move || disks::disks(&system)).await?.map(Response::new)
    }

    async fn block_device_wipe(&self, request: Request<BlockDeviceWipeRequest>) -> Result<Response<BlockDeviceWipeResponse>, Status> {
        wipe::wipe(&self.0, request.into_inner()).await.map(Response::new)
    }
}
