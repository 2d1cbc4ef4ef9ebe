//! What a node says about itself to generic clients.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Bus, Machine, TestVm,
    api::{refused, wait_for},
    limits,
    node::{configured, maintenance},
};
use serde_json::json;
use tonic::{Code, Streaming};
use wire::cosi::{CreateRequest, EventType, WatchOptions, WatchRequest, WatchResponse};

use crate::trial;

const HOSTNAMES: &str = "HostnameStatuses.net.talos.dev";
const DISKS: &str = "Disks.block.talos.dev";
/// Bytes of the disk that is plugged in.
const PLUGGED: u64 = 64 << 20;
const CONFIGS: &str = "MachineConfigs.config.talos.dev";

pub fn trials() -> Vec<Trial> {
    Arch::ALL
        .into_iter()
        .flat_map(|arch| {
            [
                trial(format!("resources/{arch}/maintenance"), move || strangers_read_some(Machine::new(arch))),
                trial(format!("resources/{arch}/configured"), move || the_node_describes_itself(Machine::new(arch))),
                trial(format!("resources/{arch}/plugged"), move || {
                    disks_come_and_go(Machine { bus: Bus::VirtioScsi, ..Machine::new(arch) })
                }),
            ]
        })
        .collect()
}

/// Without a configuration anybody may read what is no secret, and nobody may write.
fn strangers_read_some(machine: Machine) -> Result<()> {
    let mut vm = TestVm::boot(machine)?;
    let api = maintenance(&mut vm)?;
    api.says("runtime", "MachineStatuses.runtime.talos.dev", "machine", &["stage: maintenance\n"])?;
    api.says("config", "MachineTypes.config.talos.dev", "machine-type", &["unknown\n"])?;
    refused(api.resource("config", CONFIGS, "v1alpha1"), Code::PermissionDenied)?;
    refused(api.call(api.state().create(CreateRequest::default())), Code::PermissionDenied)?;
    Ok(())
}

/// Everything that the node fills is true, and follows when the configuration changes.
fn the_node_describes_itself(machine: Machine) -> Result<()> {
    let (vm, api, access) = configured(machine)?;
    let definitions = api.resource_ids("meta", "ResourceDefinitions.meta.cosi.dev")?;
    ensure!(definitions.iter().any(|id| *id == HOSTNAMES.to_lowercase()), "definitions: {definitions:?}");

    api.says("runtime", "MachineStatuses.runtime.talos.dev", "machine", &["stage: running\nstatus:\n  ready: true\n"])?;
    api.says("runtime", "Services.v1alpha1.talos.dev", "apid", &["running: true\nhealthy: true\nunknown: false\n"])?;
    api.says("runtime", "ServicePIDs.runtime.talos.dev", "apid", &["mountNamespace: mnt:["])?;
    let version = api.version()?.version.context("no version in the answer")?;
    api.says("runtime", "Versions.runtime.talos.dev", "version", &[&format!("version: {}\n", version.tag)])?;
    api.says("runtime", "BootIDs.runtime.talos.dev", "boot-id", &[&format!("bootID: {}\n", api.boot_id()?)])?;
    api.says("runtime", "KernelCmdlines.runtime.talos.dev", "cmdline", &["panic_on_corruption"])?;
    api.says("runtime", "MountStatuses.runtime.talos.dev", "STATE", &["target: /system/state\nfilesystemType: xfs\n"])?;
    api.says("runtime", "MountStatuses.runtime.talos.dev", "EPHEMERAL", &["target: /var\nfilesystemType: xfs\n"])?;
    let system = api.resource("runtime", "SystemDisks.block.talos.dev", "system-disk")?;
    let disk = system.lines().find_map(|line| line.strip_prefix("diskID: ")).context("no system disk")?;
    let size = std::fs::metadata(vm.disk())?.len();
    api.says("runtime", DISKS, disk, &[&format!("size: {size}\n")])?;
    api.says("runtime", "SecurityStates.talos.dev", "securitystate", &["secureBoot: false\n"])?;
    api.says("runtime", "KernelModuleStatuses.runtime.talos.dev", "crc16", &["type: dynamic\n"])?;
    api.says("network", "NodeAddresses.net.talos.dev", "current", &["10.0.2.15/24"])?;
    api.says("network", "NodeAddresses.net.talos.dev", "default", &["10.0.2.15/24"])?;
    api.says("network", "ResolverStatuses.net.talos.dev", "resolvers", &["10.0.2.3"])?;
    api.says("network", "LinkStatuses.net.talos.dev", "eth0", &["type: ether\n"])?;
    api.says("network", "LinkStatuses.net.talos.dev", "eth0", &["operationalState: up\n"])?;
    api.says("network", "LinkStatuses.net.talos.dev", "lo", &["type: loopback\n"])?;
    api.says("network", "AddressStatuses.net.talos.dev", "eth0/10.0.2.15/24", &["family: inet4\nscope: global\n"])?;
    let routes = api.resource_ids("network", "RouteStatuses.net.talos.dev")?;
    let default = routes.iter().find(|id| id.starts_with("inet4/10.0.2.2//")).with_context(|| format!("no default route: {routes:?}"))?;
    api.says("network", "RouteStatuses.net.talos.dev", default, &["outLinkName: eth0\ntable: main\n"])?;
    let ready = "addressReady: true\nconnectivityReady: true\nhostnameReady: true\netcFilesReady: true\n";
    api.says("network", "NetworkStatuses.net.talos.dev", "status", &[ready])?;
    api.says("config", "MachineTypes.config.talos.dev", "machine-type", &["controlplane\n"])?;

    let next = access.config.replacen("\nauto: stable", "\nhostname: named-live.example.org\nauto: off", 1);
    ensure!(next != access.config, "the generated configuration has no place for a host name");
    let mut names = watch(&api, "network", HOSTNAMES)?;
    event(&api, &mut names, EventType::Created, "hostname: ")?;
    event(&api, &mut names, EventType::Bootstrapped, "")?;
    let mut configs = watch(&api, "config", CONFIGS)?;
    for _ in ["persistent", "v1alpha1"] {
        event(&api, &mut configs, EventType::Created, "type: controlplane")?;
    }
    event(&api, &mut configs, EventType::Bootstrapped, "")?;
    api.apply(&next)?;
    event(&api, &mut names, EventType::Updated, "hostname: named-live\ndomainname: example.org\n")?;
    for _ in ["persistent", "v1alpha1"] {
        event(&api, &mut configs, EventType::Updated, "hostname: named-live.example.org")?;
    }
    refused(api.call(api.state().create(CreateRequest::default())), Code::PermissionDenied)?;
    let failing = api.resource_ids("runtime", "Reconcilers.runtime.keelson.dev")?;
    ensure!(!failing.is_empty(), "no reconciler reports how it does");
    failing.iter().try_for_each(|id| api.says("runtime", "Reconcilers.runtime.keelson.dev", id, &["failing: false\n"]))
}

/// A disk that is plugged in shows up by itself, and is gone when it is pulled.
fn disks_come_and_go(machine: Machine) -> Result<()> {
    let mut vm = TestVm::boot(machine)?;
    let api = maintenance(&mut vm)?;
    api.says("runtime", DISKS, "sda", &["transport: "])?;
    let medium = tempfile::NamedTempFile::new()?;
    medium.as_file().set_len(PLUGGED)?;
    let mut monitor = vm.monitor()?;
    monitor.execute("blockdev-add", json!({ "driver": "file", "node-name": "plugged", "filename": medium.path() }))?;
    monitor.execute("device_add", json!({ "driver": "scsi-hd", "id": "plugged", "drive": "plugged", "bus": "scsi0.0" }))?;
    api.says("runtime", DISKS, "sdb", &[&format!("size: {PLUGGED}\npretty_size: 67 MB\n")])?;
    monitor.execute("device_del", json!({ "id": "plugged" }))?;
    wait_for("the pulled disk to be gone", limits::SETTLE, || refused(api.resource("runtime", DISKS, "sdb"), Code::NotFound))?;
    ensure!(api.resource_ids("runtime", DISKS)? == ["sda"], "more than the system disk is left");
    Ok(())
}

/// A watch with what there is; its greeting is taken.
fn watch(api: &Api, namespace: &str, kind: &str) -> Result<Streaming<WatchResponse>> {
    let options = WatchOptions { bootstrap_contents: true, ..WatchOptions::default() };
    let request = WatchRequest { namespace: namespace.into(), r#type: kind.into(), id: None, options: Some(options), api_version: 1 };
    let mut stream = api.call(api.state().watch(request))?;
    let greeting = api.next(&mut stream)?;
    ensure!(greeting.event.is_empty(), "a watch begins with an empty message, not {greeting:?}");
    Ok(stream)
}

/// The next event is this one.
fn event(api: &Api, stream: &mut Streaming<WatchResponse>, wanted: EventType, text: &str) -> Result<()> {
    let answer = api.next(stream).with_context(|| format!("wait for {wanted:?} with {text:?}"))?;
    let event = answer.event.first().context("a message without an event")?;
    let yaml = event.resource.as_ref().and_then(|resource| resource.spec.as_ref()).map_or("", |spec| &spec.yaml_spec);
    ensure!(event.event_type() == wanted && yaml.contains(text), "{:?} instead of {wanted:?}; it says:\n{yaml}", event.event_type());
    Ok(())
}
