//! Serial ports: one that nobody reads must not slow the node, one with a terminal shows the status.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, Serial, TestVm,
    api::wait_for,
    limits,
    node::{Access, maintenance, running},
};

use crate::trial;

/// The terminal's answer to "where is the cursor" after it was sent to the far corner: 40 lines, 120 columns.
const CURSOR_AT_40_120: &[u8] = b"\x1b[40;120R";

pub fn trials() -> Vec<Trial> {
    Arch::ALL
        .into_iter()
        .flat_map(|arch| {
            [
                trial(format!("serial/{arch}/nobody-reads"), move || nobody_reads(arch)),
                trial(format!("serial/{arch}/terminal"), move || terminal(arch)),
            ]
        })
        .collect()
}

/// The node comes up although its port is full from the first byte, and it counts what it dropped.
fn nobody_reads(arch: Arch) -> Result<()> {
    let mut vm = TestVm::boot(Machine { serial: Serial::Stuck, ..Machine::new(arch) })?;
    let api = maintenance(&mut vm)?;
    // The driver itself holds a page, which is a quiet boot: a configuration with its warnings and new status is more.
    let access = Access::generate()?;
    api.apply(&access.config).context("apply the configuration")?;
    let api = running(&mut vm, &access)?;
    ensure!(qemu::bench::dropped_lines_of(&api)? > 0, "nothing was dropped");
    ensure!(api.logs("machined", -1)?.contains("console ttyS0: "), "the node does not name the port");
    Ok(())
}

/// A terminal that answers gets the status in place and may switch to the kernel log and back.
fn terminal(arch: Arch) -> Result<()> {
    let mut vm = TestVm::create(Machine::new(arch))?;
    vm.start()?;
    let socket = vm.serial_socket().to_owned();
    let stream = wait_for("the serial port's socket", limits::MONITOR, || Ok(UnixStream::connect(&socket)?))?;
    let mut terminal = Terminal::new(stream)?;
    terminal.until("the status, drawn in place", "maintenance", &vm)?;
    terminal.press(b"k")?;
    // The end of it: file systems were mounted a moment ago.
    terminal.until("the kernel log", "XFS (", &vm)?;
    terminal.press(b"s")?;
    terminal.until("the status again", "EPHEMERAL", &vm)
}

/// A terminal of 120x40 that answers questions about itself.
struct Terminal {
    stream: UnixStream,
    seen: Vec<u8>,
    answered: usize,
}

impl Terminal {
    fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(limits::POLL))?;
        Ok(Self { stream, seen: Vec::new(), answered: 0 })
    }

    /// Presses a key; what was shown so far no longer counts.
    fn press(&mut self, key: &[u8]) -> Result<()> {
        self.seen.clear();
        self.answered = 0;
        self.stream.write_all(key).context("press a key")
    }

    /// Reads until `text` is shown, answering each question for the cursor's place.
    fn until(&mut self, what: &str, text: &str, vm: &TestVm) -> Result<()> {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => anyhow::bail!("QEMU closed the serial port"),
                Ok(count) => self.seen.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("read the serial port"),
            }
            let questions = self.seen.windows(4).filter(|window| window == b"\x1b[6n").count();
            while self.answered < questions {
                self.stream.write_all(CURSOR_AT_40_120)?;
                self.answered += 1;
            }
            let shown = String::from_utf8_lossy(&self.seen);
            if shown.contains(text) {
                return Ok(());
            }
            if start.elapsed() > limits::SERIAL {
                let api = Api::insecure(vm.api_address()).map_or_else(|error| format!("{error:#}"), |_| "answers".to_owned());
                let tail: String = shown.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect();
                anyhow::bail!(
                    "{what}: {text:?} not shown within {:?} (API: {api}); seen: {tail:?}; the processors:\n{}",
                    limits::SERIAL,
                    vm.processors()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
