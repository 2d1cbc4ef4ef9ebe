//! What a node learns from the place that it is in: volumes and servers of clouds, and who it is.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    http::{Answer, WebServer},
    limits,
    node::{Access, configured, maintenance, running},
};

use crate::{
    Tier,
    node::logged,
    sources::{hostname, run},
    trial,
};

type Case = fn(Machine) -> Result<()>;

const CASES: &[(&str, Case)] = &[
    ("cidata-network", cidata_network),
    ("serial-number", serial_number),
    ("url", url),
    ("url-circle", url_circle),
    ("identity", identity),
];

/// The hardware address that QEMU gives to a first card.
const MAC: &str = "52:54:00:12:34:56";

pub fn trials(tier: Tier) -> Vec<Trial> {
    let mut trials = Vec::new();
    for arch in Arch::ALL {
        for (index, &(name, case)) in CASES.iter().enumerate() {
            // Alternating, so that each board has its share in CI.
            if tier == Tier::Full || (index % 2 == 0) == (arch == Arch::X86_64) {
                trials.push(trial(format!("platform/{arch}/{name}"), move || case(Machine::new(arch))));
            }
        }
    }
    trials
}

/// Configuration, names and a static network from a volume; names and network again, from STATE, when it is gone.
fn cidata_network(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    let access = Access::generate()?;
    let volume = vm.folder().join("volume");
    // The address that the emulated network forwards the API's port to.
    let network = format!(
        "version: 2\nethernets:\n  lan:\n    match: {{macaddress: '{MAC}'}}\n    set-name: lan0\n    addresses: [10.0.2.15/24]\n    \
         gateway4: 10.0.2.2\n    nameservers: {{addresses: [10.0.2.3], search: [lab.example]}}\n"
    );
    let meta = "instance-id: i-vm\nlocal-hostname: cloudy.lab.example\nregion: here\n";
    fat(&volume, &[("user-data", &access.config), ("meta-data", meta), ("network-config", &network)])?;
    vm.machine.extra_disks.push(volume);
    vm.machine.append = "talos.platform=nocloud".to_owned();
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, "controlplane configuration from cidata in force")?;
    logged(&api, "platform: cidata says 1 link, 1 name server, host name cloudy.lab.example, instance i-vm")?;
    expect_cloudy(&api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    vm.machine.extra_disks.clear();
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, "controlplane configuration from state in force")?;
    expect_cloudy(&api)
}

fn expect_cloudy(api: &Api) -> Result<()> {
    let platform = api.version()?.platform.context("no platform in the answer")?;
    ensure!((platform.name.as_str(), platform.mode.as_str()) == ("nocloud", "cloud"), "{platform:?}");
    named(api, "cloudy")?;
    shows(api, "runtime", "PlatformMetadatas.talos.dev", "platformmetadata", &["instanceId: i-vm", "region: here"])?;
    shows(api, "network", "AddressSpecs.net.talos.dev", "eth0/10.0.2.15/24", &["layer: platform"])?;
    shows(api, "network", "RouteSpecs.net.talos.dev", "inet4/10.0.2.2//1024", &["layer: platform", "outLinkName: eth0"])?;
    shows(api, "network", "ResolverStatuses.net.talos.dev", "resolvers", &["10.0.2.3", "lab.example"])?;
    shows(api, "network", "LinkStatuses.net.talos.dev", "eth0", &["lan0"])?;
    let operators = api.resource("network", "OperatorSpecs.net.talos.dev", "dhcp4/eth0");
    ensure!(operators.is_err(), "DHCP runs on a link with a static address: {operators:?}");
    Ok(())
}

/// A server that the machine's serial number names. On arm64 there are such numbers with firmware only, whose loader takes
/// further arguments from there, too.
fn serial_number(machine: Machine) -> Result<()> {
    let access = Access::generate()?;
    let config = access.config.clone();
    let server = WebServer::start(move |target, _| match target {
        "/seed/user-data" => Answer::Text(config.clone()),
        _ => Answer::Status(404),
    })?;
    let mut vm = TestVm::create(if machine.arch == Arch::Arm64 { machine.firmware() } else { machine })?;
    vm.machine.smbios.push(format!("type=1,serial=ds=nocloud-net;s={}/seed/;h=seeded;i=i-2", server.url()));
    match vm.machine.arch {
        Arch::X86_64 => vm.machine.append = "talos.platform=nocloud".to_owned(),
        Arch::Arm64 => vm.machine.smbios.push("type=11,value=io.systemd.stub.kernel-cmdline-extra=talos.platform=nocloud".to_owned()),
    }
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, "controlplane configuration from nocloud-net in force")?;
    named(&api, "seeded")?;
    shows(&api, "runtime", "PlatformMetadatas.talos.dev", "platformmetadata", &["platform: nocloud", "instanceId: i-2"])?;
    let heard = server.heard();
    ensure!(heard == ["/seed/meta-data", "/seed/network-config", "/seed/user-data"], "the server was asked for {heard:?}");
    Ok(())
}

/// A server that is not ready at first and then sends the node elsewhere.
fn url(machine: Machine) -> Result<()> {
    let access = Access::generate()?;
    let config = access.config.clone();
    let server = WebServer::start(move |target, before| match (target, before) {
        (_, 0) => Answer::Status(503),
        ("/config.yaml", _) => Answer::Text(config.clone()),
        _ => Answer::Redirect("/config.yaml".to_owned()),
    })?;
    let mut vm = TestVm::create(machine)?;
    vm.machine.append = format!("talos.config={}/start?mac=${{mac}}", server.url());
    vm.start()?;
    let api = running(&mut vm, &access)?;
    logged(&api, "controlplane configuration from url in force")?;
    logged(&api, "was answered with 503 Service Unavailable")?;
    let start = format!("/start?mac={MAC}");
    let heard = server.heard();
    ensure!(heard == [&start, &start, "/config.yaml"], "the server was asked for {heard:?}");
    Ok(())
}

/// A server that leads nowhere: people are told, and a configuration over the API ends it.
fn url_circle(machine: Machine) -> Result<()> {
    let server = WebServer::start(|target, _| Answer::Redirect(if target == "/a" { "/b" } else { "/a" }.to_owned()))?;
    let mut vm = TestVm::create(machine)?;
    vm.machine.append = format!("talos.config={}/a", server.url());
    vm.start()?;
    let api = maintenance(&mut vm)?;
    logged(&api, "redirects go in a circle")?;
    let access = Access::generate()?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(&mut vm, &access)?;
    logged(&api, "the node is configured: nothing is fetched any more")
}

/// Who a node is stays so over a reboot, and its name with it.
fn identity(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    let before = who(&api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    vm.start()?;
    let api = running(&mut vm, &access)?;
    let after = who(&api)?;
    ensure!(before == after, "it was {before:?} and is {after:?}");
    Ok(())
}

/// Identity, machine-id and host name, which belong together.
fn who(api: &Api) -> Result<(String, String, String)> {
    wait_for("an identity and a name", limits::SETTLE, || {
        let identity = api.resource("cluster", "Identities.cluster.talos.dev", "local")?;
        let id = identity.trim().strip_prefix("nodeId: ").with_context(|| format!("{identity:?}"))?.to_owned();
        let machine_id = api.read_text("/run/etc/machine-id")?.trim().to_owned();
        ensure!(machine_id.len() == 32 && machine_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "machine-id {machine_id:?}");
        let name = hostname(api)?;
        ensure!(name.starts_with("talos-") && name.len() == "talos-xxx-yyy".len(), "the host name is {name}");
        Ok((id, machine_id, name))
    })
}

fn named(api: &Api, wanted: &str) -> Result<()> {
    wait_for(&format!("the host name {wanted}"), limits::SETTLE, || {
        let name = hostname(api)?;
        ensure!(name == wanted, "the host name is {name}");
        Ok(())
    })
}

/// Waits until a resource says all of this.
fn shows(api: &Api, namespace: &str, kind: &str, id: &str, wanted: &[&str]) -> Result<()> {
    wait_for(&format!("{wanted:?} in {kind} {id}"), limits::SETTLE, || {
        let text = api.resource(namespace, kind, id)?;
        ensure!(wanted.iter().all(|part| text.contains(part)), "it says {text:?}");
        Ok(())
    })
}

/// A FAT volume as cloud tools make it.
fn fat(volume: &Path, files: &[(&str, &str)]) -> Result<()> {
    std::fs::File::create(volume)?.set_len(8 << 20)?;
    run(Command::new("mkfs.vfat").args(["-n", "CIDATA"]).arg(volume))?;
    for (name, text) in files {
        let file = volume.with_extension(name);
        std::fs::write(&file, text)?;
        run(Command::new("mcopy").arg("-i").arg(volume).arg(&file).arg(format!("::/{name}")))?;
    }
    Ok(())
}
