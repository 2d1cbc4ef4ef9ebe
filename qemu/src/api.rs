//! The node's API as tests use it: blocking calls, typed answers, waits with named limits.

use std::{
    future::Future,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;
use tonic::{Code, Response, Status, Streaming, transport::Channel};
use wire::{
    common,
    cosi::{self, state_client::StateClient},
    machine::{self, machine_service_client::MachineServiceClient},
    storage::storage_service_client::StorageServiceClient,
};

use crate::limits;

/// Longest wait for a connection, TLS and HTTP/2 included.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest single call; streams are cut by their callers.
const CALL: Duration = Duration::from_secs(60);

/// A connection to one node.
#[derive(Debug)]
pub struct Api {
    runtime: Runtime,
    channel: Channel,
}

impl Api {
    /// Connects without a client certificate and without checking the node's (`--insecure`).
    ///
    /// # Errors
    /// When nothing answers there.
    pub fn insecure(address: SocketAddr) -> Result<Self> {
        Self::connect(address, None, wire::tls::insecure_client_config(None)?)
    }

    /// The same over a connection that the node has taken already.
    ///
    /// # Errors
    /// As [`Self::insecure`].
    pub fn insecure_over(tcp: TcpStream) -> Result<Self> {
        Self::connect(tcp.peer_addr()?, Some(tcp), wire::tls::insecure_client_config(None)?)
    }

    /// Connects with the current context of a talosconfig.
    ///
    /// # Errors
    /// When the file is not usable, nothing answers, or either side refuses the other's certificate.
    pub fn with_talosconfig(address: SocketAddr, talosconfig: &pki::Talosconfig) -> Result<Self> {
        Self::connect(address, None, Self::settings(talosconfig)?)
    }

    /// The same over a connection that the node has taken already.
    ///
    /// # Errors
    /// As [`Self::with_talosconfig`].
    pub fn with_talosconfig_over(tcp: TcpStream, talosconfig: &pki::Talosconfig) -> Result<Self> {
        Self::connect(tcp.peer_addr()?, Some(tcp), Self::settings(talosconfig)?)
    }

    /// What a connection with the current context of a talosconfig is made with.
    ///
    /// # Errors
    /// When the file is not usable.
    pub fn settings(talosconfig: &pki::Talosconfig) -> Result<Arc<rustls::ClientConfig>> {
        let (name, context) = talosconfig.get(None)?;
        let identity = context.identity(name)?;
        let identity = wire::tls::Identity::from_pem(&identity.cert_pem, identity.key_pem.expose())?;
        let roots = wire::tls::roots("the context's CA", &context.ca_pem(name)?)?;
        Ok(wire::tls::client_config(roots, Some(identity))?)
    }

    fn connect(address: SocketAddr, tcp: Option<TcpStream>, config: Arc<rustls::ClientConfig>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let host = address.ip().to_string();
        let channel = runtime.block_on(async {
            let endpoint = wire::tls::endpoint(&host, address.port())?;
            let first = tcp.map(nonblocking).transpose()?;
            let connected = wire::tls::connect_over(first, endpoint, &host, address.port(), config);
            tokio::time::timeout(CONNECT, connected)
                .await
                .with_context(|| format!("no TLS and HTTP/2 within {CONNECT:?}"))?
                .map_err(anyhow::Error::from)
        })?;
        Ok(Self { runtime, channel })
    }

    /// The machine service, for calls that have no method here.
    #[must_use]
    pub fn machine(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.channel.clone()).max_decoding_message_size(wire::MAX_MESSAGE)
    }

    /// The connection, for services that have no method here.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Runs one call to its end, at most a minute.
    ///
    /// # Errors
    /// The node's status.
    pub fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
        let timed = async { tokio::time::timeout(CALL, call).await };
        match self.runtime.block_on(timed) {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {CALL:?}"))),
        }
    }

    /// The version answer's one message.
    ///
    /// # Errors
    /// The node's status, or an answer without a message.
    pub fn version(&self) -> Result<machine::Version> {
        let mut client = self.machine();
        one(self.call(client.version(()))?.messages)
    }

    /// The services.
    ///
    /// # Errors
    /// The node's status.
    pub fn services(&self) -> Result<Vec<machine::ServiceInfo>> {
        let mut client = self.machine();
        Ok(one(self.call(client.service_list(()))?.messages)?.services)
    }

    /// The mounts.
    ///
    /// # Errors
    /// The node's status.
    pub fn mounts(&self) -> Result<Vec<machine::MountStat>> {
        let mut client = self.machine();
        Ok(one(self.call(client.mounts(()))?.messages)?.stats)
    }

    /// The processes.
    ///
    /// # Errors
    /// The node's status.
    pub fn processes(&self) -> Result<Vec<machine::ProcessInfo>> {
        let mut client = self.machine();
        Ok(one(self.call(client.processes(()))?.messages)?.processes)
    }

    /// The disks.
    ///
    /// # Errors
    /// The node's status.
    pub fn disks(&self) -> Result<Vec<wire::storage::Disk>> {
        let mut client = StorageServiceClient::new(self.channel.clone());
        Ok(one(self.call(client.disks(()))?.messages)?.disks)
    }

    /// A file of the node.
    ///
    /// # Errors
    /// The node's status, at the start or in the stream.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Status> {
        let mut client = self.machine();
        let stream = self.call(client.read(machine::ReadRequest { path: path.to_owned() }))?;
        self.bytes(stream)
    }

    /// A file of the node as text.
    ///
    /// # Errors
    /// As [`Api::read`], and when it is not UTF-8.
    pub fn read_text(&self, path: &str) -> Result<String> {
        let bytes = self.read(path).with_context(|| format!("read {path} on the node"))?;
        String::from_utf8(bytes).with_context(|| format!("{path} on the node is not text"))
    }

    /// The whole kernel log.
    ///
    /// # Errors
    /// The node's status.
    pub fn dmesg(&self) -> Result<String, Status> {
        let mut client = self.machine();
        let stream = self.call(client.dmesg(machine::DmesgRequest { follow: false, tail: false }))?;
        self.bytes(stream).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last `lines` of a service's log (`-1`: all).
    ///
    /// # Errors
    /// The node's status.
    pub fn logs(&self, id: &str, lines: i32) -> Result<String, Status> {
        let request = machine::LogsRequest {
            namespace: "system".to_owned(),
            id: id.to_owned(),
            driver: common::ContainerDriver::Containerd.into(),
            follow: false,
            tail_lines: lines,
        };
        let mut client = self.machine();
        let stream = self.call(client.logs(request))?;
        self.bytes(stream).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Hands a configuration over, to be active at once.
    ///
    /// # Errors
    /// The node's status; a refused configuration is `InvalidArgument` with every problem.
    pub fn apply(&self, config: &str) -> Result<machine::ApplyConfiguration, Status> {
        let request = machine::ApplyConfigurationRequest {
            data: config.as_bytes().to_vec(),
            mode: machine::apply_configuration_request::Mode::Auto.into(),
            dry_run: false,
            try_mode_timeout: None,
        };
        let mut client = self.machine();
        let messages = self.call(client.apply_configuration(request))?.messages;
        messages.into_iter().next().ok_or_else(|| Status::internal("the answer holds no message"))
    }

    /// Asks for power-off.
    ///
    /// # Errors
    /// The node's status.
    pub fn shutdown(&self) -> Result<()> {
        let mut client = self.machine();
        self.call(client.shutdown(machine::ShutdownRequest { force: false }))?;
        Ok(())
    }

    /// Asks for a restart and returns the actor id.
    ///
    /// # Errors
    /// The node's status.
    pub fn reboot(&self) -> Result<String> {
        let mut client = self.machine();
        let request = machine::RebootRequest { mode: machine::reboot_request::Mode::Default.into() };
        Ok(one(self.call(client.reboot(request))?.messages)?.actor_id)
    }

    /// The resource API, for calls that have no method here.
    #[must_use]
    pub fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel.clone())
    }

    /// What a resource says, as YAML.
    ///
    /// # Errors
    /// The node's status.
    pub fn resource(&self, namespace: &str, kind: &str, id: &str) -> Result<String, Status> {
        let request = cosi::GetRequest { namespace: namespace.into(), r#type: kind.into(), id: id.into(), options: None };
        let resource = self.call(self.state().get(request))?.resource;
        let spec = resource.and_then(|resource| resource.spec).ok_or_else(|| Status::internal("the answer holds no resource"))?;
        Ok(spec.yaml_spec)
    }

    /// Waits until what a resource says, as YAML, has all of `texts` in it.
    ///
    /// # Errors
    /// With what it says instead, or the node's status, after [`limits::SETTLE`].
    pub fn says(&self, namespace: &str, kind: &str, id: &str, texts: &[&str]) -> Result<()> {
        wait_for(&format!("{texts:?} in {kind} {id}"), limits::SETTLE, || {
            let yaml = self.resource(namespace, kind, id)?;
            ensure!(texts.iter().all(|text| yaml.contains(text)), "it says:\n{yaml}");
            Ok(())
        })
    }

    /// The ids of all resources of a type.
    ///
    /// # Errors
    /// The node's status.
    pub fn resource_ids(&self, namespace: &str, kind: &str) -> Result<Vec<String>> {
        let request = cosi::ListRequest { namespace: namespace.into(), r#type: kind.into(), options: None };
        let answers = self.all(self.call(self.state().list(request))?)?;
        let ids = answers.into_iter().map(|answer| answer.resource.and_then(|resource| resource.metadata).map(|metadata| metadata.id));
        ids.collect::<Option<_>>().with_context(|| format!("a resource of {kind} without metadata"))
    }

    /// A whole stream that ends by itself, within a minute.
    ///
    /// # Errors
    /// The node's status.
    pub fn all<T>(&self, mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
        let read = async {
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok(messages)
        };
        let timed = async { tokio::time::timeout(CALL, read).await };
        self.runtime.block_on(timed).unwrap_or_else(|_| Err(Status::deadline_exceeded("the stream did not end")))
    }

    /// The next message of a stream, at most a minute later.
    ///
    /// # Errors
    /// The node's status, also when the stream ends.
    pub fn next<T>(&self, stream: &mut Streaming<T>) -> Result<T, Status> {
        self.next_within(stream, CALL)
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// The node's status; `DeadlineExceeded` when nothing came.
    pub fn next_within<T>(&self, stream: &mut Streaming<T>, limit: Duration) -> Result<T, Status> {
        let timed = async { tokio::time::timeout(limit, stream.message()).await };
        let message = self.runtime.block_on(timed).unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing came")))?;
        message.ok_or_else(|| Status::out_of_range("the stream has ended"))
    }

    /// The node's present boot id.
    ///
    /// # Errors
    /// As [`Api::read_text`].
    pub fn boot_id(&self) -> Result<String> {
        Ok(self.read_text("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    /// Reads a byte stream to its end.
    fn bytes(&self, stream: Streaming<common::Data>) -> Result<Vec<u8>, Status> {
        Ok(self.all(stream)?.into_iter().flat_map(|data| data.bytes).collect())
    }
}

/// Polls `look` until it gives a value.
///
/// # Errors
/// With `what` and the last reason when it did not within `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > limit => return Err(error.context(format!("waited {limit:?} for {what}"))),
            Err(_) => thread::sleep(limits::POLL),
        }
    }
}

/// For a runtime; to be called within one.
fn nonblocking(tcp: TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    tcp.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(tcp)
}

/// Fails unless the node refused with `code`; returns the message.
///
/// # Errors
/// When it did not refuse, or with another code.
pub fn refused<T>(answer: Result<T, Status>, code: Code) -> Result<String> {
    match answer {
        Err(status) if status.code() == code => Ok(status.message().to_owned()),
        Err(status) => bail!("refused with {:?} instead of {code:?}: {}", status.code(), status.message()),
        Ok(_) => bail!("not refused; {code:?} was expected"),
    }
}

/// Old-style answers carry exactly one message.
fn one<T>(messages: Vec<T>) -> Result<T> {
    let count = messages.len();
    messages.into_iter().next().filter(|_| count == 1).with_context(|| format!("the answer holds {count} messages instead of one"))
}
