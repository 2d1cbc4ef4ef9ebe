//! `qemu`: boots a board with its serial console on this terminal.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result};
use qemu::{Boot, Bus, Machine, Sector, TestVm, api::wait_for, limits, machine_of};

/// Ends the session, as in other serial terminals: Ctrl-].
const ESCAPE: u8 = 0x1d;

/// What to boot.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A board that was built; its image is taken from out/ as it is.
    pub board: String,
    /// `firmware` (UEFI, systemd-boot) or `fast` (QEMU loads the kernel).
    #[arg(long, default_value = "firmware")]
    pub boot: Boot,
    /// virtio-blk, virtio-scsi, nvme, usb or ahci.
    #[arg(long, default_value = "virtio-blk")]
    pub bus: Bus,
    /// Sector size of the disk: 512 or 4096.
    #[arg(long, default_value = "512")]
    pub sector: Sector,
    /// Memory in MiB.
    #[arg(long, default_value_t = 1024)]
    pub memory: u32,
    /// Size of the disk in MiB [default: three times the image].
    #[arg(long)]
    pub disk: Option<u64>,
}

/// `cargo xtask qemu`: until the machine is off or Ctrl-] is typed. Its disk is new and goes away with it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let machine = Machine {
        boot: arguments.boot,
        bus: arguments.bus,
        sector: arguments.sector,
        memory_mib: arguments.memory,
        ..machine_of(&arguments.board)?
    };
    let mut vm = match arguments.disk {
        Some(mib) => TestVm::create_sized(machine, mib << 20)?,
        None => TestVm::create(machine)?,
    };
    vm.start()?;
    let console = wait_for("QEMU's serial port", limits::MONITOR, || {
        vm.must_run()?;
        Ok(UnixStream::connect(vm.serial_socket())?)
    })?;
    eprintln!("{}: API at {}; Ctrl-] ends it\r", vm.machine, vm.api_address());
    let _raw = RawTerminal::enter();
    let shown = console.try_clone().context("share the serial port")?;
    let output = thread::spawn(move || show(shown));
    let typed = console.try_clone().context("share the serial port")?;
    // Not joined: it may sit in a read of the keyboard when the machine is off, and ends with this process.
    thread::spawn(move || type_into(typed));
    // The port closes when QEMU ends, or when Ctrl-] closes it.
    let _ = output.join();
    Ok(())
}

fn show(mut port: UnixStream) {
    let (mut out, mut bytes) = (std::io::stdout(), [0; 4096]);
    while let Ok(count @ 1..) = port.read(&mut bytes) {
        if out.write_all(&bytes[..count]).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
}

fn type_into(mut port: UnixStream) {
    let mut bytes = [0; 64];
    while let Ok(count @ 1..) = std::io::stdin().read(&mut bytes) {
        if bytes[..count].contains(&ESCAPE) {
            let _ = port.shutdown(std::net::Shutdown::Both);
            break;
        }
        if port.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
}

/// Keys go to the guest one by one and unechoed, while this lives; no effect where standard input is no terminal.
struct RawTerminal(Option<String>);

impl RawTerminal {
    fn enter() -> Self {
        let saved = Command::new("stty").arg("-g").stdin(Stdio::inherit()).stderr(Stdio::null()).output();
        let saved = saved.ok().filter(|got| got.status.success()).map(|got| String::from_utf8_lossy(&got.stdout).trim().to_owned());
        if saved.is_some() {
            stty(&["raw", "-echo"]);
        }
        Self(saved)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.0 {
            stty(&[saved]);
        }
    }
}

fn stty(settings: &[&str]) {
    // A terminal that refuses stays as it is: worse to use, but it works.
    let _ = Command::new("stty").args(settings).status();
}
