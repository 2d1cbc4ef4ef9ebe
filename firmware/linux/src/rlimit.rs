//! Resource limits of this process.

use std::io;

use nix::sys::resource::{Resource, setrlimit};

/// The limit could not be set.
#[derive(Debug, thiserror::Error)]
#[error("set the limit of open files to {limit}")]
pub struct RlimitError {
    limit: u64,
    source: io::Error,
}

/// Lets this process, and its children that set none of their own, open `limit` files.
///
/// # Errors
/// [`RlimitError`].
pub fn open_files(limit: u64) -> Result<(), RlimitError> {
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).map_err(|errno| RlimitError { limit, source: errno.into() })
}
