//! The machine's disks, as they come and go.

use linux::block::{Disk, Sysfs};
use reconcile::Output;
use resource::kinds::block::DiskSpec;

use super::listener::Listener;

/// Where the kernel lists block devices, as clients know it.
const SUBSYSTEM: &str = "/sys/class/block";

pub(super) fn reconciler() -> Listener<Vec<Disk>> {
    // A disk is asked for its serial number, and may take its time.
    let read = || Ok(Sysfs::default().disks()?);
    Listener::new("block.disks", "block", vec![Output::exclusive::<DiskSpec>()], read, |found, context| {
        context.keep(found.iter().filter(|disk| disk.hardware).map(|disk| (disk.name.clone(), spec(disk))))?;
        Ok(())
    })
}

fn spec(disk: &Disk) -> DiskSpec {
    DiskSpec {
        dev_path: disk.node.to_string_lossy().into_owned(),
        size: disk.size,
        pretty_size: pretty(disk.size),
        io_size: u64::from(disk.physical_sector),
        sector_size: u64::from(disk.sector),
        readonly: disk.read_only,
        cdrom: disk.name.starts_with("sr"),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        bus_path: disk.bus_path.clone(),
        sub_system: SUBSYSTEM.to_owned(),
        transport: disk.transport.to_owned(),
        rotational: disk.rotational,
        ..DiskSpec::default()
    }
}

/// Bytes for people, in powers of a thousand, as clients show them: `512 B`, `1.1 GB`, `22 GB`.
fn pretty(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut scale) = (0, 1_u64);
    while bytes / scale >= 1000 && unit + 1 < UNITS.len() {
        (unit, scale) = (unit + 1, scale * 1000);
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    // In u128: ten times the largest disk is more than a u64 holds.
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    if unit == 0 {
        format!("{bytes} {name}")
    } else if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        // A half goes to the even one, as in the clients' language.
        let (whole, rest) = (tenths / 10, tenths % 10);
        format!("{} {name}", whole + u128::from(rest > 5 || (rest == 5 && whole % 2 == 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_clients_write_them() {
        for (bytes, expect) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_073_741_824, "1.1 GB"),
            (9_960_000_000, "10 GB"),
            (20_500_000_000, "20 GB"),
            (21_474_836_480, "22 GB"),
            (4_000_787_030_016, "4.0 TB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(pretty(bytes), expect);
        }
    }
}
