//! Where PID 1's log lines go beside the consoles: the kernel log. And the way back: kernel records into memory.

use std::sync::Arc;

use daemon::log::{Level, Line, Sink};
use linux::{
    clock,
    kmsg::{self, Item, Reader, Writer},
};

use crate::{logs::Logs, node::Node};

/// Tag of our records in the kernel log.
const TAG: &str = "keelson";

/// Id of the kernel's log among the memory rings.
pub const KERNEL: &str = "kernel";

/// The kernel log as a sink.
#[derive(Debug)]
pub struct Kernel(Writer);

impl Kernel {
    /// Opens the kernel log.
    ///
    /// # Errors
    /// As `open(2)` of `/dev/kmsg`.
    pub fn open() -> std::io::Result<Self> {
        Writer::open().map(Self)
    }
}

impl Sink for Kernel {
    fn write(&self, line: &Line) {
        // Errors are "warning" for the kernel: at "error" it would print them on the consoles a second time.
        let level = match line.level {
            Level::Error | Level::Warn => kmsg::Level::Warning,
            Level::Info => kmsg::Level::Info,
            Level::Debug | Level::Trace => kmsg::Level::Debug,
        };
        let target = line.target.rsplit("::").next().unwrap_or(&line.target);
        let prefix = if line.level == Level::Error { "ERROR " } else { "" };
        // A sink must not log; a kernel log that refuses a record has no one to hear of it.
        let _ = self.0.write(level, TAG, &format!("{target}: {prefix}{}", line.text));
    }
}

/// Copies the kernel log into its memory ring until the node stops.
pub async fn copy_kernel_log(node: Arc<Node>, logs: Arc<Logs>) {
    let ring = logs.ring(KERNEL);
    let mut reader = match Reader::open() {
        Ok(reader) => reader,
        Err(error) => {
            log::warn!(target: "kmsg", "open {}: {error}", kmsg::PATH);
            return;
        }
    };
    loop {
        let item = tokio::select! {
            () = node.stop.cancelled() => return,
            item = reader.next() => item,
        };
        match item {
            Ok(Item::Record(record)) => {
                ring.push(
                    format!("[{:5}.{:06}] {}", record.microseconds / 1_000_000, record.microseconds % 1_000_000, record.text).as_bytes(),
                );
            }
            Ok(Item::Overrun) => ring.push(b"(kernel records were lost here)"),
            Err(error) => {
                log::warn!(target: "kmsg", "read {} after {} s: {error}", kmsg::PATH, clock::since_boot().as_secs());
                return;
            }
        }
    }
}
