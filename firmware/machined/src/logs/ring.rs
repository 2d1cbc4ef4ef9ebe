//! One ring of lines.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::MAX_LINE;

/// Whole lines within a number of bytes; the oldest go first.
///
/// A position counts every byte ever written, so it never repeats and stays valid while the ring turns.
#[derive(Debug)]
pub struct Ring {
    limit: usize,
    text: Mutex<Text>,
    end: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Text {
    bytes: VecDeque<u8>,
    /// Position of the first byte in `bytes`.
    start: u64,
}

impl Text {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn drop_oldest_line(&mut self) {
        let length = self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |at| at + 1);
        self.bytes.drain(..length);
        self.start += length as u64;
    }

    /// Position at which the last `count` lines begin.
    fn tail(&self, count: usize) -> u64 {
        let mut left = count;
        for (at, byte) in self.bytes.iter().enumerate().rev() {
            if *byte == b'\n' {
                if left == 0 {
                    return self.start + at as u64 + 1;
                }
                left -= 1;
            }
        }
        self.start
    }
}

impl Ring {
    /// An empty ring of `limit` bytes, which must be more than the longest line.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(MAX_LINE * 2), text: Mutex::default(), end: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line (without its line break). Line breaks inside make several lines; a long line is cut.
    pub fn push(&self, line: &[u8]) {
        let mut text = self.lock();
        for line in line.split(|byte| *byte == b'\n') {
            let (line, mark) = match line.get(..MAX_LINE) {
                Some(head) if line.len() > MAX_LINE => (head, &b"..."[..]),
                _ => (line, &b""[..]),
            };
            while !text.bytes.is_empty() && text.bytes.len() + line.len() + mark.len() + 1 > self.limit {
                text.drop_oldest_line();
            }
            text.bytes.extend(line.iter().chain(mark).chain(b"\n"));
        }
        let end = text.end();
        drop(text);
        self.end.send_replace(end);
    }

    /// The last `count` lines as text, oldest first; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let text = self.lock();
        let skip = usize::try_from(text.tail(count) - text.start).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = text.bytes.iter().skip(skip).copied().collect();
        drop(text);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// A reader of the last `tail` lines and of what follows; `None` starts at the oldest line.
    #[must_use]
    pub fn reader(self: &Arc<Self>, tail: Option<usize>) -> Reader {
        let text = self.lock();
        let position = tail.map_or(text.start, |count| text.tail(count));
        drop(text);
        Reader { ring: Arc::clone(self), position, end: self.end.subscribe() }
    }
}

/// Walks a ring.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    position: u64,
    end: watch::Receiver<u64>,
}

impl Reader {
    /// The next whole lines, at most `limit` bytes unless the first is longer; `None` when there is nothing new.
    pub fn read(&mut self, limit: usize) -> Option<Vec<u8>> {
        let text = self.ring.lock();
        self.position = self.position.max(text.start);
        let skip = usize::try_from(self.position - text.start).ok()?;
        let rest = text.bytes.len().checked_sub(skip).filter(|rest| *rest > 0)?;
        let fits = text.bytes.range(skip..).take(limit).enumerate().rfind(|(_, byte)| **byte == b'\n');
        let length = match fits {
            Some((at, _)) => at + 1,
            None => text.bytes.range(skip..).position(|byte| *byte == b'\n').map_or(rest, |at| at + 1),
        };
        let bytes = text.bytes.range(skip..skip + length).copied().collect();
        self.position += length as u64;
        Some(bytes)
    }

    /// Waits until there is something to read. Cancel-safe.
    pub async fn wait(&mut self) {
        let position = self.position;
        // The sender lives as long as the ring that this reader holds.
        let _ = self.end.wait_for(|end| *end > position).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(reader: &mut Reader, limit: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = reader.read(limit) {
            all.extend(chunk);
        }
        all
    }

    #[track_caller]
    fn check(lines: &[&str], tail: Option<usize>, wanted: &str) {
        let ring = Arc::new(Ring::new(0));
        lines.iter().for_each(|line| ring.push(line.as_bytes()));
        assert_eq!(String::from_utf8_lossy(&drain(&mut ring.reader(tail), 7)), wanted);
    }

    #[test]
    fn tails_are_exact() {
        let lines = ["one", "two", "", "four"];
        check(&lines, None, "one\ntwo\n\nfour\n");
        check(&lines, Some(0), "");
        check(&lines, Some(1), "four\n");
        check(&lines, Some(2), "\nfour\n");
        check(&lines, Some(4), "one\ntwo\n\nfour\n");
        check(&lines, Some(100), "one\ntwo\n\nfour\n");
        check(&["a\nb"], Some(1), "b\n");
        check(&[], Some(5), "");
    }

    #[test]
    fn long_lines_are_cut() {
        let ring = Ring::new(0);
        ring.push(&vec![b'x'; MAX_LINE + 1]);
        assert_eq!(ring.tail(1)[0].len(), MAX_LINE + 3);
    }

    #[tokio::test]
    async fn a_follower_wakes_up() {
        let ring = Arc::new(Ring::new(0));
        let mut reader = ring.reader(Some(0));
        assert_eq!(reader.read(100), None);
        let writer = Arc::clone(&ring);
        let (_, ()) = tokio::join!(reader.wait(), async move { writer.push(b"late") });
        assert_eq!(reader.read(100).as_deref(), Some(&b"late\n"[..]));
    }

    proptest! {
        // Each case moves a lot of bytes one by one in a debug build.
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Whatever is written: at most the limit is kept, whole lines only, the newest ones, and a reader that
        /// reads in any rhythm sees an in-order selection that ends with the last line.
        #[test]
        fn keeps_the_newest_whole_lines(
            lines in prop::collection::vec("[a-z]{0,2000}", 1..80),
            rhythm in prop::collection::vec(1_usize..5000, 1..80),
        ) {
            let ring = Arc::new(Ring::new(0));
            let mut reader = ring.reader(None);
            let mut seen = Vec::new();
            for (line, limit) in lines.iter().zip(rhythm.iter().cycle()) {
                ring.push(line.as_bytes());
                if limit % 3 == 0 {
                    seen.extend(reader.read(*limit).unwrap_or_default());
                }
            }
            seen.extend(drain(&mut reader, 1000));
            prop_assert!(ring.lock().bytes.len() <= ring.limit);
            let kept = ring.tail(usize::MAX);
            prop_assert_eq!(&kept[..], &lines[lines.len() - kept.len()..]);
            let seen = String::from_utf8(seen).expect("whole lines");
            let mut all = lines.iter();
            prop_assert!(seen.lines().all(|line| all.any(|other| other == line)));
            prop_assert_eq!(seen.lines().next_back().unwrap_or_default(), lines[lines.len() - 1].as_str());
        }
    }
}
