//! `bench`: measured figures, the floor and ours in the same run.

mod api;

use anyhow::Result;
use imager::Profile;
use qemu::Arch;

use crate::{check::cargo, command::output, image};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which figures: `boot` (time, memory, sizes), `serial` (what a port that nobody reads costs), `state` (the resource
    /// state on this machine: writes, watches, memory) or `api` (what apid costs, on this machine or with --vm).
    #[arg(value_parser = ["api", "boot", "serial", "state"])]
    pub name: String,
    /// Only this architecture [default: both].
    #[arg(long)]
    pub arch: Option<Arch>,
    /// How many times floor and node take turns.
    #[arg(long, default_value_t = 10)]
    pub repetitions: usize,
    /// `boot` without the way through firmware.
    #[arg(long)]
    pub fast_only: bool,
    /// `api` on booted boards instead of this machine.
    #[arg(long)]
    pub vm: bool,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Settings of `state`: how many resources there are, and how many watch them.
const STATE: ([u32; 3], [u32; 3]) = ([1_000, 10_000, 100_000], [1, 100, 1_000]);

/// Measures the release images.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.name == "state" {
        return state(arguments.json);
    }
    if arguments.name == "api" && !arguments.vm {
        return api::host(arguments);
    }
    let arches: Vec<Arch> = arguments.arch.map_or(Arch::ALL.to_vec(), |arch| vec![arch]);
    for arch in &arches {
        let board = image::Arguments::of(arch.board(), Profile::Release);
        image::build(&board)?;
        if arguments.name == "boot" {
            image::floor(&board)?;
        }
    }
    match arguments.name.as_str() {
        "serial" => return serial(arguments, &arches),
        "api" => return api::vm(arguments, &arches),
        _ => {}
    }
    let report = qemu::bench::boot(&arches, arguments.repetitions, arguments.fast_only, &|line| eprintln!("{line}"))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    for (name, board) in &report.boards {
        println!("{name:<14} {:>9} {:>9} {:>9} {:>11} {:>6}", "seconds", "floor", "ours", "first boot", "ratio");
        for (path, figures) in [("fast path", Some(&board.fast)), ("firmware", board.firmware.as_ref())] {
            let Some(figures) = figures else { continue };
            let [floor, ours, first] = [&figures.floor_s, &figures.ours_s, &figures.first_boot_s].map(|spread| spread.median);
            println!("{name:<14} {path:>9} {floor:>9.2} {ours:>9.2} {first:>11.2} {:>6.2}", figures.ratio);
        }
        for (process, kib) in &board.pss_kib {
            println!("{name:<14} {process}: {kib} KiB PSS");
        }
        for (what, bytes) in &board.sizes {
            println!("{name:<14} {what}: {bytes} bytes");
        }
    }
    Ok(())
}

/// One setting of `state`, as its program prints it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct StateRow {
    resources: u32,
    watchers: u32,
    floor_creates_per_s: f64,
    creates_per_s: f64,
    updates_per_s: f64,
    fan_out_us_median: f64,
    fan_out_us_max: f64,
    bytes_per_resource: u64,
}

/// Each setting in a process of its own: memory of one is not another's.
fn state(json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for resources in STATE.0 {
        for watchers in STATE.1 {
            let row: StateRow = serde_json::from_slice(&output(cargo().args([
                "run",
                "--quiet",
                "--locked",
                "--release",
                "--package",
                "reconcile",
                "--example",
                "state",
                "--",
                &resources.to_string(),
                &watchers.to_string(),
            ]))?)?;
            eprintln!("{resources} resources, {watchers} watchers: {:.0} creates a second", row.creates_per_s);
            rows.push(row);
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{:>9} {:>8} {:>10} {:>9} {:>6} {:>9} {:>15} {:>6}",
        "resources", "watchers", "creates/s", "floor/s", "ratio", "updates/s", "fan-out us", "bytes"
    );
    for row in rows {
        let ratio = row.floor_creates_per_s / row.creates_per_s;
        let fan_out = format!("{:.0} ({:.0})", row.fan_out_us_median, row.fan_out_us_max);
        println!(
            "{:>9} {:>8} {:>10.0} {:>9.0} {ratio:>6.2} {:>9.0} {fan_out:>15} {:>6}",
            row.resources, row.watchers, row.creates_per_s, row.floor_creates_per_s, row.updates_per_s, row.bytes_per_resource
        );
    }
    Ok(())
}

fn serial(arguments: &Arguments, arches: &[Arch]) -> Result<()> {
    let report = qemu::bench::serial(arches, arguments.repetitions, &|line| eprintln!("{line}"))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("{:<14} {:>9} {:>9} {:>6} {:>14}", "seconds", "read", "stuck", "ratio", "lines dropped");
    for (name, board) in &report.boards {
        let (read, stuck) = (board.read_s.median, board.stuck_s.median);
        println!("{name:<14} {read:>9.2} {stuck:>9.2} {:>6.2} {:>14}", board.ratio, board.dropped_lines);
    }
    Ok(())
}
