//! Calls about what a node counts: processors, memory, traffic, containers, connections, clocks.

use tonic::Streaming;
use wire::{
    common::{ContainerDriver, Data},
    machine::{
        ContainerInfo, ContainersRequest, CpUsFreqStats, CpUsInfo, DiskStats, LoadAvg, NetstatRequest, NetworkDeviceStats,
        PacketCaptureRequest, RestartRequest, Stat, StatsRequest, SystemStat,
    },
    time::{Time, TimeRequest},
};

use super::{Client, ClientError, done, single};

/// Whose containers are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Containerd {
    /// Those of the system's own services.
    #[default]
    System,
    /// Those of Kubernetes.
    Kubernetes,
}

impl Containerd {
    /// Namespace on the wire.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Kubernetes => "k8s.io",
        }
    }

    /// Driver on the wire.
    #[must_use]
    pub const fn driver(self) -> ContainerDriver {
        match self {
            Self::System => ContainerDriver::Containerd,
            Self::Kubernetes => ContainerDriver::Cri,
        }
    }
}

unary! {
    /// Load averages.
    load_average, machine.load_avg, "LoadAvg", LoadAvg, |m| m;
    /// Processor time, interrupts and processes since boot.
    system_stat, machine.system_stat, "SystemStat", SystemStat, |m| m;
    /// Clock rates of the processors.
    cpu_frequencies, machine.cpu_freq_stats, "CPUFreqStats", CpUsFreqStats, |m| m;
    /// What the processors are.
    cpu_info, machine.cpu_info, "CPUInfo", CpUsInfo, |m| m;
    /// Traffic of the links since boot.
    network_stats, machine.network_device_stats, "NetworkDeviceStats", NetworkDeviceStats, |m| m;
    /// Transfers of the disks since boot.
    disk_stats, machine.disk_stats, "DiskStats", DiskStats, |m| m;
    /// The node's clock and that of its time server.
    time, time_service.time, "Time", Time, |m| m;
    /// Names of the logs there are.
    log_names, machine.logs_containers, "LogsContainers", Vec<String>, |m| m.ids;
}

impl Client {
    /// The node's clock and that of a time server of the caller's choice.
    pub async fn time_check(&self, server: &str) -> Result<Time, ClientError> {
        let reply = done("TimeCheck", self.time_service().time_check(TimeRequest { server: server.into() }).await)?;
        single("TimeCheck", reply.messages, |message| message.metadata.as_ref())
    }

    /// Containers.
    pub async fn containers(&self, whose: Containerd) -> Result<Vec<ContainerInfo>, ClientError> {
        let request = ContainersRequest { namespace: whose.namespace().into(), driver: whose.driver().into() };
        let reply = done("Containers", self.machine().containers(request).await)?;
        Ok(single("Containers", reply.messages, |message| message.metadata.as_ref())?.containers)
    }

    /// Memory and processor time of containers.
    pub async fn container_stats(&self, whose: Containerd) -> Result<Vec<Stat>, ClientError> {
        let request = StatsRequest { namespace: whose.namespace().into(), driver: whose.driver().into() };
        let reply = done("Stats", self.machine().stats(request).await)?;
        Ok(single("Stats", reply.messages, |message| message.metadata.as_ref())?.stats)
    }

    /// Ends a container's process, so that what keeps it starts it again.
    pub async fn restart_container(&self, whose: Containerd, id: &str) -> Result<(), ClientError> {
        let request = RestartRequest { namespace: whose.namespace().into(), id: id.into(), driver: whose.driver().into() };
        let reply = done("Restart", self.machine().restart(request).await)?;
        single("Restart", reply.messages, |message| message.metadata.as_ref()).map(drop)
    }

    /// Connections and listening sockets.
    pub async fn netstat(&self, request: NetstatRequest) -> Result<Vec<wire::machine::ConnectRecord>, ClientError> {
        let reply = done("Netstat", self.machine().netstat(request).await)?;
        Ok(single("Netstat", reply.messages, |message| message.metadata.as_ref())?.connectrecord)
    }

    /// Packets of a link, as a pcap file that grows.
    pub async fn capture(&self, request: PacketCaptureRequest) -> Result<Streaming<Data>, ClientError> {
        done("PacketCapture", self.machine().packet_capture(request).await)
    }
}
