//! The serial port's log, read as it grows.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::limits;

/// How much of the log a failure shows.
const SHOWN_LINES: usize = 60;

/// A log that QEMU appends to.
#[derive(Clone, Debug)]
pub struct SerialLog {
    path: PathBuf,
    /// Where the present boot's part starts.
    from: usize,
}

impl SerialLog {
    /// The log at `path`, from its start.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), from: 0 }
    }

    /// From here on only what is said later counts: called before each boot.
    pub fn mark(&mut self) {
        self.from = self.bytes().len();
    }

    /// What was said since the mark, without escape sequences and carriage returns.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.bytes();
        plain(&String::from_utf8_lossy(bytes.get(self.from..).unwrap_or_default()))
    }

    /// The last lines, for a failure.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    /// Waits until `text` was said since the mark.
    ///
    /// # Errors
    /// When it was not within `limit`, or `alive` fails; both with the end of the log.
    pub fn wait(&self, text: &str, limit: Duration, mut alive: impl FnMut() -> Result<()>) -> Result<()> {
        let start = Instant::now();
        while !self.text().contains(text) {
            let state = alive();
            if start.elapsed() > limit || state.is_err() {
                let why = state.err().map_or_else(|| format!("not within {limit:?}"), |error| format!("{error:#}"));
                bail!("waiting for {text:?} on the serial port: {why}; the log ends with:\n{}", self.tail());
            }
            thread::sleep(limits::POLL);
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap_or_default()
    }
}

/// Text without terminal escape sequences.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => {
                // CSI: parameters up to a final letter; any other escape is two characters long.
                if chars.next() == Some('[') {
                    while chars.next().is_some_and(|next| !next.is_ascii_alphabetic() && next != '~') {}
                }
            }
            '\r' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_out() {
        let check = |raw: &str, wanted: &str| assert_eq!(plain(raw), wanted, "from {raw:?}");
        check("a\x1b[2Jb\r\n", "ab\n");
        check("\x1b[1;31mred\x1b[0m", "red");
        check("\x1b=x", "x");
        check("cut \x1b[12", "cut ");
    }

    #[test]
    fn only_what_comes_after_the_mark_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "first boot\n").unwrap();
        let mut log = SerialLog::new(&path);
        log.wait("first", limits::POLL, || Ok(())).unwrap();
        log.mark();
        let error = log.wait("first", limits::POLL, || Ok(())).unwrap_err().to_string();
        assert!(error.contains("waiting for \"first\""), "{error}");
        let error = log.wait("first", limits::SERIAL, || bail!("QEMU ended")).unwrap_err().to_string();
        assert!(error.contains("QEMU ended"), "{error}");
    }
}
