//! A node gets its time from a server, and keeps it when that is gone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    limits,
    node::{Access, NO_TIME, maintenance, running},
    ntp::TimeServer,
};
use wire::time::{TimeRequest, time_service_client::TimeServiceClient};

use crate::{node::logged, trial};

/// How far ahead of the host the server is.
const AHEAD: Duration = Duration::from_secs(5 * 3600);
/// How well two clocks can be compared over a busy emulated machine.
const GRAIN: Duration = Duration::from_secs(10);
/// From a server's end to the line that says so: the pause between two questions, and three attempts.
const NOTICED: Duration = Duration::from_secs(180);

const STATUS: &str = "TimeStatuses.v1alpha1.talos.dev";

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("host/{arch}/time"), move || set_by_a_server(Machine::new(arch)))).collect()
}

fn set_by_a_server(machine: Machine) -> Result<()> {
    let server = TimeServer::start(AHEAD)?;
    let mut access = Access::generate()?;
    let wanted = NO_TIME.replace("enabled: false\n", &format!("ntp:\n  servers: [\"{}\"]\n", server.name()));
    ensure!(access.config.contains(NO_TIME), "the generated configuration says something else about time");
    access.config = access.config.replace(NO_TIME, &wanted);

    let mut vm = TestVm::boot(machine)?;
    let api = maintenance(&mut vm)?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(&mut vm, &access)?;
    api.says("runtime", STATUS, "node", &["synced: true\nepoch: 1\nsyncDisabled: false\n"])?;
    api.says("runtime", "AdjtimeStatuses.v1alpha1.talos.dev", "node", &["syncStatus: true\nstate: TIME_OK\n"])?;
    api.says("runtime", "NTPStatuses.v1alpha1.talos.dev", "node", &["spikeDetected: false\n"])?;
    api.says("runtime", "MachineStatuses.runtime.talos.dev", "machine", &["stage: running\nstatus:\n  ready: true\n"])?;
    logged(&api, &format!("s) by {}", server.name()))?;
    let set: Vec<_> = lines(&api, "set from ")?;
    ensure!(set.len() == 1 && set[0].contains("(+1"), "the clock was set in {set:?}");

    // Both clocks of a reading, the real-time clock, and a connection that is made after the jump.
    let mut client = TimeServiceClient::new(api.channel());
    for message in [api.call(client.time(()))?, api.call(client.time_check(TimeRequest { server: server.name() }))?] {
        let reading = message.messages.into_iter().next().context("no reading")?;
        let (local, remote) = (reading.localtime.context("no local time")?.seconds, reading.remotetime.context("no remote time")?.seconds);
        ensure!(reading.server == server.name() && local.abs_diff(remote) <= 1, "{local} here, {remote} at {}", reading.server);
        near(u64::try_from(local)?, "the node's clock")?;
    }
    near(api.read_text("/sys/class/rtc/rtc0/since_epoch")?.trim().parse()?, "the real-time clock")?;
    let api = running(&mut vm, &access)?;

    drop(server);
    wait_for("the node to notice that its server is gone", NOTICED, || {
        ensure!(lines(&api, "no time server answers")?.len() == 1, "no line about it");
        Ok(())
    })?;
    api.says("runtime", STATUS, "node", &["synced: true\nepoch: 1\n"])?;
    api.says("runtime", "MachineStatuses.runtime.talos.dev", "machine", &["ready: true\n"])
}

/// Lines of the node's log with `text`.
fn lines(api: &Api, text: &str) -> Result<Vec<String>> {
    Ok(api.logs("machined", -1)?.lines().filter(|line| line.contains(text)).map(str::to_owned).collect())
}

fn near(seconds: u64, what: &str) -> Result<()> {
    let wanted = (SystemTime::now().duration_since(UNIX_EPOCH)? + AHEAD).as_secs();
    ensure!(seconds.abs_diff(wanted) <= GRAIN.as_secs(), "{what} shows {seconds} instead of {wanted}");
    Ok(())
}
