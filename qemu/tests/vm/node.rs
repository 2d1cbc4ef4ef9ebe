//! A healthy node: what every suite expects of one, and the suites about a node's daily life.

use anyhow::{Context, Result, bail, ensure};
use gpt::{GptConfig, disk::LogicalBlockSize};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Boot, Machine, Sector, TestVm,
    api::{refused, wait_for},
    limits,
    node::{Access, configured, maintenance, running},
};
use tonic::Code;
use wire::machine::{self, ServiceInfo};

use crate::{Tier, trial};

const MIB: u64 = 1 << 20;

/// Labels and sizes in the order of the disk; EPHEMERAL takes the rest.
const PARTITIONS: [(&str, u64); 5] =
    [("EFI", 512 * MIB), ("ROOT-A", 512 * MIB), ("META", MIB), ("ROOT-B", 512 * MIB), ("STATE", 512 * MIB)];

pub fn trials(tier: Tier) -> Vec<Trial> {
    // It takes two minutes, and on arm64 two processors as well.
    let watched: &[Arch] = if tier == Tier::Full { &Arch::ALL } else { &[Arch::X86_64] };
    let watchdog = |arch: &Arch| {
        let machine = Machine::new(*arch);
        trial(format!("node/{arch}/watchdog"), move || watchdog_restarts(machine))
    };
    let mut trials = daily();
    trials.extend(watched.iter().map(watchdog));
    trials
}

fn daily() -> Vec<Trial> {
    Arch::ALL
        .into_iter()
        .flat_map(|arch| {
            [
                trial(format!("node/{arch}/maintenance"), move || maintenance_is_for_readers(Machine::new(arch))),
                trial(format!("node/{arch}/configured"), move || configured_node(Machine::new(arch))),
                trial(format!("node/{arch}/reboot"), move || reboot(Machine::new(arch).firmware())),
            ]
        })
        .collect()
}

/// Verity active, root read-only, EPHEMERAL at full size, services healthy, the version's facts right.
pub fn expect_healthy_node(vm: &TestVm, api: &Api) -> Result<()> {
    let version = api.version()?.version.context("no version in the answer")?;
    ensure!(version.tag.starts_with("v1.14.0+keelson."), "tag {}", version.tag);
    let arch = match vm.machine.arch {
        Arch::X86_64 => "amd64",
        Arch::Arm64 => "arm64",
    };
    ensure!(version.arch == arch && version.os == "linux", "os {} on {}", version.os, version.arch);
    expect_verity(api)?;
    let loader_known = api.logs("machined", -1)?.contains("disk: the loader came from");
    ensure!(loader_known == (vm.machine.boot == Boot::Firmware), "the node knows the loader's disk: {loader_known}");
    let size = std::fs::metadata(vm.disk())?.len();
    let fixed: u64 = PARTITIONS.iter().map(|(_, size)| size).sum();
    let var = wait_for("EPHEMERAL on /var", limits::SETTLE, || {
        api.mounts()?.into_iter().find(|mount| mount.mounted_on == "/var").context("/var is not mounted")
    })?;
    // XFS keeps a log and headers for itself: a few percent of a small volume.
    ensure!(var.size > (size - fixed) * 9 / 10, "/var has {} of {} bytes", var.size, size - fixed);
    ensure!(api.disks()?.iter().any(|disk| disk.system_disk && disk.size == size), "no system disk of {size} bytes");
    wait_for("every service to be running and healthy", limits::SETTLE, || expect_services(&api.services()?))
}

/// Another boot of a configured node: healthy, powered off when asked, its table right afterwards.
pub fn boots_well(vm: &mut TestVm, access: &Access) -> Result<()> {
    vm.start()?;
    let api = running(vm, access)?;
    expect_healthy_node(vm, &api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    expect_table(vm)
}

/// Waits for `text` in the node's own log.
pub fn logged(api: &Api, text: &str) -> Result<()> {
    wait_for(&format!("{text:?} in the node's log"), limits::SETTLE, || {
        let log = api.logs("machined", -1)?;
        ensure!(log.contains(text), "the log ends with:\n{}", log.lines().rev().take(30).collect::<Vec<_>>().join("\n"));
        Ok(())
    })
}

/// Each process in its own control group, with what that one is granted and allowed.
fn expect_groups(api: &Api, apid: i32) -> Result<()> {
    let says = |path: &str, wanted: &str| {
        wait_for(&format!("{wanted:?} in {path}"), limits::SETTLE, || {
            let text = api.read_text(path)?;
            ensure!(text.trim() == wanted, "it says {:?}", text.trim());
            Ok(())
        })
    };
    // PID 1 is moved last.
    says("/proc/1/cgroup", "0::/init")?;
    says(&format!("/proc/{apid}/cgroup"), "0::/system/apid")?;
    for (file, wanted) in [
        ("init/memory.min", 24 * MIB),
        ("init/memory.swap.max", 0),
        ("init/cpu.weight", 79),
        ("system/memory.low", 96 * MIB),
        ("system/apid/memory.max", 128 * MIB),
        ("system/apid/memory.low", 16 * MIB),
        ("system/apid/memory.swap.max", 0),
        ("system/apid/cpu.weight", 20),
        // Two processors: a weight for four of them would be a wish.
        ("podruntime/cpu.weight", 79),
    ] {
        says(&format!("/sys/fs/cgroup/{file}"), &wanted.to_string())?;
    }
    Ok(())
}

/// The kernel has taken a module from the root and takes none from anywhere else.
fn expect_pinned_modules(api: &Api) -> Result<()> {
    wait_for("the first module", limits::SETTLE, || {
        let modules = api.read_text("/proc/modules")?;
        ensure!(modules.lines().any(|line| line.starts_with("crc16 ")), "machined loaded no module: {modules}");
        Ok(())
    })?;
    ensure!(api.read_text("/proc/sys/kernel/loadpin/enforce")?.trim() == "1", "LoadPin is not enforced");
    let log = api.dmesg()?;
    ensure!(log.contains("LoadPin") && log.contains("pinned"), "the kernel log does not say what modules are pinned to");
    Ok(())
}

fn expect_verity(api: &Api) -> Result<()> {
    let mounts = api.read_text("/proc/mounts")?;
    let root: Vec<&str> = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).context("no root")?.split(' ').collect();
    ensure!(root.get(2) == Some(&"erofs"), "root is {root:?}");
    ensure!(root.get(3).is_some_and(|options| options.split(',').any(|option| option == "ro")), "root is writable: {root:?}");
    ensure!(api.read_text("/sys/block/dm-0/dm/name")?.trim() == "root", "dm-0 is not the root");
    ensure!(api.read_text("/sys/block/dm-0/ro")?.trim() == "1", "the root device is writable");
    let cmdline = api.read_text("/proc/cmdline")?;
    ensure!(cmdline.contains(" verity 1 ") && cmdline.contains("panic_on_corruption"), "no verity table: {cmdline}");
    Ok(())
}

fn expect_services(services: &[ServiceInfo]) -> Result<()> {
    for id in ["machined", "apid"] {
        let service = services.iter().find(|service| service.id == id).with_context(|| format!("no service {id}"))?;
        ensure!(service.state == "Running", "{id} is {}", service.state);
        ensure!(service.health.as_ref().is_some_and(|health| health.healthy), "{id}: {:?}", service.health);
        ensure!(service.events.as_ref().is_some_and(|events| !events.events.is_empty()), "{id} has no events");
    }
    Ok(())
}

/// A partition's place on the disk.
pub struct Place {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// Looks a partition up, with the `gpt` crate and not with our own reader.
pub fn partition(vm: &TestVm, label: &str) -> Result<Place> {
    let block = block_size(vm);
    let disk = GptConfig::new().writable(false).logical_block_size(block).open(vm.disk())?;
    let found = disk.partitions().values().find(|partition| partition.name == label);
    let found = found.with_context(|| format!("the disk has no partition {label}"))?;
    Ok(Place { start: found.bytes_start(block)?, length: found.bytes_len(block)? })
}

/// Both headers valid, the backup at the very end, the partitions in order at their sizes, EPHEMERAL up to the end.
pub fn expect_table(vm: &TestVm) -> Result<()> {
    let block = block_size(vm);
    let size = std::fs::metadata(vm.disk())?.len();
    let disk = GptConfig::new().writable(false).only_valid_headers(true).logical_block_size(block).open(vm.disk())?;
    let header = disk.primary_header().context("no primary header")?;
    ensure!(
        header.backup_lba == size / vm.machine.sector.bytes() - 1,
        "the backup header is at {} of a disk of {size} bytes",
        header.backup_lba
    );
    disk.backup_header().context("no backup header")?;
    let mut partitions: Vec<_> = disk.partitions().values().filter(|partition| partition.is_used()).collect();
    partitions.sort_by_key(|partition| partition.first_lba);
    let labels: Vec<&str> = partitions.iter().map(|partition| partition.name.as_str()).collect();
    let wanted: Vec<&str> = PARTITIONS.iter().map(|(label, _)| *label).chain(["EPHEMERAL"]).collect();
    ensure!(labels == wanted, "partitions {labels:?}");
    for (partition, (label, wanted)) in partitions.iter().zip(PARTITIONS) {
        let length = partition.bytes_len(block)?;
        ensure!(length == wanted, "{label} has {length} bytes instead of {wanted}");
    }
    let last = partitions.last().context("no partitions")?;
    let end = last.bytes_start(block)? + last.bytes_len(block)?;
    ensure!(size - end < 2 * MIB, "EPHEMERAL ends {} bytes before the disk", size - end);
    Ok(())
}

const fn block_size(vm: &TestVm) -> LogicalBlockSize {
    match vm.machine.sector {
        Sector::B512 => LogicalBlockSize::Lb512,
        Sector::B4096 => LogicalBlockSize::Lb4096,
    }
}

/// Without a configuration anybody may look; nobody may read files or switch the node off.
fn maintenance_is_for_readers(machine: Machine) -> Result<()> {
    let mut vm = TestVm::boot(machine)?;
    let api = maintenance(&mut vm)?;
    ensure!(!api.dmesg()?.is_empty(), "the kernel log is empty");
    ensure!(!api.disks()?.is_empty(), "no disks");
    ensure!(api.logs("machined", 5)?.lines().count() == 5, "five lines were asked for");
    refused(api.read("/etc/os-release"), Code::PermissionDenied)?;
    let mut client = api.machine();
    refused(api.call(client.shutdown(machine::ShutdownRequest { force: false })), Code::PermissionDenied)?;
    refused(api.call(client.reset(machine::ResetRequest::default())), Code::PermissionDenied)?;
    // The console tells how to go on.
    vm.wait_serial("apply-config")
}

/// With one, strangers get nowhere, and the admin sees what people ask for first.
fn configured_node(machine: Machine) -> Result<()> {
    let (vm, api, access) = configured(machine)?;
    expect_healthy_node(&vm, &api)?;
    match Api::insecure(vm.api_address()).and_then(|stranger| stranger.version()) {
        Ok(_) => bail!("a client without a certificate was answered"),
        Err(error) => ensure!(!format!("{error:#}").is_empty(), "refused without a reason"),
    }
    let foreign = Access::generate()?;
    ensure!(
        Api::with_talosconfig(vm.api_address(), &foreign.talosconfig).and_then(|api| api.version()).is_err(),
        "a foreign cluster's certificate was taken"
    );

    let mut client = api.machine();
    let memory = api.call(client.memory(()))?.messages.pop().and_then(|message| message.meminfo).context("no memory")?;
    ensure!(memory.memtotal > 500_000 && memory.memtotal < 1_100_000, "{} KiB of memory", memory.memtotal);
    let processes = api.processes()?;
    ensure!(processes.iter().any(|process| process.pid == 1), "no PID 1");
    let apid = processes.iter().find(|process| process.command.contains("apid")).context("no apid among the processes")?;
    let status = api.read_text(&format!("/proc/{}/status", apid.pid))?;
    let line = |name: &str| {
        status.lines().find(|line| line.starts_with(name)).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    ensure!(line("Uid:") == "Uid: 50 50 50 50", "apid runs as {}", line("Uid:"));
    ensure!(
        line("CapEff:").ends_with("0000000000000000") && line("CapBnd:").ends_with("0000000000000000"),
        "apid may {} of {}",
        line("CapEff:"),
        line("CapBnd:")
    );
    ensure!(line("NoNewPrivs:") == "NoNewPrivs: 1", "apid may gain privileges");
    ensure!(api.read_text(&format!("/proc/{}/oom_score_adj", apid.pid))?.trim() == "-998", "apid's OOM score");

    expect_groups(&api, apid.pid)?;
    expect_pinned_modules(&api)?;

    refused(api.read("/does/not/exist"), Code::NotFound)?;
    refused(api.logs("nonsense", 1), Code::Unknown).or_else(|_| refused(api.logs("nonsense", 1), Code::NotFound))?;
    let no_shell = api.read("/bin/sh");
    ensure!(no_shell.is_err(), "the image holds a shell");
    drop(access);
    Ok(())
}

/// A kernel that has wedged is restarted by the board's watchdog, and the node comes up as it was.
fn watchdog_restarts(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    let before = api.boot_id()?;
    logged(&api, "armed, 120 s")?;
    drop(api);
    let mut debugger = vm.debugger()?;
    debugger.wedge(vm.machine.arch)?;
    vm.serial.mark();
    debugger.detach()?;
    let serial = vm.serial.clone();
    serial.wait("ms after the kernel started", limits::WATCHDOG, || vm.must_run()).context("the watchdog did not restart the machine")?;
    let api = running(&mut vm, &access)?;
    ensure!(api.boot_id()? != before, "the same boot goes on");
    expect_healthy_node(&vm, &api)
}

/// Reboot through the API: another boot id, the same configuration, another boot log.
fn reboot(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    let before = api.boot_id()?;
    ensure!(!api.reboot()?.is_empty(), "no actor id");
    wait_for("another boot id", limits::API, || {
        let after = running(&mut vm, &access)?.boot_id()?;
        ensure!(after != before, "the same boot still runs");
        Ok(())
    })?;
    let api = running(&mut vm, &access)?;
    expect_healthy_node(&vm, &api)
}
