//! Generates the messages, every client, the servers of the methods we serve, and the table of methods.

use std::{env, error::Error, fmt::Write, fs, path::Path};

use prost_types::FileDescriptorSet;

/// Every definition file. Listed, not searched: a file reached by two names would be two definitions.
const FILES: &[&str] = &[
    "cluster/cluster.proto",
    "common/common.proto",
    "cosi/resource.proto",
    "google/rpc/status.proto",
    "inspect/inspect.proto",
    "machine/config.proto",
    "machine/debug.proto",
    "machine/etcd.proto",
    "machine/events.proto",
    "machine/files.proto",
    "machine/image.proto",
    "machine/lifecycle.proto",
    "machine/lvm.proto",
    "machine/machine.proto",
    "machine/md.proto",
    "machine/metrics.proto",
    "machine/netstat.proto",
    "machine/service.proto",
    "machine/storage.proto",
    "security/security.proto",
    "storage/storage.proto",
    "time/time.proto",
];

/// Methods that machined serves; server code is generated for these only, because each one costs
/// room in the image. A new handler starts with a line here.
const SERVED: &[(&str, &[&str])] = &[
    (
        "machine.MachineService",
        &[
            "ApplyConfiguration",
            "CPUFreqStats",
            "CPUInfo",
            "Containers",
            "Copy",
            "DiskStats",
            "DiskUsage",
            "Dmesg",
            "Events",
            "GenerateClientConfiguration",
            "Hostname",
            "List",
            "LoadAvg",
            "Logs",
            "LogsContainers",
            "Memory",
            "MetaDelete",
            "MetaWrite",
            "Mounts",
            "Netstat",
            "NetworkDeviceStats",
            "PacketCapture",
            "Processes",
            "Read",
            "Reboot",
            "Reset",
            "Restart",
            "Rollback",
            "ServiceList",
            "ServiceRestart",
            "ServiceStart",
            "ServiceStop",
            "Shutdown",
            "Stats",
            "SystemStat",
            "Version",
        ],
    ),
    ("cluster.ClusterService", &["HealthCheck"]),
    ("machine.StorageService", &["Statfs"]),
    ("cosi.resource.State", &["Get", "List", "Watch"]),
    ("inspect.InspectService", &["ControllerRuntimeDependencies"]),
    ("storage.StorageService", &["BlockDeviceWipe", "Disks"]),
    ("time.TimeService", &["Time", "TimeCheck"]),
];

/// Methods that trustd serves.
const TRUSTD: &[(&str, &[&str])] = &[("securityapi.SecurityService", &["Certificate"])];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let set = protox::compile(FILES, ["proto"])?;

    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(out)
        .bytes(".common.Data.bytes")
        .compile_fds(set.clone())?;

    let servers = out.join("servers");
    fs::create_dir_all(&servers)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .extern_path(".cluster", "crate::cluster")
        .extern_path(".common", "crate::common")
        .extern_path(".cosi.resource", "crate::cosi")
        .extern_path(".inspect", "crate::inspect")
        .extern_path(".machine", "crate::machine")
        .extern_path(".securityapi", "crate::security")
        .extern_path(".storage", "crate::storage")
        .extern_path(".time", "crate::time")
        .out_dir(&servers)
        .compile_fds(served(&set))?;

    fs::write(out.join("methods.rs"), table(&set)?)?;
    Ok(())
}

/// The definitions with only the methods of [`SERVED`] and [`TRUSTD`] left.
fn served(set: &FileDescriptorSet) -> FileDescriptorSet {
    let mut set = set.clone();
    for file in &mut set.file {
        let package = file.package().to_owned();
        for service in &mut file.service {
            let name = format!("{package}.{}", service.name());
            let keep = SERVED.iter().chain(TRUSTD).find(|(service, _)| *service == name).map_or(&[][..], |(_, methods)| methods);
            service.method.retain(|method| keep.contains(&method.name()));
        }
        file.service.retain(|service| !service.method.is_empty());
    }
    set.file.retain(|file| !file.service.is_empty());
    set
}

/// A sorted Rust array with every method of every service.
fn table(set: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut rows = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let full = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let served = SERVED.iter().any(|(name, methods)| *name == full && methods.contains(&method.name()));
                let path = format!("/{full}/{}", method.name());
                rows.push((path, method.client_streaming(), method.server_streaming(), served));
            }
        }
    }
    rows.sort();
    let mut text = String::from("/// Every method of the API, sorted by path.\npub const METHODS: &[Method] = &[\n");
    for (path, client_stream, server_stream, served) in rows {
        writeln!(text, "Method {{ path: {path:?}, client_stream: {client_stream}, server_stream: {server_stream}, served: {served} }},")?;
    }
    text.push_str("];\n");
    Ok(text)
}
