//! Which nodes a command is for, and one call for each of them in parallel.

use std::{future::Future, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;

use crate::Client;

use super::{
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

    /// The nodes. Fails when there is none, or nothing can be reached at all.
    pub async fn nodes(&self, insecure: &Insecure) -> Result<Vec<Node>> {
        if insecure.insecure {
            return self.insecure(insecure).await;
        }
        let path = store::path(self.global.talosconfig.as_deref())?;
        let config = store::load(&path)?;
        let (name, context) =
            config.get(self.global.context.as_deref()).with_context(|| format!("use the client configuration {}", path.display()))?;
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
    for (name, result) in join_all(calls).await {
        match result {
            Ok(value) => results.push((name, value)),
            Err(error) => {
                eprintln!("error from node {name}: {}", chain(&error));
                code = ExitCode::FAILURE;
            }
        }
    }
    (results, code)
}
