//! Where a configuration and an address may come from, beside the API and DHCP.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    limits,
    node::{Access, running},
};

use crate::{
    Tier,
    node::{expect_healthy_node, logged},
    trial,
};

type Case = fn(Machine) -> Result<()>;

const CASES: &[(&str, Case)] =
    &[("cidata", cidata), ("metal-iso", metal_iso), ("inline", inline), ("ip-on-the-command-line", ip_on_the_command_line)];

pub fn trials(tier: Tier) -> Vec<Trial> {
    let mut trials = Vec::new();
    for arch in Arch::ALL {
        for (index, &(name, case)) in CASES.iter().enumerate() {
            // Alternating, so that each board has its share in CI.
            if tier == Tier::Full || (index % 2 == 0) == (arch == Arch::X86_64) {
                trials.push(trial(format!("sources/{arch}/{name}"), move || case(Machine::new(arch))));
            }
        }
    }
    trials
}

/// A FAT volume as cloud tools make it.
fn cidata(machine: Machine) -> Result<()> {
    from_volume(machine, "cidata", |config, volume| {
        let file = volume.with_extension("yaml");
        std::fs::write(&file, config)?;
        std::fs::File::create(volume)?.set_len(8 << 20)?;
        run(Command::new("mkfs.vfat").args(["-n", "CIDATA"]).arg(volume))?;
        run(Command::new("mcopy").arg("-i").arg(volume).arg(&file).arg("::/user-data"))
    })
}

/// A plain ISO 9660 volume.
fn metal_iso(machine: Machine) -> Result<()> {
    from_volume(machine, "metal-iso", |config, volume| Ok(std::fs::write(volume, iso("METAL-ISO", "CONFIG.YAML;1", config.as_bytes()))?))
}

/// A node with the volume runs at once; without it, it has kept what it took.
fn from_volume(machine: Machine, source: &str, make: impl FnOnce(&str, &Path) -> Result<()>) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    let access = Access::generate()?;
    let volume = vm.folder().join("volume");
    make(&access.config, &volume)?;
    vm.machine.extra_disks.push(volume);
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, &format!("controlplane configuration from {source} in force"))?;
    expect_healthy_node(&vm, &api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    vm.machine.extra_disks.clear();
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, "controlplane configuration from state in force")
}

/// A small configuration on the kernel's command line.
fn inline(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    let access = Access::small()?;
    let packed = zstd::encode_all(access.config.as_bytes(), 19).context("pack the configuration")?;
    vm.machine.append = format!("talos.config.inline={}", STANDARD.encode(packed));
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, "controlplane configuration from inline in force")
}

/// A fixed address, gateway and name server, and no DHCP.
fn ip_on_the_command_line(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    // The address that the emulated network forwards the API's port to.
    vm.machine.append = "ip=10.0.2.15::10.0.2.2:255.255.255.0:fixed::off:10.0.2.3".to_owned();
    vm.start()?;
    let api = qemu::node::maintenance(&mut vm)?;
    wait_for("the host name of the command line", limits::SETTLE, || {
        let name = hostname(&api)?;
        ensure!(name == "fixed", "the host name is {name}");
        Ok(())
    })?;
    let log = api.logs("machined", -1)?;
    ensure!(!log.contains("for 86400 s"), "DHCP ran although the command line gives an address");
    Ok(())
}

pub fn hostname(api: &Api) -> Result<String> {
    let mut client = api.machine();
    let reply = api.call(client.hostname(()))?;
    Ok(reply.messages.into_iter().next().context("no host name in the answer")?.hostname)
}

pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// An ISO 9660 volume (ECMA-119) with one file in its root.
fn iso(label: &str, name: &str, content: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 2048;
    let both16 = |value: u16| [value.to_le_bytes(), value.to_be_bytes()].concat();
    let both32 = |value: u32| [value.to_le_bytes(), value.to_be_bytes()].concat();
    let record = |name: &[u8], sector: u32, length: u32, flags: u8| {
        let mut record = vec![0, 0];
        record.extend(both32(sector));
        record.extend(both32(length));
        record.extend([0; 7]);
        record.extend([flags, 0, 0]);
        record.extend(both16(1));
        record.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        record.extend(name);
        record.resize(record.len().next_multiple_of(2), 0);
        record[0] = u8::try_from(record.len()).unwrap_or(u8::MAX);
        record
    };
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let sectors = 19 + size.div_ceil(2048);
    let mut image = vec![0; SECTOR * 19];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let volume = 16 * SECTOR;
    put(volume, b"\x01CD001\x01");
    put(volume + 8, &[b' '; 64]);
    put(volume + 40, label.as_bytes());
    put(volume + 80, &both32(sectors));
    put(volume + 120, &both16(1));
    put(volume + 124, &both16(1));
    put(volume + 128, &both16(2048));
    put(volume + 156, &record(&[0], 18, 2048, 2));
    put(volume + 881, &[1]);
    put(17 * SECTOR, b"\xffCD001\x01");
    let folder = [record(&[0], 18, 2048, 2), record(&[1], 18, 2048, 2), record(name.as_bytes(), 19, size, 0)].concat();
    put(18 * SECTOR, &folder);
    image.extend_from_slice(content);
    image.resize(SECTOR * sectors as usize, 0);
    image
}
