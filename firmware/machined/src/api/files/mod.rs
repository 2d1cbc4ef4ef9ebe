//! Files of the node, read-only: `List`, `Read`, `Copy` and `DiskUsage`.
//!
//! Errors of the file system go out as plain errors in the words that clients look for
//! (`lstat /x: no such file or directory`).

mod copy;
mod list;
mod read;
mod usage;
mod walk;

use std::{io, path::Path};

use nix::{
    errno::Errno,
    sys::statfs::{FsType, PROC_SUPER_MAGIC, statfs},
};

pub(super) use copy::copy;
pub(super) use list::list;
pub(super) use read::read;
pub(super) use usage::usage;

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

/// Whether this is the file of procfs that claims to hold all that the kernel can address; not every kernel has it.
fn is_kernel_memory(path: &Path) -> bool {
    names_kernel_memory(path, || Some(statfs(path).ok()?.filesystem_type()))
}

fn names_kernel_memory(path: &Path, file_system: impl FnOnce() -> Option<FsType>) -> bool {
    path.ends_with("kcore") && file_system() == Some(PROC_SUPER_MAGIC)
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

    #[test]
    fn the_kernels_memory_is_known_by_name_and_place() {
        use nix::sys::statfs::TMPFS_MAGIC;
        for (path, kind, wanted) in [
            ("/proc/kcore", Some(PROC_SUPER_MAGIC), true),
            ("/run/x/proc/kcore", Some(PROC_SUPER_MAGIC), true),
            ("/tmp/kcore", Some(TMPFS_MAGIC), false),
            ("/proc/kcores", Some(PROC_SUPER_MAGIC), false),
            ("/proc/kcore", None, false),
        ] {
            assert_eq!(names_kernel_memory(Path::new(path), || kind), wanted, "{path}");
        }
        assert!(!is_kernel_memory(Path::new("/proc/version")));
    }
}
