//! Power cuts while the disk is set up, while a configuration is stored, and while the node is reset.
//!
//! The guest's writes are recorded; each disk that a cut could have left behind is built and booted. It must come
//! up, and a configuration that was acknowledged before the cut must be there. One that was being reset is what it was, or takes
//! a new configuration from anybody: nothing in between.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    disk, limits,
    node::{Access, configured_and_off, maintenance, running},
    powercut::{Cut, Recording},
};

use crate::{Tier, reset, trial};

/// How many disks are booted for each recording: flush prefixes and samples of unflushed writes.
struct Amount {
    prefixes: usize,
    samples: usize,
}

pub fn trials(tier: Tier) -> Vec<Trial> {
    let amount = || match tier {
        // Three recordings of both boards: 30 boots in all.
        Tier::Ci => Amount { prefixes: 3, samples: 2 },
        Tier::Full => Amount { prefixes: usize::MAX, samples: 200 },
    };
    let mut trials = Vec::new();
    for arch in Arch::ALL {
        let machine = Machine { log_writes: true, ..Machine::new(arch) };
        let (first, apply, reset) = (machine.clone(), machine.clone(), machine);
        let (first_amount, apply_amount, reset_amount) = (amount(), amount(), amount());
        trials.push(trial(format!("power-cut/{arch}/first-boot"), move || first_boot(first, &first_amount)));
        trials.push(trial(format!("power-cut/{arch}/apply-config"), move || apply_config(apply, &apply_amount)));
        trials.push(trial(format!("power-cut/{arch}/reset"), move || reset_node(reset, &reset_amount)));
    }
    trials
}

fn first_boot(machine: Machine, amount: &Amount) -> Result<()> {
    let mut vm = TestVm::create(machine)?;
    let base = copy(vm.disk(), vm.folder(), "base.img")?;
    vm.start()?;
    let api = maintenance(&mut vm)?;
    provisioned(&api)?;
    vm.quit()?;
    let recording = Recording::open(vm.write_log())?;
    for cut in cuts(&recording, amount) {
        replay(&mut vm, &base, &recording, &cut, |vm| {
            let api = maintenance(vm)?;
            provisioned(&api)
        })?;
    }
    Ok(())
}

fn apply_config(machine: Machine, amount: &Amount) -> Result<()> {
    let mut vm = TestVm::boot(machine)?;
    provisioned(&maintenance(&mut vm)?)?;
    vm.quit()?;
    let base = copy(vm.disk(), vm.folder(), "base.img")?;
    vm.start()?;
    let access = Access::generate()?;
    let api = maintenance(&mut vm)?;
    api.apply(&access.config).context("apply the configuration")?;
    vm.quit()?;
    let recording = Recording::open(vm.write_log())?;

    // Cut right after the answer: whatever was not flushed by then is lost, the configuration must not be.
    let acknowledged = recording.sample(recording.entries.len(), |_| false);
    replay(&mut vm, &base, &recording, &acknowledged, |vm| running(vm, &access).map(drop))?;

    // Cut earlier: the node comes up, with the configuration or without any, never with half of one.
    for cut in cuts(&recording, amount) {
        replay(&mut vm, &base, &recording, &cut, |vm| {
            let what = "the node, configured or in maintenance";
            wait_for(what, limits::API, || {
                vm.must_run()?;
                let address = vm.api_address();
                match Api::with_talosconfig(address, &access.talosconfig).and_then(|api| api.version()) {
                    Ok(_) => Ok(()),
                    Err(_) => Api::insecure(address)?.version().map(drop),
                }
            })
        })?;
    }
    Ok(())
}

fn reset_node(machine: Machine, amount: &Amount) -> Result<()> {
    let (mut vm, access) = configured_and_off(machine)?;
    let base = copy(vm.disk(), vm.folder(), "base.img")?;
    vm.start()?;
    let api = running(&mut vm, &access)?;
    reset::order(&api, &["STATE", "EPHEMERAL"], true)?;
    drop(api);
    provisioned(&maintenance(&mut vm)?)?;
    vm.quit()?;
    let recording = Recording::open(vm.write_log())?;
    let after = recording.durable(recording.entries.len());
    replay(&mut vm, &base, &recording, &after, |vm| takes_a_configuration(&maintenance(vm)?))?;
    for cut in cuts(&recording, amount) {
        replay(&mut vm, &base, &recording, &cut, |vm| {
            wait_for("the node, as it was or without a configuration", limits::API, || {
                vm.must_run()?;
                let address = vm.api_address();
                match Api::with_talosconfig(address, &access.talosconfig).and_then(|api| api.version()) {
                    Ok(_) => Ok(()),
                    Err(_) => takes_a_configuration(&Api::insecure(address)?),
                }
            })
        })?;
    }
    Ok(())
}

/// A node whose STATE counts as lost would refuse it.
fn takes_a_configuration(api: &Api) -> Result<()> {
    provisioned(api)?;
    api.apply(&Access::generate()?.config).map(drop).context("apply a configuration after the reset")
}

/// Waits until the node has mounted its new EPHEMERAL partition.
fn provisioned(api: &Api) -> Result<()> {
    wait_for("EPHEMERAL on /var", limits::SETTLE, || {
        ensure!(api.mounts()?.iter().any(|mount| mount.mounted_on == "/var"), "/var is not mounted");
        Ok(())
    })
}

/// The chosen cuts: prefixes spread over all flushes, samples at places and with losses drawn from a fixed seed. Two that
/// leave the same disk are one.
fn cuts(recording: &Recording, amount: &Amount) -> Vec<Cut> {
    let flushes = recording.flushes();
    let step = (flushes.len() / amount.prefixes.min(flushes.len()).max(1)).max(1);
    let prefixes = flushes.iter().step_by(step).take(amount.prefixes).map(|&at| recording.durable(at));
    let mut random = Random(0x006b_6565_6c73_6f6e);
    let samples = (0..amount.samples).map(|_| {
        let at = random.below(recording.entries.len().max(1)) + 1;
        let at = at.min(recording.entries.len());
        recording.sample(at, |_| random.below(2) == 0)
    });
    let mut seen = HashSet::new();
    let all: Vec<Cut> = prefixes.chain(samples).filter(|cut| seen.insert(cut.survived.clone())).collect();
    println!("{} requests, {} of them flushes: {} different disks to boot", recording.entries.len(), flushes.len(), all.len());
    all
}

/// Boots the disk that `cut` left and checks it.
fn replay(vm: &mut TestVm, base: &Path, recording: &Recording, cut: &Cut, check: impl Fn(&mut TestVm) -> Result<()>) -> Result<()> {
    let logging = std::mem::replace(&mut vm.machine.log_writes, false);
    let size = std::fs::metadata(base)?.len();
    disk::copy_image(base, vm.disk(), size)?;
    recording.apply(cut, vm.disk())?;
    vm.start()?;
    let result = check(vm);
    vm.kill();
    vm.machine.log_writes = logging;
    result.with_context(|| {
        format!(
            "power cut after {} of {} requests, {} of them on the disk; the log ends with:\n{}",
            cut.at,
            recording.entries.len(),
            cut.survived.len(),
            vm.serial.tail()
        )
    })
}

fn copy(disk: &Path, folder: &Path, name: &str) -> Result<std::path::PathBuf> {
    let target = folder.join(name);
    disk::copy_image(disk, &target, std::fs::metadata(disk)?.len())?;
    Ok(target)
}

/// A small generator with a fixed seed: a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*: enough to choose among disks.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap_or_default() % bound.max(1)
    }
}
