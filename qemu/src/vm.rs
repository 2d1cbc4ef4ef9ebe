//! A machine with its disk, from first boot to the last.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::Mode,
    unistd::mkfifo,
};
use serde_json::json;
use tempfile::TempDir;

use crate::{Boot, Files, Machine, Process, Serial, SerialLog, disk, gdb::Debugger, limits, qmp::Monitor};

/// A disk is this many times as large as the image on it, unless a test asks otherwise.
const DISK_TIMES_IMAGE: u64 = 3;

/// How often a boot is begun again because QEMU has failed one of its own assertions. QEMU 10.0's emulator does in about one of
/// 500 boots, before the guest's first word (`iotlb_to_section`): among the hundreds of a run that is one of them.
const EMULATOR_FAILURES: usize = 2;

/// Smallest pipe that the kernel gives: a stuck serial port holds no more.
const STUCK_PIPE_BYTES: i32 = 4096;

/// A machine that can be booted again and again on the same disk.
///
/// Its folder is removed when it is dropped, unless `KEELSON_KEEP_VMS` is set.
#[derive(Debug)]
pub struct TestVm {
    /// What is booted; tests may change it between boots.
    pub machine: Machine,
    /// The serial log of the present boot.
    pub serial: SerialLog,
    files: Files,
    process: Option<Process>,
    /// How often this boot may yet be begun again for QEMU's own failures.
    spare: usize,
    /// Reading ends of a stuck port: open, never read.
    stuck: Vec<fs::File>,
    folder: TempDir,
    image: PathBuf,
}

impl TestVm {
    /// Makes the machine's disk, three times the image, without booting it.
    ///
    /// # Errors
    /// When the image or QEMU's firmware is missing, or the disk cannot be made.
    pub fn create(machine: Machine) -> Result<Self> {
        let out = out_folder(&machine);
        Self::from_image(machine, &out, None)
    }

    /// The same with a disk of `size` bytes.
    ///
    /// # Errors
    /// As [`TestVm::create`], and when `size` is below the image's.
    pub fn create_sized(machine: Machine, size: u64) -> Result<Self> {
        let out = out_folder(&machine);
        Self::from_image(machine, &out, Some(size))
    }

    fn from_image(machine: Machine, out: &Path, size: Option<u64>) -> Result<Self> {
        if let Some(why) = machine.impossible() {
            bail!("{machine} cannot be booted: {why}");
        }
        let folder = tempfile::Builder::new().prefix("keelson-vm-").tempdir().context("make the machine's folder")?;
        let files = files(&machine, out, folder.path())?;
        let image = out.join(machine.sector.image());
        let length = fs::metadata(&image)
            .with_context(|| format!("find {}: `cargo xtask build {}` makes it", image.display(), machine.board))?
            .len();
        disk::copy_image(&image, &files.disk, size.unwrap_or(length * DISK_TIMES_IMAGE))?;
        if machine.boot == Boot::Firmware {
            let (_, template) = machine.arch.firmware();
            fs::copy(template, &files.variables).with_context(|| format!("copy firmware variables {template}"))?;
        }
        let serial = SerialLog::new(&files.serial_log);
        Ok(Self { machine, serial, files, process: None, spare: 0, stuck: Vec::new(), folder, image })
    }

    /// The same board with the bench's floor: a trivial init on a root of the same size.
    ///
    /// # Errors
    /// As [`TestVm::create`].
    pub fn floor(machine: Machine) -> Result<Self> {
        let floor = out_folder(&machine).join("floor");
        Self::from_image(machine, &floor, None)
    }

    /// Makes the machine and starts it.
    ///
    /// # Errors
    /// As [`TestVm::create`] and [`TestVm::start`].
    pub fn boot(machine: Machine) -> Result<Self> {
        let mut vm = Self::create(machine)?;
        vm.start()?;
        Ok(vm)
    }

    /// Starts QEMU; the node boots by itself from here.
    ///
    /// # Errors
    /// When QEMU does not start, or runs already.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs already", self.machine);
        self.spare = EMULATOR_FAILURES;
        self.files.api_port = free_port()?;
        self.launch()
    }

    fn launch(&mut self) -> Result<()> {
        self.serial.mark();
        for leftover in [&self.files.serial_socket, &self.files.monitor] {
            if let Err(error) = fs::remove_file(leftover)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(error).with_context(|| format!("remove {}", leftover.display()));
            }
        }
        if self.machine.serial == Serial::Stuck {
            self.stuck = stuck_port(&self.files.serial_socket)?;
        }
        if self.machine.log_writes {
            fs::File::create(&self.files.write_log).context("make the write log")?;
        }
        let arguments = self.machine.arguments(&self.files);
        let stderr = self.folder.path().join("qemu.stderr");
        self.process = Some(Process::start(self.machine.arch.program(), &arguments, &stderr)?);
        Ok(())
    }

    /// Waits until the serial port said `text` in this boot.
    ///
    /// # Errors
    /// When it did not within [`limits::SERIAL`] or QEMU ended; with the end of the log.
    pub fn wait_serial(&mut self, text: &str) -> Result<()> {
        let serial = self.serial.clone();
        serial.wait(text, limits::SERIAL, || self.must_run())
    }

    /// Fails with QEMU's own words if it is not running. One that has failed an assertion of its own before the guest's first
    /// word is started again instead, and said to be: no guest can bring that about, and none has touched its disk by then.
    ///
    /// # Errors
    /// When it is not running.
    pub fn must_run(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the machine is off")?;
        match process.failed_by_itself()? {
            Some(words) if self.spare > 0 && self.serial.text().is_empty() => {
                println!("{}: QEMU failed by itself and is started again: {}", self.machine, words.trim());
                self.spare -= 1;
                self.kill();
                self.launch()
            }
            _ => process.must_run(),
        }
    }

    /// Waits for the guest to power off.
    ///
    /// # Errors
    /// When it does not within [`limits::POWER_OFF`]; with the end of the log.
    pub fn wait_power_off(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the machine is off")?;
        process
            .wait(limits::POWER_OFF)
            .map(drop)
            .with_context(|| format!("waiting for {} to power off; the log ends with:\n{}", self.machine, self.serial.tail()))
    }

    /// Ends QEMU in good order: what the guest wrote is in the files, the guest is not asked.
    ///
    /// # Errors
    /// When the monitor does not answer.
    pub fn quit(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the machine is off")?;
        Monitor::connect(&self.files.monitor)?.execute("quit", json!({}))?;
        process.wait(limits::MONITOR).map(drop)
    }

    /// Stops the machine in the middle of whatever it does.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// QEMU's monitor.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::connect(&self.files.monitor)
    }

    /// A debugger's hold on the machine, which stands still from now on.
    ///
    /// # Errors
    /// When QEMU does not open one.
    pub fn debugger(&self) -> Result<Debugger> {
        let socket = self.folder().join("debugger");
        let line = format!("gdbserver unix:{},server=on,wait=off", socket.display());
        let answer = self.monitor()?.execute("human-monitor-command", json!({ "command-line": line }))?;
        Debugger::connect(&socket).with_context(|| format!("QEMU's answer: {answer}"))
    }

    /// Where the processors are, in QEMU's words: for a failure of a machine that says nothing. Two looks, so that one can
    /// tell a loop from a halt.
    #[must_use]
    pub fn processors(&self) -> String {
        let look = || -> Result<String> {
            let arguments = json!({ "command-line": "info registers -a" });
            let text = self.monitor()?.execute("human-monitor-command", arguments)?;
            let lines = text.as_str().unwrap_or_default().lines();
            let telling = lines.filter(|line| ["CPU#", "RIP=", " PC="].iter().any(|mark| line.contains(mark)));
            Ok(telling.collect::<Vec<_>>().join("\n"))
        };
        let (first, second) = (look(), look());
        [first, second].map(|look| look.unwrap_or_else(|error| format!("{error:#}"))).join("\n")
    }

    /// Where the API is reached from the host.
    #[must_use]
    pub fn api_address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.files.api_port).into()
    }

    /// The system disk; to be touched while the machine is off.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.files.disk
    }

    /// The image that the disk was made from.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Where writes are recorded.
    #[must_use]
    pub fn write_log(&self) -> &Path {
        &self.files.write_log
    }

    /// Socket of the serial port, for a test that plays the terminal.
    #[must_use]
    pub fn serial_socket(&self) -> &Path {
        &self.files.serial_socket
    }

    /// Scratch space that lives as long as the machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TestVm {
    fn drop(&mut self) {
        self.kill();
        if std::env::var_os("KEELSON_KEEP_VMS").is_some_and(|keep| !keep.is_empty()) {
            self.folder.disable_cleanup(true);
            eprintln!("{}: kept in {}", self.machine, self.folder.path().display());
        }
    }
}

/// `out/<board>` of the project, or of `KEELSON_OUT`.
#[must_use]
pub fn out_folder(machine: &Machine) -> PathBuf {
    out_root().join(&machine.board)
}

/// The machine that boots a board's image, whatever board was built: its manifest tells the architecture.
///
/// # Errors
/// When nothing was built for that board.
pub fn machine_of(board: &str) -> Result<Machine> {
    let path = out_root().join(board).join("manifest.json");
    let built = || -> Result<Machine> {
        let manifest: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let arch = manifest["arch"].as_str().unwrap_or_default().parse()?;
        Ok(Machine { board: board.to_owned(), ..Machine::new(arch) })
    };
    built().with_context(|| format!("read {}: `cargo xtask build {board}` makes it", path.display()))
}

pub(crate) fn out_root() -> PathBuf {
    std::env::var_os("KEELSON_OUT").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../out"), PathBuf::from)
}

fn files(machine: &Machine, out: &Path, folder: &Path) -> Result<Files> {
    let cmdline = out.join("cmdline");
    Ok(Files {
        disk: folder.join("disk.img"),
        kernel: out_folder(machine).join(machine.arch.kernel()),
        cmdline: fs::read_to_string(&cmdline).with_context(|| format!("read {}", cmdline.display()))?.trim().to_owned(),
        firmware: machine.arch.firmware().0.into(),
        variables: folder.join("variables.fd"),
        serial_socket: folder.join("serial"),
        serial_log: folder.join("serial.log"),
        monitor: folder.join("monitor"),
        api_port: 0,
        write_log: folder.join("writes.log"),
    })
}

/// A port on loopback that nobody uses now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?.local_addr()?.port())
}

/// The two pipes of a serial port whose outgoing one is full and never read.
fn stuck_port(stem: &Path) -> Result<Vec<fs::File>> {
    let mut ends = Vec::new();
    for suffix in ["in", "out"] {
        let path = stem.with_extension(suffix);
        if !path.exists() {
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| format!("make pipe {}", path.display()))?;
        }
        let end = fs::OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path)?;
        fcntl(&end, FcntlArg::F_SETPIPE_SZ(STUCK_PIPE_BYTES)).context("shrink the pipe")?;
        ends.push(end);
    }
    if let Some(out) = ends.last_mut() {
        // Until it is full: then QEMU's first byte waits already.
        while out.write(&[0]).is_ok() {}
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_port_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let _ends = stuck_port(&folder.path().join("serial")).unwrap();
        let mut writer =
            fs::OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(folder.path().join("serial.out")).unwrap();
        assert_eq!(writer.write(b"x").unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
