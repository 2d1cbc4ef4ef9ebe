//! Files of the node, read-only: `List` and `Read`.
//!
//! Errors of the file system go out as plain errors in the words that clients look for
//! (`lstat /x: no such file or directory`).

mod list;
mod read;
mod walk;

use std::{io, path::Path};

use nix::errno::Errno;

pub(super) use list::list;
pub(super) use read::read;

/// `what path: reason`, the reason in lower case without numbers.
fn plain(what: &str, path: &Path, error: &io::Error) -> String {
    let reason = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    let mut letters = reason.chars();
    let reason: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    format!("{what} {}: {reason}", path.display())
}

/// An absolute path: a missing slash in front is added, one at the end goes.
fn absolute(text: &str) -> std::path::PathBuf {
    let trimmed = text.trim_end_matches('/');
    Path::new("/").join(trimmed.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_errors() {
        for (text, wanted) in [("/", "/"), ("", "/"), ("etc/", "/etc"), ("/etc//", "/etc"), ("//proc/1", "/proc/1")] {
            assert_eq!(absolute(text), Path::new(wanted), "{text:?}");
        }
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!(plain("lstat", Path::new("/x"), &missing), "lstat /x: no such file or directory");
    }
}
