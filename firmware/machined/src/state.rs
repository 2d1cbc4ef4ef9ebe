//! Small files on STATE, replaced so that every moment shows the old content or the new one, whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// STATE's mount point.
pub const STATE: &str = "/system/state";

/// The steps of [`replace`], in order; each may be the last before a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the new content beside the old one.
    Write,
    /// Flush it.
    Flush,
    /// It takes the name.
    Rename,
    /// Flush the names.
    FlushFolder,
}

/// A file on STATE could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum StateError {
    #[error("store {path}: {step:?}")]
    Replace { path: PathBuf, step: Step, source: io::Error },
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{path} is not UTF-8")]
    NotText { path: PathBuf },
}

/// Replaces `name` in `folder`. When it returns, the new content survives a power cut.
///
/// # Errors
/// [`StateError::Replace`]; the old content is still there.
pub fn replace(folder: &Path, name: &str, text: &str) -> Result<(), StateError> {
    replace_with(folder, name, text, |_| Ok(()))
}

/// As [`replace`]; `before` is asked before each step and stands for a power cut when it refuses.
fn replace_with(folder: &Path, name: &str, text: &str, mut before: impl FnMut(Step) -> io::Result<()>) -> Result<(), StateError> {
    let path = folder.join(name);
    let fresh = folder.join(format!("{name}.new"));
    let failed = |step| {
        let path = path.clone();
        move |source| StateError::Replace { path, step, source }
    };
    before(Step::Write).map_err(failed(Step::Write))?;
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    let mut file = opened.map_err(failed(Step::Write))?;
    file.write_all(text.as_bytes()).map_err(failed(Step::Write))?;
    before(Step::Flush).and_then(|()| file.sync_all()).map_err(failed(Step::Flush))?;
    before(Step::Rename).and_then(|()| fs::rename(&fresh, &path)).map_err(failed(Step::Rename))?;
    let flush = |()| File::open(folder)?.sync_all();
    before(Step::FlushFolder).and_then(flush).map_err(failed(Step::FlushFolder))
}

/// A text file of at most `limit` bytes; `None` when there is none.
///
/// # Errors
/// [`StateError::Read`], [`StateError::TooLarge`], [`StateError::NotText`].
pub fn read(folder: &Path, name: &str, limit: u64) -> Result<Option<String>, StateError> {
    let path = folder.join(name);
    let failed = |source| StateError::Read { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(StateError::TooLarge { path, limit });
    }
    String::from_utf8(bytes).map(Some).map_err(|_| StateError::NotText { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "node-identity.yaml";

    /// Cuts the power before `cut`: what is found then, and that a later write works on top of the debris.
    #[track_caller]
    fn check(old: Option<&str>, cut: Step, wanted: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(old) = old {
            replace(folder.path(), NAME, old).unwrap();
        }
        let result = replace_with(folder.path(), NAME, "new", |step| if step == cut { Err(io::Error::other("power cut")) } else { Ok(()) });
        assert!(matches!(&result, Err(StateError::Replace { step, .. }) if *step == cut), "{result:?}");
        assert_eq!(read(folder.path(), NAME, 64).unwrap().as_deref(), wanted, "cut before {cut:?}");
        replace(folder.path(), NAME, "third").unwrap();
        assert_eq!(read(folder.path(), NAME, 64).unwrap().as_deref(), Some("third"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing left over");
    }

    #[test]
    fn every_prefix_leaves_the_old_or_the_new() {
        for cut in [Step::Write, Step::Flush, Step::Rename] {
            check(Some("old"), cut, Some("old"));
            check(None, cut, None);
        }
        check(Some("old"), Step::FlushFolder, Some("new"));
    }

    #[test]
    fn sizes_modes_and_encodings() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), NAME, 4).unwrap(), None);
        replace(folder.path(), NAME, "12345").unwrap();
        assert_eq!(fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(read(folder.path(), NAME, 4), Err(StateError::TooLarge { .. })));
        fs::write(folder.path().join(NAME), [0xff]).unwrap();
        assert!(matches!(read(folder.path(), NAME, 4), Err(StateError::NotText { .. })));
        assert!(matches!(replace(Path::new("/nonexistent"), NAME, "x"), Err(StateError::Replace { step: Step::Write, .. })));
    }
}
