//! Methods about a node's files, sockets, processes and disks, each compared with what another method says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine,
    api::{refused, wait_for},
    limits,
    node::{Access, configured},
};
use tonic::{Code, Status};
use wire::{
    common::ContainerDriver,
    machine::{
        ConnectRecord, ContainerInfo, ContainersRequest, CopyRequest, DiskUsageInfo, DiskUsageRequest, ListRequest, NetstatRequest,
        RestartRequest, StatsRequest, StorageServiceStatfsRequest,
        connect_record::State,
        netstat_request::{Feature, Filter, NetNs},
        storage_service_client::StorageServiceClient as VolumesClient,
    },
    storage::{
        BlockDeviceWipeDescriptor, BlockDeviceWipeRequest, block_device_wipe_descriptor::Method,
        storage_service_client::StorageServiceClient,
    },
};

use crate::trial;

const MIB: u64 = 1 << 20;
/// A folder of the image with files in it.
const FOLDER: &str = "/usr/share/keelson";
/// Sizes of the disks besides the system's, bytes: like no others here.
const PARTITIONED: u64 = 96 * MIB;
const FULL: u64 = 80 * MIB;
/// Where the one partition of the first lies, bytes.
const PARTITION: (u64, u64) = (MIB, 40 * MIB);
/// What says that a partition is swap (mkswap): at the end of a page.
const SWAP: (&[u8], u64) = (b"SWAPSPACE2", 4086);

pub fn trials() -> Vec<Trial> {
    let both = Arch::ALL.into_iter().flat_map(|arch| {
        [
            trial(format!("methods/{arch}/looks"), move || looks(Machine::new(arch))),
            trial(format!("methods/{arch}/wipes"), move || wipes(Machine::new(arch))),
        ]
    });
    both.collect()
}

fn looks(machine: Machine) -> Result<()> {
    let (vm, api, access) = configured(machine)?;
    copies(&api).context("Copy")?;
    usage(&api).context("DiskUsage")?;
    sockets(&api).context("Netstat")?;
    figures(&api).context("CPUFreqStats and Statfs")?;
    containers(&api).context("Containers, Stats and Restart")?;
    let reader = Api::with_talosconfig(vm.api_address(), &access.with_role("os:reader")?)?;
    refused(reader.call(reader.machine().copy(CopyRequest { root_path: FOLDER.to_owned() })), Code::PermissionDenied)?;
    refused(restart(&reader, "dnsd"), Code::PermissionDenied)?;
    ensure!(!system_containers(&reader)?.is_empty() && statfs(&reader, "/var").is_ok(), "a reader may look");
    Ok(())
}

/// Link target and contents of what was in an archive, by name.
type Entries = BTreeMap<String, (String, Vec<u8>)>;

/// An unpacked archive, and what was told at its end.
fn copy(api: &Api, path: &str) -> Result<(Entries, String)> {
    let stream = api.call(api.machine().copy(CopyRequest { root_path: path.to_owned() }))?;
    let messages = api.all(stream)?;
    let problems = messages.iter().filter_map(|data| Some(data.metadata.as_ref()?.error.clone())).collect();
    let packed: Vec<u8> = messages.into_iter().flat_map(|data| data.bytes).collect();
    let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
    let mut entries = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, link) = (text(&entry.path_bytes()), text(&entry.link_name_bytes().unwrap_or_default()));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        entries.insert(name, (link, bytes));
    }
    Ok((entries, problems))
}

fn copies(api: &Api) -> Result<()> {
    let (entries, problems) = copy(api, FOLDER)?;
    ensure!(problems.is_empty() && entries.contains_key("./"), "{problems} {:?}", entries.keys());
    let files: Vec<&String> = entries.keys().filter(|name| !name.ends_with('/') && entries[*name].0.is_empty()).collect();
    ensure!(!files.is_empty(), "no file in {FOLDER}");
    for name in files {
        ensure!(entries[name].1 == api.read(&format!("{FOLDER}/{name}"))?, "{name} is another file than Read gives");
    }
    let (entries, _) = copy(api, "/etc/os-release")?;
    let release = api.read("/etc/os-release")?;
    ensure!(entries.len() == 1 && entries.values().all(|(_, bytes)| *bytes == release), "{:?}", entries.keys());
    // What `talosctl cgroups` copies: files that claim to be empty, and links.
    let (entries, _) = copy(api, "/sys/fs/cgroup")?;
    let limit = entries.get("system/apid/memory.max").context("no limit of apid")?;
    ensure!(limit.1 == format!("{}\n", 128 * MIB).as_bytes(), "{limit:?}");
    let (entries, problems) = copy(api, "/sys/dev/block")?;
    let links = entries.iter().filter(|(name, _)| *name != "./");
    ensure!(problems.is_empty() && entries.len() > 2, "{problems} {entries:?}");
    for (name, (link, _)) in links {
        ensure!(link.starts_with("../../devices/"), "{name} leads to {link:?}");
    }
    // Refused before it begins; and what is left out is told.
    let text = refused(copy(api, "/does/not/exist").map_err(status), Code::Unknown)?;
    ensure!(text.contains("no such file or directory"), "{text}");
    refused(copy(api, "etc").map_err(status), Code::Unknown)?;
    let (entries, problems) = copy(api, "/run/machined")?;
    ensure!(entries.contains_key("./") && problems.contains("/run/machined/machined.sock"), "{problems:?} {:?}", entries.keys());
    Ok(())
}

fn status(error: anyhow::Error) -> Status {
    error.downcast().unwrap_or_else(|error| Status::data_loss(format!("{error:#}")))
}

fn used(api: &Api, request: DiskUsageRequest) -> Result<Vec<DiskUsageInfo>> {
    let stream = api.call(api.machine().disk_usage(request))?;
    Ok(api.all(stream)?)
}

/// Sums, names and depths are those of a list of the same folder.
fn usage(api: &Api) -> Result<()> {
    let request = ListRequest { root: FOLDER.to_owned(), recurse: true, recursion_depth: -1, ..ListRequest::default() };
    let stream = api.call(api.machine().list(request))?;
    let listed = api.all(stream)?;
    let paths = vec![FOLDER.to_owned(), "/does/not/exist".to_owned(), "/etc/os-release".to_owned()];
    let all = used(api, DiskUsageRequest { recursion_depth: 0, all: true, threshold: 0, paths: paths.clone() })?;
    let (tree, rest) = all.split_at_checked(listed.len()).context("less than List shows")?;
    let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<BTreeSet<String>>();
    ensure!(names(&mut tree.iter().map(|info| &info.name)) == names(&mut listed.iter().map(|info| &info.name)), "{tree:?}");
    let root = tree.last().context("nothing")?;
    let sum: i64 = listed.iter().map(|info| info.size).sum();
    ensure!((root.relative_name.as_str(), root.size) == (".", sum), "{root:?}, List adds up to {sum}");
    ensure!(rest.len() == 2 && rest[0].error.contains("no such file or directory") && rest[1].size > 0, "{rest:?}");
    let top = used(api, DiskUsageRequest { recursion_depth: 1, all: false, threshold: 0, paths: paths[..1].to_vec() })?;
    ensure!(top.len() == 1 && top[0].size == sum, "{top:?}");
    let large = used(api, DiskUsageRequest { recursion_depth: 0, all: true, threshold: sum, paths: paths[..1].to_vec() })?;
    ensure!(large.iter().all(|info| info.size >= sum), "{large:?}");
    refused(used(api, DiskUsageRequest::default()).map_err(status), Code::InvalidArgument)?;
    Ok(())
}

fn netstat(api: &Api, request: NetstatRequest) -> Result<Vec<ConnectRecord>, Status> {
    let message = api.call(api.machine().netstat(request))?.messages.pop();
    Ok(message.ok_or_else(|| Status::data_loss("no message"))?.connectrecord)
}

/// apid listens on its port, and this very connection is there.
fn sockets(api: &Api) -> Result<()> {
    let apid = process(api, "apid")?;
    let ask = |filter: Filter| {
        let netns = Some(NetNs { hostnetwork: true, ..NetNs::default() });
        netstat(api, NetstatRequest { filter: filter.into(), feature: Some(Feature { pid: true }), l4proto: None, netns })
    };
    let port = u32::from(wire::APID_PORT);
    let listening = ask(Filter::Listening)?;
    let own = listening.iter().find(|record| record.localport == port && record.state() == State::Listen);
    let own = own.with_context(|| format!("nobody listens on {port}: {listening:?}"))?;
    let owner = own.process.as_ref().context("a socket without an owner")?;
    ensure!(owner.pid == apid && owner.name.contains("apid") && own.l4proto == "tcp6", "{own:?}, apid is {apid}");
    ensure!(!listening.iter().any(|record| record.state() == State::Established), "{listening:?}");
    let connected = ask(Filter::Connected)?;
    let this = |record: &&ConnectRecord| record.localport == port && record.state() == State::Established && record.remoteport != 0;
    let own = connected.iter().find(this).with_context(|| format!("nobody is connected to {port}: {connected:?}"))?;
    ensure!(own.process.as_ref().is_some_and(|owner| owner.pid == apid), "{own:?}");
    ensure!(ask(Filter::All)?.len() >= listening.len(), "all are less than those that listen");
    let netns = Some(NetNs { netns: vec!["cni-1".to_owned()], ..NetNs::default() });
    let text = refused(netstat(api, NetstatRequest { netns, ..NetstatRequest::default() }), Code::NotFound)?;
    ensure!(text.contains("cni-1"), "{text}");
    Ok(())
}

fn process(api: &Api, name: &str) -> Result<u32> {
    let found = api.processes()?.into_iter().find(|process| process.command == name);
    Ok(found.with_context(|| format!("no process {name}"))?.pid.try_into()?)
}

fn statfs(api: &Api, path: &str) -> Result<wire::machine::StorageServiceStatfsResponse, Status> {
    let mut client = VolumesClient::new(api.channel());
    api.call(client.statfs(StorageServiceStatfsRequest { path: path.to_owned() }))
}

fn figures(api: &Api) -> Result<()> {
    let frequencies = api.call(api.machine().cpu_freq_stats(()))?.messages.pop().context("no message")?.cpu_freq_stats;
    let processors = api.call(api.machine().cpu_info(()))?.messages.pop().context("no message")?.cpu_info;
    ensure!(frequencies.len() == processors.len(), "{frequencies:?} of {} processors", processors.len());
    let var = wait_for("/var", limits::SETTLE, || {
        api.mounts()?.into_iter().find(|mount| mount.mounted_on == "/var").context("/var is not mounted")
    })?;
    let found = statfs(api, "/var")?;
    ensure!(found.size == var.size && found.used > 0 && found.used + found.available <= found.size, "{found:?} and {var:?}");
    ensure!(found.inodes > 0 && found.inodes == found.inodes_used + found.inodes_free, "{found:?}");
    refused(statfs(api, "/does/not/exist"), Code::NotFound)?;
    refused(statfs(api, "var"), Code::InvalidArgument)?;
    Ok(())
}

fn system_containers(api: &Api) -> Result<Vec<ContainerInfo>> {
    list_containers(api, "system", ContainerDriver::Containerd).map_err(Into::into)
}

fn list_containers(api: &Api, namespace: &str, driver: ContainerDriver) -> Result<Vec<ContainerInfo>, Status> {
    let request = ContainersRequest { namespace: namespace.to_owned(), driver: driver.into() };
    let message = api.call(api.machine().containers(request))?.messages.pop();
    Ok(message.ok_or_else(|| Status::data_loss("no message"))?.containers)
}

fn restart(api: &Api, id: &str) -> Result<(), Status> {
    let request = RestartRequest { namespace: "system".to_owned(), id: id.to_owned(), driver: ContainerDriver::Containerd.into() };
    api.call(api.machine().restart(request)).map(drop)
}

/// Sandboxed services are containers, with the processes they have; one that may be restarted is another process afterwards.
fn containers(api: &Api) -> Result<()> {
    let pid = |id: &str| {
        wait_for(&format!("the container {id}"), limits::SETTLE, || {
            let all = system_containers(api)?;
            let found = all.iter().find(|container| container.id == id).with_context(|| format!("{all:?}"))?;
            ensure!(found.status == "RUNNING" && found.pod_id == id && found.image.starts_with("keelson:"), "{found:?}");
            Ok(found.pid)
        })
    };
    ensure!(pid("apid")? == process(api, "apid")?, "the container is another process");
    ensure!(!system_containers(api)?.iter().any(|container| container.id == "machined"), "machined is no container");
    let before = pid("dnsd")?;
    let stats = api.call(api.machine().stats(StatsRequest { namespace: "system".to_owned(), driver: 0 }))?;
    let stats = stats.messages.into_iter().next().context("no message")?.stats;
    let apid = stats.iter().find(|stat| stat.id == "apid").with_context(|| format!("{stats:?}"))?;
    ensure!(apid.memory_usage > 100_000 && apid.memory_usage < 128 * MIB && apid.cpu_usage > 1_000_000, "{apid:?}");
    ensure!(list_containers(api, "k8s.io", ContainerDriver::Cri)?.is_empty(), "there are pods");
    refused(list_containers(api, "system", ContainerDriver::Cri), Code::Unknown)?;
    refused(list_containers(api, "", ContainerDriver::Containerd), Code::InvalidArgument)?;

    refused(restart(api, "apid"), Code::FailedPrecondition)?;
    refused(restart(api, "machined"), Code::NotFound)?;
    restart(api, "dnsd")?;
    wait_for("another dnsd", limits::SETTLE, || {
        ensure!(pid("dnsd")? != before, "it is the same process");
        Ok(())
    })
}

fn wipe(api: &Api, devices: Vec<BlockDeviceWipeDescriptor>) -> Result<(), Status> {
    let mut client = StorageServiceClient::new(api.channel());
    let messages = api.call(client.block_device_wipe(BlockDeviceWipeRequest { devices }))?.messages;
    if messages.len() == 1 { Ok(()) } else { Err(Status::data_loss(format!("{} messages", messages.len()))) }
}

fn named(device: &str) -> BlockDeviceWipeDescriptor {
    BlockDeviceWipeDescriptor { device: device.to_owned(), ..BlockDeviceWipeDescriptor::default() }
}

/// A partition is wiped and leaves its table, a disk becomes zeros, and nothing touches the system's.
fn wipes(machine: Machine) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (first, second) = (folder.path().join("partitioned.img"), folder.path().join("full.img"));
    partitioned(&first)?;
    File::create_new(&second)?.write_all_at(&vec![7; FULL.try_into()?], 0)?;
    let (mut vm, api, access) = configured(Machine { extra_disks: vec![first.clone(), second.clone()], ..machine })?;
    let disks = api.disks()?;
    let name = |wanted: &dyn Fn(&wire::storage::Disk) -> bool| {
        let disk = disks.iter().find(|disk| wanted(disk)).with_context(|| format!("a disk is missing of {disks:?}"))?;
        anyhow::Ok(disk.name.clone())
    };
    let system = name(&|disk| disk.system_disk)?;
    let (first_name, second_name) = (name(&|disk| disk.size == PARTITIONED)?, name(&|disk| disk.size == FULL)?);
    let partition = partitions(&api, &first_name)?.pop().context("the disk has no partition")?;

    let before = api.boot_id()?;
    let skip_all = |device: &str| BlockDeviceWipeDescriptor { skip_volume_check: true, skip_secondary_check: true, ..named(device) };
    for (devices, code, word) in [
        (vec![named(&system)], Code::FailedPrecondition, "the system disk"),
        (vec![skip_all(&system)], Code::FailedPrecondition, "the system disk"),
        (vec![named(&second_name), skip_all(&partitions(&api, &system)?[0])], Code::FailedPrecondition, "the system disk"),
        (vec![named("dm-0")], Code::InvalidArgument, "dm-0"),
        (vec![named("nothing")], Code::NotFound, "nothing"),
        (vec![named("/dev/vdb")], Code::NotFound, "without /dev"),
        (vec![named(&second_name), named(&second_name)], Code::InvalidArgument, "twice"),
        (vec![BlockDeviceWipeDescriptor { drop_partition: true, ..named(&second_name) }], Code::InvalidArgument, "whole disk"),
        (vec![], Code::InvalidArgument, "0 devices"),
    ] {
        let text = refused(wipe(&api, devices.clone()), code).with_context(|| format!("{devices:?}"))?;
        ensure!(text.contains(word), "{devices:?} is refused with {text:?}");
    }
    only_for_admins(vm.api_address(), &access, &second_name)?;

    wipe(&api, vec![BlockDeviceWipeDescriptor { drop_partition: true, ..named(&partition) }])?;
    ensure!(partitions(&api, &first_name)?.is_empty(), "the kernel still has {partition}");
    wipe(&api, vec![BlockDeviceWipeDescriptor { method: Method::Zeroes.into(), ..named(&second_name) }])?;
    ensure!(api.boot_id()? == before, "the node was restarted");
    api.shutdown()?;
    vm.wait_power_off()?;

    let bytes = std::fs::read(&first)?;
    let at = |offset: u64, length: usize| bytes.get(usize::try_from(offset)?..).and_then(|rest| rest.get(..length)).context("a short disk");
    ensure!(at(PARTITION.0 + SWAP.1, SWAP.0.len())?.iter().all(|byte| *byte == 0), "the signature is still there");
    ensure!(at(PARTITION.0 + PARTITION.1 / 2, 4096)?.iter().all(|byte| *byte == 7), "more than signatures was wiped");
    ensure!(at(PARTITION.0 + PARTITION.1, 4096)?.iter().all(|byte| *byte == 7), "something behind the partition was wiped");
    let table = GptConfig::new().writable(false).only_valid_headers(true).logical_block_size(LogicalBlockSize::Lb512).open(&first)?;
    ensure!(table.partitions().values().all(|entry| !entry.is_used()), "the partition is still in the table");
    ensure!(std::fs::read(&second)?.iter().all(|byte| *byte == 0), "something is left on the disk that was to be zeros");
    Ok(())
}

fn only_for_admins(address: std::net::SocketAddr, access: &Access, device: &str) -> Result<()> {
    for role in ["os:operator", "os:reader"] {
        let api = Api::with_talosconfig(address, &access.with_role(role)?)?;
        refused(wipe(&api, vec![named(device)]), Code::PermissionDenied).context(role)?;
    }
    Ok(())
}

/// The partitions of a disk that the kernel has.
fn partitions(api: &Api, disk: &str) -> Result<Vec<String>> {
    let table = api.read_text("/proc/partitions")?;
    let names = table.lines().filter_map(|line| line.split_whitespace().nth(3));
    Ok(names.filter(|name| name.starts_with(disk) && *name != disk).map(str::to_owned).collect())
}

/// A disk of sevens with a table of one partition that says it is swap.
fn partitioned(path: &Path) -> Result<()> {
    let file = File::options().create_new(true).read(true).write(true).open(path)?;
    file.write_all_at(&vec![7; PARTITIONED.try_into()?], 0)?;
    file.write_all_at(SWAP.0, PARTITION.0 + SWAP.1)?;
    let mut file = file;
    ProtectiveMBR::with_lb_size(u32::try_from(PARTITIONED / 512 - 1)?).overwrite_lba0(&mut file)?;
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(file, None)?;
    let added = table.add_partition("data", PARTITION.1, partition_types::LINUX_FS, 0, Some(PARTITION.0 / 512))?;
    let start = table.partitions().get(&added).context("no partition")?.bytes_start(LogicalBlockSize::Lb512)?;
    if start != PARTITION.0 {
        bail!("the partition begins at {start}");
    }
    table.write()?;
    Ok(())
}
