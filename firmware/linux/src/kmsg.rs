//! The kernel log: `/dev/kmsg` written and read.
//!
//! One write is one record, one read is one record. [`parse`] is pure.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use tokio::io::unix::AsyncFd;

/// Where it is.
pub const PATH: &str = "/dev/kmsg";

/// A record's text is cut at this many bytes by the kernel (`PRINTKRB_RECORD_MAX`, 1024, with its prefix).
const MAX_RECORD: usize = 976;

/// Longest record a read can return (`PRINTK_MESSAGE_MAX` and the dictionary).
const READ_BUFFER: usize = 8192;

/// Facility "daemon" as in syslog.
const FACILITY: u8 = 3;

/// Severity of a record; numbers as in syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are syslog's")]
pub enum Level {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// Writes records to the kernel log.
#[derive(Debug)]
pub struct Writer {
    file: File,
}

impl Writer {
    /// Opens `/dev/kmsg` for writing.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open() -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().write(true).open(PATH)? })
    }

    /// Writes `tag: text`, a record a line, long lines in pieces.
    ///
    /// # Errors
    /// As `write(2)`; the kernel answers at once, it never blocks here.
    pub fn write(&self, level: Level, tag: &str, text: &str) -> io::Result<()> {
        for record in records(level, tag, text) {
            (&self.file).write_all(record.as_bytes())?;
        }
        Ok(())
    }
}

/// The records for a text.
fn records(level: Level, tag: &str, text: &str) -> Vec<String> {
    let priority = (FACILITY << 3) | level as u8;
    let room = MAX_RECORD.saturating_sub(tag.len() + 2).max(1);
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut rest = line;
        while !rest.is_empty() {
            let cut = rest.floor_char_boundary(room).max(1);
            let (piece, after) = rest.split_at_checked(cut).unwrap_or((rest, ""));
            all.push(format!("<{priority}>{tag}: {piece}"));
            rest = after;
        }
    }
    all
}

/// A record of the kernel log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Syslog facility: 0 kernel, 1 user, 3 daemon ...
    pub facility: u8,
    /// Severity 0-7.
    pub level: u8,
    /// Position in the log; a gap means lost records.
    pub sequence: u64,
    /// Microseconds since the kernel started.
    pub microseconds: u64,
    /// The text without dictionary, escapes undone.
    pub text: String,
}

/// Reads `priority,sequence,microseconds,flags[,...];text\n[ KEY=value\n...]`; `None` when it is not of that shape.
#[must_use]
pub fn parse(record: &[u8]) -> Option<Record> {
    let text = String::from_utf8_lossy(record);
    let (head, body) = text.split_once(';')?;
    let mut head = head.split(',');
    let priority: u32 = head.next()?.parse().ok()?;
    let sequence = head.next()?.parse().ok()?;
    let microseconds = head.next()?.parse().ok()?;
    Some(Record {
        facility: u8::try_from(priority >> 3).unwrap_or(u8::MAX),
        level: u8::try_from(priority & 7).ok()?,
        sequence,
        microseconds,
        text: unescape(body.lines().next().unwrap_or_default()),
    })
}

/// The kernel writes unprintable bytes and the backslash as `\xNN`.
fn unescape(text: &str) -> String {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// What reading gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Record),
    /// The reader was too slow: records in between are gone. The next one is the oldest still there.
    Overrun,
}

/// Reads the kernel log from its oldest record.
#[derive(Debug)]
pub struct Reader {
    file: AsyncFd<File>,
    buffer: Vec<u8>,
}

impl Reader {
    /// Opens `/dev/kmsg` at its oldest record. Needs a running tokio runtime.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open() -> io::Result<Self> {
        Self::open_path(Path::new(PATH))
    }

    fn open_path(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        // SAFETY: a `File` always returns the same descriptor and keeps it open as long as it lives, and only shared
        // references to it are handed out from here on.
        let file = unsafe { AsyncFd::register(file) }?;
        Ok(Self { file, buffer: vec![0; READ_BUFFER] })
    }

    /// The next record that is there already; `None` at the present end of the log.
    ///
    /// # Errors
    /// As `read(2)`, but for EPIPE ([`Item::Overrun`]) and EAGAIN (`None`).
    pub fn try_next(&mut self) -> io::Result<Option<Item>> {
        loop {
            match self.file.get_ref().read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    // A record of unknown shape is passed over.
                    if let Some(record) = self.buffer.get(..count).and_then(parse) {
                        return Ok(Some(Item::Record(record)));
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EPIPE) => return Ok(Some(Item::Overrun)),
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// The next record, waiting for one. Cancel-safe.
    ///
    /// # Errors
    /// As [`Reader::try_next`].
    pub async fn next(&mut self) -> io::Result<Item> {
        loop {
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            // Readiness is cleared only after a read said that there is nothing: no record can be missed.
            self.file.readable().await?.clear_ready();
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &[u8], wanted: Option<(u8, u8, u64, u64, &str)>) {
        let found = parse(raw);
        let found = found.as_ref().map(|r| (r.facility, r.level, r.sequence, r.microseconds, &*r.text));
        assert_eq!(found, wanted);
    }

    #[test]
    fn records_are_parsed() {
        check(b"6,1,100,-;Linux version\n", Some((0, 6, 1, 100, "Linux version")));
        check(b"30,7,9,-,caller=T1;keelson: up\n SUBSYSTEM=x\n", Some((3, 6, 7, 9, "keelson: up")));
        check(b"3,2,5,c;a\\x0ab\\x5cx \\xzz\n", Some((0, 3, 2, 5, "a\nb\\x \\xzz")));
        check(b"6,1,100,-;\n", Some((0, 6, 1, 100, "")));
        check(b"6,1;x", None);
        check(b"x,1,1,-;x", None);
        check(b"", None);
    }

    #[test]
    fn texts_become_records() {
        assert_eq!(records(Level::Warning, "keelson", "a\n\nb"), ["<28>keelson: a", "<28>keelson: b"]);
        let long = "ä".repeat(600);
        let pieces = records(Level::Info, "keelson", &long);
        assert_eq!(pieces.len(), 2);
        assert!(pieces.iter().all(|piece| piece.len() <= MAX_RECORD + 4));
        let joined: String = pieces.iter().filter_map(|piece| piece.strip_prefix("<30>keelson: ")).collect();
        assert_eq!(joined, long);
    }
}
