//! Services as an operator sees them: one that dies comes back, one that may not be touched says so.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use prost::Message;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::{refused, wait_for},
    limits,
    node::{Access, configured, running},
};
use tonic::Code;
use wire::machine::{
    EventsRequest, ServiceEvent, ServiceInfo, ServiceRestartRequest, ServiceStartRequest, ServiceStateEvent, ServiceStopRequest,
    service_state_event::Action,
};

use crate::{Tier, trial};

/// From a service's end to its next run, after the first quick death.
const PAUSE: Duration = Duration::from_secs(5);

/// x86_64 is in the full tier: it failed once in some twenty runs for a reason that is not known yet.
pub fn trials(tier: Tier) -> Vec<Trial> {
    let boards = Arch::ALL.into_iter().filter(|arch| tier == Tier::Full || *arch == Arch::Arm64);
    let both = boards.map(|arch| {
        let killed = trial(format!("services/{arch}/killed"), move || apid_comes_back(Machine::new(arch)));
        [killed, trial(format!("services/{arch}/init-killed"), move || node_comes_back(Machine::new(arch)))]
    });
    both.flatten().collect()
}

/// apid dies of a signal, in the midst of its work: everybody is told, and after a pause it is there again.
fn apid_comes_back(machine: Machine) -> Result<()> {
    let (mut vm, mut api, access) = configured(machine)?;
    asked_for(&api)?;
    let program = alone(&mut vm, &mut api, &access, |api| pid(&healthy_apid(api)?))?;
    let before = healthy_apid(&api)?;
    let pid = pid(&before)?;
    crash(&vm, &access, &program)?;
    drop(api);

    let api = running(&mut vm, &access)?;
    let after = wait_for("another apid", limits::SETTLE, || {
        let after = healthy_apid(&api)?;
        ensure!(self::pid(&after)? != pid, "the one that was killed still runs");
        Ok(after)
    })?;
    let known = before.events.as_ref().map_or(0, |events| events.events.len());
    let since = after.events.context("no events")?.events.into_iter().skip(known);
    // A machine that stands still most of the time may have missed a health check before.
    let since: Vec<ServiceEvent> = since.skip_while(|event| event.state == "Running").collect();
    let told: Vec<(&str, &str)> = since.iter().map(|event| (event.state.as_str(), event.msg.as_str())).collect();
    ensure!(told.len() >= 5, "not all was told: {told:?}");
    ensure!(told[0].0 == "Failed" && told[0].1.starts_with("Process ended: killed by SIGSEGV; last line: "), "{told:?}");
    ensure!(told[1] == ("Waiting", "Error running apid, going to restart forever, in 5 s"), "{told:?}");
    ensure!(told[2].0 == "Preparing" && told[3].0 == "Running" && told[3].1.contains("started with PID"), "{told:?}");
    ensure!(told.last() == Some(&("Running", "Health check successful")), "{told:?}");
    let paused = time(&since[2])?.saturating_sub(time(&since[1])?);
    ensure!(paused >= PAUSE - Duration::from_millis(100) && paused < PAUSE * 2, "it paused for {paused:?}");
    published(&api)
}

/// PID 1 dies of a signal: the kernel says so, restarts the machine, and the node is there again as it was.
fn node_comes_back(machine: Machine) -> Result<()> {
    let (mut vm, mut api, access) = configured(machine)?;
    let program = alone(&mut vm, &mut api, &access, |_| Ok(1))?;
    let before = api.boot_id()?;
    vm.serial.mark();
    crash(&vm, &access, &program)?;
    drop(api);
    vm.wait_serial("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b")?;
    // It waits ten seconds with the restart, so that people can read why.
    vm.wait_serial("ms after the kernel started")?;
    let api = running(&mut vm, &access)?;
    ensure!(api.boot_id()? != before, "the same boot goes on");
    healthy_apid(&api).map(drop)
}

/// Where the code of a process is, in a boot in which no other part of the node has its own there. All parts are one program, so a place
/// in memory has to tell which part it is; where they lie is drawn with each boot.
fn alone(vm: &mut TestVm, api: &mut Api, access: &Access, pid: impl Fn(&Api) -> Result<i32>) -> Result<Range<u64>> {
    let mut boots = 0;
    loop {
        let pid = pid(api)?;
        let own = program(api, pid)?;
        let others = others(api, pid)?;
        if others.iter().all(|other| own.end <= other.start || other.end <= own.start) {
            return Ok(own);
        }
        boots += 1;
        ensure!(boots < 4, "others are at {others:x?}, process {pid} at {own:x?}, in the fourth boot");
        let boot = api.boot_id()?;
        api.reboot()?;
        *api = wait_for("the next boot", limits::API, || {
            let api = running(vm, access)?;
            ensure!(api.boot_id()? != boot, "still the same boot");
            Ok(api)
        })?;
    }
}

/// Starting what runs is so already; stopping it is nobody's business.
fn asked_for(api: &Api) -> Result<()> {
    let mut client = api.machine();
    let answer = api.call(client.service_start(ServiceStartRequest { id: "apid".to_owned() }))?;
    ensure!(answer.messages.first().is_some_and(|message| message.resp == "Service \"apid\" started"), "{answer:?}");
    let stop = refused(api.call(client.service_stop(ServiceStopRequest { id: "apid".to_owned() })), Code::FailedPrecondition)?;
    ensure!(stop == "service \"apid\" doesn't support stop operation via API", "{stop}");
    refused(api.call(client.service_restart(ServiceRestartRequest { id: "machined".to_owned() })), Code::FailedPrecondition)?;
    let nobody = refused(api.call(client.service_start(ServiceStartRequest { id: "nobody".to_owned() })), Code::NotFound)?;
    ensure!(nobody == "service \"nobody\" not defined", "{nobody}");
    Ok(())
}

/// What followers of the node's events have seen of apid, from its failure on.
fn published(api: &Api) -> Result<()> {
    let mut client = api.machine();
    let mut stream = api.call(client.events(EventsRequest { tail_events: -1, ..EventsRequest::default() }))?;
    let mut actions = Vec::new();
    while actions.last() != Some(&Action::Running) || !actions.contains(&Action::Failed) {
        let Some(data) = api.next(&mut stream).with_context(|| format!("after {actions:?}"))?.data else { continue };
        if data.type_url != format!("{}machine.ServiceStateEvent", wire::EVENT_TYPE_PREFIX) {
            continue;
        }
        let event = ServiceStateEvent::decode(data.value.as_slice())?;
        if event.service == "apid" {
            actions.push(event.action());
        }
    }
    let failed = actions.iter().position(|action| *action == Action::Failed).context("no failure")?;
    ensure!(actions[failed..] == [Action::Failed, Action::Waiting, Action::Preparing, Action::Running], "{actions:?}");
    Ok(())
}

/// Kills the process that has its code there, while another client keeps it busy.
fn crash(vm: &TestVm, access: &Access, program: &Range<u64>) -> Result<()> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            let busy = Api::with_talosconfig(vm.api_address(), &access.talosconfig)?;
            while !done.load(Ordering::Relaxed) {
                // Fails once its server is gone.
                busy.version()?;
            }
            Ok(())
        });
        let crashed = vm.debugger().and_then(|mut debugger| {
            debugger.crash(vm.machine.arch, program, limits::COME_BY)?;
            debugger.detach()
        });
        done.store(true, Ordering::Relaxed);
        crashed
    })
}

fn healthy_apid(api: &Api) -> Result<ServiceInfo> {
    wait_for("apid to be healthy", limits::SETTLE, || {
        let apid = api.services()?.into_iter().find(|service| service.id == "apid").context("no apid")?;
        ensure!(apid.health.as_ref().is_some_and(|health| health.healthy), "{:?}", apid.health);
        Ok(apid)
    })
}

/// The process that a service's last start was about.
fn pid(service: &ServiceInfo) -> Result<i32> {
    let events = service.events.as_ref().context("no events")?;
    let started = events.events.iter().rev().find_map(|event| event.msg.split_once(" started with PID "));
    Ok(started.context("it was not started")?.1.parse()?)
}

/// Where the code of the other parts of the node is, once all are there.
fn others(api: &Api, pid: i32) -> Result<Vec<Range<u64>>> {
    wait_for("all parts of the node", limits::SETTLE, || {
        let processes = api.processes()?;
        ensure!(processes.iter().any(|process| process.command == "dnsd"), "no dnsd among {processes:?}");
        let parts = processes.iter().filter(|process| process.executable == "/usr/bin/keelson" && process.pid != pid);
        parts.map(|process| program(api, process.pid)).collect()
    })
}

/// Where the code of a process is; what the kernel brings along is not.
fn program(api: &Api, pid: i32) -> Result<Range<u64>> {
    let maps = api.read_text(&format!("/proc/{pid}/maps"))?;
    let line = maps.lines().find(|line| line.contains(" r-xp ") && !line.contains("[v")).with_context(|| format!("no code in:\n{maps}"))?;
    let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).context("no range")?;
    Ok(u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?)
}

fn time(event: &ServiceEvent) -> Result<Duration> {
    let at = event.ts.context("an event without a time")?;
    Ok(Duration::new(at.seconds.try_into()?, at.nanos.try_into()?))
}
