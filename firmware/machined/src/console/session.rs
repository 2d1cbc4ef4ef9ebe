//! What one console shows and when: a state machine over time, input and the node. Pure but for what [`Watched`] reads.
//!
//! - While the node comes up or goes down the log is shown as it is written.
//! - Then the terminal is asked for its size. One that answers is redrawn in place once a second, changed lines only;
//!   asked again every ten seconds, it counts as gone after two silences.
//! - One that does not answer (a log file, a port nobody reads) gets warnings as they come and a status block
//!   when something lasting changed, not oftener than every five seconds. A key asks it again.

use std::time::{Duration, Instant};

use log::Level;

use super::{
    input::{Event, Parser},
    render::{self, View},
    screen::{self, Size},
    snapshot::Snapshot,
};

/// How long a terminal may take to answer: a serial line over a slow network.
const ANSWER: Duration = Duration::from_millis(500);
/// Between two questions to a terminal that answered.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Between two frames, unless a key was pressed.
const FRAME: Duration = Duration::from_secs(1);
/// Everything is drawn anew so often, because the kernel writes to the same line.
const REPAINT: Duration = Duration::from_secs(60);
/// After a change, before a block is appended: changes come in bursts.
const SETTLE: Duration = Duration::from_millis(500);
/// Least time between two appended blocks.
const BLOCK_GAP: Duration = Duration::from_secs(5);
/// With more than this waiting for the port nothing is drawn.
const BACKLOG: usize = 2048;
/// Rows of an appended block; lines of a log view there.
const BLOCK: Size = Size { columns: 120, rows: 60 };
/// Silences after which a terminal counts as gone.
const SILENCES: u8 = 2;

/// What a session looks at.
pub trait Watched {
    /// The node now.
    fn snapshot(&self) -> Snapshot;
    /// The newest kernel messages, oldest first.
    fn kernel(&self, lines: usize) -> Vec<String>;
    /// The newest lines of a service's log, oldest first.
    fn service(&self, id: &str, lines: usize) -> Vec<String>;
}

/// How the terminal is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    /// The log as it is written.
    Log,
    /// Warnings and appended blocks.
    Plain,
    /// Redrawn in place; holds what is on the screen and when all of it was drawn.
    Screen { size: Size, shown: Vec<String>, painted: Instant },
}

/// A console's state.
#[derive(Debug)]
pub struct Session {
    mode: Mode,
    view: View,
    parser: Parser,
    /// A question is open until then.
    asked: Option<Instant>,
    ask_at: Instant,
    silences: u8,
    frame_at: Instant,
    /// What the last appended block said, and when the next may come.
    told: Option<Snapshot>,
    changed: Option<Instant>,
    block_at: Instant,
    /// A key asked for something.
    wanted: bool,
    /// The port held too much for drawing when last looked at.
    full: bool,
}

impl Session {
    /// A console during boot.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            mode: Mode::Log,
            view: View::Status,
            parser: Parser::default(),
            asked: None,
            ask_at: now,
            silences: 0,
            frame_at: now,
            told: None,
            changed: None,
            block_at: now,
            wanted: false,
            full: false,
        }
    }

    /// Which log lines the console shows beside this session's output.
    #[must_use]
    pub fn echo(&self) -> Option<Level> {
        match self.mode {
            Mode::Log => Some(Level::Info),
            Mode::Plain => Some(Level::Warn),
            Mode::Screen { .. } => None,
        }
    }

    /// When [`Self::step`] must be called next even if nothing happens.
    #[must_use]
    pub fn wake_at(&self, now: Instant) -> Instant {
        let idle = now + BLOCK_GAP;
        let own = match &self.mode {
            Mode::Log => idle,
            // Whatever is due waits for the port to drain, which wakes by itself: no busy waiting for a dead port.
            _ if self.full => idle,
            Mode::Plain => self.changed.map_or(idle, |at| (at + SETTLE).max(self.block_at)),
            Mode::Screen { .. } => self.frame_at.min(self.ask_at.max(now)),
        };
        self.asked.map_or(own, |end| own.min(end)).max(now + Duration::from_millis(10))
    }

    /// Takes what was read and answers what is to be written. `backlog` is what the port has not sent yet.
    pub fn step(&mut self, now: Instant, input: &[u8], backlog: usize, world: &dyn Watched) -> String {
        let snapshot = world.snapshot();
        let events = self.parser.feed(input);
        let mut out = String::new();
        if snapshot.in_transition() {
            if let Mode::Screen { .. } = self.mode {
                out.push_str(screen::LEAVE);
            }
            self.mode = Mode::Log;
            self.asked = None;
            return out;
        }
        if self.mode == Mode::Log {
            self.mode = Mode::Plain;
            self.told = None;
            self.ask(now, &mut out);
        }
        for event in events {
            self.event(event, now, &snapshot, &mut out);
        }
        self.silence(now, &mut out);
        self.full = backlog > BACKLOG;
        if !self.full {
            self.draw(now, &snapshot, world, &mut out);
        }
        out
    }

    fn ask(&mut self, now: Instant, out: &mut String) {
        self.asked = Some(now + ANSWER);
        self.ask_at = now + ASK_AGAIN;
        out.push_str(screen::PROBE);
    }

    fn event(&mut self, event: Event, now: Instant, snapshot: &Snapshot, out: &mut String) {
        match event {
            Event::Position(rows, columns) => {
                if self.asked.take().is_some() {
                    self.answered(Size::clamped(columns, rows), now, out);
                }
            }
            Event::Key(key) => {
                if self.mode == Mode::Plain && self.asked.is_none() {
                    self.ask(now, out);
                }
                if matches!(key, 'r' | '\x0c') {
                    self.repaint(out);
                }
                self.view = self.view.after_key(key, snapshot.services.len());
                self.wanted = true;
                self.frame_at = now;
            }
        }
    }

    fn answered(&mut self, size: Size, now: Instant, out: &mut String) {
        self.silences = 0;
        let same = matches!(&self.mode, Mode::Screen { size: old, .. } if *old == size);
        if !same {
            out.push_str(screen::ENTER);
            self.mode = Mode::Screen { size, shown: Vec::new(), painted: now };
            self.frame_at = now;
        }
    }

    fn repaint(&mut self, out: &mut String) {
        if let Mode::Screen { shown, .. } = &mut self.mode {
            shown.clear();
            out.push_str(screen::ENTER);
        }
    }

    /// An open question that ran out, and the next one when it is time.
    fn silence(&mut self, now: Instant, out: &mut String) {
        if self.asked.is_some_and(|end| now >= end) {
            self.asked = None;
            if let Mode::Screen { .. } = self.mode {
                self.silences += 1;
                if self.silences >= SILENCES {
                    out.push_str(screen::LEAVE);
                    self.mode = Mode::Plain;
                }
            }
        }
        if matches!(self.mode, Mode::Screen { .. }) && self.asked.is_none() && now >= self.ask_at {
            self.ask(now, out);
        }
    }

    fn draw(&mut self, now: Instant, snapshot: &Snapshot, world: &dyn Watched, out: &mut String) {
        let view = self.view;
        match &mut self.mode {
            Mode::Log => {}
            Mode::Screen { size, shown, painted } => {
                if now < self.frame_at {
                    return;
                }
                if now >= *painted + REPAINT {
                    shown.clear();
                    *painted = now;
                    out.push_str(screen::ENTER);
                }
                let new = frame(view, snapshot, *size, world);
                out.push_str(&screen::diff(shown, &new));
                *shown = new;
                self.frame_at = now + FRAME;
                self.wanted = false;
            }
            Mode::Plain => self.block(now, snapshot, world, out),
        }
    }

    /// Appends what a key asked for at once, the status when it changed and settled.
    fn block(&mut self, now: Instant, snapshot: &Snapshot, world: &dyn Watched, out: &mut String) {
        if self.asked.is_some() {
            return;
        }
        let lasting = snapshot.lasting();
        if self.told.as_ref() == Some(&lasting) {
            self.changed = None;
        } else if self.changed.is_none() {
            self.changed = Some(now);
        }
        let due = self.changed.is_some_and(|at| now >= at + SETTLE) && now >= self.block_at;
        if !(due || self.wanted) {
            return;
        }
        let view = if self.wanted { self.view } else { View::Status };
        out.push_str("----\n");
        for line in frame(view, snapshot, BLOCK, world) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push_str("----\n");
        if view == View::Status {
            self.told = Some(lasting);
            self.changed = None;
            self.block_at = now + BLOCK_GAP;
        }
        self.wanted = false;
    }
}

/// The lines of a view, with the logs it needs.
fn frame(view: View, snapshot: &Snapshot, size: Size, world: &dyn Watched) -> Vec<String> {
    let room = usize::from(size.rows);
    let log = match view {
        View::Status | View::Help => Vec::new(),
        View::Kernel => world.kernel(room),
        View::Service(index) => snapshot.services.get(index).map(|service| world.service(&service.id, room)).unwrap_or_default(),
    };
    render::render(snapshot, view, size, &log)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
