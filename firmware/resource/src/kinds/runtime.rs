//! The node itself.

/// The only id of [`MachineStatusSpec`].
pub const MACHINE: &str = "machine";
/// The only id of [`VersionSpec`].
pub const VERSION: &str = "version";
/// The only id of [`KernelCmdlineSpec`].
pub const CMDLINE: &str = "cmdline";
/// The only id of [`BootIdSpec`].
pub const BOOT_ID: &str = "boot-id";
/// The only id of [`SecurityStateSpec`].
pub const SECURITY_STATE: &str = "securitystate";
/// The only id of [`MetaLoadedSpec`].
pub const META_LOADED: &str = "meta-loaded";
/// The only id of [`PlatformMetadataSpec`].
pub const PLATFORM_METADATA: &str = "platformmetadata";

crate::choice! {
    /// Where the machine is in its life.
    pub enum MachineStage {
        /// Before the first phase.
        Unknown = 0 "unknown",
        /// Boot phases run.
        Booting = 1 "booting",
        /// An image is being written to a disk.
        Installing = 2 "installing",
        /// It waits for a configuration.
        Maintenance = 3 "maintenance",
        /// Configured and past its boot phases.
        Running = 4 "running",
        /// On the way to a restart.
        Rebooting = 5 "rebooting",
        /// On the way to power-off.
        ShuttingDown = 6 "shutting down",
        /// Wiping.
        Resetting = 7 "resetting",
        /// Writing the other slot.
        Upgrading = 8 "upgrading",
    }
}

crate::choice! {
    /// How a kernel module came into the kernel.
    pub enum KernelModuleType {
        /// Not known.
        Unknown = 0 "unknown",
        /// Part of the kernel.
        Builtin = 1 "built-in",
        /// Loaded.
        Dynamic = 2 "dynamic",
    }

    /// What a kernel module does.
    pub enum KernelModuleState {
        /// It works.
        Live = 0 "live",
        /// It is being loaded.
        Loading = 1 "loading",
        /// It is being unloaded.
        Unloading = 2 "unloading",
        /// It has always been there.
        Builtin = 3 "built-in",
    }
}

crate::message! {
    /// A condition that readiness waits for.
    pub struct UnmetCondition {
        /// Which.
        1 name: String = "name",
        /// Why it is not met.
        2 reason: String = "reason",
    }

    /// Whether the machine is ready.
    pub struct MachineStatusStatus {
        /// All conditions are met.
        1 ready: bool = "ready",
        /// Those that are not.
        2 unmet_conditions: Vec<UnmetCondition> = "unmetConditions",
    }

    /// Stage and readiness.
    pub struct MachineStatusSpec {
        /// Where the machine is.
        1 stage: MachineStage = "stage",
        /// Whether it is ready.
        2 status: MachineStatusStatus = "status",
    }

    /// The system's version.
    pub struct VersionSpec {
        /// The system's name.
        2 name: String = "name",
        /// Its version as clients know it.
        1 version: String = "version",
    }

    /// The kernel's command line.
    pub struct KernelCmdlineSpec {
        /// As the kernel got it.
        1 cmdline: String = "cmdline",
    }

    /// A kernel module.
    pub struct KernelModuleStatusSpec {
        /// How it came into the kernel.
        1 kind: KernelModuleType = "type",
        /// Bytes.
        2 size: i64 = "size",
        /// How many use it.
        3 reference_count: i64 = "referenceCount",
        /// Modules that use it.
        4 dependencies: Vec<String> = "dependencies" omitempty,
        /// What it does.
        5 state: KernelModuleState = "state",
        /// Where it is, as far as the kernel tells.
        6 address: String = "address",
    }

    /// The kernel's name for this boot.
    pub struct BootIdSpec {
        /// A UUID.
        1 boot_id: String = "bootID",
    }

    /// A key of META; its id is the key (`0x0a`).
    pub struct MetaKeySpec {
        /// Its value.
        1 value: String = "value",
    }

    /// META could be read; not there otherwise.
    pub struct MetaLoadedSpec {
        /// It is so.
        1 done: bool = "done",
    }

    /// A mounted volume.
    pub struct MountStatusSpec {
        /// What is mounted.
        1 source: String = "source",
        /// Where.
        2 target: String = "target",
        /// Its file system.
        3 filesystem_type: String = "filesystemType",
        /// Options of the mount.
        4 options: Vec<String> = "options",
        /// It is encrypted.
        5 encrypted: bool = "encrypted",
        /// How.
        6 encryption_providers: Vec<String> = "encryptionProviders" omitempty,
    }

    /// What kind of place the machine is in.
    pub struct PlatformMetadataSpec {
        /// Its name.
        1 platform: String = "platform" omitempty,
        /// Host name that it gives.
        2 hostname: String = "hostname" omitempty,
        /// Where the machine is, roughly.
        3 region: String = "region" omitempty,
        /// Where it is, within that.
        4 zone: String = "zone" omitempty,
        /// What kind of machine it is there.
        5 instance_type: String = "instanceType" omitempty,
        /// Its name there.
        6 instance_id: String = "instanceId" omitempty,
        /// Its name for the cluster's cloud provider.
        7 provider_id: String = "providerId" omitempty,
    }

    /// What the machine's boot was checked by.
    pub struct SecurityStateSpec {
        /// The firmware takes signed programs only.
        1 secure_boot: bool = "secureBoot",
        /// Kernel and command line came as one image.
        5 booted_with_uki: bool = "bootedWithUKI" omitempty,
        /// The kernel takes signed modules only.
        7 module_signature_enforced: bool = "moduleSignatureEnforced" omitempty,
    }

    /// How a reconciler does. A type of our own.
    pub struct ReconcilerSpec {
        /// Its last attempt failed.
        1 failing: bool = "failing",
        /// Attempts that failed since it last worked.
        2 failures: u32 = "failures",
        /// Why, with all causes.
        3 error: String = "error",
    }

    /// The process of a service.
    pub struct ServicePidSpec {
        /// Its id.
        1 pid: i32 = "pid",
        /// Its mount namespace.
        2 mount_namespace: String = "mountNamespace",
    }
}

kinds! {
    BootIdSpec: "BootIDs.runtime.talos.dev" in "runtime", [], ["Boot ID" = "{.bootID}"];
    KernelCmdlineSpec: "KernelCmdlines.runtime.talos.dev" in "runtime", ["cmdline"], ["Cmdline" = "{.cmdline}"];
    KernelModuleStatusSpec: "KernelModuleStatuses.runtime.talos.dev" in "runtime", ["module", "modules"],
        ["Type" = "{.type}", "State" = "{.state}"];
    MachineStatusSpec: "MachineStatuses.runtime.talos.dev" in "runtime", [], ["Stage" = "{.stage}", "Ready" = "{.status.ready}"];
    MetaKeySpec: "MetaKeys.runtime.talos.dev" in "runtime", ["meta"], ["Value" = "{.value}"], large;
    MetaLoadedSpec: "MetaLoads.runtime.talos.dev" in "runtime", [], ["Done" = "{.done}"];
    MountStatusSpec: "MountStatuses.runtime.talos.dev" in "runtime", ["mounts"],
        ["Source" = "{.source}", "Target" = "{.target}", "Filesystem Type" = "{.filesystemType}"];
    PlatformMetadataSpec: "PlatformMetadatas.talos.dev" in "runtime", [],
        ["Platform" = "{.platform}", "Type" = "{.instanceType}", "Region" = "{.region}", "Zone" = "{.zone}"];
    ReconcilerSpec: "Reconcilers.runtime.keelson.dev" in "runtime", [],
        ["Failing" = "{.failing}", "Failures" = "{.failures}", "Error" = "{.error}"];
    SecurityStateSpec: "SecurityStates.talos.dev" in "runtime", [],
        ["SecureBoot" = "{.secureBoot}", "UKISigningKeyFingerprint" = "{.ukiSigningKeyFingerprint}",
         "PCRSigningKeyFingerprint" = "{.pcrSigningKeyFingerprint}", "SELinuxState" = "{.selinuxState}",
         "ModuleSignatureEnforced" = "{.moduleSignatureEnforced}"];
    ServicePidSpec: "ServicePIDs.runtime.talos.dev" in "runtime", [], ["PID" = "{.pid}"];
    VersionSpec: "Versions.runtime.talos.dev" in "runtime", [], ["Name" = "{.name}", "Version" = "{.version}"];
}
