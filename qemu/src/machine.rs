//! What to boot, and the QEMU command line that it means. Pure.

use std::{fmt, path::PathBuf};

use crate::lan::Cable;

/// Processor architecture of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// q35, OVMF, ttyS0.
    X86_64,
    /// virt, AAVMF, ttyAMA0.
    Arm64,
}

/// How the kernel gets started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boot {
    /// UEFI firmware, systemd-boot, UKI from the disk.
    Firmware,
    /// QEMU loads the kernel and the same command line; everything after the loader is shared.
    Fast,
}

/// What the system disk hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bus {
    /// virtio-blk on PCI.
    VirtioBlk,
    /// A SCSI disk on virtio-scsi.
    VirtioScsi,
    /// NVMe.
    Nvme,
    /// USB mass storage on xHCI.
    Usb,
    /// SATA on AHCI; QEMU has no 4096-byte SATA disks.
    Ahci,
}

/// Logical sector size of the system disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sector {
    /// 512 bytes: `disk.img`.
    B512,
    /// 4096 bytes: `disk-4k.img`.
    B4096,
}

/// What is behind the serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// A socket that a test may read and write; everything is logged as well.
    Socket,
    /// A pipe that is full from the start and that nobody reads: the port never drains.
    Stuck,
}

/// A machine to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whose image: a folder of out/.
    pub board: String,
    /// Board architecture.
    pub arch: Arch,
    /// Boot path.
    pub boot: Boot,
    /// Bus of the system disk.
    pub bus: Bus,
    /// Its sector size.
    pub sector: Sector,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What is behind the serial port.
    pub serial: Serial,
    /// Further raw disks, on virtio-blk, read-write.
    pub extra_disks: Vec<PathBuf>,
    /// Further links, to virtual networks of the harness.
    pub cables: Vec<Cable>,
    /// Text appended to the kernel command line (fast path only: the UKI's is sealed).
    pub append: String,
    /// What the firmware says of the machine: values of QEMU's `-smbios`.
    pub smbios: Vec<String>,
    /// Record the system disk's writes and flushes into `Files::write_log`.
    pub log_writes: bool,
}

/// The files and ports of one QEMU run.
#[derive(Clone, Debug)]
pub struct Files {
    /// The system disk, raw.
    pub disk: PathBuf,
    /// Kernel image for the fast path.
    pub kernel: PathBuf,
    /// Kernel command line for the fast path.
    pub cmdline: String,
    /// Firmware code, read-only.
    pub firmware: PathBuf,
    /// This machine's copy of the firmware's variables.
    pub variables: PathBuf,
    /// Socket of the serial port; for a stuck port the stem of the two pipes `.in` and `.out`.
    pub serial_socket: PathBuf,
    /// Everything that the serial port said.
    pub serial_log: PathBuf,
    /// Socket of QEMU's monitor.
    pub monitor: PathBuf,
    /// Host port on loopback that reaches the node's API.
    pub api_port: u16,
    /// Where writes are recorded, when they are.
    pub write_log: PathBuf,
}

impl Arch {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// The board's name, as in `board/` and `out/`.
    #[must_use]
    pub const fn board(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-x86_64",
            Self::Arm64 => "qemu-arm64",
        }
    }

    /// QEMU's program for it.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// File name of the kernel that QEMU can start directly.
    #[must_use]
    pub const fn kernel(self) -> &'static str {
        match self {
            Self::X86_64 => "vmlinuz",
            Self::Arm64 => "Image",
        }
    }

    /// Debian's firmware: code and the template of its variables.
    #[must_use]
    pub const fn firmware(self) -> (&'static str, &'static str) {
        match self {
            Self::X86_64 => ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            Self::Arm64 => ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        }
    }
}

impl Sector {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }

    /// The image made for disks of this sector size.
    #[must_use]
    pub const fn image(self) -> &'static str {
        match self {
            Self::B512 => "disk.img",
            Self::B4096 => "disk-4k.img",
        }
    }
}

impl Machine {
    /// A board with the settings that most tests want: fast path, virtio-blk, 512-byte sectors, 1 GiB.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self {
            board: arch.board().to_owned(),
            arch,
            boot: Boot::Fast,
            bus: Bus::VirtioBlk,
            sector: Sector::B512,
            memory_mib: 1024,
            serial: Serial::Socket,
            extra_disks: Vec::new(),
            cables: Vec::new(),
            append: String::new(),
            smbios: Vec::new(),
            log_writes: false,
        }
    }

    /// The same machine through firmware.
    #[must_use]
    pub fn firmware(mut self) -> Self {
        self.boot = Boot::Firmware;
        self
    }

    /// Why this combination cannot exist, if it cannot (design section 10).
    #[must_use]
    pub fn impossible(&self) -> Option<&'static str> {
        match (self.bus, self.sector, self.arch, self.boot) {
            (Bus::Ahci, Sector::B4096, ..) => Some("QEMU offers no 4096-byte SATA disk"),
            (Bus::Ahci, _, Arch::Arm64, Boot::Firmware) => Some("Debian's AAVMF does not see an AHCI disk"),
            _ => None,
        }
    }

    /// QEMU's arguments.
    #[must_use]
    pub fn arguments(&self, files: &Files) -> Vec<String> {
        let mut args = Args::default();
        self.platform(&mut args);
        self.loader(&mut args, files);
        self.system_disk(&mut args, files);
        self.network(&mut args, files);
        for (index, path) in self.extra_disks.iter().enumerate() {
            let node = format!("extra{index}");
            args.pair("-blockdev", format!("driver=file,node-name={node},filename={}", path.display()));
            args.pair("-device", format!("virtio-blk-pci,drive={node}"));
        }
        args.0
    }

    fn platform(&self, args: &mut Args) {
        match self.arch {
            Arch::X86_64 => {
                // Without the chipset's own SATA ports: a kernel waits for each of them. Not `graphics=off`: SeaBIOS would
                // write to the serial port and wait for it.
                args.pair("-machine", "q35,sata=off");
                args.pair("-cpu", "Nehalem");
            }
            Arch::Arm64 => {
                args.pair("-machine", "virt,gic-version=3");
                args.pair("-cpu", "cortex-a57");
            }
        }
        args.pair("-accel", "tcg,thread=multi");
        args.pair("-smp", "2");
        args.pair("-m", self.memory_mib.to_string());
        args.pair("-display", "none");
        args.0.push("-nodefaults".to_owned());
        args.pair("-device", "virtio-rng-pci");
        args.pair("-device", "i6300esb");
        args.pair("-action", "watchdog=reset");
        for table in &self.smbios {
            args.pair("-smbios", table);
        }
    }

    fn loader(&self, args: &mut Args, files: &Files) {
        match self.boot {
            Boot::Firmware => {
                args.pair("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", files.firmware.display()));
                args.pair("-drive", format!("if=pflash,unit=1,format=raw,file={}", files.variables.display()));
            }
            Boot::Fast => {
                args.pair("-kernel", files.kernel.display().to_string());
                // A PL011 that cannot write holds up all of QEMU, and no hardware does that: a 16550 on PCI takes its place.
                let console = if self.stuck_on_pci() { "console=ttyS0 " } else { "" };
                args.pair("-append", format!("{} {console}{}", files.cmdline, self.append).trim_end().to_owned());
            }
        }
        let socket = files.serial_socket.display();
        let log = files.serial_log.display();
        args.pair(
            "-chardev",
            match self.serial {
                Serial::Socket => format!("socket,id=serial0,path={socket},server=on,wait=off,logfile={log},logappend=on"),
                Serial::Stuck => format!("pipe,id=serial0,path={socket}"),
            },
        );
        if self.stuck_on_pci() {
            args.pair("-device", "pci-serial,chardev=serial0");
        } else {
            args.pair("-serial", "chardev:serial0");
        }
        args.pair("-qmp", format!("unix:{},server=on,wait=off", files.monitor.display()));
    }

    fn stuck_on_pci(&self) -> bool {
        self.serial == Serial::Stuck && self.arch == Arch::Arm64
    }

    fn system_disk(&self, args: &mut Args, files: &Files) {
        args.pair("-blockdev", format!("driver=file,node-name=file0,filename={},discard=unmap", files.disk.display()));
        if self.log_writes {
            args.pair("-blockdev", format!("driver=file,node-name=log0,filename={}", files.write_log.display()));
            args.pair(
                "-blockdev",
                format!("driver=blklogwrites,node-name=disk0,file=file0,log=log0,log-sector-size={}", self.sector.bytes()),
            );
        }
        let drive = if self.log_writes { "disk0" } else { "file0" };
        let size = self.sector.bytes();
        // With `-kernel` QEMU gives the first place to its own loader.
        let first = if self.boot == Boot::Firmware { ",bootindex=0" } else { "" };
        let blocks = format!("logical_block_size={size},physical_block_size={size}{first}");
        match self.bus {
            Bus::VirtioBlk => args.pair("-device", format!("virtio-blk-pci,drive={drive},{blocks}")),
            Bus::VirtioScsi => {
                args.pair("-device", "virtio-scsi-pci,id=scsi0");
                args.pair("-device", format!("scsi-hd,bus=scsi0.0,drive={drive},{blocks}"));
            }
            Bus::Nvme => args.pair("-device", format!("nvme,serial=keelson0,drive={drive},{blocks}")),
            Bus::Usb => {
                args.pair("-device", "qemu-xhci,id=xhci0");
                args.pair("-device", format!("usb-storage,bus=xhci0.0,drive={drive},removable=on,{blocks}"));
            }
            Bus::Ahci => {
                args.pair("-device", "ich9-ahci,id=sata0");
                args.pair("-device", format!("ide-hd,bus=sata0.0,drive={drive}{first}"));
            }
        }
    }

    fn network(&self, args: &mut Args, files: &Files) {
        args.pair("-netdev", format!("user,id=net0,hostfwd=tcp:127.0.0.1:{}-:50000", files.api_port));
        args.pair("-device", "virtio-net-pci,netdev=net0,romfile=");
        for (at, cable) in self.cables.iter().enumerate() {
            let (own, hub) = (cable.local.display(), cable.hub.display());
            let mac: Vec<String> = cable.mac.iter().map(|octet| format!("{octet:02x}")).collect();
            args.pair("-netdev", format!("dgram,id=lan{at},local.type=unix,local.path={own},remote.type=unix,remote.path={hub}"));
            args.pair("-device", format!("virtio-net-pci,netdev=lan{at},mac={},romfile=", mac.join(":")));
        }
    }
}

/// Arguments in the making.
#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(name.to_owned());
        self.0.push(value.into());
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.arch, self.boot, self.bus, self.sector)
    }
}

/// One spelling for each value, both ways: test names, table cells and arguments of `xtask` share it.
macro_rules! spelled {
    ($type:ty { $($value:ident = $name:literal),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $name),+ })
            }
        }
        impl std::str::FromStr for $type {
            type Err = anyhow::Error;
            fn from_str(text: &str) -> anyhow::Result<Self> {
                match text {
                    $($name => Ok(Self::$value),)+
                    other => anyhow::bail!("{other:?} is none of {}", [$($name),+].join(", ")),
                }
            }
        }
    };
}
spelled!(Arch { X86_64 = "x86_64", Arm64 = "arm64" });
spelled!(Boot { Firmware = "firmware", Fast = "fast" });
spelled!(Bus { VirtioBlk = "virtio-blk", VirtioScsi = "virtio-scsi", Nvme = "nvme", Usb = "usb", Ahci = "ahci" });
spelled!(Sector { B512 = "512", B4096 = "4096" });

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let path = |name: &str| PathBuf::from("/t").join(name);
        Files {
            disk: path("disk"),
            kernel: path("kernel"),
            cmdline: "root=/dev/dm-0".into(),
            firmware: path("code"),
            variables: path("vars"),
            serial_socket: path("serial"),
            serial_log: path("serial.log"),
            monitor: path("qmp"),
            api_port: 1234,
            write_log: path("writes"),
        }
    }

    #[track_caller]
    fn check(machine: &Machine, wanted: &[&str], unwanted: &[&str]) {
        let line = machine.arguments(&files()).join(" ");
        for text in wanted {
            assert!(line.contains(text), "{machine}: no {text:?} in {line}");
        }
        for text in unwanted {
            assert!(!line.contains(text), "{machine}: {text:?} in {line}");
        }
    }

    #[test]
    fn the_command_line_says_what_the_machine_is() {
        let machine = Machine::new(Arch::X86_64);
        check(
            &machine,
            &["-machine q35", "-kernel /t/kernel -append root=/dev/dm-0", "virtio-blk-pci,drive=file0"],
            &["pflash", "kvm", "blklogwrites"],
        );
        let named = Machine { smbios: vec!["type=1,serial=ds=nocloud".into()], ..machine.clone() };
        check(&named, &["-smbios type=1,serial=ds=nocloud"], &[]);
        check(&machine.clone().firmware(), &["pflash,unit=0,format=raw,readonly=on,file=/t/code"], &["-kernel", "-append"]);
        let machine = Machine { bus: Bus::Nvme, sector: Sector::B4096, log_writes: true, ..Machine::new(Arch::Arm64) };
        check(&machine, &["-machine virt", "nvme,serial=keelson0,drive=disk0", "logical_block_size=4096", "log-sector-size=4096"], &[]);
        let cable = Cable { local: "/t/port0".into(), hub: "/t/hub".into(), mac: [2, 0x4b, 0, 0, 1, 0] };
        let plugged = Machine { cables: vec![cable], ..Machine::new(Arch::Arm64) };
        let lan = "dgram,id=lan0,local.type=unix,local.path=/t/port0,remote.type=unix,remote.path=/t/hub";
        check(&plugged, &[lan, "virtio-net-pci,netdev=lan0,mac=02:4b:00:00:01:00,romfile="], &[]);
        let machine = Machine { serial: Serial::Stuck, extra_disks: vec!["/t/seed".into()], append: "extra=1".into(), ..machine };
        check(
            &machine,
            &["pipe,id=serial0", "filename=/t/seed", "root=/dev/dm-0 console=ttyS0 extra=1", "pci-serial,chardev=serial0"],
            &["socket,id=serial0"],
        );
    }

    #[test]
    fn spelling_goes_both_ways() {
        for cell in crate::cells::all() {
            assert_eq!(cell.arch.to_string().parse::<Arch>().unwrap(), cell.arch);
            assert_eq!(cell.bus.to_string().parse::<Bus>().unwrap(), cell.bus);
        }
        assert!("floppy".parse::<Bus>().unwrap_err().to_string().contains("virtio-blk, virtio-scsi"));
    }
}
