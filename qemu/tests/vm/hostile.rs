//! Clients that mean harm, on a booted node: apid stays within its memory, and everybody else is served. What each of them is told is
//! tested without a VM, in `firmware/apid/tests/hostile`.

use std::{
    collections::VecDeque,
    fs,
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    limits,
    node::{Access, configured},
};
use wire::machine::ReadRequest;

use crate::{Tier, trial};

/// Connections that are open at the same time: three times as many as apid has room for, and as many as QEMU has descriptors for.
const OPEN: usize = 384;
/// Calls of which nobody reads the answer, and the file that they would like to have.
const STALLED: (usize, &str) = (40, "/usr/bin/keelson");
/// What apid's control group may have, bytes.
const MEMORY: u64 = 128 << 20;
/// Between two looks at QEMU's queue of connections.
const LOOK: Duration = Duration::from_millis(1);
/// Its place.
const GROUP: &str = "/sys/fs/cgroup/system/apid";

pub fn trials(tier: Tier) -> Vec<Trial> {
    let connections = if tier == Tier::Full { 10_000 } else { 1_000 };
    Arch::ALL.into_iter().map(|arch| trial(format!("hostile/{arch}"), move || they_harm_nobody(Machine::new(arch), connections))).collect()
}

fn they_harm_nobody(machine: Machine, connections: usize) -> Result<()> {
    let (vm, api, access) = configured(machine)?;
    let apid = pid(&api)?;
    flood(&vm, connections)?;
    is_well(&vm, &api, &access, apid).context("after a flood of connections")?;
    let slow = Api::with_talosconfig(vm.api_address(), &access.talosconfig)?;
    let mut held = Vec::new();
    for _ in 0..STALLED.0 {
        held.push(slow.call(slow.machine().read(ReadRequest { path: STALLED.1.to_owned() })).context("a call that is not read")?);
    }
    is_well(&vm, &api, &access, apid).context("beside answers that nobody reads")?;
    drop(held);
    is_well(&vm, &api, &access, apid).context("in the end")
}

/// One after the other, the oldest going when there are [`OPEN`]: some say nothing, some half of something, some nonsense.
fn flood(vm: &TestVm, connections: usize) -> Result<()> {
    let words: [&[u8]; 3] = [b"", &[0x16, 3, 1, 2, 0, 1, 0], b"GET / HTTP/1.1\r\n\r\n"];
    let mut open = VecDeque::new();
    for at in 0..connections {
        let mut stream = TcpStream::connect(vm.api_address()).with_context(|| format!("connection {at}"))?;
        taken(vm.api_address().port()).with_context(|| format!("connection {at}"))?;
        // The node may have turned it away.
        let _ = stream.write_all(words[at % words.len()]);
        open.push_back(stream);
        if open.len() >= OPEN {
            open.pop_front();
        }
    }
    Ok(())
}

/// Waits until QEMU has taken the connections to its port. It queues one or two, and the host's kernel tries again after a second with one
/// that finds the queue full.
fn taken(port: u16) -> Result<()> {
    let start = Instant::now();
    while queued(&fs::read_to_string("/proc/net/tcp")?, port)? > 0 {
        ensure!(start.elapsed() < limits::MONITOR, "QEMU has not taken it within {:?}", limits::MONITOR);
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Connections that wait at a port of loopback: of a listening socket (state 0A) the queue for reading is that of connections.
fn queued(table: &str, port: u16) -> Result<u64> {
    let (own, listening) = (format!("0100007F:{port:04X}"), "0A");
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1) == Some(&own.as_str()) && row.get(3) == Some(&listening)).context("nobody listens there")?;
    let queues = row.get(4).and_then(|queues| queues.split_once(':')).context("no queues")?;
    u64::from_str_radix(queues.1, 16).context("length of the queue")
}

fn pid(api: &Api) -> Result<i32> {
    let apid = api.processes()?.into_iter().find(|process| process.command == "apid");
    Ok(apid.context("no apid")?.pid)
}

/// Who was there before is answered, and so is who comes now; it is the same apid, within its memory, which nobody was killed for.
fn is_well(vm: &TestVm, api: &Api, access: &Access, apid: i32) -> Result<()> {
    ensure!(pid(api)? == apid, "apid was started anew");
    wait_for("room for a new client", limits::SETTLE, || Api::with_talosconfig(vm.api_address(), &access.talosconfig)?.version())?;
    let peak: u64 = api.read_text(&format!("{GROUP}/memory.peak"))?.trim().parse().context("memory.peak")?;
    ensure!(peak < MEMORY / 2, "apid took {peak} bytes of {MEMORY}");
    let events = api.read_text(&format!("{GROUP}/memory.events"))?;
    ensure!(events.lines().any(|line| line == "oom_kill 0"), "memory ran out:\n{events}");
    Ok(())
}
