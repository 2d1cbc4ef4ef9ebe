//! The process's one log backend: a program of its own, because whoever sets it up first in a process has it.

use std::sync::{Arc, Mutex};

use daemon::log::{Line, MAX_TEXT, Sink, add_sink, init};

#[derive(Default)]
struct Memory(Mutex<Vec<Line>>);

impl Sink for Memory {
    fn write(&self, line: &Line) {
        self.0.lock().unwrap().push(line.clone());
    }
}

#[test]
fn lines_reach_every_sink_and_are_bounded() {
    let (first, late) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    init(vec![first.clone()]).unwrap();
    log::info!(target: "a", "one");
    add_sink(late.clone());
    log::info!(target: "a", "{}", "ä".repeat(MAX_TEXT));
    log::info!(target: "h2::x", "quiet");
    assert!(init(Vec::new()).is_err());
    let texts: Vec<usize> = first.0.lock().unwrap().iter().map(|line| line.text.len()).collect();
    assert_eq!(texts, [3, MAX_TEXT + 3]);
    assert_eq!(late.0.lock().unwrap().len(), 1);
}
