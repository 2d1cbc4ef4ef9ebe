//! One ring of lines: the newest as they are, what came before in compressed blocks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::MAX_LINE;

/// Text of a block before it is compressed, bytes. A reader unpacks one at a time.
const BLOCK: usize = 64 * 1024;

/// Whole lines within a number of bytes; the oldest blocks go first.
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
    sealed: VecDeque<Block>,
    /// Lines that are not in a block yet, and how many.
    live: Vec<u8>,
    live_lines: usize,
    /// Position of the first byte in `live`.
    live_start: u64,
}

/// Compressed lines.
#[derive(Debug)]
struct Block {
    /// Position of its first byte.
    start: u64,
    /// Bytes and lines before compression.
    length: usize,
    lines: usize,
    packed: Arc<[u8]>,
}

impl Text {
    /// Position of the oldest byte.
    fn start(&self) -> u64 {
        self.sealed.front().map_or(self.live_start, |block| block.start)
    }

    fn end(&self) -> u64 {
        self.live_start + self.live.len() as u64
    }

    fn push(&mut self, line: &[u8], limit: usize) {
        let (line, mark) = match line.get(..MAX_LINE) {
            Some(head) if line.len() > MAX_LINE => (head, &b"..."[..]),
            _ => (line, &b""[..]),
        };
        let added = line.len() + mark.len() + 1;
        if self.live.len() + added > BLOCK {
            self.seal();
        }
        while self.end() - self.start() + added as u64 > limit as u64 && self.sealed.pop_front().is_some() {}
        self.live.extend_from_slice(line);
        self.live.extend_from_slice(mark);
        self.live.push(b'\n');
        self.live_lines += 1;
    }

    /// Makes a block of what is live. A text of 64 KiB takes a fraction of a millisecond.
    fn seal(&mut self) {
        let (length, lines) = (self.live.len(), self.live_lines);
        let packed = lz4_flex::block::compress(&self.live).into();
        self.sealed.push_back(Block { start: self.live_start, length, lines, packed });
        self.live_start = self.end();
        self.live.clear();
        self.live_lines = 0;
    }

    /// The block that holds a position; `None` means the live text, or nothing.
    fn block(&self, position: u64) -> Option<&Block> {
        let after = self.sealed.partition_point(|block| block.start <= position);
        self.sealed.get(after.checked_sub(1)?).filter(|block| position < block.start + block.length as u64)
    }

    /// Position at which the last `count` lines begin.
    fn tail(&self, count: usize) -> u64 {
        let Some(mut left) = count.checked_sub(self.live_lines) else {
            return self.live_start + last_lines(&self.live, count) as u64;
        };
        for block in self.sealed.iter().rev() {
            if left < block.lines {
                return block.start + last_lines(&block.unpack(), left) as u64;
            }
            left -= block.lines;
        }
        self.start()
    }
}

impl Block {
    /// The lines. Memory that cannot be unpacked any more gives none: a log is no reason to fall over.
    fn unpack(&self) -> Vec<u8> {
        unpack(&self.packed, self.length)
    }
}

fn unpack(packed: &[u8], length: usize) -> Vec<u8> {
    lz4_flex::block::decompress(packed, length).unwrap_or_default()
}

/// Where the last `count` of the lines of a text begin.
fn last_lines(text: &[u8], count: usize) -> usize {
    let mut breaks = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    breaks.nth(count).map_or(0, |(at, _)| at + 1)
}

impl Ring {
    /// An empty ring of `limit` bytes of text; at least two blocks.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(BLOCK * 2), text: Mutex::default(), end: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line (without its line break). Line breaks inside make several lines; a long line is cut.
    pub fn push(&self, line: &[u8]) {
        let mut text = self.lock();
        for line in line.split(|byte| *byte == b'\n') {
            text.push(line, self.limit);
        }
        let end = text.end();
        drop(text);
        self.end.send_replace(end);
    }

    /// The last `count` lines as text, oldest first; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn tail(self: &Arc<Self>, count: usize) -> Vec<String> {
        let mut reader = self.reader(Some(count));
        let mut bytes = Vec::new();
        while let Some(more) = reader.read(BLOCK) {
            bytes.extend(more);
        }
        let lines: Vec<String> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
        // What was written meanwhile is newer than what was asked for, not more.
        lines.get(lines.len().saturating_sub(count)..).map(<[String]>::to_vec).unwrap_or_default()
    }

    /// A reader of the last `tail` lines and of what follows; `None` starts at the oldest line.
    #[must_use]
    pub fn reader(self: &Arc<Self>, tail: Option<usize>) -> Reader {
        let text = self.lock();
        let position = tail.map_or_else(|| text.start(), |count| text.tail(count));
        drop(text);
        Reader { ring: Arc::clone(self), position, unpacked: None, end: self.end.subscribe() }
    }
}

/// Walks a ring.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    position: u64,
    /// The block that is being read, by its position.
    unpacked: Option<(u64, Vec<u8>)>,
    end: watch::Receiver<u64>,
}

impl Reader {
    /// The next whole lines, at most `limit` bytes unless the first is longer; `None` when there is nothing new.
    pub fn read(&mut self, limit: usize) -> Option<Vec<u8>> {
        loop {
            if let Some((start, lines)) = &self.unpacked {
                let done = usize::try_from(self.position.checked_sub(*start)?).ok()?;
                if let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
                    let bytes = whole_lines(rest, limit).to_vec();
                    self.position += bytes.len() as u64;
                    return Some(bytes);
                }
                self.unpacked = None;
            }
            let text = self.ring.lock();
            self.position = self.position.max(text.start());
            let Some(block) = text.block(self.position) else {
                let done = usize::try_from(self.position.checked_sub(text.live_start)?).ok()?;
                let bytes = whole_lines(text.live.get(done..).filter(|rest| !rest.is_empty())?, limit).to_vec();
                self.position += bytes.len() as u64;
                return Some(bytes);
            };
            let (start, length, packed) = (block.start, block.length, Arc::clone(&block.packed));
            // Writers don't wait for a reader that unpacks.
            drop(text);
            let lines = unpack(&packed, length);
            if lines.is_empty() {
                self.position = start + length as u64;
            }
            self.unpacked = Some((start, lines)).filter(|(_, lines)| !lines.is_empty());
        }
    }

    /// Waits until there is something to read. Cancel-safe.
    pub async fn wait(&mut self) {
        let position = self.position;
        // The sender lives as long as the ring that this reader holds.
        let _ = self.end.wait_for(|end| *end > position).await;
    }
}

/// The first lines of a text that begins with one: as many as fit into `limit`, at least one.
fn whole_lines(text: &[u8], limit: usize) -> &[u8] {
    let within = text.get(..limit).unwrap_or(text);
    let end = within.iter().rposition(|byte| *byte == b'\n').or_else(|| text.iter().position(|byte| *byte == b'\n'));
    end.and_then(|at| text.get(..=at)).unwrap_or(text)
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
