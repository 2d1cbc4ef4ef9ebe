//! The configuration on STATE, replaced so that every moment shows the old one or the new one, whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The active file.
pub const FILE: &str = "config.yaml";
/// The one before it.
pub const PREVIOUS: &str = "config.yaml.previous";

/// Largest configuration taken from anywhere, bytes.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The steps of [`persist`], in order; each may be the last before a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the new text beside the old one.
    Write,
    /// Flush it.
    Flush,
    /// A second name for the old one.
    LinkPrevious,
    /// That name becomes the previous one.
    RenamePrevious,
    /// The new text takes the name.
    Rename,
    /// Flush the names.
    FlushFolder,
}

/// A configuration could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum StoreError {
    #[error("store the configuration in {path}: {step:?}")]
    Persist { path: PathBuf, step: Step, source: io::Error },
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {MAX_BYTES} bytes")]
    TooLarge { path: PathBuf },
    #[error("{path} is not UTF-8")]
    NotText { path: PathBuf },
}

/// Replaces the configuration in `folder`. When this returns without error, the new one survives a power cut.
///
/// # Errors
/// [`StoreError::Persist`]: the old one is still in force, unless only the last flush failed.
pub fn persist(folder: &Path, text: &str) -> Result<(), StoreError> {
    persist_with(folder, text, |_| Ok(()))
}

/// [`persist`] with a word before each step, for tests of what a power cut leaves.
fn persist_with(folder: &Path, text: &str, mut before: impl FnMut(Step) -> io::Result<()>) -> Result<(), StoreError> {
    let (file, fresh) = (folder.join(FILE), folder.join("config.yaml.new"));
    let (previous, link) = (folder.join(PREVIOUS), folder.join("config.yaml.link"));
    let mut run = |step, work: &mut dyn FnMut() -> io::Result<()>| {
        let result = before(step).and_then(|()| work());
        result.map_err(|source| StoreError::Persist { path: file.clone(), step, source })
    };
    let mut open = None;
    run(Step::Write, &mut || {
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        new.write_all(text.as_bytes())?;
        open = Some(new);
        Ok(())
    })?;
    run(Step::Flush, &mut || open.take().map_or(Ok(()), |new| new.sync_all()))?;
    run(Step::LinkPrevious, &mut || {
        absent_is_fine(fs::remove_file(&link))?;
        absent_is_fine(fs::hard_link(&file, &link))
    })?;
    run(Step::RenamePrevious, &mut || absent_is_fine(fs::rename(&link, &previous)))?;
    run(Step::Rename, &mut || fs::rename(&fresh, &file))?;
    run(Step::FlushFolder, &mut || File::open(folder)?.sync_all())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The configuration in `folder`; `None` when there is none.
///
/// # Errors
/// [`StoreError::Read`], [`StoreError::TooLarge`], [`StoreError::NotText`].
pub fn load(folder: &Path) -> Result<Option<String>, StoreError> {
    read_bounded(&folder.join(FILE))
}

/// A text file of at most [`MAX_BYTES`]; `None` when there is none.
///
/// # Errors
/// As [`load`].
pub fn read_bounded(path: &Path) -> Result<Option<String>, StoreError> {
    let failed = |source| StoreError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(StoreError::TooLarge { path: path.into() });
    }
    String::from_utf8(bytes).map(Some).map_err(|_| StoreError::NotText { path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 6] = [Step::Write, Step::Flush, Step::LinkPrevious, Step::RenamePrevious, Step::Rename, Step::FlushFolder];

    /// Cuts the power before `cut`: what is found then, and that a later write works on top of the debris.
    #[track_caller]
    fn check(old: Option<&str>, cut: Step, wanted: Option<&str>) {
        let folder = tempfile::tempdir().expect("folder");
        if let Some(old) = old {
            persist(folder.path(), old).expect("old one stored");
        }
        let mut seen = Vec::new();
        let result = persist_with(folder.path(), "new", |step| {
            seen.push(step);
            if step == cut { Err(io::Error::other("power cut")) } else { Ok(()) }
        });
        assert!(result.is_err());
        assert!(STEPS.starts_with(&seen) && seen.last() == Some(&cut), "{seen:?}");
        assert_eq!(load(folder.path()).expect("loads").as_deref(), wanted, "cut before {cut:?}");
        persist(folder.path(), "third").expect("stored over the debris");
        assert_eq!(load(folder.path()).expect("loads").as_deref(), Some("third"));
        let previous = read_bounded(&folder.path().join(PREVIOUS)).expect("reads");
        assert_eq!(previous.as_deref(), wanted, "previous after a cut before {cut:?}");
    }

    #[test]
    fn every_prefix_leaves_the_old_or_the_new() {
        for (index, step) in STEPS.into_iter().enumerate() {
            let renamed = index > 4;
            check(Some("old"), step, Some(if renamed { "new" } else { "old" }));
            check(None, step, renamed.then_some("new"));
        }
    }

    #[test]
    fn sizes_modes_and_encodings() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        assert!(load(folder.path()).expect("none is fine").is_none());
        persist(folder.path(), "a").expect("stored");
        let mode = fs::metadata(folder.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join(FILE), [0xff]).expect("written");
        assert!(matches!(load(folder.path()), Err(StoreError::NotText { .. })));
        let large = File::create(folder.path().join(FILE)).expect("made");
        large.set_len(MAX_BYTES + 1).expect("sized");
        assert!(matches!(load(folder.path()), Err(StoreError::TooLarge { .. })));
        assert!(matches!(persist(Path::new("/nonexistent"), "x"), Err(StoreError::Persist { step: Step::Write, .. })));
    }
}
