//! A walk over a directory tree, names in order, root first, that can stop and go on.

use std::{
    fs::Metadata,
    io,
    path::{Path, PathBuf},
};

/// Deeper than any sane tree; a walk goes no further down, and says so if it was to.
const MAX_DEPTH: usize = 255;
/// Entries of one directory that are looked at; more are an error of that directory.
const MAX_ENTRIES: usize = 100_000;

/// Something found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path.
    pub(super) path: PathBuf,
    /// Its path below the root, `.` for a root that is a directory.
    pub(super) relative: PathBuf,
    /// How many levels below the root it is.
    pub(super) level: usize,
    /// What it is (links not followed), or the error with the operation that failed.
    pub(super) state: Result<Metadata, (&'static str, io::Error)>,
}

/// The walk. Directories that are mount points are entered, symbolic links are not.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    /// How many levels below the root are shown.
    depth: usize,
    /// More of them were asked for.
    cut: bool,
    /// What is to be looked at, the next one last.
    pending: Vec<(PathBuf, usize)>,
}

impl Walk {
    /// Starts at `root`, which must exist; a root that is a symbolic link is followed.
    pub(super) fn new(root: &Path, depth: usize) -> io::Result<Self> {
        let root = if root.symlink_metadata()?.is_symlink() { root.canonicalize()? } else { root.to_owned() };
        Ok(Self { pending: vec![(root.clone(), 0)], root, depth: depth.min(MAX_DEPTH), cut: depth > MAX_DEPTH })
    }

    fn relative(&self, path: &Path, state: &Result<Metadata, (&'static str, io::Error)>) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(rest) if !rest.as_os_str().is_empty() => rest.to_owned(),
            _ if state.as_ref().is_ok_and(|meta| !meta.is_dir()) => path.file_name().map(PathBuf::from).unwrap_or_default(),
            _ => PathBuf::from("."),
        }
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let (path, level) = self.pending.pop()?;
        let mut state = path.symlink_metadata().map_err(|error| ("lstat", error));
        if state.as_ref().is_ok_and(Metadata::is_dir) && level < self.depth {
            match children(&path) {
                Ok(names) => self.pending.extend(names.into_iter().map(|child| (child, level + 1))),
                Err(error) => state = Err(("open", error)),
            }
        } else if state.as_ref().is_ok_and(Metadata::is_dir) && self.cut {
            state = Err(("open", io::Error::other(format!("it is {MAX_DEPTH} levels down, where the walk ends"))));
        }
        Some(Found { relative: self.relative(&path, &state), path, level, state })
    }
}

/// The entries of a directory, the first name last.
fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in path.read_dir()? {
        if names.len() == MAX_ENTRIES {
            return Err(io::Error::other(format!("more than {MAX_ENTRIES} entries")));
        }
        names.push(entry?.path());
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("folder");
        fs::create_dir_all(root.path().join("b/c/d")).expect("folders");
        for file in ["a", "b/x", "b/c/y", "z"] {
            fs::write(root.path().join(file), file).expect("file");
        }
        std::os::unix::fs::symlink("b", root.path().join("link")).expect("link");
        root
    }

    #[track_caller]
    fn check(start: &str, depth: usize, wanted: &[&str]) {
        let root = tree();
        let walk = Walk::new(&root.path().join(start), depth).expect("exists");
        let found: Vec<String> = walk.map(|found| found.relative.display().to_string()).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn order_and_depth() {
        check("", 0, &["."]);
        check("", 1, &[".", "a", "b", "link", "z"]);
        check("", 2, &[".", "a", "b", "b/c", "b/x", "link", "z"]);
        check("", usize::MAX, &[".", "a", "b", "b/c", "b/c/d", "b/c/y", "b/x", "link", "z"]);
        check("link", 1, &[".", "c", "x"]);
        check("a", 1, &["a"]);
        assert!(Walk::new(Path::new("/nowhere/at/all"), 1).is_err());
    }

    #[test]
    fn a_tree_too_deep_is_no_end_in_silence() {
        let root = tempfile::tempdir().expect("folder");
        fs::create_dir_all(root.path().join("d/".repeat(MAX_DEPTH + 1))).expect("folders");
        let errors = |depth| Walk::new(root.path(), depth).expect("exists").filter(|found| found.state.is_err()).count();
        assert_eq!((errors(usize::MAX), errors(MAX_DEPTH), errors(2)), (1, 0, 0));
    }
}
