//! Counters from /proc. Each module has a pure parser; [`read`] fetches its text.

mod cpu;
mod disks;
mod frequency;
mod memory;
mod mounts;
mod network;
mod processes;
mod stat;

use tonic::Status;

pub(super) use cpu::{cpu_info, load_avg};
pub(super) use disks::disk_stats;
pub(super) use frequency::cpu_freq_stats;
pub(super) use memory::memory;
pub(super) use mounts::mounts;
pub(super) use network::network_stats;
pub(super) use processes::processes;
pub(super) use stat::system_stat;

/// What each reader makes of a text, whichever file of /proc it is of; for fuzz targets.
pub(crate) fn all_of(text: &str) -> String {
    let (disks, devices) = (disks::parse(text), network::parse(text));
    let totals = (disks::total(&disks), network::total(&devices));
    format!("{:?}", (totals, disks, devices, cpu::parse_load(text), cpu::parse_cpus(text), memory::parse(text), stat::parse(text)))
}

/// A file of /proc, as text.
fn read(path: &str) -> Result<String, Status> {
    std::fs::read_to_string(path).map_err(|error| Status::unknown(format!("read {path}: {error}")))
}

/// The next number of a row; missing or damaged ones count 0.
fn number<'a>(columns: &mut impl Iterator<Item = &'a str>) -> u64 {
    columns.next().and_then(|text| text.parse().ok()).unwrap_or(0)
}
