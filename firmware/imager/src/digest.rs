//! SHA-256 of files, trees and lists of inputs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::request::Error;

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of some bytes, in hex.
#[must_use]
pub fn bytes(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// Size and hash of a file, read once.
///
/// # Errors
/// [`Error::File`].
pub fn file(step: &'static str, path: &Path) -> Result<(u64, String), Error> {
    let fail = |source| Error::File { step, action: "read", path: path.to_owned(), source };
    let mut input = File::open(path).map_err(fail)?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = input.read(&mut buffer).map_err(fail)?;
        if count == 0 {
            return Ok((size, hex(&hash.finalize())));
        }
        size += count as u64;
        hash.update(&buffer[..count]);
    }
}

/// Every file and link below `root`, by relative path, with a hash over kind, executable bit and content. Other mode bits, owners
/// and times are left out: they depend on who checked the tree out.
///
/// # Errors
/// [`Error::File`].
pub fn tree(step: &'static str, root: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut entries = BTreeMap::new();
    for path in walk(step, root)? {
        let fail = |source| Error::File { step, action: "read", path: path.clone(), source };
        let meta = path.symlink_metadata().map_err(fail)?;
        let value = if meta.is_symlink() {
            let target = path.read_link().map_err(fail)?;
            bytes(format!("link\0{}", target.display()).as_bytes())
        } else if meta.is_file() {
            let (_, content) = file(step, &path)?;
            let kind = if meta.permissions().mode() & 0o111 == 0 { "file" } else { "program" };
            bytes(format!("{kind}\0{content}").as_bytes())
        } else {
            continue;
        };
        let name = path.strip_prefix(root).unwrap_or(&path);
        entries.insert(name.display().to_string(), value);
    }
    Ok(entries)
}

/// Everything below `root` in sorted order, folders before what they hold, links not followed; nothing when `root` is absent.
///
/// # Errors
/// [`Error::File`].
pub fn walk(step: &'static str, root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        if !folder.is_dir() {
            continue;
        }
        let fail = |source| Error::File { step, action: "list", path: folder.clone(), source };
        for entry in folder.read_dir().map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if !path.is_symlink() && path.is_dir() {
                waiting.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Collects the inputs of a step into one key. Each part is named, so that two parts cannot be taken for each other.
#[derive(Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// A key for results of `step`; `format` changes when the step's code makes something else of the same inputs.
    #[must_use]
    pub fn new(step: &str, format: u32) -> Self {
        let mut key = Self(Sha256::new());
        key.add("step", step).add("format", &format.to_string());
        key
    }

    /// Adds one named input.
    pub fn add(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
        self
    }

    /// Adds a list of named inputs.
    pub fn add_all<'a>(&mut self, kind: &str, entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> &mut Self {
        for (name, value) in entries {
            self.add(&format!("{kind}:{name}"), value);
        }
        self
    }

    /// The key as a folder name: 32 hex digits.
    #[must_use]
    pub fn finish(&self) -> String {
        hex(&self.0.clone().finalize())[..32].to_owned()
    }
}
