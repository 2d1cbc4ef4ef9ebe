//! SHA-256 of files, trees and lists of inputs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
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

/// Size and hash of a file, read once. The holes of a sparse one are hashed and not read: they are most of a disk image.
///
/// # Errors
/// [`Error::File`].
pub fn file(step: &'static str, path: &Path) -> Result<(u64, String), Error> {
    let fail = |source| Error::File { step, action: "read", path: path.to_owned(), source };
    let mut input = File::open(path).map_err(fail)?;
    let mut hash = Sha256::new();
    let (mut buffer, zeros) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut size = 0;
    while let Some(data) = next(&input, size, Whence::SeekData).map_err(fail)? {
        let hole = next(&input, data, Whence::SeekHole).map_err(fail)?.unwrap_or(data);
        update_zeros(&mut hash, &zeros, data - size);
        input.seek(SeekFrom::Start(data)).map_err(fail)?;
        let mut left = (&mut input).take(hole - data);
        size = data;
        loop {
            let count = left.read(&mut buffer).map_err(fail)?;
            if count == 0 {
                break;
            }
            size += count as u64;
            hash.update(&buffer[..count]);
        }
        // It became shorter meanwhile.
        if size == data {
            break;
        }
    }
    let end = input.metadata().map_err(fail)?.len();
    update_zeros(&mut hash, &zeros, end.saturating_sub(size));
    Ok((end.max(size), hex(&hash.finalize())))
}

/// Where data or a hole begins, from `from` on; `None` at the end (lseek(2)). A file system without holes shows one at the end.
fn next(file: &File, from: u64, what: Whence) -> io::Result<Option<u64>> {
    let from = i64::try_from(from).map_err(io::Error::other)?;
    match lseek(file, from, what) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn update_zeros(hash: &mut Sha256, zeros: &[u8], mut count: u64) {
    while count > 0 {
        let piece = zeros.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        hash.update(&zeros[..piece]);
        count -= piece as u64;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn holes_count_as_the_zeros_that_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sparse");
        let sparse = File::create(&path).expect("a file");
        for (length, data) in [(0, None), (3 << 20, None), (5 << 20, Some(2 << 20)), ((5 << 20) + 1, Some(5 << 20))] {
            sparse.set_len(length).expect("a length");
            if let Some(at) = data {
                sparse.write_all_at(b"x", at).expect("data");
            }
            let plain = std::fs::read(&path).expect("the whole file");
            assert_eq!(file("test", &path).expect("a digest"), (length, bytes(&plain)), "{length} {data:?}");
        }
    }
}
