//! Damaged, foreign and wrong things: the node says exactly what is wrong, and data is kept.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::{refused, wait_for},
    disk, limits,
    node::{Access, configured_and_off, maintenance, running},
};
use tonic::Code;

use crate::{
    Tier,
    node::{boots_well, expect_healthy_node, expect_table, logged, partition},
    trial,
};

/// A case on one board, over the boot path that the case is about.
type Case = fn(Machine) -> Result<()>;

/// Cases that involve the boot path: both boards, through firmware.
const BOOT_PATH: &[(&str, Case)] =
    &[("tables-through-firmware", tables_through_firmware), ("rotten-root", rotten_root), ("second-disk-with-the-same-image", second_disk)];

/// Cases that do not: the fast path; CI runs each on one board, the full tier on both.
const LATER: &[(&str, Case)] = &[
    ("primary-table", primary_table),
    ("backup-table", backup_table),
    ("meta-one-copy", meta_one_copy),
    ("meta-both-copies", meta_both_copies),
    ("state-does-not-mount", state_does_not_mount),
    ("earlier-life", earlier_life),
    ("wrong-config", wrong_config),
    ("disk-too-small", disk_too_small),
];

pub fn trials(tier: Tier) -> Vec<Trial> {
    let mut trials = Vec::new();
    for arch in Arch::ALL {
        for &(name, case) in BOOT_PATH {
            trials.push(trial(format!("bad-input/{arch}/{name}"), move || case(Machine::new(arch).firmware())));
        }
        for (index, &(name, case)) in LATER.iter().enumerate() {
            // Alternating, so that each board has its share in CI.
            if tier == Tier::Full || (index % 2 == 0) == (arch == Arch::X86_64) {
                trials.push(trial(format!("bad-input/{arch}/{name}"), move || case(Machine::new(arch))));
            }
        }
    }
    trials
}

/// Boots again and expects the configured node, whose console said `text`, and a good table afterwards.
fn runs_and_says(mut vm: TestVm, access: &Access, text: &str) -> Result<()> {
    vm.start()?;
    let api = running(&mut vm, access)?;
    expect_healthy_node(&vm, &api)?;
    says(&vm, &api, text)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    expect_table(&vm)
}

/// The node's own log holds `text`, and so does the console.
fn says(vm: &TestVm, api: &Api, text: &str) -> Result<()> {
    logged(api, text)?;
    wait_for(&format!("{text:?} on the console"), limits::SETTLE, || {
        // A console may break lines at its width.
        let said: String = vm.serial.text().split_whitespace().collect();
        let wanted: String = text.split_whitespace().collect();
        ensure!(said.contains(&wanted), "the console ends with:\n{}", vm.serial.tail());
        Ok(())
    })
}

/// UEFI mends either copy of the table from the other before the node sees it; whoever did it, both are good afterwards.
fn tables_through_firmware(machine: Machine) -> Result<()> {
    let (mut vm, access) = configured_and_off(machine)?;
    for damage in [damage_primary, damage_backup] {
        damage(&vm)?;
        boots_well(&mut vm, &access)?;
    }
    Ok(())
}

fn damage_primary(vm: &TestVm) -> Result<()> {
    disk::flip_byte(vm.disk(), vm.machine.sector.bytes() + 16)
}

fn damage_backup(vm: &TestVm) -> Result<()> {
    let last = std::fs::metadata(vm.disk())?.len() - vm.machine.sector.bytes();
    disk::flip_byte(vm.disk(), last + 16)
}

fn primary_table(machine: Machine) -> Result<()> {
    let (vm, access) = configured_and_off(machine)?;
    damage_primary(&vm)?;
    runs_and_says(vm, &access, "the primary partition table was damaged")
}

fn backup_table(machine: Machine) -> Result<()> {
    let (vm, access) = configured_and_off(machine)?;
    damage_backup(&vm)?;
    runs_and_says(vm, &access, "the backup partition table was damaged")
}

/// A flipped byte in the root is a counted boot failure: the kernel names the block and restarts.
fn rotten_root(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    // The super block lies in the first block: nothing mounts without it, so the first read finds the rot.
    let root = partition(&vm, "ROOT-A")?;
    disk::flip_byte(vm.disk(), root.start + 1024 + 8)?;
    vm.start()?;
    vm.wait_serial("verity")?;
    vm.wait_serial("Kernel panic")?;
    ensure!(!vm.serial.text().contains("maintenance"), "the node came up on a damaged root");
    Ok(())
}

/// The same image on two disks: nothing is set up, and the node says why.
fn second_disk(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    let copy = vm.folder().join("second.img");
    let image = vm.image().to_owned();
    disk::copy_image(&image, &copy, std::fs::metadata(&image)?.len())?;
    vm.machine.extra_disks.push(copy);
    vm.start()?;
    let api = maintenance(&mut vm)?;
    says(&vm, &api, "two disks hold the same image")?;
    api.shutdown().ok();
    vm.kill();
    ensure!(partition(&vm, "STATE").is_err(), "STATE was made although two disks hold the same root");
    Ok(())
}

fn meta_one_copy(machine: Machine) -> Result<()> {
    let (vm, access) = configured_and_off(machine)?;
    let meta = partition(&vm, "META")?;
    disk::flip_byte(vm.disk(), meta.start + 40)?;
    runs_and_says(vm, &access, "one copy of META was damaged")
}

/// Nobody knows whether the disk was set up: what is there is used, nothing is formatted.
fn meta_both_copies(machine: Machine) -> Result<()> {
    let (vm, access) = configured_and_off(machine)?;
    let meta = partition(&vm, "META")?;
    disk::flip_byte(vm.disk(), meta.start + 40)?;
    disk::flip_byte(vm.disk(), meta.start + meta.length / 2 + 40)?;
    runs_and_says(vm, &access, "META is damaged in both copies")
}

/// A broken STATE is not a fresh node: strangers may look, and not configure.
fn state_does_not_mount(machine: Machine) -> Result<()> {
    let (mut vm, access) = configured_and_off(machine)?;
    let state = partition(&vm, "STATE")?;
    let before = sample(&vm, state.start + (1 << 20))?;
    disk::write_at(vm.disk(), state.start, &[0; 4096])?;
    vm.start()?;
    let api = maintenance(&mut vm)?;
    says(&vm, &api, "STATE")?;
    let message = refused(api.apply(&access.config), Code::FailedPrecondition)?;
    ensure!(message.contains("STATE"), "the refusal does not name STATE: {message}");
    vm.quit()?;
    ensure!(sample(&vm, state.start + (1 << 20))? == before, "the damaged STATE was written to");
    Ok(())
}

/// File systems of the disk's earlier life lie where the new partitions go: they are gone, the node is well.
fn earlier_life(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    let image = std::fs::metadata(vm.image())?.len();
    let end = std::fs::metadata(vm.disk())?.len();
    let mut place = image - image % (1 << 20);
    while place + (1 << 20) < end {
        // An ext4 super block and an XFS magic at every MiB after the image.
        disk::write_at(vm.disk(), place + 1024 + 0x38, &[0x53, 0xef])?;
        disk::write_at(vm.disk(), place, b"XFSB")?;
        place += 1 << 20;
    }
    vm.start()?;
    let api = maintenance(&mut vm)?;
    let access = Access::generate()?;
    api.apply(&access.config).context("apply the configuration")?;
    let api = running(&mut vm, &access)?;
    expect_healthy_node(&vm, &api)
}

/// Every problem of a configuration is named with its path; the node stays in maintenance.
fn wrong_config(machine: Machine) -> Result<()> {
    let mut vm = TestVm::boot(machine)?;
    let api = maintenance(&mut vm)?;
    let access = Access::generate()?;
    let line = access.config.lines().find(|line| line.trim_start().starts_with("type: controlplane"));
    let line = line.context("the configuration has no machine type")?;
    let indent = &line[..line.len() - line.trim_start().len()];
    let wrong = access.config.replacen(line, &format!("{line}\n{indent}shell: /bin/bash\n{indent}flavour: vanilla"), 1);
    let message = refused(api.apply(&wrong), Code::InvalidArgument)?;
    ensure!(message.contains("shell") && message.contains("flavour"), "not every problem is named: {message}");
    let wrong = access.config.replacen("type: controlplane", "type: mainframe", 1);
    let message = refused(api.apply(&wrong), Code::InvalidArgument)?;
    ensure!(message.contains("mainframe"), "the wrong value is not named: {message}");
    refused(api.apply("{{{ not yaml"), Code::InvalidArgument)?;
    api.apply(&access.config).context("apply the right configuration afterwards")?;
    running(&mut vm, &access).map(drop)
}

/// The image fits, the rest does not: the numbers are named and the node answers.
fn disk_too_small(machine: Machine) -> Result<()> {
    let length = std::fs::metadata(qemu::out_folder(&machine).join(machine.sector.image()))?.len();
    let mut vm = TestVm::create_sized(machine, length + (64 << 20))?;
    vm.start()?;
    let api = maintenance(&mut vm)?;
    says(&vm, &api, "MiB are needed")
}

/// A few KiB of the disk, to see that nobody wrote there.
fn sample(vm: &TestVm, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 64 << 10];
    File::open(vm.disk())?.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
