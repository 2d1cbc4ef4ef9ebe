//! The system disk and its volumes as resources.

use linux::mount::MountEntry;
use reconcile::{Failure, Output};
use resource::kinds::{
    block::{SYSTEM_DISK, SystemDiskSpec},
    runtime::MountStatusSpec,
};

use super::mirror::Mirror;
use crate::node::{DiskStatus, Node};

pub(super) fn reconciler(node: &Node) -> Mirror<DiskStatus> {
    let outputs = vec![Output::exclusive::<SystemDiskSpec>(), Output::exclusive::<MountStatusSpec>()];
    Mirror::new("block.system", &node.disk, outputs, |disk: &DiskStatus, context| {
        context.keep(system_disk(disk))?;
        let table = linux::mount::mounts().map_err(Failure::from)?;
        context.keep(volumes(disk, &table))?;
        Ok(())
    })
}

fn system_disk(disk: &DiskStatus) -> Option<(String, SystemDiskSpec)> {
    let spec = SystemDiskSpec { disk_id: disk.name.clone(), dev_path: format!("/dev/{}", disk.name) };
    (!disk.name.is_empty()).then(|| (SYSTEM_DISK.to_owned(), spec))
}

/// Mounted partitions by label, with what the kernel says of the mount.
fn volumes(disk: &DiskStatus, table: &[MountEntry]) -> Vec<(String, MountStatusSpec)> {
    let mounted = disk.partitions.iter().filter_map(|partition| {
        let target = partition.mounted_on.as_ref()?;
        let entry = table.iter().rfind(|entry| entry.target == *target)?;
        let spec = MountStatusSpec {
            source: partition.device.to_string_lossy().into_owned(),
            target: target.to_string_lossy().into_owned(),
            filesystem_type: entry.fstype.clone(),
            options: entry.options.split(',').map(str::to_owned).collect(),
            encrypted: false,
            encryption_providers: Vec::new(),
        };
        Some((partition.label.clone(), spec))
    });
    mounted.collect()
}
