//! The subjects themselves, as plain values.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use machine_config::{Network, network::platform::MetaData};
/// Where the machine is in its life.
pub use resource::kinds::runtime::MachineStage as Stage;
/// Service states; names as on the wire (behaviour (c)).
pub use supervise::State as ServiceState;
use tokio::sync::oneshot;
use wire::{apid_config::ApidConfig, dnsd::DnsdStatus};
use zeroize::Zeroizing;

use crate::{
    identity::NodeId,
    platform::Platform,
    sequence::{Locked, Request},
};

/// Stage and readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineStatus {
    /// Where the machine is.
    pub stage: Stage,
    /// What is missing; empty and `stage` running means ready.
    pub unmet: Vec<Unmet>,
}

impl MachineStatus {
    /// Nothing is missing; only judged while booting and running (reference, behaviour (a)).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unmet.is_empty() && matches!(self.stage, Stage::Booting | Stage::Running)
    }
}

/// A condition that readiness waits for. Names: time, network, services (behaviour (a)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The condition.
    pub name: String,
    /// Why it is not met.
    pub reason: String,
}

/// One of the two system slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Partition ROOT-A.
    A,
    /// Partition ROOT-B.
    B,
}

/// What was found out while booting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootStatus {
    /// Board name from the image (`qemu-x86_64`).
    pub board: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Slot of the running root; `None` when not booted from one (tests).
    pub slot: Option<Slot>,
    /// dm-verity root hash, hex; empty when the root is not behind verity.
    pub root_hash: String,
    /// When the image was built, since the Unix epoch; `None` outside an image.
    pub built: Option<Duration>,
    /// Whether a loader was used (LoaderDevicePartUUID present) or the kernel was started directly.
    pub through_firmware: bool,
    /// Milliseconds from kernel start to the API's first listening moment, once it listens.
    pub api_ready_ms: Option<u64>,
}

/// The system disk and what is on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStatus {
    /// Kernel name of the whole disk (`vda`); empty until found.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector: u32,
    /// Partitions in table order.
    pub partitions: Vec<PartitionStatus>,
    /// Why nothing was provisioned or mounted, when that is so; shown to people as it is.
    pub problem: Option<String>,
    /// STATE existed earlier (META says so) but cannot be used now: the API refuses anonymous configuration.
    pub state_lost: bool,
    /// STATE is mounted, or will not be.
    pub settled: bool,
}

impl DiskStatus {
    /// Whether one of its partitions is mounted there. What is written below an unmounted mount point is gone with the next boot.
    #[must_use]
    pub fn is_mounted(&self, target: &Path) -> bool {
        self.partitions.iter().any(|partition| partition.mounted_on.as_deref() == Some(target))
    }
}

/// Who the node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityStatus {
    /// Its identity; `None` without a STATE to keep it on.
    pub id: Option<NodeId>,
    /// It is known whether there is one.
    pub settled: bool,
}

/// META's keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MetaStatus {
    /// META could be read.
    pub loaded: bool,
    /// Values by key. Some are secrets: not shown by `Debug`.
    pub keys: BTreeMap<u8, Vec<u8>>,
}

impl MetaStatus {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: u8) -> Option<&[u8]> {
        self.keys.get(&key).map(Vec::as_slice)
    }
}

impl std::fmt::Debug for MetaStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lengths = self.keys.iter().map(|(key, value)| (key, value.len()));
        f.debug_struct("MetaStatus").field("loaded", &self.loaded).field("lengths", &lengths.collect::<BTreeMap<_, _>>()).finish()
    }
}

/// What the place that the node is in says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformStatus {
    /// What kind of place it is.
    pub platform: Platform,
    /// Who the machine is there.
    pub metadata: MetaData,
    /// What the network is to be like there, host name included.
    pub network: Arc<Network>,
    /// It is what the platform said since this boot, and not what it said earlier.
    pub fresh: bool,
}

/// A partition of the system disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Number in the table, from 1.
    pub number: u32,
    /// Label (`STATE`).
    pub label: String,
    /// Device node.
    pub device: PathBuf,
    /// First byte on the disk.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// What is on it: `vfat`, `erofs+verity`, `xfs`, `meta`, `empty`.
    pub content: String,
    /// Where it is mounted, if it is.
    pub mounted_on: Option<PathBuf>,
}

/// The network as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkStatus {
    /// Host name in force.
    pub hostname: String,
    /// Domain of the host name; empty when there is none.
    pub domain: String,
    /// Ranges of pods and services, when the node is configured.
    pub kubernetes: Vec<IpNet>,
    /// Every link but loopback.
    pub links: Vec<LinkStatus>,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// Name servers, whoever asks them: programs, or the node's own name server for them.
    pub resolvers: Vec<IpAddr>,
    /// Search domains in resolv.conf.
    pub search: Vec<String>,
    /// Time servers that the network names (DHCP, command line), the strongest layer's only.
    pub time_servers: Vec<String>,
    /// resolv.conf and hosts are written.
    pub etc_files: bool,
}

impl NetworkStatus {
    /// All global addresses of all links, in link order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.links.iter().flat_map(|link| link.addresses.iter().map(IpNet::addr))
    }
}

/// The node's own name server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDnsStatus {
    /// As it is wanted.
    pub settings: HostDnsSettings,
    /// It answers: the node's own programs ask it.
    pub serving: bool,
    /// What it says of itself, while it runs.
    pub report: DnsdStatus,
}

/// How the node's own name server is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDnsSettings {
    /// It runs.
    pub enabled: bool,
    /// Where the node's programs ask it.
    pub local: Option<SocketAddr>,
    /// Where pods ask it, at most one address a family; on loopback.
    pub pods: Vec<IpAddr>,
    /// It is to know the names of members.
    pub member_names: bool,
}

impl HostDnsStatus {
    /// Where the node's programs ask it, once it answers.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.settings.local.map(|local| local.ip()).filter(|_| self.serving)
    }

    /// Where pods ask it, once it answers.
    #[must_use]
    pub fn pods(&self) -> &[IpAddr] {
        if self.serving { &self.settings.pods } else { &[] }
    }
}

/// The network as it is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkSpecs {
    /// By each layer.
    pub specs: crate::net::specs::Specs,
    /// By the strongest.
    pub merged: crate::net::specs::Merged,
}

/// A network link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Kernel name (`eth0`).
    pub name: String,
    /// Hardware address, lower-case hex with colons.
    pub mac: String,
    /// Carrier present.
    pub up: bool,
    /// Addresses other than link-local ones.
    pub addresses: Vec<IpNet>,
    /// Where the addresses came from: `dhcp`, `cmdline`, `platform`, `config`; empty when none.
    pub source: String,
}

/// How the API is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiStatus {
    /// TCP port that apid listens on; `None` until it was started.
    pub port: Option<u16>,
    /// In maintenance: base64 of the SHA-256 of the server certificate's public key, for people to compare.
    pub maintenance_fingerprint: Option<String>,
    /// What apid was told last; holds its keys, which `Debug` does not show.
    pub told: Option<Arc<ApidConfig>>,
}

/// A configuration as it was given, shared by all that need it and wiped after the last of them. Secret: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigText(pub Arc<Zeroizing<String>>);

impl From<String> for ConfigText {
    fn from(text: String) -> Self {
        Self(Arc::new(text.into()))
    }
}

impl std::ops::Deref for ConfigText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ConfigText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConfigText(..)")
    }
}

/// The configuration in force.
#[derive(Clone, Debug, Default)]
pub struct ConfigStatus {
    /// Boot has looked everywhere: what is here now is so until somebody changes it.
    pub settled: bool,
    /// The active configuration; `None` in maintenance.
    pub active: Option<Arc<ActiveConfig>>,
    /// The configuration on STATE, as far as it is known: what the next boot begins with.
    pub stored: Option<ConfigText>,
    /// The last load or validation error, for people.
    pub error: Option<String>,
}

/// A configuration that passed validation, with the text it came from.
pub struct ActiveConfig {
    /// The YAML as given, comments kept. Secret: never printed whole.
    pub text: ConfigText,
    /// Where it came from: `state`, `api`, `cidata`, `metal-iso`, `inline`, `url`, `include`, `nocloud-net`.
    pub source: &'static str,
    /// Its parsed form.
    pub config: machine_config::Config,
}

impl std::fmt::Debug for ActiveConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveConfig").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A service as shown to people and clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Name (`apid`).
    pub id: String,
    /// Current state.
    pub state: ServiceState,
    /// `None` until the first health check answered.
    pub healthy: Option<bool>,
    /// Text of the last failed check, empty otherwise.
    pub health_message: String,
    /// When health last changed, since the Unix epoch.
    pub health_changed: Duration,
    /// The last events, oldest first, at most 64.
    pub events: Vec<ServiceEvent>,
    /// Process id while it has a process of its own.
    pub pid: Option<u32>,
}

/// A state change of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvent {
    /// New state.
    pub state: ServiceState,
    /// What happened, for people.
    pub message: String,
    /// When, since the Unix epoch.
    pub at: Duration,
}

/// A request to the main loop.
#[derive(Debug)]
pub enum Command {
    /// Run a sequence.
    Sequence {
        /// Which, for whom.
        request: Request,
        /// Whatever runs has to give way.
        take_over: bool,
        /// Whether it was taken; when it was, its events tell the rest.
        reply: oneshot::Sender<Result<(), Locked>>,
    },
    /// Validate, persist and activate a configuration.
    Apply {
        /// The YAML as given.
        text: String,
        /// What to do with it.
        mode: ApplyMode,
        /// Who asks; `anonymous` (maintenance, no client certificate) is refused while `state_lost`.
        anonymous: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<ApplyOutcome, ApplyError>>,
    },
}

/// What to do with a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyMode {
    /// Validate and report only.
    DryRun,
    /// Persist and activate now.
    Now,
    /// Activate now and go back after so long, unless another one is activated for good.
    Try(Duration),
    /// Persist; active at the next boot.
    Staged,
}

/// A configuration was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOutcome {
    /// Validation warnings, such as settings that this version does not act on.
    pub warnings: Vec<String>,
    /// What was done, for people (`mode_details` on the wire).
    pub details: String,
}

/// A configuration was refused; the old one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The text is not a valid configuration: all problems.
    Invalid(String),
    /// The node cannot take it now, and what to do about it.
    Precondition(String),
    /// It could not be stored; the cause chain.
    Storage(String),
}
