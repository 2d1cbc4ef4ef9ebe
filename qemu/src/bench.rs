//! `bench boot`: how long a node takes from QEMU's start to its API, against a floor in the same run.
//!
//! The floor is the same kernel with the same command line and a verity root of the same size whose init writes one
//! line; nothing that boots this kernel can be faster. Floor and node take turns, so that a busy host slows both.
//! Memory is read a minute after boot, from `smaps_rollup` and the control groups, through the API.

mod api;

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

pub use self::api::{ApiRow, ApiTurn, NodeReport, NodeRow, api, ticks};
use crate::{
    Api, Arch, Machine, Serial, TestVm,
    api::wait_for,
    limits,
    node::{Access, configured_and_off, maintenance},
    out_folder,
};

/// What the floor's init writes.
pub const FLOOR_MARK: &str = "keelson-floor";

/// How long a node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(60);

/// The whole result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By board name.
    pub boards: BTreeMap<String, Board>,
    /// How many times each thing was measured.
    pub repetitions: usize,
}

/// One board's figures.
#[derive(Debug, Serialize)]
pub struct Board {
    /// Kernel started by QEMU.
    pub fast: Path,
    /// Through UEFI and systemd-boot; not there when only the fast path was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Path>,
    /// Proportional set size of each Keelson process, KiB.
    pub pss_kib: BTreeMap<String, u64>,
    /// Memory of each service's control group, bytes.
    pub cgroup_bytes: BTreeMap<String, u64>,
    /// Sizes in bytes: `uki`, `rootfs`, `disk_used`.
    pub sizes: BTreeMap<String, u64>,
    /// Boot phases of a configured node, milliseconds.
    pub phases_ms: BTreeMap<String, f64>,
}

/// Figures of one boot path, seconds from QEMU's start.
#[derive(Debug, Serialize)]
pub struct Path {
    /// To the trivial init's line.
    pub floor_s: Spread,
    /// To the first mTLS `Version` reply of a configured node.
    pub ours_s: Spread,
    /// To the first `Version` reply of a node that sets its disk up.
    pub first_boot_s: Spread,
    /// `ours_s` over `floor_s`, by their medians.
    pub ratio: f64,
}

/// Median and worst.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Largest.
    pub max: f64,
}

/// Measures `arches`, `repetitions` times each, without the way through firmware if `fast_only`; `say` gets a line for each
/// measurement.
///
/// # Errors
/// When an image or floor is missing or a node does not come up.
pub fn boot(arches: &[Arch], repetitions: usize, fast_only: bool, say: &dyn Fn(&str)) -> Result<Report> {
    ensure!(repetitions > 0, "measure at least once");
    let mut boards = BTreeMap::new();
    for &arch in arches {
        let (fast, vm, access) = path(Machine::new(arch), repetitions, say)?;
        let (firmware, mut vm, access) = if fast_only {
            (None, vm, access)
        } else {
            let (firmware, vm, access) = path(Machine::new(arch).firmware(), repetitions, say)?;
            (Some(firmware), vm, access)
        };
        say(&format!("{}: reading memory after {} s of rest", vm.machine, IDLE.as_secs()));
        let idle = idle(&mut vm, &access)?;
        let sizes = sizes(&Machine::new(arch))?;
        let Idle { pss_kib, cgroup_bytes, phases_ms } = idle;
        boards.insert(arch.board().to_owned(), Board { fast, firmware, pss_kib, cgroup_bytes, sizes, phases_ms });
    }
    Ok(Report { boards, repetitions })
}

/// What is read from a node that was left alone.
struct Idle {
    pss_kib: BTreeMap<String, u64>,
    cgroup_bytes: BTreeMap<String, u64>,
    phases_ms: BTreeMap<String, f64>,
}

/// One boot path's figures, and the configured node, which is off.
fn path(machine: Machine, repetitions: usize, say: &dyn Fn(&str)) -> Result<(Path, TestVm, Access)> {
    let (mut vm, access) = configured_and_off(machine.clone())?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 1..=repetitions {
        let floor = floor(&machine)?;
        let ours = configured_boot(&mut vm, &access)?;
        let first = first_boot(&machine)?;
        say(&format!("{machine} {turn}/{repetitions}: floor {floor:.2} s, ours {ours:.2} s, first boot {first:.2} s"));
        for (list, time) in times.iter_mut().zip([floor, ours, first]) {
            list.push(time);
        }
    }
    let [floor_s, ours_s, first_boot_s] = times.map(spread);
    let ratio = ours_s.median / floor_s.median;
    Ok((Path { floor_s, ours_s, first_boot_s, ratio }, vm, access))
}

/// What a serial port that nobody reads costs.
#[derive(Debug, Serialize)]
pub struct SerialReport {
    /// By board name.
    pub boards: BTreeMap<String, SerialBoard>,
    /// How many times each thing was measured.
    pub repetitions: usize,
}

/// One board's figures: seconds from QEMU's start to the first mTLS `Version` reply of a configured node.
#[derive(Debug, Serialize)]
pub struct SerialBoard {
    /// Its port is read.
    pub read_s: Spread,
    /// Its port takes nothing from the first byte on.
    pub stuck_s: Spread,
    /// `stuck_s` over `read_s`, by their medians.
    pub ratio: f64,
    /// Lines that the node says it dropped, the fewest of all boots.
    pub dropped_lines: u64,
}

/// Compares boots with a stuck serial port to boots with a read one; they take turns.
///
/// # Errors
/// When an image is missing, a node does not come up, or does not say what it dropped.
pub fn serial(arches: &[Arch], repetitions: usize, say: &dyn Fn(&str)) -> Result<SerialReport> {
    ensure!(repetitions > 0, "measure at least once");
    let mut boards = BTreeMap::new();
    for &arch in arches {
        let (mut vm, access) = configured_and_off(Machine::new(arch))?;
        let (mut times, mut dropped_lines) = ([Vec::new(), Vec::new()], u64::MAX);
        for turn in 1..=repetitions {
            vm.machine.serial = Serial::Socket;
            let read = configured_boot(&mut vm, &access)?;
            vm.machine.serial = Serial::Stuck;
            let (stuck, api) = first_answer(&mut vm, &access)?;
            // A node that does not tell may be one that is gone: QEMU's words come first.
            let dropped = dropped_lines_of(&api).or_else(|silent| vm.must_run().and(Err(silent)))?;
            api.shutdown()?;
            vm.wait_power_off()?;
            say(&format!("{arch} {turn}/{repetitions}: read {read:.2} s, stuck {stuck:.2} s, {dropped} lines dropped"));
            times[0].push(read);
            times[1].push(stuck);
            dropped_lines = dropped_lines.min(dropped);
        }
        let [read_s, stuck_s] = times.map(spread);
        let ratio = stuck_s.median / read_s.median;
        boards.insert(arch.board().to_owned(), SerialBoard { read_s, stuck_s, ratio, dropped_lines });
    }
    Ok(SerialReport { boards, repetitions })
}

/// The count in the node's newest line about it: `console NAME: N lines dropped, ...`.
///
/// # Errors
/// When the node's log has no such line within [`limits::SETTLE`].
pub fn dropped_lines_of(api: &Api) -> Result<u64> {
    wait_for("a count of dropped lines in the node's log", limits::SETTLE, || {
        let log = api.logs("machined", -1)?;
        let mut counts = log.lines().filter_map(|line| {
            let (before, _) = line.split_once(" lines dropped, it does not drain")?;
            before.rsplit(' ').next()?.parse().ok()
        });
        counts.next_back().context("it counts no dropped lines")
    })
}

/// The trivial init's time to its line.
fn floor(machine: &Machine) -> Result<f64> {
    let mut vm = TestVm::floor(machine.clone())?;
    let start = Instant::now();
    vm.start()?;
    vm.wait_serial(FLOOR_MARK).context("the floor did not boot")?;
    let time = start.elapsed().as_secs_f64();
    vm.kill();
    Ok(time)
}

/// A configured node's time to its first answer.
fn configured_boot(vm: &mut TestVm, access: &Access) -> Result<f64> {
    let (time, api) = first_answer(vm, access)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    Ok(time)
}

/// Starts a configured node; seconds to its first answer, and the connection.
fn first_answer(vm: &mut TestVm, access: &Access) -> Result<(f64, Api)> {
    let start = Instant::now();
    vm.start()?;
    let api = crate::node::running(vm, access)?;
    Ok((start.elapsed().as_secs_f64(), api))
}

/// A fresh disk's time to its first answer.
fn first_boot(machine: &Machine) -> Result<f64> {
    let mut vm = TestVm::create(machine.clone())?;
    let start = Instant::now();
    vm.start()?;
    maintenance(&mut vm)?;
    Ok(start.elapsed().as_secs_f64())
}

fn idle(vm: &mut TestVm, access: &Access) -> Result<Idle> {
    vm.start()?;
    let api = crate::node::running(vm, access)?;
    thread::sleep(IDLE);
    let mut idle = Idle { pss_kib: BTreeMap::new(), cgroup_bytes: BTreeMap::new(), phases_ms: phases(&api)? };
    for process in api.processes()? {
        let name = process.args.split_whitespace().next().unwrap_or(&process.command);
        let name = name.rsplit('/').next().unwrap_or(name).to_owned();
        // Kernel threads have no memory of their own, and a process may have ended since the list was made.
        let Ok(rollup) = api.read_text(&format!("/proc/{}/smaps_rollup", process.pid)) else { continue };
        if let Some(kib) = rollup.lines().find_map(|line| line.strip_prefix("Pss:")) {
            let kib = kib.trim().trim_end_matches(" kB").parse::<u64>().with_context(|| format!("Pss of {name}: {kib:?}"))?;
            *idle.pss_kib.entry(name).or_default() += kib;
        }
    }
    for group in ["init", "system/apid", "system/trustd"] {
        let path = format!("/sys/fs/cgroup/{group}/memory.current");
        let bytes = api.read_text(&path)?.trim().parse().with_context(|| format!("read {path}"))?;
        idle.cgroup_bytes.insert(group.to_owned(), bytes);
    }
    vm.kill();
    Ok(idle)
}

/// The boot phases as the node logged them: `phase NAME (i/n): done, X ms`.
fn phases(api: &Api) -> Result<BTreeMap<String, f64>> {
    let log = wait_for("the boot log", limits::SETTLE, || Ok(api.logs("machined", -1)?))?;
    Ok(log.lines().filter_map(phase).collect())
}

fn phase(line: &str) -> Option<(String, f64)> {
    let (_, rest) = line.split_once("phase ")?;
    let (name, rest) = rest.split_once(" (")?;
    let (_, rest) = rest.split_once("done, ")?;
    Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
}

fn sizes(machine: &Machine) -> Result<BTreeMap<String, u64>> {
    let out = out_folder(machine);
    let metadata = |name: &str| fs::metadata(out.join(name)).with_context(|| format!("find {name} of {}", machine.arch.board()));
    let blocks = std::os::unix::fs::MetadataExt::blocks(&metadata("disk.img")?);
    Ok([
        ("uki".to_owned(), metadata("uki.efi")?.len()),
        ("rootfs".to_owned(), metadata("rootfs.erofs")?.len()),
        ("disk_used".to_owned(), blocks * 512),
    ]
    .into())
}

fn spread(mut times: Vec<f64>) -> Spread {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let median = if times.len().is_multiple_of(2) { f64::midpoint(times[middle - 1], times[middle]) } else { times[middle] };
    Spread { median, max: times[times.len() - 1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_even_and_odd_counts() {
        let check = |times: &[f64], median: f64, max: f64| {
            let spread = spread(times.to_vec());
            assert!((spread.median - median).abs() < 1e-9 && (spread.max - max).abs() < 1e-9, "{times:?}: {spread:?}");
        };
        check(&[3.0], 3.0, 3.0);
        check(&[9.0, 1.0, 2.0], 2.0, 9.0);
        check(&[4.0, 1.0, 2.0, 9.0], 3.0, 9.0);
    }

    #[test]
    fn phases_are_found_in_log_lines() {
        assert_eq!(phase("[info] boot: phase disk (3/7): done, 41.5 ms"), Some(("disk".to_owned(), 41.5)));
        assert_eq!(phase("phase disk (3/7): 2 tasks"), None);
        assert_eq!(phase("nothing of the kind"), None);
    }
}
