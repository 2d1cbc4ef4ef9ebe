//! One harmless request for each method.

use prost::Message;
use prost_types::Duration;
use wire::{
    cluster, common, cosi, machine,
    methods::{METHODS, Method},
    storage,
};

/// Bytes that are no message: what is asked with them does nothing, whoever asks.
pub const GARBAGE: &[u8] = &[0xff; 12];

/// Methods that end the node's run: asked after all others, each by itself.
pub const LAST: [&str; 2] = ["/machine.MachineService/Reboot", "/machine.MachineService/Shutdown"];

/// What a method is asked with.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: &'static Method,
    /// The one message.
    pub message: Vec<u8>,
    /// The same in words, for the page; empty for an empty message.
    pub about: &'static str,
}

/// A resource that every node has.
const NAMESPACE: &str = "network";
const KIND: &str = "HostnameStatuses.net.talos.dev";
/// A META key that nothing else uses.
const KEY: u32 = 0xc0;
/// Nothing has this name.
const NOBODY: &str = "nobody";

/// All methods, in an order in which what one makes another removes. `config` is tried without being applied.
#[must_use]
pub fn requests(config: &str) -> Vec<Asked> {
    let mut all: Vec<Asked> = METHODS
        .iter()
        .map(|method| {
            let (message, about) = message(method.path, config);
            Asked { method, message, about }
        })
        .collect();
    all.sort_by_key(|asked| asked.method.path.ends_with("/MetaDelete"));
    all
}

fn message(path: &str, config: &str) -> (Vec<u8>, &'static str) {
    let (service, name) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    match service {
        "machine.MachineService" => machine_service(name, config),
        "cosi.resource.State" => state(name),
        "cluster.ClusterService" => {
            let wait_timeout = Some(Duration { seconds: 5, nanos: 0 });
            (cluster::HealthCheckRequest { wait_timeout, ..Default::default() }.encode_to_vec(), "for 5 s")
        }
        "storage.StorageService" if name == "BlockDeviceWipe" => {
            let device = storage::BlockDeviceWipeDescriptor { device: NOBODY.into(), ..Default::default() };
            (storage::BlockDeviceWipeRequest { devices: vec![device] }.encode_to_vec(), "no such device")
        }
        "machine.StorageService" => (machine::StorageServiceStatfsRequest { path: "/".into() }.encode_to_vec(), "`/`"),
        _ => (Vec::new(), ""),
    }
}

fn state(name: &str) -> (Vec<u8>, &'static str) {
    let (namespace, r#type) = (NAMESPACE.to_owned(), KIND.to_owned());
    match name {
        "Get" => (cosi::GetRequest { namespace, r#type, id: "hostname".into(), options: None }.encode_to_vec(), "the host name"),
        "List" => (cosi::ListRequest { namespace, r#type, options: None }.encode_to_vec(), "host names"),
        "Watch" => {
            let request = cosi::WatchRequest { namespace, r#type, id: None, options: None, api_version: 1 };
            (request.encode_to_vec(), "host names")
        }
        _ => (Vec::new(), ""),
    }
}

fn machine_service(name: &str, config: &str) -> (Vec<u8>, &'static str) {
    let namespace = || "system".to_owned();
    let driver = common::ContainerDriver::Containerd.into();
    let release = || "/etc/os-release".to_owned();
    match name {
        "ApplyConfiguration" => {
            let request = machine::ApplyConfigurationRequest {
                data: config.as_bytes().to_vec(),
                mode: machine::apply_configuration_request::Mode::Auto.into(),
                dry_run: true,
                try_mode_timeout: None,
            };
            (request.encode_to_vec(), "a dry run of its own")
        }
        "Containers" => (machine::ContainersRequest { namespace: namespace(), driver }.encode_to_vec(), "namespace `system`"),
        "Stats" => (machine::StatsRequest { namespace: namespace(), driver }.encode_to_vec(), "namespace `system`"),
        "Restart" => (machine::RestartRequest { namespace: namespace(), id: NOBODY.into(), driver }.encode_to_vec(), "no such container"),
        "Copy" => (machine::CopyRequest { root_path: release() }.encode_to_vec(), "`/etc/os-release`"),
        "Read" => (machine::ReadRequest { path: release() }.encode_to_vec(), "`/etc/os-release`"),
        "List" => (machine::ListRequest { root: "/etc".into(), ..Default::default() }.encode_to_vec(), "`/etc`"),
        "DiskUsage" => (machine::DiskUsageRequest { paths: vec!["/etc".into()], ..Default::default() }.encode_to_vec(), "`/etc`"),
        "Logs" => {
            let request = machine::LogsRequest { namespace: namespace(), id: "apid".into(), driver, follow: false, tail_lines: 1 };
            (request.encode_to_vec(), "of apid")
        }
        "GenerateClientConfiguration" => {
            let crt_ttl = Some(Duration { seconds: 3600, nanos: 0 });
            let request = machine::GenerateClientConfigurationRequest { roles: vec!["os:reader".into()], crt_ttl };
            (request.encode_to_vec(), "a reader's, for an hour")
        }
        "Netstat" => {
            let l4proto = machine::netstat_request::L4proto { tcp: true, tcp6: true, ..Default::default() };
            let netns = machine::netstat_request::NetNs { hostnetwork: true, ..Default::default() };
            let request = machine::NetstatRequest { l4proto: Some(l4proto), netns: Some(netns), ..Default::default() };
            (request.encode_to_vec(), "TCP")
        }
        "PacketCapture" => {
            let request = machine::PacketCaptureRequest { interface: "lo".into(), snap_len: 64, ..Default::default() };
            (request.encode_to_vec(), "of `lo`")
        }
        "MetaWrite" => (machine::MetaWriteRequest { key: KEY, value: b"coverage".to_vec() }.encode_to_vec(), "an unused key"),
        "MetaDelete" => (machine::MetaDeleteRequest { key: KEY }.encode_to_vec(), "the same key"),
        "Reset" => (machine::ResetRequest { mode: 99, ..Default::default() }.encode_to_vec(), "a mode that is none"),
        "ServiceStart" => (machine::ServiceStartRequest { id: "machined".into() }.encode_to_vec(), "one that runs"),
        "ServiceStop" => (machine::ServiceStopRequest { id: NOBODY.into() }.encode_to_vec(), "no such service"),
        "ServiceRestart" => (machine::ServiceRestartRequest { id: NOBODY.into() }.encode_to_vec(), "no such service"),
        _ => (Vec::new(), ""),
    }
}
