//! The calls, each with its reply unwrapped from the list that old-style replies are.
//!
//! Here those about the node's life and its resources; [`cluster`]: etcd, Kubernetes and images; [`files`]: what lies on its
//! disks; [`metrics`]: what it counts.

use std::time::Duration;

use tonic::{Response, Status, Streaming};
use wire::{
    common::{Data, Metadata},
    cosi::{self, GetRequest, Resource, WatchRequest, WatchResponse},
    inspect::ControllerDependencyEdge,
    machine::{
        ApplyConfiguration, ApplyConfigurationRequest, DmesgRequest, Event, EventsRequest, FileInfo, ListRequest, LogsRequest, MemInfo,
        MetaDeleteRequest, MetaWriteRequest, MountStat, ProcessInfo, ReadRequest, RebootRequest, ResetRequest, ServiceInfo,
        ServiceRestartRequest, ServiceStartRequest, ServiceStopRequest, ShutdownRequest, Version,
        apply_configuration_request::Mode as ApplyMode, reboot_request::Mode as RebootMode,
    },
    storage::Disk,
};

use super::{Client, ClientError};

/// How a configuration is applied.
#[derive(Clone, Copy, Debug)]
pub struct Apply {
    /// When it takes effect.
    pub mode: ApplyMode,
    /// Only say what would happen.
    pub dry_run: bool,
    /// After how long `Try` goes back; the node's default when `None`.
    pub try_timeout: Option<Duration>,
}

impl Default for Apply {
    fn default() -> Self {
        Self { mode: ApplyMode::Auto, dry_run: false, try_timeout: None }
    }
}

/// The result of a call, with the method in the error.
fn done<T>(method: &'static str, result: Result<Response<T>, Status>) -> Result<T, ClientError> {
    result.map(Response::into_inner).map_err(|status| ClientError::Call { method, status: Box::new(status) })
}

/// The first message that carries no error; the error otherwise.
fn single<T>(method: &'static str, messages: Vec<T>, metadata: impl Fn(&T) -> Option<&Metadata>) -> Result<T, ClientError> {
    let message = messages.into_iter().next().ok_or(ClientError::Empty { method })?;
    match metadata(&message) {
        Some(found) if !found.error.is_empty() => {
            let code = found.status.as_ref().map_or(tonic::Code::Unknown, |status| status.code.into());
            Err(ClientError::Call { method, status: Box::new(Status::new(code, found.error.clone())) })
        }
        _ => Ok(message),
    }
}

/// Unary calls without a request: method name, reply's inner message, what to take out of it.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident, $service:ident.$call:ident, $method:literal, $reply:ty, |$m:ident| $take:expr;)*) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $name(&self) -> Result<$reply, ClientError> {
                let reply = done($method, self.$service().$call(()).await)?;
                let $m = single($method, reply.messages, |message| message.metadata.as_ref())?;
                Ok($take)
            })*
        }
    };
}

mod cluster;
mod files;
mod metrics;

pub use metrics::Containerd;

unary! {
    /// Versions and platform of the node.
    version, machine.version, "Version", Version, |m| m;
    /// Host name.
    hostname, machine.hostname, "Hostname", String, |m| m.hostname;
    /// Every service with state, health and history.
    services, machine.service_list, "ServiceList", Vec<ServiceInfo>, |m| m.services;
    /// Mounted file systems.
    mounts, machine.mounts, "Mounts", Vec<MountStat>, |m| m.stats;
    /// Memory figures, kB.
    memory, machine.memory, "Memory", MemInfo, |m| m.meminfo.unwrap_or_default();
    /// Processes.
    processes, machine.processes, "Processes", Vec<ProcessInfo>, |m| m.processes;
    /// Disks.
    disks, storage.disks, "Disks", Vec<Disk>, |m| m.disks;
}

impl Client {
    /// Sends a configuration. Every problem of it is in the status' message (`InvalidArgument`).
    pub async fn apply(&self, config: &str, apply: Apply) -> Result<ApplyConfiguration, ClientError> {
        const METHOD: &str = "ApplyConfiguration";
        let timeout = apply.try_timeout.and_then(|timeout| prost_types::Duration::try_from(timeout).ok());
        let request = ApplyConfigurationRequest {
            data: config.as_bytes().to_vec(),
            mode: apply.mode.into(),
            dry_run: apply.dry_run,
            try_mode_timeout: timeout,
        };
        let reply = done(METHOD, self.machine().apply_configuration(request).await)?;
        single(METHOD, reply.messages, |message| message.metadata.as_ref())
    }

    /// Restarts the node; returns the action's id, which its events carry.
    pub async fn reboot(&self, mode: RebootMode) -> Result<String, ClientError> {
        let reply = done("Reboot", self.machine().reboot(RebootRequest { mode: mode.into() }).await)?;
        Ok(single("Reboot", reply.messages, |message| message.metadata.as_ref())?.actor_id)
    }

    /// Powers the node off; returns the action's id.
    pub async fn shutdown(&self, force: bool) -> Result<String, ClientError> {
        let reply = done("Shutdown", self.machine().shutdown(ShutdownRequest { force }).await)?;
        Ok(single("Shutdown", reply.messages, |message| message.metadata.as_ref())?.actor_id)
    }

    /// Starts a service; returns what the node says of it.
    pub async fn start_service(&self, id: &str) -> Result<String, ClientError> {
        let reply = done("ServiceStart", self.machine().service_start(ServiceStartRequest { id: id.into() }).await)?;
        Ok(single("ServiceStart", reply.messages, |message| message.metadata.as_ref())?.resp)
    }

    /// Ends a service and those that need it; returns what the node says of it.
    pub async fn stop_service(&self, id: &str) -> Result<String, ClientError> {
        let reply = done("ServiceStop", self.machine().service_stop(ServiceStopRequest { id: id.into() }).await)?;
        Ok(single("ServiceStop", reply.messages, |message| message.metadata.as_ref())?.resp)
    }

    /// Ends a service and starts it again; returns what the node says of it.
    pub async fn restart_service(&self, id: &str) -> Result<String, ClientError> {
        let reply = done("ServiceRestart", self.machine().service_restart(ServiceRestartRequest { id: id.into() }).await)?;
        Ok(single("ServiceRestart", reply.messages, |message| message.metadata.as_ref())?.resp)
    }

    /// Wipes what the request names; returns the action's id.
    pub async fn reset(&self, request: ResetRequest) -> Result<String, ClientError> {
        let reply = done("Reset", self.machine().reset(request).await)?;
        Ok(single("Reset", reply.messages, |message| message.metadata.as_ref())?.actor_id)
    }

    /// Stores a key of META.
    pub async fn meta_write(&self, key: u8, value: &[u8]) -> Result<(), ClientError> {
        let request = MetaWriteRequest { key: key.into(), value: value.to_vec() };
        let reply = done("MetaWrite", self.machine().meta_write(request).await)?;
        single("MetaWrite", reply.messages, |message| message.metadata.as_ref()).map(drop)
    }

    /// Removes a key of META; `NotFound` when it is not set.
    pub async fn meta_delete(&self, key: u8) -> Result<(), ClientError> {
        let reply = done("MetaDelete", self.machine().meta_delete(MetaDeleteRequest { key: key.into() }).await)?;
        single("MetaDelete", reply.messages, |message| message.metadata.as_ref()).map(drop)
    }

    /// Kernel messages: those there are, then new ones when following; only new ones with `tail`.
    pub async fn dmesg(&self, follow: bool, tail: bool) -> Result<Streaming<Data>, ClientError> {
        done("Dmesg", self.machine().dmesg(DmesgRequest { follow, tail }).await)
    }

    /// A service's log; `tail_lines` -1 is all of it.
    pub async fn logs(&self, id: &str, follow: bool, tail_lines: i32) -> Result<Streaming<Data>, ClientError> {
        self.logs_of(Containerd::System, id, follow, tail_lines).await
    }

    /// The log of a service or of a container of Kubernetes.
    pub async fn logs_of(&self, whose: Containerd, id: &str, follow: bool, tail_lines: i32) -> Result<Streaming<Data>, ClientError> {
        let request = LogsRequest { namespace: whose.namespace().into(), driver: whose.driver().into(), id: id.into(), follow, tail_lines };
        done("Logs", self.machine().logs(request).await)
    }

    /// Events; the first is empty and means that the stream is set up.
    pub async fn events(&self, request: EventsRequest) -> Result<Streaming<Event>, ClientError> {
        done("Events", self.machine().events(request).await)
    }

    /// Files below a folder.
    pub async fn list(&self, request: ListRequest) -> Result<Streaming<FileInfo>, ClientError> {
        done("List", self.machine().list(request).await)
    }

    /// A file, as a stream.
    pub async fn read(&self, path: &str) -> Result<Streaming<Data>, ClientError> {
        done("Read", self.machine().read(ReadRequest { path: path.into() }).await)
    }

    /// A file, whole. Fails beyond `limit` bytes.
    pub async fn read_all(&self, path: &str, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut stream = self.read(path).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = next_data("Read", &mut stream).await? {
            if bytes.len() + chunk.len() > limit {
                let status = Status::resource_exhausted(format!("{path} has more than {limit} bytes"));
                return Err(ClientError::Call { method: "Read", status: Box::new(status) });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// A whole byte stream as text, up to its end. For streams that end (not followed).
    pub async fn text(&self, method: &'static str, mut stream: Streaming<Data>) -> Result<String, ClientError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = next_data(method, &mut stream).await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// One resource.
    pub async fn resource(&self, request: GetRequest) -> Result<Resource, ClientError> {
        let reply = done("Get", self.state().get(request).await)?;
        reply.resource.ok_or(ClientError::Empty { method: "Get" })
    }

    /// All resources that are meant.
    pub async fn resources(&self, request: cosi::ListRequest) -> Result<Vec<Resource>, ClientError> {
        let mut stream = done("List", self.state().list(request).await)?;
        let mut all = Vec::new();
        while let Some(answer) = next("List", &mut stream).await? {
            all.extend(answer.resource);
        }
        Ok(all)
    }

    /// What happens to resources; the first answer is empty and means that the watch is set up.
    pub async fn watch(&self, request: WatchRequest) -> Result<Streaming<WatchResponse>, ClientError> {
        done("Watch", self.state().watch(request).await)
    }

    /// Who reads and writes which resources.
    pub async fn dependencies(&self) -> Result<Vec<ControllerDependencyEdge>, ClientError> {
        const METHOD: &str = "ControllerRuntimeDependencies";
        let reply = done(METHOD, self.inspect().controller_runtime_dependencies(()).await)?;
        Ok(single(METHOD, reply.messages, |message| message.metadata.as_ref())?.edges)
    }

    /// The id that changes with every boot of the kernel.
    pub async fn boot_id(&self) -> Result<String, ClientError> {
        let bytes = self.read_all("/proc/sys/kernel/random/boot_id", 4096).await?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// The next piece of a byte stream; `None` at its end. Errors that travel in the metadata are errors here.
pub async fn next_data(method: &'static str, stream: &mut Streaming<Data>) -> Result<Option<prost::bytes::Bytes>, ClientError> {
    let Some(data) = next(method, stream).await? else { return Ok(None) };
    match data.metadata {
        Some(metadata) if !metadata.error.is_empty() => {
            let status = Status::unknown(metadata.error);
            Err(ClientError::Call { method, status: Box::new(status) })
        }
        _ => Ok(Some(data.bytes)),
    }
}

/// The next message of a stream; `None` at its end.
pub async fn next<T>(method: &'static str, stream: &mut Streaming<T>) -> Result<Option<T>, ClientError> {
    stream.message().await.map_err(|status| ClientError::Call { method, status: Box::new(status) })
}
