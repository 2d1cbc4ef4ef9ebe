//! `DiskStats`: /proc/diskstats.

use tonic::Status;
use wire::machine::{DiskStat, DiskStats, DiskStatsResponse};

use super::{number, read};

pub(in super::super) fn disk_stats() -> Result<DiskStatsResponse, Status> {
    let devices = parse(&read("/proc/diskstats")?);
    Ok(DiskStatsResponse { messages: vec![DiskStats { metadata: None, total: Some(total(&devices)), devices }] })
}

pub(super) fn parse(text: &str) -> Vec<DiskStat> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<DiskStat> {
    let mut columns = line.split_whitespace().skip(2);
    let name = columns.next()?.to_owned();
    let mut next = || number(&mut columns);
    Some(DiskStat {
        name,
        read_completed: next(),
        read_merged: next(),
        read_sectors: next(),
        read_time_ms: next(),
        write_completed: next(),
        write_merged: next(),
        write_sectors: next(),
        write_time_ms: next(),
        io_in_progress: next(),
        io_time_ms: next(),
        io_time_weighted_ms: next(),
        discard_completed: next(),
        discard_merged: next(),
        discard_sectors: next(),
        discard_time_ms: next(),
    })
}

pub(super) fn total(devices: &[DiskStat]) -> DiskStat {
    let sum = |field: fn(&DiskStat) -> u64| devices.iter().map(field).fold(0, u64::saturating_add);
    DiskStat {
        name: "total".to_owned(),
        read_completed: sum(|d| d.read_completed),
        read_merged: sum(|d| d.read_merged),
        read_sectors: sum(|d| d.read_sectors),
        read_time_ms: sum(|d| d.read_time_ms),
        write_completed: sum(|d| d.write_completed),
        write_merged: sum(|d| d.write_merged),
        write_sectors: sum(|d| d.write_sectors),
        write_time_ms: sum(|d| d.write_time_ms),
        io_in_progress: sum(|d| d.io_in_progress),
        io_time_ms: sum(|d| d.io_time_ms),
        io_time_weighted_ms: sum(|d| d.io_time_weighted_ms),
        discard_completed: sum(|d| d.discard_completed),
        discard_merged: sum(|d| d.discard_merged),
        discard_sectors: sum(|d| d.discard_sectors),
        discard_time_ms: sum(|d| d.discard_time_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parsed_and_summed() {
        let devices = parse(" 254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 254 1 vda1 1 1 1 1\n\n");
        assert_eq!(devices.len(), 2);
        assert_eq!((devices[0].read_completed, devices[0].discard_time_ms, devices[1].write_completed), (1, 15, 0));
        assert_eq!((total(&devices).read_merged, total(&devices).name.as_str()), (3, "total"));
    }
}
