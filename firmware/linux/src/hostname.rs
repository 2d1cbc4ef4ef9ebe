//! The kernel's host name.

use std::io;

/// Sets it.
///
/// # Errors
/// As `sethostname(2)`.
pub fn set(name: &str) -> io::Result<()> {
    nix::unistd::sethostname(name).map_err(io::Error::from)
}

/// Reads it; not-UTF-8 replaced.
///
/// # Errors
/// As `gethostname(2)`.
pub fn get() -> io::Result<String> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}
