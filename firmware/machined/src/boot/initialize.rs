//! From the start of PID 1 until there is a configuration: the machine, its disk, its network, its API.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
};

use linux::cgroup::Cgroup;
use tokio::sync::oneshot;

use super::{Machine, health, setup, sinks};
use crate::{
    console,
    disk::{self, Looking},
    events, firewall, identity, net,
    node::{Node, Slot},
    params,
    platform::{self, Choice},
    sequence::phases::{OnError, Phase, Step, StepError},
    services::{self, Settings, Supervisor},
    time,
};

/// The verity mapping that the kernel made from its command line.
const ROOT_MAPPING: &str = "/dev/dm-0";

/// The phases in order. The tasks of a phase begin in the order of their list, and what one waits for does not hold up the
/// next: the disk is set up, apid gets ready and DHCP runs side by side.
pub fn list(machine: &Arc<Machine>, looking: Looking) -> Vec<Phase> {
    let step = |name, on_error, work: fn(&Arc<Machine>) -> Result<(), StepError>| {
        let machine = Arc::clone(machine);
        Step::new(name, on_error, async move { work(&machine) })
    };
    let blocking = |name, work: fn(&Arc<Machine>) -> Result<(), StepError>| {
        let machine = Arc::clone(machine);
        Step::blocking(name, OnError::Report, move || work(&machine))
    };
    let (rest_of_disk, rest) = oneshot::channel();
    vec![
        Phase::new("pseudo", vec![step("mountPseudoFilesystems", OnError::Fatal, pseudo)]),
        Phase::new(
            "system",
            vec![
                step("hurry", OnError::Report, |_| Ok(setup::hurry_rcu(true)?)),
                bring_up_disk(machine, looking, rest_of_disk),
                acquire_config(machine),
                // Before any service inherits them.
                step("limits", OnError::Report, |_| Ok(setup::basics()?)),
                step("startFirewall", OnError::Report, |machine| {
                    firewall::start(&machine.node);
                    Ok(())
                }),
                step("startNetwork", OnError::Report, start_network),
                start_all(machine),
                blocking("clockFloor", clock_floor),
                blocking("facts", facts),
                step("watchdog", OnError::Report, watchdog),
            ],
        ),
        Phase::new(
            "console",
            vec![
                step("startConsole", OnError::Report, start_console),
                step("startResources", OnError::Report, start_resources),
                step("startTime", OnError::Report, start_time),
                step("startParams", OnError::Report, start_params),
                after_api(machine, "pinModules", "kernel modules are not pinned to the verified root", pin_modules),
                after_api(machine, "workloadMounts", "something that workloads need is not mounted", workload_mounts),
                after_api(machine, "remainingGroups", "after the API's start", remaining_groups),
            ],
        ),
        Phase::new("volumes", vec![mount_volumes(rest)]),
        Phase::new("config", vec![load_config(machine)]),
    ]
}

fn pseudo(_: &Arc<Machine>) -> Result<(), StepError> {
    Ok(setup::other_mounts()?)
}

fn workload_mounts() -> Result<(), StepError> {
    let missing = setup::workload_mounts()?;
    if !missing.is_empty() {
        log::info!(target: "boot", "not on this kernel or board: {}", missing.join(", "));
    }
    Ok(())
}

fn clock_floor(machine: &Arc<Machine>) -> Result<(), StepError> {
    if let Some(text) = setup::clock_floor(&machine.release)? {
        log::warn!(target: "clock", "{text}");
        machine.node.warnings.push(text);
    }
    Ok(())
}

fn watchdog(machine: &Arc<Machine>) -> Result<(), StepError> {
    if let Some(watchdog) = health::arm(&machine.node) {
        let keep = health::keep(watchdog, machine.pings.clone(), Arc::clone(&machine.node));
        machine.node.tasks.spawn(keep);
    }
    Ok(())
}

fn start_network(machine: &Arc<Machine>) -> Result<(), StepError> {
    net::start(&machine.node);
    Ok(())
}

/// Up to STATE; what remains is for [`mount_volumes`]. A disk that cannot be used leaves a node that says so over its API.
fn bring_up_disk(machine: &Arc<Machine>, looking: Looking, rest: oneshot::Sender<disk::Rest>) -> Step {
    let machine = Arc::clone(machine);
    Step::new("bringUpDisk", OnError::Report, async move {
        // Who takes it is in a later phase of the same list.
        drop(rest.send(disk::bring_up(&machine.node, looking).await?));
        Ok(())
    })
}

/// The other volumes; nothing without a disk, which was said then.
fn mount_volumes(rest: oneshot::Receiver<disk::Rest>) -> Step {
    Step::new("mountVolumes", OnError::Report, async move {
        match rest.await {
            Ok(rest) => Ok(rest.done().await?),
            Err(_) => Ok(()),
        }
    })
}

/// Looks for a configuration where a node has one by itself.
fn acquire_config(machine: &Arc<Machine>) -> Step {
    let machine = Arc::clone(machine);
    Step::new("acquireConfig", OnError::Report, async move {
        // Both beside the configuration, on threads of their own.
        identity::start(&machine.node);
        let Choice { seek, .. } = start_platform(&machine);
        // It begins with STATE; other volumes come later. The sender lives in the node.
        drop(machine.node.disk.subscribe().wait_for(|disk| disk.settled).await);
        // STATE has the time at which this node was last seen running, and certificates are made next.
        let clock = clock_floor(&machine);
        let inline = machine.command_line.all("talos.config.inline").map(str::to_owned).collect();
        machine.config.acquire(inline, seek).await;
        clock
    })
}

/// What the command line and the firmware say of the place that the machine is in, which is asked again later.
fn start_platform(machine: &Arc<Machine>) -> Choice {
    let line = &machine.command_line;
    let choice = Choice::of(line.last("talos.platform"), line.last("talos.config"), platform::facts::serial);
    platform::start(&machine.node, &choice);
    let (node, seek) = (Arc::clone(&machine.node), choice.seek.clone());
    spawn_after_api(&machine.node, platform::refresh(node, seek));
    choice
}

/// Ends once there is a configuration. Until somebody brings one, the node is in maintenance.
fn load_config(machine: &Arc<Machine>) -> Step {
    let machine = Arc::clone(machine);
    Step::new("loadConfig", OnError::Fatal, async move {
        let mut config = machine.node.config.subscribe();
        if config.wait_for(|config| config.settled).await?.active.is_some() {
            return Ok(());
        }
        let maintenance = |on| {
            machine.events.publish(&events::task("runningMaintenance", on), "");
            machine.node.sequence.send_modify(|sequence| sequence.maintenance = on);
        };
        maintenance(true);
        config.wait_for(|config| config.active.is_some()).await?;
        maintenance(false);
        Ok(())
    })
}

/// A step that has blocking `work` done after the API's first answers; `trouble` is what it means when that fails.
fn after_api(machine: &Arc<Machine>, name: &'static str, trouble: &'static str, work: fn() -> Result<(), StepError>) -> Step {
    let node = Arc::clone(&machine.node);
    Step::new(name, OnError::Report, async move {
        spawn_after_api(&node, late(Arc::clone(&node), trouble, work));
        Ok(())
    })
}

/// Does `work` and tells people when it failed: boot, which would have, is over.
async fn late(node: Arc<Node>, trouble: &'static str, work: fn() -> Result<(), StepError>) {
    let cause = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => daemon::report(&*error).to_string(),
        Err(lost) => lost.to_string(),
    };
    let text = format!("{trouble}: {cause}");
    log::error!(target: "boot", "{text}");
    node.warnings.push(text);
}

/// Does `work` once the API has answered its first callers, or has had its time.
fn spawn_after_api(node: &Arc<Node>, work: impl Future<Output = ()> + Send + 'static) {
    let up = Arc::clone(node);
    let whole = async move {
        services::api_answered(&up).await;
        work.await;
    };
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(whole));
}

/// Pins modules to the root; nothing that could bring a module of its own runs before that.
fn pin_modules() -> Result<(), StepError> {
    setup::pin_modules()?;
    log::info!(target: "boot", "kernel modules come from the verified root only");
    Ok(())
}

/// The groups that the API does not need; then the kernel need not hurry any more, whatever became of them.
fn remaining_groups() -> Result<(), StepError> {
    let made = setup::remaining_groups();
    let unhurried = setup::hurry_rcu(false);
    let missing = made?;
    if !missing.is_empty() {
        log::warn!(target: "boot", "this kernel has no controllers {}", missing.join(", "));
    }
    Ok(unhurried?)
}

/// What the kernel and the loader say about this boot.
fn facts(machine: &Arc<Machine>) -> Result<(), StepError> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let root_hash = layout::verity::VerityTable::from_cmdline(&read("/proc/cmdline"));
    let root_hash = root_hash.map(|table| layout::verity::hex(&table.root_hash)).unwrap_or_default();
    let loader = std::fs::read_dir("/sys/firmware/efi/efivars").into_iter().flatten().flatten();
    let through_firmware =
        loader.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.starts_with("LoaderDevicePartUUID-"));
    machine.node.boot.send_modify(|boot| {
        boot.board = machine.release.get("BOARD").to_owned();
        boot.kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        boot.root_hash = root_hash;
        boot.built = machine.release.build_epoch();
        boot.slot = slot();
        boot.through_firmware = through_firmware;
    });
    Ok(())
}

/// The label of the partition below the root's mapping.
fn slot() -> Option<Slot> {
    let below = std::fs::read_dir("/sys/class/block/dm-0/slaves").ok()?.flatten().next()?;
    let uevent = std::fs::read_to_string(Path::new("/sys/class/block").join(below.file_name()).join("uevent")).ok()?;
    match uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="))? {
        "ROOT-A" => Some(Slot::A),
        "ROOT-B" => Some(Slot::B),
        _ => None,
    }
}

/// The control groups, then the services in them. A node without control groups is still one that can be asked why.
fn start_all(machine: &Arc<Machine>) -> Step {
    let machine = Arc::clone(machine);
    Step::new("startServices", OnError::Fatal, async move {
        // Not in the reactor: the kernel takes its time for them.
        let groups = tokio::task::spawn_blocking(|| Ok(setup::control_groups()?)).await;
        if let Err(error) = groups.unwrap_or_else(|lost| Err(StepError::from(lost))) {
            let text = format!("control groups: {}", daemon::report(&*error));
            log::error!(target: "boot", "{text}");
            machine.node.warnings.push(text);
        }
        start_services(&machine)
    })
}

fn start_services(machine: &Arc<Machine>) -> Result<(), StepError> {
    let group = Cgroup::at("system/apid");
    let group = match group.create() {
        Ok(()) => Some(group.path().to_owned()),
        Err(error) => {
            log::warn!(target: "boot", "apid runs in PID 1's control group: {}", daemon::report(&error));
            None
        }
    };
    let supervisor = Supervisor::start(Settings::node(group), &machine.node, &machine.logs, &machine.events)?;
    *machine.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
    Ok(())
}

fn start_console(machine: &Arc<Machine>) -> Result<(), StepError> {
    spawn_after_api(&machine.node, sinks::copy_kernel_log(Arc::clone(&machine.node), Arc::clone(&machine.logs)));
    let (kernel, service) = (Arc::clone(&machine.logs), Arc::clone(&machine.logs));
    let sources = console::Sources {
        kernel: Box::new(move |count| kernel.ring(sinks::KERNEL).tail(count)),
        service: Box::new(move |id, count| service.get(id).map(|ring| ring.tail(count)).unwrap_or_default()),
    };
    console::start(&machine.node, &machine.consoles, sources);
    if !machine.node.boot.borrow().root_hash.is_empty() {
        disk::scrub::start(&machine.node, ROOT_MAPPING.into());
    }
    Ok(())
}

fn start_params(machine: &Arc<Machine>) -> Result<(), StepError> {
    let node = Arc::clone(&machine.node);
    spawn_after_api(&machine.node, async move { params::start(&node) });
    Ok(())
}

/// The image's time is the earliest that can be true.
fn start_time(machine: &Arc<Machine>) -> Result<(), StepError> {
    let (node, floor) = (Arc::clone(&machine.node), machine.release.build_epoch().unwrap_or_default());
    spawn_after_api(&machine.node, async move { time::start(&node, floor) });
    Ok(())
}

fn start_resources(machine: &Arc<Machine>) -> Result<(), StepError> {
    let node = Arc::clone(&machine.node);
    spawn_after_api(&machine.node, async move {
        node.resources.start(&node);
    });
    Ok(())
}
