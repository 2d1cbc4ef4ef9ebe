use std::cell::RefCell;

use super::*;
use crate::node::{MachineStatus, Stage};

/// A node that a test changes at will.
#[derive(Default)]
struct Fake {
    snapshot: RefCell<Snapshot>,
}

impl Fake {
    fn stage(&self, stage: Stage) {
        self.snapshot.borrow_mut().machine = MachineStatus { stage, unmet: Vec::new() };
    }
}

impl Watched for Fake {
    fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }
    fn kernel(&self, lines: usize) -> Vec<String> {
        vec![format!("kernel says something, {lines} lines wanted")]
    }
    fn service(&self, id: &str, _: usize) -> Vec<String> {
        vec![format!("log of {id}")]
    }
}

/// A session with its own clock.
struct Play {
    now: Instant,
    session: Session,
    world: Fake,
}

impl Play {
    fn new(stage: Stage) -> Self {
        let now = Instant::now();
        let world = Fake::default();
        world.stage(stage);
        Self { now, session: Session::new(now), world }
    }

    fn step(&mut self, input: &[u8]) -> String {
        self.session.step(self.now, input, 0, &self.world)
    }

    /// Lets the session wake by itself for so long; answers what it wrote.
    fn wait(&mut self, time: Duration) -> String {
        let end = self.now + time;
        let mut out = String::new();
        while self.now < end {
            self.now = self.session.wake_at(self.now).min(end);
            out.push_str(&self.step(b""));
        }
        out
    }

    /// Past boot on a terminal that does not answer.
    fn plain() -> (Self, String) {
        let mut play = Self::new(Stage::Running);
        let mut out = play.step(b"");
        assert_eq!(out, screen::PROBE);
        out.push_str(&play.wait(Duration::from_secs(3)));
        (play, out)
    }

    /// Past boot on a terminal of 80x24.
    fn screen() -> Self {
        let mut play = Self::new(Stage::Running);
        assert_eq!(play.step(b""), screen::PROBE);
        let out = play.step(b"\x1b[24;80R");
        assert!(out.starts_with(screen::ENTER) && out.contains("Keelson"), "{out:?}");
        play
    }
}

#[test]
fn while_the_node_boots_nothing_is_written() {
    let mut play = Play::new(Stage::Booting);
    assert_eq!(play.step(b"k1?"), "");
    assert_eq!(play.wait(Duration::from_secs(60)), "");
    assert_eq!(play.session.echo(), Some(Level::Info));
}

#[test]
fn a_silent_terminal_gets_one_block_and_then_only_news() {
    let (mut play, out) = Play::plain();
    assert_eq!(out.matches("Keelson").count(), 1, "{out}");
    assert!(!out.replace(screen::PROBE, "").contains('\x1b'), "no escapes in a log file: {out:?}");
    assert_eq!(play.session.echo(), Some(Level::Warn));
    play.world.snapshot.borrow_mut().uptime = Duration::from_secs(99);
    play.world.snapshot.borrow_mut().memory = Some((2, 1));
    play.world.snapshot.borrow_mut().dropped = vec![("ttyS0".to_owned(), 4)];
    assert_eq!(play.wait(Duration::from_secs(600)), "", "uptime, memory and dropped lines are no news");
    play.world.snapshot.borrow_mut().network.hostname = "node1".to_owned();
    let out = play.wait(Duration::from_secs(60));
    assert_eq!(out.matches("Keelson").count(), 1, "{out}");
    assert!(out.contains("node1"));
}

#[test]
fn a_flapping_node_does_not_flood_a_silent_terminal() {
    let (mut play, _) = Play::plain();
    let mut blocks = 0;
    for round in 0..600 {
        play.world.snapshot.borrow_mut().network.hostname = format!("node{round}");
        blocks += play.wait(Duration::from_millis(100)).matches("Keelson").count();
    }
    assert!((8..=13).contains(&blocks), "{blocks} blocks in a minute");
}

#[test]
fn a_terminal_that_answers_is_redrawn_in_place() {
    let mut play = Play::screen();
    assert_eq!(play.session.echo(), None);
    play.world.snapshot.borrow_mut().uptime = Duration::from_secs(1);
    let out = play.wait(Duration::from_millis(1100));
    assert_eq!(out.matches("\x1b[K").count(), 1, "only the line with the uptime: {out:?}");
    let out = play.step(b"k");
    assert!(out.contains("kernel says something, 24 lines wanted"), "{out:?}");
    let out = play.step(b"?");
    assert!(out.contains("read-only"));
    assert!(play.step(b"q").contains("Keelson"));
}

#[test]
fn a_terminal_that_went_away_becomes_silent_and_comes_back_with_a_key() {
    let mut play = Play::screen();
    let out = play.wait(Duration::from_secs(25));
    assert!(out.contains(screen::LEAVE), "two silences: {out:?}");
    assert_eq!(play.session.echo(), Some(Level::Warn));
    let out = play.step(b"s");
    assert!(out.contains(screen::PROBE));
    let out = play.step(b"\x1b[40;120R");
    assert!(out.starts_with(screen::ENTER), "{out:?}");
}

#[test]
fn a_terminal_that_keeps_answering_stays() {
    let mut play = Play::screen();
    for _ in 0..120 {
        if play.wait(Duration::from_secs(1)).contains(screen::PROBE) {
            let out = play.step(b"\x1b[24;80R");
            assert!(!out.contains(screen::ENTER), "same size, no new painting");
        }
    }
    assert_eq!(play.session.echo(), None);
}

#[test]
fn keys_work_on_a_silent_terminal_too() {
    let (mut play, _) = Play::plain();
    let mut out = play.step(b"k");
    out.push_str(&play.wait(Duration::from_secs(2)));
    assert!(out.contains("kernel says something"), "{out:?}");
    assert_eq!(play.wait(Duration::from_secs(60)), "");
}

#[test]
fn a_full_port_gets_no_frames() {
    let mut play = Play::screen();
    play.world.snapshot.borrow_mut().uptime = Duration::from_secs(1);
    play.now += Duration::from_secs(2);
    assert_eq!(play.session.step(play.now, b"", BACKLOG + 1, &play.world), "");
    assert!(play.session.wake_at(play.now) >= play.now + BLOCK_GAP, "and nobody waits busily for it");
    assert_ne!(play.step(b""), "");
}

#[test]
fn going_down_gives_the_console_back_to_the_log() {
    let mut play = Play::screen();
    play.world.stage(Stage::Rebooting);
    assert_eq!(play.step(b""), screen::LEAVE);
    assert_eq!(play.session.echo(), Some(Level::Info));
    assert_eq!(play.step(b""), "");
}

#[test]
fn an_unasked_report_changes_nothing() {
    let (mut play, _) = Play::plain();
    assert_eq!(play.step(b"\x1b[24;80R"), "");
    assert_eq!(play.session.echo(), Some(Level::Warn));
}
