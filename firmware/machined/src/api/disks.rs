//! Block devices of the machine.

use linux::block::{Disk, Sysfs};
use tonic::Status;
use wire::storage::{self, Disks, DisksResponse, disk::DiskType};

/// Where the kernel lists block devices, as clients know it.
const SUBSYSTEM: &str = "/sys/class/block";

/// `system` is the kernel name of the disk that the node runs from.
pub(super) fn disks(system: &str) -> Result<DisksResponse, Status> {
    let found = Sysfs::default().disks().map_err(|error| Status::unknown(daemon::report(&error).to_string()))?;
    let disks = found.iter().filter(|disk| disk.hardware).map(|disk| convert(disk, system)).collect();
    Ok(DisksResponse { messages: vec![Disks { metadata: None, disks }] })
}

fn convert(disk: &Disk, system: &str) -> storage::Disk {
    storage::Disk {
        size: disk.size,
        model: disk.model.clone(),
        device_name: disk.node.to_string_lossy().into_owned(),
        name: disk.name.clone(),
        serial: disk.serial.clone(),
        modalias: String::new(),
        uuid: String::new(),
        wwid: disk.wwid.clone(),
        r#type: kind(disk).into(),
        bus_path: disk.bus_path.clone(),
        system_disk: !system.is_empty() && disk.name == system,
        subsystem: SUBSYSTEM.to_owned(),
        readonly: disk.read_only,
    }
}

fn kind(disk: &Disk) -> DiskType {
    match disk.name.as_str() {
        name if name.starts_with("nvme") => DiskType::Nvme,
        name if name.starts_with("mmcblk") => DiskType::Sd,
        name if name.starts_with("sr") => DiskType::Cd,
        _ if disk.rotational => DiskType::Hdd,
        _ => DiskType::Ssd,
    }
}
