//! Files brought into memory before they are needed.

use std::{fs::File, io, path::Path};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Asks the kernel to read a whole file into its cache; returns once the reads are under way.
///
/// # Errors
/// The file cannot be opened, or its file system has no cache.
pub fn whole(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // A length of 0 is up to the end (posix_fadvise(2)).
    Ok(posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_what_is_none() {
        whole(Path::new("/proc/self/exe")).expect("read ahead");
        assert!(whole(Path::new("/proc/self/no-such-file")).is_err());
    }
}
