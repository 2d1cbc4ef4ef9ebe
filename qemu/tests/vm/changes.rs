//! A configuration that is changed while the node runs: on trial, for good, for the next boot; and what the node's
//! sequences tell about all that.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use prost::Message;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    limits,
    node::{Access, maintenance, running},
};
use tonic::Code;
use wire::machine::{
    ApplyConfigurationRequest, Event, EventsRequest, PhaseEvent, SequenceEvent, TaskEvent, apply_configuration_request::Mode,
};

use crate::trial;

/// How long a configuration is on trial: several calls fit in it also on a slow machine.
const TRIAL: Duration = Duration::from_secs(30);

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("changes/{arch}/host-name"), move || a_name_changes(Machine::new(arch)))).collect()
}

fn a_name_changes(machine: Machine) -> Result<()> {
    let mut vm = TestVm::boot(machine)?;
    let access = Access::generate()?;
    let api = maintenance(&mut vm)?;
    // A configuration that comes at once would find the node before its maintenance.
    in_order(&api, &["initialize START", "task loadConfig START", "task runningMaintenance START"])?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(&mut vm, &access)?;
    first_boot(&api)?;
    let named = |name: &str| access.config.replacen("\nauto: stable", &format!("\nhostname: {name}\nauto: off"), 1);
    ensure!(named("x") != access.config, "the generated configuration has no place for a host name");
    let first = api.read_text("/proc/sys/kernel/hostname")?;

    let details = apply(&api, &named("tried"), Mode::Try, true)?;
    ensure!(details.contains("+hostname: tried") && details.contains("a new certificate"), "a dry run says:\n{details}");
    ensure!(api.read_text("/proc/sys/kernel/hostname")? == first, "a dry run changed something");
    let details = apply(&api, &named("tried"), Mode::Try, false)?;
    ensure!(details.ends_with("reverted back in 30s"), "a trial says:\n{details}");
    host_name(&api, "tried\n")?;
    let stored = || api.resource("config", "MachineConfigs.config.talos.dev", "persistent");
    ensure!(!stored()?.contains("tried"), "what is on trial is stored");
    host_name(&api, &first).context("after the trial")?;

    apply(&api, &named("tried"), Mode::Try, false)?;
    apply(&api, &named("kept"), Mode::NoReboot, false)?;
    host_name(&api, "kept\n")?;
    apply(&api, &named("staged"), Mode::Staged, false)?;
    ensure!(stored()?.contains("hostname: staged"), "what is staged is not stored");
    ensure!(api.read_text("/proc/sys/kernel/hostname")? == "kept\n", "what is staged is in force");

    let before = api.boot_id()?;
    let actor = api.reboot()?;
    let api = wait_for("the next boot", limits::API, || {
        let api = running(&mut vm, &access)?;
        ensure!(api.boot_id()? != before, "still the same boot");
        Ok(api)
    })?;
    host_name(&api, "staged\n")?;
    second_boot(&api)?;
    ensure!(!actor.is_empty(), "the restart has no actor");
    Ok(())
}

fn apply(api: &Api, config: &str, mode: Mode, dry_run: bool) -> Result<String> {
    let trial = prost_types::Duration { seconds: TRIAL.as_secs() as i64, nanos: 0 };
    let request = ApplyConfigurationRequest {
        data: config.as_bytes().to_vec(),
        mode: mode.into(),
        dry_run,
        try_mode_timeout: (mode == Mode::Try).then_some(trial),
    };
    let answer = api.call(api.machine().apply_configuration(request))?.messages.pop().context("an answer without a message")?;
    ensure!(answer.mode() == mode, "applied in mode {:?}, not {mode:?}", answer.mode());
    Ok(answer.mode_details)
}

fn host_name(api: &Api, wanted: &str) -> Result<()> {
    wait_for(&format!("the host name {wanted:?}"), limits::SETTLE + TRIAL, || {
        let name = api.read_text("/proc/sys/kernel/hostname")?;
        ensure!(name == wanted, "it is {name:?}");
        Ok(())
    })
}

/// Without a configuration at first: maintenance is a task of the first sequence, boot follows once there is one.
fn first_boot(api: &Api) -> Result<()> {
    in_order(
        api,
        &[
            "initialize START",
            "phase config START",
            "task loadConfig START",
            "task runningMaintenance START",
            "task runningMaintenance STOP",
            "task loadConfig STOP",
            "phase config STOP",
            "initialize STOP",
            "boot START",
            "phase startEverything START",
            "boot STOP",
        ],
    )
}

/// With one: no maintenance.
fn second_boot(api: &Api) -> Result<()> {
    in_order(api, &["initialize START", "task loadConfig START", "task loadConfig STOP", "initialize STOP", "boot START", "boot STOP"])?;
    let all = told(api)?;
    ensure!(!all.iter().any(|event| event.contains("runningMaintenance")), "maintenance with a configuration: {all:?}");
    Ok(())
}

/// Waits until the events so far have these among them, in this order.
fn in_order(api: &Api, wanted: &[&str]) -> Result<()> {
    wait_for(&format!("the events {wanted:?}"), limits::SETTLE, || {
        let all = told(api)?;
        let mut rest = all.iter();
        for event in wanted {
            ensure!(rest.any(|told| told == event), "{event:?} is missing, or too early, in {all:#?}");
        }
        Ok(())
    })
}

/// All events of sequences, phases and tasks since the node's start.
fn told(api: &Api) -> Result<Vec<String>> {
    let request = EventsRequest { tail_events: -1, ..EventsRequest::default() };
    let mut stream = api.call(api.machine().events(request))?;
    let mut all = Vec::new();
    loop {
        match api.next_within(&mut stream, limits::QUIET) {
            Ok(event) => all.extend(text(&event)?),
            // What there is comes at once; the stream itself goes on.
            Err(status) if status.code() == Code::DeadlineExceeded => return Ok(all),
            Err(status) => return Err(status.into()),
        }
    }
}

fn text(event: &Event) -> Result<Option<String>> {
    let Some(data) = &event.data else { return Ok(None) };
    let bytes = data.value.as_slice();
    Ok(match data.type_url.rsplit('.').next() {
        Some("SequenceEvent") => {
            let event = SequenceEvent::decode(bytes)?;
            Some(format!("{} {}", event.sequence, event.action().as_str_name()))
        }
        Some("PhaseEvent") => {
            let event = PhaseEvent::decode(bytes)?;
            Some(format!("phase {} {}", event.phase, event.action().as_str_name()))
        }
        Some("TaskEvent") => {
            let event = TaskEvent::decode(bytes)?;
            Some(format!("task {} {}", event.task, event.action().as_str_name()))
        }
        _ => None,
    })
}
