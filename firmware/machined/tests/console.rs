//! Consoles on pseudo terminals: one that answers, one that is silent, one that nobody reads.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use daemon::log::{Level, Line, Sink};
use machined::{
    console::{Consoles, Sources, start},
    node::{Node, Stage},
};
use nix::{fcntl, pty::openpty, unistd};
use tempfile::TempDir;

/// Everything here is bound to happen without waiting for anybody.
const SOON: Duration = Duration::from_secs(10);

/// A console named `ttyS0` whose far end the test holds.
struct Far {
    master: OwnedFd,
    _slave: OwnedFd,
    seen: String,
    _devices: TempDir,
    consoles: Arc<Consoles>,
}

fn console() -> Far {
    let pair = openpty(None, None).unwrap();
    fcntl::fcntl(&pair.master, fcntl::FcntlArg::F_SETFL(fcntl::OFlag::O_NONBLOCK)).unwrap();
    let devices = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(unistd::ttyname(&pair.slave).unwrap(), devices.path().join("ttyS0")).unwrap();
    let consoles = Arc::new(Consoles::open_named("ttyS0 ttyNONE\n", devices.path()));
    assert_eq!(consoles.ports().len(), 1);
    assert!(consoles.unusable()[0].contains("ttyNONE"), "{:?}", consoles.unusable());
    Far { master: pair.master, _slave: pair.slave, seen: String::new(), _devices: devices, consoles }
}

impl Far {
    /// Reads until `wanted` was seen.
    async fn until(&mut self, wanted: &str) {
        let end = Instant::now() + SOON;
        while !self.seen.contains(wanted) {
            assert!(Instant::now() < end, "not within {SOON:?}: {wanted:?} in {:?}", self.seen);
            let mut buffer = [0; 4096];
            match unistd::read(self.master.as_fd(), &mut buffer) {
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    fn press(&self, keys: &str) {
        unistd::write(self.master.as_fd(), keys.as_bytes()).unwrap();
    }
}

fn sources() -> Sources {
    Sources { kernel: Box::new(|_| vec!["the kernel says hello".to_owned()]), service: Box::new(|id, _| vec![format!("{id} says hello")]) }
}

fn line(text: &str) -> Line {
    Line { level: Level::Info, target: "boot".to_owned(), text: text.to_owned(), monotonic: Duration::from_millis(1250) }
}

async fn end(node: &Node) {
    node.stop.cancel();
    node.tasks.close();
    tokio::time::timeout(SOON, node.tasks.wait()).await.expect("every task ends when the node stops");
}

#[tokio::test]
async fn a_terminal_that_answers_gets_a_screen_and_keys_switch_it() {
    let mut far = console();
    let (node, _commands) = Node::new();
    far.consoles.write(&line("phase one"));
    start(&node, &far.consoles, sources());
    far.until("[    1.250] boot: phase one\r\n").await;
    node.machine.send_modify(|machine| machine.stage = Stage::Running);
    far.until("\x1b[6n").await;
    far.press("\x1b[30;100R");
    far.until("stage    running, ready").await;
    far.press("k");
    far.until("the kernel says hello").await;
    node.machine.send_modify(|machine| machine.stage = Stage::Rebooting);
    far.until("\x1b[?25h").await;
    far.consoles.write(&line("last words"));
    far.until("last words").await;
    end(&node).await;
}

#[tokio::test]
async fn a_silent_terminal_gets_a_block() {
    let mut far = console();
    let (node, _commands) = Node::new();
    start(&node, &far.consoles, sources());
    node.machine.send_modify(|machine| machine.stage = Stage::Maintenance);
    far.until("stage    maintenance, waiting for a configuration\r\n").await;
    end(&node).await;
}

#[tokio::test]
async fn a_port_that_nobody_reads_slows_nobody() {
    let mut far = console();
    let (node, _commands) = Node::new();
    start(&node, &far.consoles, sources());
    let began = Instant::now();
    for number in 0..20_000 {
        far.consoles.write(&line(&format!("line {number} of a log that nobody reads")));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "20000 lines took {:?}", began.elapsed());
    let port = Arc::clone(&far.consoles.ports()[0]);
    assert!(port.dropped() > 10_000, "{} dropped", port.dropped());
    let dropped = port.dropped();
    // The rest of the node lives, and once somebody reads the loss is told.
    far.until(&format!("[{dropped} lines dropped: this console did not drain]")).await;
    assert!(far.seen.contains("line 0 of"));
    end(&node).await;
}
