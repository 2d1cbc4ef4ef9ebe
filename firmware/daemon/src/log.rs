//! The backend of the `log` crate: every record becomes a [`Line`] and goes to all sinks.
//!
//! Sinks are called on the thread that logs, so a sink never blocks: it drops and counts instead.

use std::{
    fmt,
    io::Write,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

pub use log::Level;
use log::{LevelFilter, Log, Metadata, Record};

/// Longest text of one line in bytes; the rest is cut with `...`.
pub const MAX_TEXT: usize = 4096;

/// Crates whose debug and info records are of no use to an operator of a node.
const NOISY: [&str; 5] = ["h2", "hyper", "rustls", "tonic", "tower"];

/// A record on its way to the sinks.
#[derive(Clone, Debug)]
pub struct Line {
    /// Severity.
    pub level: Level,
    /// Module path or the name given with `target:`.
    pub target: String,
    /// The message; may hold line breaks.
    pub text: String,
    /// Since the backend was made (for PID 1: a moment after the kernel started it).
    pub monotonic: Duration,
}

/// Where lines go. Must not block and must not log.
pub trait Sink: Send + Sync {
    /// Takes one line.
    fn write(&self, line: &Line);
}

/// The backend could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Another backend or an earlier call was first.
    #[error("logging is already set up")]
    Already,
}

struct Backend {
    start: Instant,
    sinks: RwLock<Vec<Arc<dyn Sink>>>,
}

static BACKEND: OnceLock<Backend> = OnceLock::new();

/// Sets up the backend with its first sinks; the level is info (`debug` builds: debug).
///
/// # Errors
/// [`InitError::Already`] when some backend is in place.
pub fn init(sinks: Vec<Arc<dyn Sink>>) -> Result<(), InitError> {
    let backend = BACKEND.get_or_init(|| Backend { start: Instant::now(), sinks: RwLock::new(sinks) });
    log::set_logger(backend).map_err(|_| InitError::Already)?;
    log::set_max_level(LevelFilter::Info);
    Ok(())
}

/// Adds a sink that came up later (consoles, memory). Without effect before [`init`].
pub fn add_sink(sink: Arc<dyn Sink>) {
    if let Some(backend) = BACKEND.get() {
        backend.sinks.write().unwrap_or_else(PoisonError::into_inner).push(sink);
    }
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ceiling(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = Line {
            level: record.level(),
            target: record.target().to_owned(),
            text: bounded(record.args()),
            monotonic: self.start.elapsed(),
        };
        for sink in self.sinks.read().unwrap_or_else(PoisonError::into_inner).iter() {
            sink.write(&line);
        }
    }

    fn flush(&self) {}
}

/// The most detailed level that passes for a target.
fn ceiling(target: &str) -> Level {
    let root = target.split("::").next().unwrap_or(target);
    if NOISY.iter().any(|name| root == *name || root.strip_prefix(name).is_some_and(|rest| rest.starts_with(['_', '-']))) {
        Level::Warn
    } else {
        Level::Trace
    }
}

/// Formats, cutting at [`MAX_TEXT`] on a character border.
fn bounded(args: &fmt::Arguments<'_>) -> String {
    let mut text = args.as_str().map_or_else(|| args.to_string(), str::to_owned);
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push_str("...");
    }
    text
}

/// The sink of small daemons: `LEVEL target: text` on stderr, which their supervisor captures line by line.
#[derive(Debug, Default)]
pub struct Stderr;

impl Sink for Stderr {
    fn write(&self, line: &Line) {
        let target = line.target.rsplit("::").next().unwrap_or(&line.target);
        let mut out = std::io::stderr().lock();
        for part in line.text.lines() {
            // A supervisor that is gone reads nothing: there is nobody left to tell.
            let _ = writeln!(out, "{:5} {target}: {part}", line.level.as_str().to_ascii_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, wanted: Level) {
        assert_eq!(ceiling(target), wanted, "{target}");
    }

    #[test]
    fn noisy_crates_are_capped() {
        check("h2::codec", Level::Warn);
        check("hyper_util::client", Level::Warn);
        check("rustls", Level::Warn);
        check("tonic::transport", Level::Warn);
        check("machined::boot", Level::Trace);
        check("h2o", Level::Trace);
    }
}
