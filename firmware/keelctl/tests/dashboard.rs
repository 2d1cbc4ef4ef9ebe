//! The dashboard on a real pseudo-terminal, in front of a node that goes away and comes back.

// Each test program has the part of it that it needs.
#[allow(dead_code)]
mod stub;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};
use stub::{Answer, Stub, absent, error, one, pieces};
use tonic::Code;
use wire::machine;

/// Longest wait for anything in here.
const LIMIT: Duration = Duration::from_secs(30);
/// What takes a terminal back to where it was.
const LEAVE: &str = "\u{1b}[?1049l";

fn healthy(path: &str) -> Answer {
    match path.rsplit('/').next().unwrap_or_default() {
        "LoadAvg" => one(&machine::LoadAvgResponse { messages: vec![machine::LoadAvg { load1: 0.5, ..Default::default() }] }),
        "Memory" => {
            let meminfo = Some(machine::MemInfo { memtotal: 1 << 20, memavailable: 1 << 19, ..Default::default() });
            one(&machine::MemoryResponse { messages: vec![machine::Memory { metadata: None, meminfo }] })
        }
        "SystemStat" => one(&machine::SystemStatResponse { messages: vec![machine::SystemStat::default()] }),
        "NetworkDeviceStats" => one(&machine::NetworkDeviceStatsResponse { messages: vec![machine::NetworkDeviceStats::default()] }),
        "DiskStats" => one(&machine::DiskStatsResponse { messages: vec![machine::DiskStats::default()] }),
        "Processes" => one(&machine::ProcessesResponse { messages: vec![machine::Process::default()] }),
        "Version" => one(&machine::VersionResponse { messages: vec![machine::Version::default()] }),
        "Hostname" => {
            let message = machine::Hostname { hostname: "node-one".into(), ..Default::default() };
            one(&machine::HostnameResponse { messages: vec![message] })
        }
        "ServiceList" => {
            let service = machine::ServiceInfo { id: "apid".into(), state: "Running".into(), ..Default::default() };
            one(&machine::ServiceListResponse { messages: vec![machine::ServiceList { metadata: None, services: vec![service] }] })
        }
        "Logs" => pieces(b"logged-by-machined\n", 100),
        "Dmesg" => pieces(b"KERNELSAIDTHIS\n", 100),
        _ => absent(path),
    }
}

/// The program on a terminal of its own.
struct Terminal {
    keys: File,
    output: Receiver<Vec<u8>>,
    /// Everything since the last thing that was waited for.
    text: String,
    terminal: OwnedFd,
    child: Child,
}

impl Terminal {
    fn start(node: &Stub) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let child = Command::new(env!("CARGO_BIN_EXE_keelctl"))
            .args(["dashboard", "-d", "500ms"])
            .env("TALOSCONFIG", node.path().join("talosconfig"))
            .env("TERM", "xterm-256color")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("keelctl runs");
        let mut reader = File::from(pty.master.try_clone().expect("a descriptor"));
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer)
                && count > 0
                && sender.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        Self { keys: File::from(pty.master), output, text: String::new(), terminal: pty.slave, child }
    }

    /// Waits for words without spaces: only what changes on a screen is written, and a space is no change.
    #[track_caller]
    fn expect(&mut self, wanted: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.text.find(wanted) {
                self.text.drain(..at + wanted.len());
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{wanted:?} did not come; there are {} bytes of other things", self.text.len()),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("pressed");
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).expect("settings").local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Waits for its end; its exit code.
    fn end(mut self) -> Option<i32> {
        self.expect(LEAVE);
        let code = self.child.wait().expect("ended").code();
        assert!(!self.is_raw(), "the terminal is as it was");
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_node_goes_and_comes_back_and_the_terminal_is_restored() {
    let away = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&away);
    let node =
        Stub::start(move |path, _| if gone.load(Ordering::Relaxed) { error(Code::Unavailable, "restarting") } else { healthy(path) });
    let mut terminal = Terminal::start(&node);
    terminal.expect("●");
    assert!(terminal.is_raw());
    away.store(true, Ordering::Relaxed);
    terminal.expect("✗");
    terminal.expect("restarting");
    away.store(false, Ordering::Relaxed);
    terminal.expect("●");
    terminal.press("k");
    // No letter of it stood there before: those would not be written again.
    terminal.expect("KERNELSAIDTHIS");
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn the_first_picture_has_everything() {
    let node = Stub::start(|path, _| healthy(path));
    let mut terminal = Terminal::start(&node);
    // Only what changes is written, so this is the order on the screen.
    for word in ["●", "node-one", "apid", "Running"] {
        terminal.expect(word);
    }
    // By a signal, too.
    kill(Pid::from_raw(i32::try_from(terminal.child.id()).expect("a number")), Signal::SIGTERM).expect("sent");
    assert_eq!(terminal.end(), Some(0));
}
