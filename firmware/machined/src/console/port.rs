//! One console: a terminal with a bounded queue in front of it.
//!
//! [`Port::push`] is called from whatever thread logs. It never waits: what the driver does not take stays in the
//! queue, what the queue does not take is counted. The owner task ([`super::session`]) empties it when the port drains.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use linux::tty::{Tty, TtyError, Written};
use log::Level;
use tokio::sync::Notify;

/// Bytes held for a port that does not drain: a boot log of some 400 lines. Beyond that lines are dropped.
const QUEUE_BYTES: usize = 32 << 10;

/// A port that has taken nothing for this long has no reader: what waits is dropped, so that whoever comes sees the
/// present and not an old backlog.
const STALE: Duration = Duration::from_secs(5);

/// A console and what waits for it.
#[derive(Debug)]
pub struct Port {
    name: String,
    tty: Arc<Tty>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<u8>,
    /// Log lines below this severity are not shown; `None` shows none (a screen is being drawn).
    echo: Option<Level>,
    dropped: u64,
    reported: u64,
    /// When the driver last took something, or something began to wait for it.
    moved: Instant,
    /// A dropped backlog may have begun in the middle of a line.
    cut: bool,
    /// The device is gone: everything is dropped from here on.
    dead: bool,
}

impl Port {
    /// Opens the terminal and makes it raw; the boot log is shown from info upwards.
    ///
    /// # Errors
    /// Those of [`Tty::open`] and [`Tty::raw`].
    pub fn open(name: &str, device: &Path) -> Result<Self, TtyError> {
        let tty = Tty::open(device)?;
        tty.raw()?;
        let state = State {
            queue: VecDeque::new(),
            echo: Some(Level::Info),
            dropped: 0,
            reported: 0,
            moved: Instant::now(),
            cut: false,
            dead: false,
        };
        Ok(Self { name: name.to_owned(), tty: Arc::new(tty), state: Mutex::new(state), wake: Notify::new() })
    }

    /// Console name as in `console=` (`ttyS0`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The terminal, for the task that waits on it.
    #[must_use]
    pub fn tty(&self) -> Arc<Tty> {
        Arc::clone(&self.tty)
    }

    /// Which log lines are shown from now on.
    pub fn set_echo(&self, echo: Option<Level>) {
        self.lock().echo = echo;
    }

    /// Shows a log line when its severity asks for it.
    pub fn log(&self, level: Level, text: &str) {
        if self.lock().echo.is_some_and(|least| level <= least) {
            self.push(text.as_bytes());
        }
    }

    /// Queues text whole or counts its lines as dropped, then sends what the driver takes at once.
    /// Answers whether it was queued.
    pub fn push(&self, text: &[u8]) -> bool {
        let mut state = self.lock();
        state.expire(Instant::now());
        let fits = !state.dead && state.queue.len() + text.len() <= QUEUE_BYTES;
        if fits {
            state.queue.extend(text);
        } else {
            state.count(text.iter());
        }
        if !pump(&mut state, &self.tty) {
            self.wake.notify_one();
        }
        fits
    }

    /// Sends what the driver takes, or drops what it has not begun to take for too long; `true` when nothing is left.
    pub fn drain(&self) -> bool {
        let mut state = self.lock();
        let done = pump(&mut state, &self.tty);
        state.expire(Instant::now());
        done || state.queue.is_empty()
    }

    /// Bytes that the driver has not taken yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.lock().queue.len()
    }

    /// Lines lost so far because the port did not drain.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until something was queued that the driver did not take.
    pub async fn stuck(&self) {
        self.wake.notified().await;
    }

    /// Before the power goes: up to `limit` for the queue to reach the wire. The only call here that waits.
    pub fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while !(self.drain() && self.tty.unsent().unwrap_or_default() == 0) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts lines as dropped; a piece without a line break is one.
    fn count<'a>(&mut self, text: impl Iterator<Item = &'a u8>) {
        let lines = text.filter(|byte| **byte == b'\n').count().max(1);
        self.dropped = self.dropped.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
    }

    /// Drops a backlog that has waited for longer than [`STALE`] without any progress.
    fn expire(&mut self, now: Instant) {
        if self.queue.is_empty() {
            self.moved = now;
        } else if now.saturating_duration_since(self.moved) > STALE {
            let backlog = std::mem::take(&mut self.queue);
            self.count(backlog.iter());
            (self.moved, self.cut) = (now, true);
        }
    }
}

/// Writes until the queue is empty (`true`) or the driver is full. A port that drained after losing lines says so first.
fn pump(state: &mut State, tty: &Tty) -> bool {
    loop {
        if state.queue.is_empty() && state.dropped > state.reported && !state.dead {
            let lost = state.dropped - state.reported;
            state.reported = state.dropped;
            let line_break = if std::mem::take(&mut state.cut) { "\n" } else { "" };
            if state.echo.is_some() {
                let note = format!("{line_break}[{lost} lines dropped: this console did not drain]\n");
                state.queue.extend(note.as_bytes());
            }
        }
        let (front, _) = state.queue.as_slices();
        if front.is_empty() {
            return true;
        }
        match tty.write(front) {
            Ok(Written::Bytes(count)) => {
                drop(state.queue.drain(..count.min(front.len())));
                state.moved = Instant::now();
            }
            Ok(Written::WouldBlock) => return false,
            Err(_) => {
                // Nobody can be told here (this may run inside the logger); the count shows it.
                state.dead = true;
                state.queue.clear();
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::{fcntl, pty, unistd};

    use super::*;

    fn port() -> (Port, pty::OpenptyResult) {
        let pair = pty::openpty(None, None).unwrap();
        let path = unistd::ttyname(&pair.slave).unwrap();
        fcntl::fcntl(&pair.master, fcntl::FcntlArg::F_SETFL(fcntl::OFlag::O_NONBLOCK)).unwrap();
        (Port::open("pty", &path).unwrap(), pair)
    }

    fn read_all(far: &pty::OpenptyResult) -> String {
        assert!(far.master.as_raw_fd() >= 0);
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = unistd::read(&far.master, &mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn lines_beyond_the_queue_are_counted_and_told_once_the_port_drains() {
        let (port, far) = port();
        let line = "a line of the boot log that nobody reads\n";
        let mut pushed = 0_u64;
        while port.dropped() < 10 {
            port.log(Level::Info, line);
            pushed += 1;
            assert!(pushed < 100_000, "the port never fills");
        }
        assert!(port.backlog() <= QUEUE_BYTES);
        let mut seen = String::new();
        for _ in 0..1000 {
            seen.push_str(&read_all(&far));
            if port.drain() {
                break;
            }
        }
        seen.push_str(&read_all(&far));
        let whole = seen.matches("nobody reads").count() as u64;
        assert_eq!(whole, pushed - 10, "what was queued arrives whole");
        assert!(seen.ends_with("[10 lines dropped: this console did not drain]\r\n"), "{:?}", seen.lines().last());
        assert_eq!(port.dropped(), 10, "the count stays for the status");
    }

    #[test]
    fn a_backlog_that_nobody_takes_is_dropped_and_counted() {
        let (port, far) = port();
        while port.backlog() < 1000 {
            port.log(Level::Info, "old\n");
        }
        let waiting = port.backlog();
        port.lock().moved = Instant::now().checked_sub(STALE * 2).unwrap();
        port.drain();
        port.log(Level::Info, "new\n");
        assert!(port.backlog() < waiting, "{} of {waiting} bytes wait still", port.backlog());
        assert!(port.dropped() >= 250, "{} lines", port.dropped());
        let mut seen = read_all(&far);
        while !port.drain() {
            seen.push_str(&read_all(&far));
        }
        seen.push_str(&read_all(&far));
        assert!(seen.contains("new\r\n") && seen.contains("lines dropped"), "{:?}", &seen[seen.len() - 100..]);
    }

    #[test]
    fn severity_decides_what_is_echoed() {
        let (port, far) = port();
        port.log(Level::Debug, "debug\n");
        port.log(Level::Info, "info\n");
        port.set_echo(Some(Level::Warn));
        port.log(Level::Info, "quiet\n");
        port.log(Level::Error, "error\n");
        port.set_echo(None);
        port.log(Level::Error, "hidden\n");
        assert_eq!(read_all(&far), "info\r\nerror\r\n");
    }
}
