//! Disks.

/// The only id of [`SystemDiskSpec`].
pub const SYSTEM_DISK: &str = "system-disk";

crate::message! {
    /// A disk.
    pub struct DiskSpec {
        /// Its device node.
        14 dev_path: String = "dev_path",
        /// Bytes.
        1 size: u64 = "size",
        /// The same for people.
        15 pretty_size: String = "pretty_size",
        /// Bytes that it likes to be read and written by.
        2 io_size: u64 = "io_size",
        /// Bytes of a logical sector.
        3 sector_size: u64 = "sector_size",
        /// It takes no writes.
        4 readonly: bool = "readonly",
        /// It is a CD drive.
        13 cdrom: bool = "cdrom",
        /// Maker's name for it.
        5 model: String = "model" omitempty,
        /// Serial number.
        6 serial: String = "serial" omitempty,
        /// What its driver is found by.
        7 modalias: String = "modalias" omitempty,
        /// World-wide name.
        8 wwid: String = "wwid" omitempty,
        /// UUID.
        17 uuid: String = "uuid" omitempty,
        /// Where it is plugged in.
        9 bus_path: String = "bus_path" omitempty,
        /// Its kernel subsystem.
        10 sub_system: String = "sub_system" omitempty,
        /// How it is connected (`nvme`, `virtio`).
        11 transport: String = "transport" omitempty,
        /// It has turning parts.
        12 rotational: bool = "rotational" omitempty,
    }

    /// The disk that the system was booted from.
    pub struct SystemDiskSpec {
        /// Id of its [`DiskSpec`].
        1 disk_id: String = "diskID",
        /// Its device node.
        2 dev_path: String = "devPath",
    }
}

kinds! {
    DiskSpec: "Disks.block.talos.dev" in "runtime", [],
        ["Size" = "{.pretty_size}", "Read Only" = "{.readonly}", "Transport" = "{.transport}", "Rotational" = "{.rotational}",
         "WWID" = "{.wwid}", "Model" = "{.model}", "Serial" = "{.serial}"];
    SystemDiskSpec: "SystemDisks.block.talos.dev" in "runtime", [], ["Disk" = "{.diskID}"];
}
