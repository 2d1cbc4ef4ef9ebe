//! The nodes that a check is about, asked through this node's apid: it knows how to reach them, and is what is checked, too.
//!
//! The certificate is one of a node, which may say for whom it asks: a call is allowed what the caller of the check is allowed.

use std::{future::Future, net::Ipv4Addr, sync::Arc, time::SystemTime};

use futures_util::{StreamExt, stream};
use machine_config::{Config, MachineType};
use pki::{Authority, ClientRequest, Identity, Role};
use tokio::time::{Duration, timeout};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use wire::{
    cosi::{GetRequest, ListRequest, state_client::StateClient},
    machine::machine_service_client::MachineServiceClient,
    tls,
};

use super::judge::Problem;
use crate::{
    node::ActiveConfig,
    services::{NODE_CERTIFICATE_LIFE, own_key},
};

/// Nodes that are asked at the same time.
const AT_ONCE: usize = 16;
/// One answer; a node that is away must not hold up the lines about the others.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Address or name, as `node` metadata has it.
    pub(super) name: String,
    pub(super) machine: MachineType,
}

/// The cluster as it is asked.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    channel: Channel,
    roles: Vec<MetadataValue<Ascii>>,
}

impl Cluster {
    /// `port` is apid's on this host; `roles` are the caller's.
    pub(super) async fn connect(
        active: &Arc<ActiveConfig>,
        port: u16,
        members: Vec<Member>,
        roles: Vec<MetadataValue<Ascii>>,
    ) -> Result<Self, Status> {
        let making = Arc::clone(active);
        // Not in the reactor: keys take time.
        let own = tokio::task::spawn_blocking(move || certificate(&making.config)).await;
        let own = own.map_err(|_| Status::internal("making a certificate failed unexpectedly"))?.map_err(|error| unusable(&error))?;
        let own = tls::Identity::from_pem(&own.cert_pem, own.key_pem.expose()).map_err(|error| unusable(&error))?;
        let roots = tls::roots("the machine authorities", &active.config.client_cas_pem()).map_err(|error| unusable(&error))?;
        let settings = tls::client_config(roots, Some(own)).map_err(|error| unusable(&error))?;
        let host = Ipv4Addr::LOCALHOST.to_string();
        let unreachable = |error: tls::ConnectError| Status::unavailable(format!("reach this node's apid: {}", daemon::report(&error)));
        let endpoint = tls::endpoint(&host, port).map_err(unreachable)?;
        let channel = tls::connect(endpoint, &host, port, settings).await.map_err(unreachable)?;
        Ok(Self { members, channel, roles })
    }

    /// The members of this kind; all when there is none given.
    pub(super) fn of(&self, machine: Option<MachineType>) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| machine.is_none_or(|machine| member.machine == machine))
    }

    /// Asks members at the same time; answers and problems come in their order.
    pub(super) async fn ask<T, F>(
        &self,
        members: impl Iterator<Item = &Member>,
        ask: impl Fn(Asked) -> F,
    ) -> Vec<(Member, Result<T, Status>)>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let calls = members.map(|member| {
            let asked = Asked { cluster: self.clone(), node: member.name.clone() };
            let call = ask(asked);
            async move {
                let late = || Status::deadline_exceeded(format!("no answer within {} s", ANSWER_LIMIT.as_secs()));
                (member.clone(), timeout(ANSWER_LIMIT, call).await.unwrap_or_else(|_| Err(late())))
            }
        });
        // Collected first: the stream would have to be general over the lifetimes of its calls.
        let calls: Vec<_> = calls.collect();
        stream::iter(calls).buffered(AT_ONCE).collect().await
    }

    /// The problems that `judge` finds in the answers of members; an answer that did not come is one.
    pub(super) async fn problems<T, F>(
        &self,
        members: impl Iterator<Item = &Member>,
        ask: impl Fn(Asked) -> F,
        judge: impl Fn(&Member, T) -> Option<String>,
    ) -> Vec<Problem>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let answers = self.ask(members, ask).await;
        let problem = |(member, answer): (Member, Result<T, Status>)| {
            let problem = match answer {
                Ok(answer) => judge(&member, answer),
                Err(status) => Some(super::judge::plain(&status)),
            };
            problem.map(|problem| (member.name, problem))
        };
        answers.into_iter().filter_map(problem).collect()
    }
}

/// One node.
pub(super) struct Asked {
    cluster: Cluster,
    node: String,
}

impl Asked {
    /// A request for this node, for the caller's roles.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(node) = self.node.parse() {
            request.metadata_mut().insert("node", node);
        }
        for role in &self.cluster.roles {
            request.metadata_mut().append(wire::ROLE_KEY, role.clone());
        }
        request
    }

    pub(super) fn machine(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.cluster.channel.clone()).max_decoding_message_size(wire::MAX_MESSAGE)
    }

    fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.cluster.channel.clone()).max_decoding_message_size(wire::MAX_MESSAGE)
    }

    /// A resource's YAML.
    pub(super) async fn resource(&self, namespace: &str, kind: &str, id: &str) -> Result<String, Status> {
        let get = GetRequest { namespace: namespace.to_owned(), r#type: kind.to_owned(), id: id.to_owned(), options: None };
        let found = self.state().get(self.request(get)).await?.into_inner();
        Ok(found.resource.and_then(|resource| resource.spec).map(|spec| spec.yaml_spec).unwrap_or_default())
    }

    /// The YAML of all resources of a type.
    pub(super) async fn resources(&self, namespace: &str, kind: &str) -> Result<Vec<String>, Status> {
        let list = ListRequest { namespace: namespace.to_owned(), r#type: kind.to_owned(), options: None };
        let mut found = self.state().list(self.request(list)).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = found.message().await? {
            all.push(answer.resource.and_then(|resource| resource.spec).map(|spec| spec.yaml_spec).unwrap_or_default());
        }
        Ok(all)
    }
}

fn unusable(error: &dyn std::error::Error) -> Status {
    Status::internal(format!("make a certificate for apid: {}", daemon::report(error)))
}

/// What this node shows to the others.
fn certificate(config: &Config) -> Result<Identity, pki::Error> {
    let key = own_key(config).ok_or(pki::Error::KeyMismatch)?;
    let authority = Authority::from_pem(&config.machine_ca().cert_pem, key)?;
    let request = ClientRequest { common_name: None, organization: Role::Impersonator.as_str(), life: NODE_CERTIFICATE_LIFE };
    authority.issue_client(&request, SystemTime::now())
}
