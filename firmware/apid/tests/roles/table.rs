//! Who may call what, written by hand from the reference's role table (behaviour (c), "Method -> roles"). Nothing in here is derived from
//! machined's own table; a new method needs a row.

/// Letters: **A**dmin, **O**perator, **R**eader, **E**tcd backup, **I**mage verifier, **M**eta writer.
pub struct Row {
    pub service: &'static str,
    pub methods: &'static [&'static str],
    /// Roles of which one is enough on a configured node.
    pub may: &'static str,
    /// Whether a stranger may, while the node has no configuration.
    pub stranger: bool,
    /// Refused to those who may, too: with this text.
    pub never: Option<&'static str>,
}

const fn row(service: &'static str, may: &'static str, stranger: bool, methods: &'static [&'static str]) -> Row {
    Row { service, methods, may, stranger, never: None }
}

const MACHINE: &str = "machine.MachineService";

pub const ROWS: &[Row] = &[
    row("cluster.ClusterService", "AOR", true, &["HealthCheck"]),
    row("inspect.InspectService", "AOR", true, &["ControllerRuntimeDependencies"]),
    row("machine.ImageService", "A", false, &["Import", "Remove"]),
    row("machine.ImageService", "AOR", true, &["List"]),
    row("machine.ImageService", "AO", false, &["Pull"]),
    row("machine.ImageService", "AORI", true, &["Verify"]),
    row("machine.DebugService", "A", false, &["ContainerRun"]),
    row("machine.LifecycleService", "A", false, &["Install", "Upgrade"]),
    row("machine.StorageService", "AOR", true, &["Statfs"]),
    row(MACHINE, "A", true, &["ApplyConfiguration"]),
    row("storage.StorageService", "A", true, &["BlockDeviceWipe"]),
    row("machine.LVMService", "A", true, &["LogicalVolumeRemove", "VolumeGroupRemove", "PhysicalVolumeRemove"]),
    row("machine.MDService", "A", true, &["Destroy"]),
    row(MACHINE, "A", false, &["Bootstrap", "Copy", "Read", "Kubeconfig", "GenerateClientConfiguration", "Reset", "Rollback", "Upgrade"]),
    row(MACHINE, "A", false, &["EtcdForfeitLeadership", "EtcdLeaveCluster", "EtcdRecover", "EtcdRemoveMemberByID"]),
    row(MACHINE, "A", false, &["EtcdDowngradeCancel", "EtcdDowngradeEnable", "EtcdDowngradeValidate"]),
    row(MACHINE, "AORE", true, &["EtcdAlarmList", "EtcdMemberList", "EtcdStatus"]),
    row(MACHINE, "AOE", false, &["EtcdSnapshot"]),
    row(MACHINE, "AO", false, &["EtcdAlarmDisarm", "EtcdDefragment"]),
    row(MACHINE, "AM", false, &["MetaWrite", "MetaDelete"]),
    row(MACHINE, "AO", false, &["ImagePull", "PacketCapture", "Reboot", "Shutdown", "Restart"]),
    row(MACHINE, "AO", false, &["ServiceStart", "ServiceStop", "ServiceRestart"]),
    row(MACHINE, "AOR", true, &["CPUInfo", "CPUFreqStats", "Containers", "DiskStats", "DiskUsage", "Dmesg", "Events", "Hostname"]),
    row(MACHINE, "AOR", true, &["ImageList", "List", "LoadAvg", "Logs", "LogsContainers", "Memory", "Mounts", "NetworkDeviceStats"]),
    row(MACHINE, "AOR", true, &["Netstat", "Processes", "ServiceList", "Stats", "SystemStat", "Version"]),
    row("cosi.resource.State", "AOR", true, &["Get", "List", "Watch"]),
    Row {
        never: Some("write access is not allowed"),
        ..row("cosi.resource.State", "A", false, &["Create", "Update", "Destroy", "Teardown", "TeardownAndDestroy"])
    },
    row("storage.StorageService", "AOR", true, &["Disks"]),
    row("time.TimeService", "AOR", true, &["Time", "TimeCheck"]),
    // Not in the reference's table: what is not in it needs the administrator. trustd serves it, on another port.
    row("securityapi.SecurityService", "A", false, &["Certificate"]),
];

/// Somebody who calls: what the certificate says, what the call says beside, and the letters of the roles that come out of it.
pub struct Caller {
    pub roles: &'static [&'static str],
    pub metadata: &'static [(&'static str, &'static str)],
    pub letters: &'static str,
}

const fn caller(roles: &'static [&'static str], letters: &'static str) -> Caller {
    Caller { roles, metadata: &[], letters }
}

/// Every role by itself.
pub const SINGLE: [(&str, &str); 6] = [
    ("os:admin", "A"),
    ("os:operator", "O"),
    ("os:reader", "R"),
    ("os:etcd:backup", "E"),
    ("os:image:verifier", "I"),
    ("os:meta:writer", "M"),
];

/// What a client sends that would like to be more than it is: a role, and the mark of a call that a node passed on.
const FORGED: &[(&str, &str)] = &[("talos-role", "os:admin"), ("talos-role", "os:impersonator"), ("proxyfrom", "10.0.0.1")];

pub const CALLERS: &[Caller] = &[
    caller(&["os:admin"], "A"),
    caller(&["os:operator"], "O"),
    caller(&["os:reader"], "R"),
    caller(&["os:etcd:backup"], "E"),
    caller(&["os:image:verifier"], "I"),
    caller(&["os:meta:writer"], "M"),
    caller(&["os:impersonator"], ""),
    caller(&[], ""),
    caller(&["os:nobody"], ""),
    caller(&["admin"], ""),
    // Two at once: either is enough, and the wrong one takes nothing away.
    caller(&["os:reader", "os:etcd:backup"], "RE"),
    caller(&["os:meta:writer", "os:operator"], "MO"),
    caller(&["os:nobody", "os:image:verifier"], "I"),
    caller(&["os:reader", "os:impersonator"], "R"),
    // What the client says of itself is not heard.
    Caller { metadata: FORGED, ..caller(&["os:operator"], "O") },
    Caller { metadata: FORGED, ..caller(&["os:reader"], "R") },
    Caller { metadata: FORGED, ..caller(&["os:etcd:backup"], "E") },
    Caller { metadata: FORGED, ..caller(&["os:image:verifier"], "I") },
    Caller { metadata: FORGED, ..caller(&["os:meta:writer"], "M") },
    Caller { metadata: FORGED, ..caller(&["os:nobody"], "") },
    Caller { metadata: FORGED, ..caller(&[], "") },
    // But of a node that passes on a call: it speaks for whoever asked it.
    Caller { metadata: &[("talos-role", "os:admin"), ("proxyfrom", "10.0.0.1")], ..caller(&["os:impersonator"], "A") },
    Caller { metadata: &[("talos-role", "os:operator"), ("proxyfrom", "10.0.0.1")], ..caller(&["os:impersonator"], "O") },
    Caller { metadata: &[("talos-role", "os:reader"), ("proxyfrom", "10.0.0.1")], ..caller(&["os:impersonator"], "R") },
    Caller { metadata: &[("talos-role", "os:etcd:backup")], ..caller(&["os:impersonator"], "E") },
    Caller { metadata: &[("talos-role", "os:image:verifier")], ..caller(&["os:impersonator"], "I") },
    Caller { metadata: &[("talos-role", "os:meta:writer")], ..caller(&["os:impersonator"], "M") },
    Caller { metadata: &[("talos-role", "os:reader"), ("talos-role", "os:meta:writer")], ..caller(&["os:impersonator"], "RM") },
    Caller { metadata: &[("talos-role", "os:impersonator")], ..caller(&["os:impersonator"], "") },
    Caller { metadata: &[("talos-role", "")], ..caller(&["os:impersonator"], "") },
    // It speaks for others, not for itself beside them.
    Caller { metadata: &[("talos-role", "os:meta:writer")], ..caller(&["os:admin", "os:impersonator"], "M") },
];
