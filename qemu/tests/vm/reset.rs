//! A node that is given back: what is named is gone, the rest stays, and what makes no sense is refused before anything happens.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::{refused, wait_for},
    limits,
    node::{Access, configured, maintenance, running},
};
use tonic::Code;
use wire::machine::{MetaDeleteRequest, MetaWriteRequest, ResetPartitionSpec, ResetRequest, reset_request::WipeMode};

use crate::{
    Tier,
    node::{expect_healthy_node, expect_table, logged, partition},
    trial,
};

const MIB: u64 = 1 << 20;
/// Size of a disk besides the system's, bytes: like no other here.
const USER_DISK: u64 = 96 * MIB;
/// What a firmware says that cannot start anything from its first choice.
const NOT_BOOTABLE: &str = "BdsDxe: failed to load";
/// What the node says first.
const ALIVE: &str = "boot: Keelson ";

/// A case on one board.
type Case = fn(Machine) -> Result<()>;

/// CI runs each on one board, the full tier on both.
const CASES: [(&str, Case); 6] = [
    ("refused", what_is_refused),
    ("meta", keys_stay),
    ("state", state_alone),
    ("all", all_partitions),
    ("disk", |machine| whole_disk(machine.firmware())),
    ("user-disk", user_disk),
];

pub fn trials(tier: Tier) -> Vec<Trial> {
    let all = Arch::ALL.into_iter().flat_map(|arch| CASES.into_iter().enumerate().map(move |(index, case)| (arch, index, case)));
    // Alternating, so that each board has its share in CI.
    let chosen = all.filter(|(arch, index, _)| tier == Tier::Full || (index % 2 == 0) == (*arch == Arch::X86_64));
    chosen.map(|(arch, _, (name, case))| trial(format!("reset/{arch}/{name}"), move || case(Machine::new(arch)))).collect()
}

fn request(labels: &[&str], reboot: bool) -> ResetRequest {
    let named = labels.iter().map(|label| ResetPartitionSpec { label: (*label).to_owned(), wipe: true });
    ResetRequest { graceful: true, reboot, system_partitions_to_wipe: named.collect(), ..ResetRequest::default() }
}

/// Resets these partitions; of none, the whole disk. A node that still boots would refuse.
pub fn order(api: &Api, labels: &[&str], reboot: bool) -> Result<()> {
    api.says("runtime", "MachineStatuses.runtime.talos.dev", "machine", &["stage: running\n"])?;
    let answer = api.call(api.machine().reset(request(labels, reboot)))?;
    let message = answer.messages.first().context("an answer without a message")?;
    ensure!(!message.actor_id.is_empty(), "no actor id");
    Ok(())
}

fn user_disks(mode: WipeMode, disk: &str) -> ResetRequest {
    ResetRequest { mode: mode.into(), reboot: true, user_disks_to_wipe: vec![disk.to_owned()], ..ResetRequest::default() }
}

fn what_is_refused(machine: Machine) -> Result<()> {
    let (vm, api, access) = configured(machine)?;
    let before = api.boot_id()?;
    let system = api.disks()?.into_iter().find(|disk| disk.system_disk).context("no system disk")?.device_name;
    for (request, code, word) in [
        (request(&["VAR"], true), Code::NotFound, "VAR"),
        (request(&["STATE", "EFI"], true), Code::InvalidArgument, "EFI"),
        (request(&["ROOT-A"], true), Code::InvalidArgument, "ROOT-A"),
        (user_disks(WipeMode::UserDisks, &system), Code::InvalidArgument, "system disk"),
        (user_disks(WipeMode::UserDisks, "/dev/nothing"), Code::NotFound, "/dev/nothing"),
        (user_disks(WipeMode::SystemDisk, "/dev/nothing"), Code::InvalidArgument, "SYSTEM_DISK"),
        (ResetRequest { mode: WipeMode::UserDisks.into(), ..request(&["STATE"], true) }, Code::InvalidArgument, "USER_DISKS"),
    ] {
        let text = refused(api.call(api.machine().reset(request.clone())), code).with_context(|| format!("{request:?}"))?;
        ensure!(text.contains(word), "{request:?} is refused with {text:?}");
    }
    for role in ["os:operator", "os:reader"] {
        let api = Api::with_talosconfig(vm.api_address(), &access.with_role(role)?)?;
        refused(api.call(api.machine().reset(request(&["STATE"], true))), Code::PermissionDenied).context(role)?;
    }
    ensure!(api.boot_id()? == before, "a refused reset restarted the node");
    expect_healthy_node(&vm, &api)
}

/// Keys of META: written, shown, removed; they outlive a restart and a reset of other partitions.
fn keys_stay(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    let write =
        |api: &Api, key, value: &[u8]| api.call(api.machine().meta_write(MetaWriteRequest { key, value: value.to_vec() })).map(drop);
    refused(write(&api, 256, b"a"), Code::InvalidArgument)?;
    refused(write(&api, 12, &vec![b'x'; 300 << 10]), Code::ResourceExhausted)?;
    write(&api, 10, b"addresses: []")?;
    write(&api, 12, b"mine")?;
    key_says(&api, "0x0a", Some("addresses: []"))?;
    let operator = Api::with_talosconfig(vm.api_address(), &access.with_role("os:operator")?)?;
    refused(write(&operator, 12, b"a"), Code::PermissionDenied)?;
    let writer = Api::with_talosconfig(vm.api_address(), &access.with_role("os:meta:writer")?)?;
    write(&writer, 13, b"writer")?;
    let delete = |key| api.call(api.machine().meta_delete(MetaDeleteRequest { key })).map(drop);
    delete(13)?;
    refused(delete(13), Code::NotFound)?;
    key_says(&api, "0x0d", None)?;

    let before = api.boot_id()?;
    order(&api, &["EPHEMERAL"], true)?;
    let api = wait_for("the next boot", limits::API, || {
        let api = running(&mut vm, &access)?;
        ensure!(api.boot_id()? != before, "still the same boot");
        Ok(api)
    })?;
    logged(&api, "a reset ends")?;
    key_says(&api, "0x0a", Some("addresses: []"))?;
    key_says(&api, "0x0c", Some("mine"))?;
    ensure!(api.resource("runtime", "MetaLoads.runtime.talos.dev", "meta-loaded")?.contains("done: true"), "META is not loaded");
    expect_healthy_node(&vm, &api)
}

fn key_says(api: &Api, id: &str, wanted: Option<&str>) -> Result<()> {
    wait_for(&format!("META key {id} to say {wanted:?}"), limits::SETTLE, || {
        match (api.resource("runtime", "MetaKeys.runtime.talos.dev", id), wanted) {
            (Ok(yaml), Some(wanted)) => ensure!(yaml.contains(wanted), "it says {yaml:?}"),
            (Err(status), None) => ensure!(status.code() == Code::NotFound, "{status}"),
            (found, _) => anyhow::bail!("it is {found:?}"),
        }
        Ok(())
    })
}

/// STATE reads as zeros when the machine is off; EPHEMERAL is the same file system. Whoever comes then may configure the node, and
/// who could before cannot reach it.
fn state_alone(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    expect_healthy_node(&vm, &api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    let (state, ephemeral) = (xfs_uuid(&vm, "STATE")?, xfs_uuid(&vm, "EPHEMERAL")?);
    vm.start()?;
    let api = running(&mut vm, &access)?;
    order(&api, &["STATE"], false)?;
    drop(api);
    vm.wait_power_off()?;
    let place = partition(&vm, "STATE")?;
    expect_zeros(vm.disk(), place.start, place.length)?;
    ensure!(xfs_uuid(&vm, "EPHEMERAL")? == ephemeral, "EPHEMERAL was made anew");

    vm.start()?;
    let api = configured_anew(&mut vm, &access)?;
    expect_healthy_node(&vm, &api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    ensure!(xfs_uuid(&vm, "EPHEMERAL")? == ephemeral && xfs_uuid(&vm, "STATE")? != state, "the wrong partition was made anew");
    expect_table(&vm)
}

/// STATE, EPHEMERAL and META: as flashed, on a disk with identifiers of its own.
fn all_partitions(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    expect_healthy_node(&vm, &api)?;
    api.call(api.machine().meta_write(MetaWriteRequest { key: 12, value: b"mine".to_vec() }))?;
    api.shutdown()?;
    vm.wait_power_off()?;
    let before = [xfs_uuid(&vm, "STATE")?, xfs_uuid(&vm, "EPHEMERAL")?, disk_guid(&vm)?];
    vm.start()?;
    let api = running(&mut vm, &access)?;
    order(&api, &["STATE", "EPHEMERAL", "META"], true)?;
    drop(api);
    let api = configured_anew(&mut vm, &access)?;
    key_says(&api, "0x0c", None)?;
    expect_healthy_node(&vm, &api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    let after = [xfs_uuid(&vm, "STATE")?, xfs_uuid(&vm, "EPHEMERAL")?, disk_guid(&vm)?];
    ensure!(before.iter().zip(&after).all(|(before, after)| before != after), "something is as it was: {before:?} {after:?}");
    expect_table(&vm)
}

/// Waits for maintenance, where the old client has no business, and gives the node to somebody else.
fn configured_anew(vm: &mut TestVm, old: &Access) -> Result<Api> {
    let api = maintenance(vm)?;
    let stranger = Api::with_talosconfig(vm.api_address(), &old.talosconfig).and_then(|api| api.version());
    ensure!(stranger.is_err(), "the node still knows the client of its earlier life");
    let access = Access::generate()?;
    wait_for("the new configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(vm, &access)?;
    let stranger = Api::with_talosconfig(vm.api_address(), &old.talosconfig).and_then(|api| api.version());
    ensure!(stranger.is_err(), "the new configuration lets the old client in");
    Ok(api)
}

/// Firmware finds nothing on it any more, and neither does who takes the disk out.
fn whole_disk(machine: Machine) -> Result<()> {
    let (mut vm, api, _) = configured(machine)?;
    expect_healthy_node(&vm, &api)?;
    let state = partition(&vm, "STATE")?;
    vm.serial.mark();
    order(&api, &[], true)?;
    drop(api);
    vm.wait_serial(NOT_BOOTABLE)?;
    ensure!(!vm.serial.text().contains(ALIVE), "the node was started once more:\n{}", vm.serial.tail());
    vm.quit()?;
    let size = std::fs::metadata(vm.disk())?.len();
    expect_zeros(vm.disk(), 0, MIB)?;
    expect_zeros(vm.disk(), MIB, MIB).context("the start of the firmware's partition")?;
    expect_zeros(vm.disk(), size - MIB, MIB)?;
    expect_zeros(vm.disk(), state.start, state.length).context("STATE")
}

/// Another disk is wiped at both ends, and the node comes back as it was.
fn user_disk(machine: Machine) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("user.img");
    let file = File::options().create_new(true).read(true).write(true).open(&path)?;
    file.set_len(USER_DISK)?;
    let marks = [0, 32 * MIB, USER_DISK - 4096];
    for at in marks {
        file.write_all_at(&[7; 4096], at)?;
    }
    let (mut vm, api, access) = configured(Machine { extra_disks: vec![path], ..machine })?;
    let disk = api.disks()?.into_iter().find(|disk| disk.size == USER_DISK).context("the other disk is not there")?;
    let before = api.boot_id()?;
    api.call(api.machine().reset(user_disks(WipeMode::UserDisks, &disk.device_name)))?;
    let api = wait_for("the next boot", limits::API, || {
        let api = running(&mut vm, &access)?;
        ensure!(api.boot_id()? != before, "still the same boot");
        Ok(api)
    })?;
    expect_healthy_node(&vm, &api)?;
    vm.quit()?;
    let left: Vec<bool> = marks.iter().map(|at| starts_with_seven(&file, *at)).collect::<Result<_>>()?;
    ensure!(left == [false, true, false], "marks left at both ends and between them: {left:?}");
    Ok(())
}

fn starts_with_seven(file: &File, at: u64) -> Result<bool> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    Ok(byte == [7])
}

/// The file system's own id: another one after it was made anew.
fn xfs_uuid(vm: &TestVm, label: &str) -> Result<[u8; 16]> {
    let mut block = [0; 48];
    File::open(vm.disk())?.read_exact_at(&mut block, partition(vm, label)?.start)?;
    ensure!(block.starts_with(b"XFSB"), "{label} holds no XFS");
    Ok(block[32..].try_into()?)
}

/// The disk's GUID in the primary header (UEFI specification, table 5.5).
fn disk_guid(vm: &TestVm) -> Result<[u8; 16]> {
    let mut header = [0; 72];
    File::open(vm.disk())?.read_exact_at(&mut header, vm.machine.sector.bytes())?;
    ensure!(header.starts_with(b"EFI PART"), "no table");
    Ok(header[56..].try_into()?)
}

fn expect_zeros(disk: &Path, start: u64, length: u64) -> Result<()> {
    let mut file = File::open(disk)?;
    file.seek(SeekFrom::Start(start))?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left.min(MIB))?;
        file.read_exact(&mut buffer[..count])?;
        ensure!(buffer[..count].iter().all(|byte| *byte == 0), "{} bytes before the end of {start}+{length} something is left", left);
        left -= count as u64;
    }
    Ok(())
}
