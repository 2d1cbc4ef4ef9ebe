//! How far a long transfer is, on a terminal; nothing where standard error is a file.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that counts bytes and goes away at the end.
#[derive(Debug)]
pub struct Transfer(ProgressBar);

impl Transfer {
    /// `what` is said in front of the count: `copy /var/log`. `total` is in bytes, where it is known.
    pub fn start(what: impl Into<String>, total: Option<u64>) -> Self {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{msg}: {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{msg}: {bytes}, {bytes_per_sec}"),
        };
        // The templates are constants; the plain line is as good.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// So many bytes more.
    pub fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.0.position()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
