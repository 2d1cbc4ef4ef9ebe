//! `manifest.json`: every input and every output of a build with its hash, in a fixed order.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::request::{Error, LockState};

/// The whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The shape of this document; 1.
    pub format: u32,
    /// The project's version.
    pub version: String,
    /// The board's name.
    pub board: String,
    /// `x86_64` or `arm64`.
    pub arch: String,
    /// `release` or `fast`.
    pub profile: String,
    /// Whether the packages are the release's.
    pub lock: LockState,
    /// Seconds since 1970 that every timestamp in the image is set to.
    pub epoch: u64,
    /// dm-verity root hash of the root file system, in hex.
    pub root_hash: String,
    /// GUID of the root partition, derived from the root hash.
    pub root_partuuid: String,
    /// Kind of input (`package`, `fragment`, `overlay`, ...) -> name -> sha256.
    pub inputs: BTreeMap<String, BTreeMap<String, String>>,
    /// File name in the output folder -> size and hash.
    pub outputs: BTreeMap<String, Output>,
}

/// One file of the output folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Bytes, holes counted.
    pub size: u64,
    /// Of the content, holes read as zeros.
    pub sha256: String,
}

impl Output {
    /// Measures `path`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let (size, sha256) = digest::file(STEP, path)?;
        Ok(Self { size, sha256 })
    }
}

const STEP: &str = "manifest";

impl Manifest {
    /// Adds an input; the same name twice keeps the last.
    pub fn input(&mut self, kind: &str, name: impl Into<String>, sha256: impl Into<String>) {
        self.inputs.entry(kind.to_owned()).or_default().insert(name.into(), sha256.into());
    }

    /// The document as it is written: sorted keys, two spaces, a newline at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Maps with string keys and plain values always serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
