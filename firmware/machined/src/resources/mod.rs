//! What the node knows about itself, as the resources that generic clients read.
//!
//! [`Resources`] is empty until it is first asked for or the API has had its first answers: boot has no time for it.
//! Then a reconciler a subject writes down what [`crate::node`] says: [`mirror`] drives them, `network`, `runtime`,
//! `config`, `block`, `cluster`, `meta` say what becomes of a subject (pure); `specs` does so for what is wanted of the network. [`listener`] drives those that read the kernel when it speaks
//! (`disks`, `modules`); [`kernel`] does so for links, addresses and routes.

mod block;
mod cluster;
mod config;
mod disks;
mod dns;
mod firewall;
pub(crate) mod kernel;
mod listener;
mod meta;
mod mirror;
mod modules;
mod network;
mod params;
mod runtime;
mod secrets;
mod specs;
mod time;

use std::{sync::OnceLock, time::Duration};

use reconcile::{GraphError, Runtime, Store};
use resource::{Limits, StateError, kinds};

use crate::node::Node;

/// Longest wait of a caller for what is still to be written down.
const SETTLE: Duration = Duration::from_secs(5);

/// The resources and what fills them.
#[derive(Debug, Default)]
pub struct Resources(OnceLock<Runtime>);

/// A mistake in the program.
#[derive(Debug, thiserror::Error)]
enum FillError {
    /// Reconcilers that do not fit together.
    #[error("start the reconcilers")]
    Graph(#[from] GraphError),
    /// A type that is listed twice.
    #[error("describe the types of resources")]
    State(#[from] StateError),
}

impl Resources {
    /// Starts to fill them, once.
    pub fn start(&self, node: &Node) -> &Runtime {
        self.0.get_or_init(|| {
            let (epoch, _) = uuid::Uuid::new_v4().as_u64_pair();
            let store = Store::new(epoch, Limits::default());
            let mut runtime = Runtime::new(store, node.tasks.clone(), node.stop.clone());
            if let Err(error) = fill(&mut runtime, node) {
                log::error!(target: "resources", "{}", daemon::report(&error));
            }
            runtime
        })
    }

    /// The same, once everything that is known by now is written down.
    pub async fn settled(&self, node: &Node) -> &Runtime {
        let runtime = self.start(node);
        if tokio::time::timeout(SETTLE, runtime.settled()).await.is_err() {
            log::warn!(target: "resources", "not all reconcilers have had their first turn in {} s", SETTLE.as_secs());
        }
        runtime
    }
}

fn fill(runtime: &mut Runtime, node: &Node) -> Result<(), FillError> {
    runtime.store().describe(kinds::all())?;
    runtime.add(runtime::Boot)?;
    runtime.add(runtime::machine(node))?;
    runtime.add(runtime::platform(node))?;
    runtime.add(runtime::services(node))?;
    runtime.add(network::status(node))?;
    runtime.add(network::addresses(node))?;
    runtime.add(specs::reconciler(node))?;
    runtime.add(dns::reconciler(node))?;
    runtime.add(kernel::KernelNetwork::default())?;
    runtime.add(config::reconciler(node))?;
    runtime.add(block::reconciler(node))?;
    runtime.add(cluster::identity(node))?;
    runtime.add(cluster::Members::new(node))?;
    runtime.add(meta::reconciler(node))?;
    runtime.add(firewall::reconciler(node))?;
    runtime.add(params::reconciler(node))?;
    runtime.add(secrets::reconciler(node))?;
    runtime.add(secrets::api(node))?;
    runtime.add(time::reconciler(node))?;
    runtime.add(modules::reconciler())?;
    Ok(runtime.add(disks::reconciler())?)
}

#[cfg(test)]
mod tests;
