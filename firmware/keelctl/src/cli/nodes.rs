//! Which nodes a command is for, and one call for each of them in parallel.

use std::{collections::BTreeSet, future::Future, process::ExitCode, time::SystemTime};

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;

use crate::Client;

use super::{
    advice,
    args::{Global, Insecure},
    chain, store,
};

/// Everything the user said about nodes.
#[derive(Debug)]
pub struct Fleet {
    global: Global,
}

/// A node with the connection to it; or why there is none.
pub struct Node {
    /// As the user named it.
    pub name: String,
    /// The connection.
    pub client: Result<Client>,
}

impl Fleet {
    pub const fn new(global: Global) -> Self {
        Self { global }
    }

    /// The global arguments.
    pub const fn global(&self) -> &Global {
        &self.global
    }

    /// Where connections of this command line go.
    pub fn endpoints(&self) -> Result<Vec<String>> {
        if !self.global.endpoints.is_empty() {
            return Ok(self.global.endpoints.clone());
        }
        let config = store::load(&store::path(self.global.talosconfig.as_deref())?)?;
        Ok(config.get(self.global.context.as_deref())?.1.endpoints.clone())
    }

    /// The nodes. Fails when there is none, or nothing can be reached at all.
    pub async fn nodes(&self, insecure: &Insecure) -> Result<Vec<Node>> {
        if insecure.insecure {
            return self.insecure(insecure).await;
        }
        let path = store::path(self.global.talosconfig.as_deref())?;
        let config = store::load(&path)?;
        if config.contexts.is_empty() {
            bail!(
                "there is no context in {}: `keelctl config merge FILE` adds those of a talosconfig, which `keelctl gen config` makes; \
                 a node without a configuration is reached with --insecure",
                path.display()
            );
        }
        let (name, context) =
            config.get(self.global.context.as_deref()).with_context(|| format!("use the client configuration {}", path.display()))?;
        warn_of_expiry(name, context);
        let nodes = if self.global.nodes.is_empty() { &context.nodes } else { &self.global.nodes };
        let endpoints = if self.global.endpoints.is_empty() { &context.endpoints } else { &self.global.endpoints };
        if endpoints.is_empty() && !nodes.is_empty() {
            let direct = nodes.iter().map(|node| async {
                let client = Client::connect(name, context, std::slice::from_ref(node)).await;
                Node { name: node.clone(), client: client.map_err(Into::into) }
            });
            return Ok(join_all(direct).await);
        }
        let client = Client::connect(name, context, endpoints).await?;
        if nodes.is_empty() {
            // A single endpoint is the node; among several it would be chance which one answers.
            if endpoints.len() > 1 {
                bail!("which node? give it with --nodes, or store a default with `keelctl config node ADDRESS`");
            }
            return Ok(vec![Node { name: client.address().host.clone(), client: Ok(client) }]);
        }
        let aimed = |node: &String| Node { name: node.clone(), client: client.for_node(node).map_err(Into::into) };
        Ok(nodes.iter().map(aimed).collect())
    }

    /// The one node of a command that makes sense for one only.
    pub async fn one(&self, command: &str) -> Result<(String, Client)> {
        let mut nodes = self.nodes(&Insecure::default()).await?;
        match (nodes.pop(), nodes.len()) {
            (Some(node), 0) => Ok((node.name, node.client?)),
            (_, others) => bail!("command {command:?} requires exactly one node (got {})", others + 1),
        }
    }

    async fn insecure(&self, insecure: &Insecure) -> Result<Vec<Node>> {
        let pin = insecure.cert_fingerprint.as_deref().map(str::parse).transpose().context("use --cert-fingerprint")?;
        let nodes = if self.global.nodes.is_empty() { &self.global.endpoints } else { &self.global.nodes };
        if nodes.is_empty() {
            bail!("which node? --insecure needs it: --nodes ADDRESS");
        }
        let connect = nodes.iter().map(|node| {
            let pin = pin.clone();
            async move {
                let client = Client::connect_insecure(node, pin).await;
                Node { name: node.clone(), client: client.map_err(Into::into) }
            }
        });
        Ok(join_all(connect).await)
    }
}

/// The node decides whether a certificate is good; this says early what its refusal will be about.
fn warn_of_expiry(name: &str, context: &pki::Context) {
    let expires = context.identity(name).and_then(|identity| pki::read_chain(&identity.cert_pem)).ok();
    let expires = expires.and_then(|chain| pki::expires(chain.first()?).ok());
    if let Some(expires) = expires.filter(|expires| *expires < SystemTime::now()) {
        let when = jiff::Timestamp::try_from(expires).map(|time| time.to_string()).unwrap_or_default();
        eprintln!(
            "WARNING: the client certificate of context {name:?} has expired ({when}), or this machine's clock is wrong; \
             make a new one with `keelctl config new` where a valid one is"
        );
    }
}

/// Makes a call on every node at once. Results in the order of the nodes; failures go to standard error, one line
/// a node, and make the exit code.
pub async fn each<T, F, Fut>(nodes: Vec<Node>, call: F) -> (Vec<(String, T)>, ExitCode)
where
    F: Fn(String, Client) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let calls = nodes.into_iter().map(|Node { name, client }| {
        let call = &call;
        async move {
            let result = match client {
                Ok(client) => call(name.clone(), client).await,
                Err(error) => Err(error),
            };
            (name, result)
        }
    });
    let mut code = ExitCode::SUCCESS;
    let mut results = Vec::new();
    // Ten nodes with one trouble need one way out of it.
    let mut ways = BTreeSet::new();
    for (name, result) in join_all(calls).await {
        match result {
            Ok(value) => results.push((name, value)),
            Err(error) => {
                eprintln!("error from node {name}: {}", chain(&error));
                ways.extend(advice::advice(&error));
                code = ExitCode::FAILURE;
            }
        }
    }
    ways.iter().for_each(|way| eprintln!("hint: {way}"));
    (results, code)
}
