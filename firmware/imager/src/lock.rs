//! The package lock: which Debian packages, in which version, with which hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::board::Arch;
use crate::request::Error;
use crate::step::read_text;

const STEP: &str = "lock";

/// One line of the lock: `<set> <arch> <name> <version> <size> <sha256> <archive> <pool path>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// `root` (build root) or `image`.
    pub set: String,
    /// Debian's architecture name, or `all`.
    pub arch: String,
    /// The binary package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Bytes of the `.deb`.
    pub size: u64,
    /// Of the `.deb`.
    pub sha256: String,
    /// `main` or `security`.
    pub archive: String,
    /// Path below the archive.
    pub path: String,
}

impl Package {
    /// Where the `.deb` lies in the cache.
    #[must_use]
    pub fn deb(&self, cache: &Path) -> PathBuf {
        cache.join("debs").join(format!("{}.deb", self.sha256))
    }
}

/// Reads a lock; empty lines and lines from `#` on are skipped.
///
/// # Errors
/// [`Error::Input`] with the line, [`Error::File`].
pub fn read(path: &Path) -> Result<Vec<Package>, Error> {
    parse(&read_text(STEP, path)?).map_err(|problem| Error::Input { step: STEP, path: path.to_owned(), problem })
}

/// The image's packages for `arch`, by name; later locks replace packages of earlier ones.
///
/// # Errors
/// As [`read`].
pub fn image_packages(locks: &[PathBuf], arch: Arch) -> Result<BTreeMap<String, Package>, Error> {
    let mut packages = BTreeMap::new();
    for lock in locks {
        for package in read(lock)? {
            if package.set == "image" && (package.arch == arch.debian() || package.arch == "all") {
                packages.insert(package.name.clone(), package);
            }
        }
    }
    Ok(packages)
}

fn parse(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [set, arch, name, version, size, sha256, archive, path] => {
                if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong("the sixth word is no sha256"));
                }
                packages.push(Package {
                    set: (*set).to_owned(),
                    arch: (*arch).to_owned(),
                    name: (*name).to_owned(),
                    version: (*version).to_owned(),
                    size: size.parse().map_err(|_| wrong("the fifth word is no size"))?,
                    sha256: (*sha256).to_owned(),
                    archive: (*archive).to_owned(),
                    path: (*path).to_owned(),
                });
            }
            _ => return Err(wrong("not 8 words")),
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::parse;

    const HASH: &str = "967aa62605721081c3eb2a17650611a792aa802d76a6511d1840242623d204c9";

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], &str>) {
        let found = parse(text).map(|list| list.into_iter().map(|package| package.name).collect::<Vec<_>>());
        match expected {
            Ok(names) => assert_eq!(found.expect("accepted"), names),
            Err(part) => {
                let error = found.expect_err("refused");
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn lines_are_packages_or_named_in_the_error() {
        check("", Ok(&[]));
        check("# a comment\n\n", Ok(&[]));
        check(&format!("image amd64 libc6 2.41 12 {HASH} main pool/x.deb\n"), Ok(&["libc6"]));
        check(&format!("# c\nimage amd64 libc6 2.41 x {HASH} main pool/x.deb\n"), Err("line 2: the fifth"));
        check("image amd64 libc6 2.41 12 abc main pool/x.deb\n", Err("line 1: the sixth"));
        check("image amd64 libc6\n", Err("line 1: not 8 words"));
    }
}
