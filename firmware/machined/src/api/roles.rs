//! Which roles may call which method.
//!
//! The whole API is in the table, also what this version has no handler for; a method that is missing needs the
//! administrator. Rule: the role table of the reference.

use pki::Role;

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(u8);

impl Roles {
    /// Those of `names` that mean something; others give nothing.
    pub(super) fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(Role::from_name).fold(0, |set, role| set | bit(role)))
    }

    /// Whether the two sets share a role.
    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the administrator is among them.
    pub(super) fn is_admin(self) -> bool {
        self.meets(Self(bit(Role::Admin)))
    }
}

const fn bit(role: Role) -> u8 {
    1 << role as u8
}

const fn set(roles: &[Role]) -> Roles {
    let mut bits = 0;
    let mut rest = roles;
    while let Some((role, others)) = rest.split_first() {
        bits |= bit(*role);
        rest = others;
    }
    Roles(bits)
}

const A: Roles = set(&[Role::Admin]);
const AO: Roles = set(&[Role::Admin, Role::Operator]);
const AR: Roles = set(&[Role::Admin, Role::Reader]);
const AOR: Roles = set(&[Role::Admin, Role::Operator, Role::Reader]);
const AORE: Roles = set(&[Role::Admin, Role::Operator, Role::Reader, Role::EtcdBackup]);
const AOE: Roles = set(&[Role::Admin, Role::Operator, Role::EtcdBackup]);
const AORI: Roles = set(&[Role::Admin, Role::Operator, Role::Reader, Role::ImageVerifier]);
const AM: Roles = set(&[Role::Admin, Role::MetaWriter]);

/// Methods of machine.MachineService, by who may call them. All others of it need the administrator.
const MACHINE: &[(Roles, &[&str])] = &[
    (AORE, &["EtcdAlarmList", "EtcdMemberList", "EtcdStatus"]),
    (AOE, &["EtcdSnapshot"]),
    (AM, &["MetaWrite", "MetaDelete"]),
    (
        AO,
        &[
            "EtcdAlarmDisarm",
            "EtcdDefragment",
            "ImagePull",
            "PacketCapture",
            "Reboot",
            "Shutdown",
            "Restart",
            "ServiceStart",
            "ServiceStop",
            "ServiceRestart",
        ],
    ),
    (
        AOR,
        &[
            "CPUInfo",
            "CPUFreqStats",
            "Containers",
            "DiskStats",
            "DiskUsage",
            "Dmesg",
            "Events",
            "Hostname",
            "ImageList",
            "List",
            "LoadAvg",
            "Logs",
            "LogsContainers",
            "Memory",
            "Mounts",
            "NetworkDeviceStats",
            "Netstat",
            "Processes",
            "ServiceList",
            "Stats",
            "SystemStat",
            "Version",
        ],
    ),
];

/// Methods of the other services.
const OTHERS: &[(Roles, &[&str])] = &[
    (
        AOR,
        &[
            "/cluster.ClusterService/HealthCheck",
            "/cosi.resource.State/Get",
            "/cosi.resource.State/List",
            "/cosi.resource.State/Watch",
            "/inspect.InspectService/ControllerRuntimeDependencies",
            "/machine.ImageService/List",
            "/machine.StorageService/Statfs",
            "/storage.StorageService/Disks",
            "/time.TimeService/Time",
            "/time.TimeService/TimeCheck",
        ],
    ),
    (AO, &["/machine.ImageService/Pull"]),
    (AORI, &["/machine.ImageService/Verify"]),
];

/// Calls that a reader may make too while the node has no configuration.
const SETUP: &[&str] = &[
    "/machine.MachineService/ApplyConfiguration",
    "/storage.StorageService/BlockDeviceWipe",
    "/machine.LVMService/LogicalVolumeRemove",
    "/machine.LVMService/VolumeGroupRemove",
    "/machine.LVMService/PhysicalVolumeRemove",
    "/machine.MDService/Destroy",
];

/// The roles of which a caller needs one.
pub(super) fn required(path: &str, configured: bool) -> Roles {
    if SETUP.contains(&path) {
        return if configured { A } else { AR };
    }
    let (table, name) = match path.strip_prefix("/machine.MachineService/") {
        Some(name) => (MACHINE, name),
        None => (OTHERS, path),
    };
    table.iter().find(|(_, methods)| methods.contains(&name)).map_or(A, |(roles, _)| *roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters as in the reference's table: admin, operator, reader, etcd backup, image verifier, meta writer.
    const LETTERS: [(char, &str); 6] = [
        ('A', "os:admin"),
        ('O', "os:operator"),
        ('R', "os:reader"),
        ('E', "os:etcd:backup"),
        ('I', "os:image:verifier"),
        ('M', "os:meta:writer"),
    ];

    #[track_caller]
    fn check(wanted: &str, configured: bool, service: &str, methods: &str) {
        for method in methods.split_whitespace() {
            let path = format!("/{service}/{method}");
            assert!(wire::methods::find(&path).is_some(), "{path} is not in the API");
            let allowed: String = LETTERS
                .iter()
                .filter(|(_, name)| required(&path, configured).meets(Roles::from_names([*name])))
                .map(|(letter, _)| *letter)
                .collect();
            assert_eq!(allowed, wanted, "{path}");
        }
    }

    #[test]
    fn the_table_is_the_references() {
        let machine = "machine.MachineService";
        check("AOR", true, "cluster.ClusterService", "HealthCheck");
        check("AOR", true, "cosi.resource.State", "Get List Watch");
        check("A", true, "cosi.resource.State", "Create Update Destroy Teardown TeardownAndDestroy");
        check("AOR", true, "inspect.InspectService", "ControllerRuntimeDependencies");
        check("A", true, "machine.ImageService", "Import Remove");
        check("AOR", true, "machine.ImageService", "List");
        check("AO", true, "machine.ImageService", "Pull");
        check("AORI", true, "machine.ImageService", "Verify");
        check("A", true, "machine.DebugService", "ContainerRun");
        check("A", true, "machine.LifecycleService", "Install Upgrade");
        check("AOR", true, "machine.StorageService", "Statfs");
        check("A", true, machine, "Bootstrap Copy Read Kubeconfig GenerateClientConfiguration Reset Rollback Upgrade");
        check("A", true, machine, "EtcdForfeitLeadership EtcdLeaveCluster EtcdRecover EtcdRemoveMemberByID");
        check("A", true, machine, "EtcdDowngradeCancel EtcdDowngradeEnable EtcdDowngradeValidate");
        check("AORE", true, machine, "EtcdAlarmList EtcdMemberList EtcdStatus");
        check("AOE", true, machine, "EtcdSnapshot");
        check("AO", true, machine, "EtcdAlarmDisarm EtcdDefragment ImagePull PacketCapture Reboot Shutdown Restart");
        check("AO", true, machine, "ServiceStart ServiceStop ServiceRestart");
        check("AM", true, machine, "MetaWrite MetaDelete");
        check("AOR", true, machine, "CPUInfo CPUFreqStats Containers DiskStats DiskUsage Dmesg Events Hostname ImageList");
        check("AOR", true, machine, "List LoadAvg Logs LogsContainers Memory Mounts NetworkDeviceStats Netstat Processes");
        check("AOR", true, machine, "ServiceList Stats SystemStat Version");
        check("AOR", true, "storage.StorageService", "Disks");
        check("AOR", true, "time.TimeService", "Time TimeCheck");
    }

    #[test]
    fn a_reader_may_set_up_a_node_without_configuration() {
        for (configured, wanted) in [(true, "A"), (false, "AR")] {
            check(wanted, configured, "machine.MachineService", "ApplyConfiguration");
            check(wanted, configured, "storage.StorageService", "BlockDeviceWipe");
            check(wanted, configured, "machine.LVMService", "LogicalVolumeRemove VolumeGroupRemove PhysicalVolumeRemove");
            check(wanted, configured, "machine.MDService", "Destroy");
        }
        check("A", false, "machine.MachineService", "Reset Read");
    }

    #[test]
    fn unknown_methods_and_roles_get_nothing() {
        assert_eq!(required("/machine.MachineService/New", true), A);
        assert_eq!(required("", false), A);
        assert!(!AOR.meets(Roles::from_names(["", "admin", "os:impersonator", "os:nobody"])));
        assert!(Roles::from_names(["os:reader", "os:admin"]).is_admin());
    }
}
