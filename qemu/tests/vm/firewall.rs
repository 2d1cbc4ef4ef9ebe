//! A node that blocks lets in whom its rules name, and nobody else: at once, live, and after the next boot.

use std::{
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    limits,
    node::{configured, running},
};
use serde_json::json;

use crate::{node::logged, trial};

/// Who asks, as the node sees it: QEMU's user network puts the host there.
const HOST: &str = "10.0.2.2/32";
/// A port that nothing on the node listens on (50001 is trustd's).
const OTHER_PORT: u16 = 50009;
/// A node that does not drop a packet answers within this.
const ANSWERS: Duration = Duration::from_secs(10);
/// One that says nothing for this long drops it.
const SILENT: Duration = Duration::from_secs(4);

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("host/{arch}/firewall"), move || blocks(Machine::new(arch)))).collect()
}

/// A configuration that blocks all but the API, and that for these only.
fn blocking(config: &str, subnet: &str) -> String {
    format!(
        "{}\n---\napiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\n\
         name: apid\nportSelector:\n  ports: [50000]\n  protocol: tcp\ningress:\n  - subnet: {subnet}\n",
        config.trim_end()
    )
}

fn blocks(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    let other = forwarded(&vm)?;
    ensure!(answers(other, ANSWERS)?, "a node without a firewall refuses a closed port");

    api.apply(&blocking(&access.config, HOST))?;
    in_force(&api, "policy: drop\n")?;
    wait_for("the other port to be silent", limits::SETTLE, || {
        ensure!(!answers(other, SILENT)?, "the node answers");
        Ok(())
    })?;
    drop(Api::with_talosconfig(vm.api_address(), &access.talosconfig).context("a new connection to the API")?);

    // For others only: an open connection lives on, and a new one is not made.
    api.apply(&blocking(&access.config, "192.0.2.0/24"))?;
    in_force(&api, "192.0.2.0/24")?;
    api.version()?;
    if Api::with_talosconfig(vm.api_address(), &access.talosconfig).and_then(|new| new.version()).is_ok() {
        bail!("a new connection was let in without a rule");
    }
    api.apply(&blocking(&access.config, HOST))?;
    in_force(&api, HOST)?;
    drop(Api::with_talosconfig(vm.api_address(), &access.talosconfig).context("let in again")?);

    api.shutdown()?;
    vm.wait_power_off()?;
    vm.start()?;
    let api = running(&mut vm, &access)?;
    in_force(&api, "policy: drop\n")?;
    logged(&api, "in force: ingress")?;
    let other = forwarded(&vm)?;
    ensure!(!answers(other, SILENT)?, "after a boot the node answers on a blocked port");

    api.apply(&access.config)?;
    wait_for("the rules to go", limits::SETTLE, || {
        ensure!(api.resource("network", CHAINS, "ingress").is_err(), "there is a chain");
        ensure!(answers(other, SILENT)?, "nothing answers");
        Ok(())
    })
}

const CHAINS: &str = "NfTablesChains.net.talos.dev";

fn in_force(api: &Api, wanted: &str) -> Result<()> {
    wait_for(&format!("{wanted:?} in a chain"), limits::SETTLE, || {
        let yaml = api.resource("network", CHAINS, "ingress")?;
        ensure!(yaml.contains(wanted), "it says {yaml}");
        Ok(())
    })
}

/// A port of the host's loopback that leads to the node's other port.
fn forwarded(vm: &TestVm) -> Result<SocketAddr> {
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let line = format!("hostfwd_add net0 tcp:127.0.0.1:{}-:{OTHER_PORT}", address.port());
    let answer = vm.monitor()?.execute("human-monitor-command", json!({ "command-line": line }))?;
    ensure!(answer.as_str() == Some(""), "QEMU's answer: {answer}");
    Ok(address)
}

/// Whether the node answers a connection, if only by refusing it: QEMU takes every connection and ends it when the node refuses.
fn answers(address: SocketAddr, limit: Duration) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(limit))?;
    match stream.read(&mut [0]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
        Ok(_) | Err(_) => Ok(true),
    }
}
