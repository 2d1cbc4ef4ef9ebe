//! Calls about files, file systems and disks.

use tonic::Streaming;
use wire::{
    common::Data,
    machine::{CopyRequest, DiskUsageInfo, DiskUsageRequest, StorageServiceStatfsRequest, StorageServiceStatfsResponse},
    storage::BlockDeviceWipeRequest,
};

use super::{Client, ClientError, done, single};

impl Client {
    /// A file or folder as a gzip-compressed tar archive.
    pub async fn copy(&self, path: &str) -> Result<Streaming<Data>, ClientError> {
        done("Copy", self.machine().copy(CopyRequest { root_path: path.into() }).await)
    }

    /// How much files and folders take.
    pub async fn disk_usage(&self, request: DiskUsageRequest) -> Result<Streaming<DiskUsageInfo>, ClientError> {
        done("DiskUsage", self.machine().disk_usage(request).await)
    }

    /// Room and inodes of the file system that a path is on.
    pub async fn statfs(&self, path: &str) -> Result<StorageServiceStatfsResponse, ClientError> {
        done("Statfs", self.volumes().statfs(StorageServiceStatfsRequest { path: path.into() }).await)
    }

    /// Wipes block devices that nothing uses.
    pub async fn wipe_devices(&self, request: BlockDeviceWipeRequest) -> Result<(), ClientError> {
        let reply = done("BlockDeviceWipe", self.storage().block_device_wipe(request).await)?;
        single("BlockDeviceWipe", reply.messages, |message| message.metadata.as_ref()).map(drop)
    }
}
