//! `bench`: measured figures, the floor and ours in the same run.

use anyhow::Result;
use imager::Profile;
use qemu::Arch;

use crate::image;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which figures: `boot` (time, memory, sizes) or `serial` (what a port that nobody reads costs).
    #[arg(value_parser = ["boot", "serial"])]
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
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Measures the release images.
pub fn run(arguments: &Arguments) -> Result<()> {
    let arches: Vec<Arch> = arguments.arch.map_or(Arch::ALL.to_vec(), |arch| vec![arch]);
    for arch in &arches {
        let board = image::Arguments::of(arch.board(), Profile::Release);
        image::build(&board)?;
        if arguments.name == "boot" {
            image::floor(&board)?;
        }
    }
    if arguments.name == "serial" {
        return serial(arguments, &arches);
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
