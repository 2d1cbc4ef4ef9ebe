//! A connection to a node (or through one) with a typed method for each call.
//!
//! [`Client::connect`] takes a context of a talosconfig, [`Client::connect_insecure`] a node in maintenance.
//! [`Client::for_node`] aims a connection at a node behind the endpoint.

mod address;
mod calls;
mod error;

use std::sync::Arc;

use pki::Context;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use wire::{
    cluster::cluster_service_client::ClusterServiceClient,
    cosi::state_client::StateClient,
    inspect::inspect_service_client::InspectServiceClient,
    machine::{
        image_service_client::ImageServiceClient, machine_service_client::MachineServiceClient,
        storage_service_client::StorageServiceClient as VolumeServiceClient,
    },
    storage::storage_service_client::StorageServiceClient,
    time::time_service_client::TimeServiceClient,
    tls::{self, Identity, SpkiFingerprint},
};

pub use address::Address;
pub use calls::{Apply, Containerd, next, next_data};
pub use error::ClientError;

/// Connections that notice within 15 s that the other side is gone: actions wait for nodes that go down.
const KEEPALIVE: (std::time::Duration, std::time::Duration) = (std::time::Duration::from_secs(10), std::time::Duration::from_secs(5));

/// A connection. Cloning is cheap and shares the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    headers: Headers,
    address: Address,
}

/// Metadata of every call; filled by [`Client`].
#[derive(Clone, Debug, Default)]
pub struct Headers {
    node: Option<MetadataValue<Ascii>>,
    cluster: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("runtime", MetadataValue::from_static("Talos"));
        if let Some(cluster) = &self.cluster {
            metadata.insert("context", cluster.clone());
        }
        if let Some(node) = &self.node {
            metadata.insert("node", node.clone());
        }
        Ok(request)
    }
}

/// The channel under the generated clients.
pub type Service = InterceptedService<Channel, Headers>;

impl Client {
    /// Connects with the certificates of a context to the first of its endpoints that answers, or to the first
    /// of `endpoints` when that is not empty. `name` is the context's, for errors.
    pub async fn connect(name: &str, context: &Context, endpoints: &[String]) -> Result<Self, ClientError> {
        let config = |source| ClientError::Context { name: name.into(), source };
        let ca = context.ca_pem(name).map_err(config)?;
        let identity = context.identity(name).map_err(config)?;
        let settings = |source| ClientError::Tls { name: name.into(), source };
        let roots = tls::roots("the context's authority", &ca).map_err(settings)?;
        let identity = Identity::from_pem(&identity.cert_pem, identity.key_pem.expose()).map_err(settings)?;
        let tls = tls::client_config(roots, Some(identity)).map_err(settings)?;
        let endpoints = if endpoints.is_empty() { &context.endpoints } else { endpoints };
        let mut client = Self::first(endpoints, &tls).await?;
        client.headers.cluster = context.cluster().and_then(|cluster| cluster.parse().ok());
        Ok(client)
    }

    /// Connects to a node in maintenance mode: no client certificate, the server's is taken as it is, or must
    /// have that fingerprint.
    pub async fn connect_insecure(node: &str, pin: Option<SpkiFingerprint>) -> Result<Self, ClientError> {
        let settings = |source| ClientError::Tls { name: node.into(), source };
        let tls = tls::insecure_client_config(pin).map_err(settings)?;
        Self::first(&[node.to_owned()], &tls).await
    }

    async fn first(endpoints: &[String], tls: &Arc<rustls::ClientConfig>) -> Result<Self, ClientError> {
        let mut failures = Vec::new();
        for endpoint in endpoints {
            let address: Address = endpoint.parse()?;
            let connected = async {
                let endpoint =
                    tls::endpoint(&address.host, address.port)?.http2_keep_alive_interval(KEEPALIVE.0).keep_alive_timeout(KEEPALIVE.1);
                tls::connect(endpoint, &address.host, address.port, Arc::clone(tls)).await
            };
            match connected.await {
                Ok(channel) => return Ok(Self { channel, headers: Headers::default(), address }),
                Err(error) => failures.push(error),
            }
        }
        Err(if failures.is_empty() { ClientError::NoEndpoint } else { ClientError::Unreachable(failures.into()) })
    }

    /// The same connection, aimed at a node behind it.
    pub fn for_node(&self, node: &str) -> Result<Self, ClientError> {
        let node = node.parse().map_err(|_| ClientError::Address { given: node.into(), why: "it has odd letters" })?;
        Ok(Self { headers: Headers { node: Some(node), ..self.headers.clone() }, ..self.clone() })
    }

    /// Where the connection goes.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The generated client of the machine service, for calls without a method of their own here.
    #[must_use]
    pub fn machine(&self) -> MachineServiceClient<Service> {
        MachineServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
            .max_decoding_message_size(wire::MAX_MESSAGE)
            .max_encoding_message_size(wire::MAX_MESSAGE)
    }

    /// The generated client of the storage service.
    #[must_use]
    pub fn storage(&self) -> StorageServiceClient<Service> {
        StorageServiceClient::with_interceptor(self.channel.clone(), self.headers.clone()).max_decoding_message_size(wire::MAX_MESSAGE)
    }

    /// The generated client of the resource API.
    #[must_use]
    pub fn state(&self) -> StateClient<Service> {
        StateClient::with_interceptor(self.channel.clone(), self.headers.clone()).max_decoding_message_size(wire::MAX_MESSAGE)
    }

    /// The generated client of the inspection service.
    #[must_use]
    pub fn inspect(&self) -> InspectServiceClient<Service> {
        InspectServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    /// The generated client of the cluster service.
    #[must_use]
    pub fn cluster(&self) -> ClusterServiceClient<Service> {
        ClusterServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    /// The generated client of the image service.
    #[must_use]
    pub fn image_service(&self) -> ImageServiceClient<Service> {
        ImageServiceClient::with_interceptor(self.channel.clone(), self.headers.clone()).max_decoding_message_size(wire::MAX_MESSAGE)
    }

    /// The generated client of the service for file systems.
    #[must_use]
    pub fn volumes(&self) -> VolumeServiceClient<Service> {
        VolumeServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    /// The generated client of the clocks' service.
    #[must_use]
    pub fn time_service(&self) -> TimeServiceClient<Service> {
        TimeServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }
}
