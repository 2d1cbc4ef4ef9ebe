//! machine.StorageService: how full a file system is.

use std::path::{Path, PathBuf};

use nix::{
    errno::Errno,
    sys::statvfs::{Statvfs, statvfs},
};
use tonic::{Request, Response, Status};
use wire::{
    machine::{StorageServiceStatfsRequest, StorageServiceStatfsResponse},
    server::machine::storage_service_server::StorageService,
};

use super::Context;

/// The handlers.
#[derive(Clone, Debug)]
pub(super) struct Volumes(pub(super) Context);

#[tonic::async_trait]
impl StorageService for Volumes {
    async fn statfs(&self, request: Request<StorageServiceStatfsRequest>) -> Result<Response<StorageServiceStatfsResponse>, Status> {
        let path = PathBuf::from(request.into_inner().path);
        self.0.blocking.run(move || statfs(&path)).await?.map(Response::new)
    }
}

fn statfs(path: &Path) -> Result<StorageServiceStatfsResponse, Status> {
    if !path.is_absolute() {
        return Err(Status::invalid_argument(format!("{}: an absolute path is needed", path.display())));
    }
    let failed = |errno: Errno| {
        let text = format!("statfs {}: {}", path.display(), errno.desc());
        if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) { Status::not_found(text) } else { Status::unknown(text) }
    };
    Ok(convert(&statvfs(path).map_err(failed)?))
}

/// Bytes. What is reserved for root is neither used nor available, as `df` has it.
fn convert(found: &Statvfs) -> StorageServiceStatfsResponse {
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    let (inodes, inodes_free) = (found.files(), found.files_free());
    StorageServiceStatfsResponse {
        size: bytes(found.blocks()),
        used: bytes(found.blocks().saturating_sub(found.blocks_free())),
        available: bytes(found.blocks_available()),
        inodes,
        inodes_used: inodes.saturating_sub(inodes_free),
        inodes_free,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn file_systems_have_sizes() {
        let found = statfs(Path::new("/")).expect("answered");
        assert!(found.size > 0 && found.used <= found.size && found.available <= found.size - found.used, "{found:?}");
        assert_eq!(found.inodes, found.inodes_used + found.inodes_free);
        for (path, code) in [("tmp", Code::InvalidArgument), ("", Code::InvalidArgument), ("/nowhere", Code::NotFound)] {
            assert_eq!(statfs(Path::new(path)).expect_err("refused").code(), code, "{path}");
        }
    }
}
