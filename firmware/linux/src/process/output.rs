//! A child's output as lines.

use std::{
    collections::VecDeque,
    io::{self, PipeReader},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{io::AsyncReadExt, net::unix::pipe};

/// Longest line handed on, in bytes; a longer one arrives in pieces of this size.
pub const MAX_LINE: usize = 8 * 1024;

/// Takes the lines of a process. Called in the reactor: must not block.
pub trait LineSink: Send + Sync {
    /// One line without its line break, at most [`MAX_LINE`] bytes.
    fn line(&self, text: &[u8]);
}

/// Cuts a byte stream into lines of bounded length.
#[derive(Debug, Default)]
pub struct LineSplitter {
    rest: Vec<u8>,
}

impl LineSplitter {
    /// Takes the next bytes and hands on each line that is complete.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let mut text = text;
            while self.rest.len() + text.len() > MAX_LINE {
                let (head, tail) = text.split_at(MAX_LINE.saturating_sub(self.rest.len()).min(text.len()));
                self.rest.extend_from_slice(head);
                line(&self.rest);
                self.rest.clear();
                text = tail;
            }
            self.rest.extend_from_slice(text);
            if complete {
                line(self.rest.strip_suffix(b"\r").unwrap_or(&self.rest));
                self.rest.clear();
            }
        }
    }

    /// Hands on what is left when the stream ends without a line break.
    pub fn end(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.rest.is_empty() {
            line(&self.rest);
            self.rest.clear();
        }
    }
}

/// Reads the pipe to its end. An error of the pipe ends the stream like its end would.
pub(super) async fn pump(reader: PipeReader, sink: Arc<dyn LineSink>) -> io::Result<()> {
    let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut splitter = LineSplitter::default();
    let mut buffer = vec![0_u8; 4096];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            splitter.end(|text| sink.line(text));
            return Ok(());
        }
        splitter.feed(buffer.get(..count).unwrap_or_default(), |text| sink.line(text));
    }
}

/// A sink that keeps the last lines within a number of bytes.
#[derive(Debug)]
pub struct Collect {
    limit: usize,
    kept: Mutex<(usize, VecDeque<Vec<u8>>)>,
}

impl Collect {
    /// Keeps at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// What is kept, a line break after each line; not-UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1.iter().map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
    }
}

impl LineSink for Collect {
    fn line(&self, text: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += text.len() + 1;
        kept.1.push_back(text.to_vec());
        while kept.0 > self.limit {
            let Some(gone) = kept.1.pop_front() else { break };
            kept.0 = kept.0.saturating_sub(gone.len() + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunks: &[&[u8]], wanted: &[&[u8]]) {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.feed(chunk, |line| lines.push(line.to_vec()));
        }
        splitter.end(|line| lines.push(line.to_vec()));
        assert_eq!(lines, wanted);
    }

    #[test]
    fn lines_are_cut_and_bounded() {
        check(&[b"a\nb\n"], &[b"a", b"b"]);
        check(&[b"a", b"b\r\n", b"\n", b"c"], &[b"ab", b"", b"c"]);
        check(&[], &[]);
        let long = vec![b'x'; MAX_LINE + 3];
        check(&[&long, b"\n"], &[&long[..MAX_LINE], b"xxx"]);
        check(&[&long[..MAX_LINE], b"\nz"], &[&long[..MAX_LINE], b"z"]);
        check(&[&long[..5], &long, b"y\n"], &[&long[..MAX_LINE], b"xxxxxxxxy"]);
    }

    #[test]
    fn collect_keeps_the_end() {
        let sink = Collect::new(6);
        for line in [b"aa".as_slice(), b"bb", b"cc"] {
            sink.line(line);
        }
        assert_eq!(sink.text(), "bb\ncc\n");
    }
}
