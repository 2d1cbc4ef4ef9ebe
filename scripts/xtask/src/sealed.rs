//! Inside or outside of the sealed build root.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, anyhow};

/// Whether this process runs in the root that `scripts/enter` made.
pub fn inside() -> bool {
    std::env::var_os("KEELSON_IN_ROOT").is_some()
}

/// The project's folder: `/src` inside the root.
pub fn project() -> PathBuf {
    // CARGO_MANIFEST_DIR as of now and not as of the build: the same program may have been built elsewhere.
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(manifest) => PathBuf::from(manifest).join("../.."),
        None => PathBuf::from("."),
    }
}

/// Replaces this process by the same command inside the root. Comes back only with the reason why it could not.
pub fn run_inside() -> anyhow::Error {
    let script = match project().join("scripts/x").canonicalize().context("find scripts/x") {
        Ok(script) => script,
        Err(error) => return error,
    };
    let error = Command::new(&script).args(std::env::args_os().skip(1)).exec();
    anyhow!(error).context(format!("start {}", script.display()))
}
