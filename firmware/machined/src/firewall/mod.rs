//! The firewall for what comes in.
//!
//! - [`start`] runs it: one task that follows the configuration and the node's addresses and gives the kernel the rules.
//! - [`rules`] decides what they are: a function of values. `linux::nft` speaks to the kernel.
//!
//! Services wait for the first [`FirewallStatus::settled`] before they listen. Why the table's name is not the reference's, and what
//! happens when the kernel refuses: `docs/decisions/0025-firewall.md`.

mod manager;
pub mod ranges;
pub mod rules;

use std::sync::Arc;

use linux::nft::{Chain, FilterError, Table};

use crate::node::Node;

/// What is known of the firewall: written by the one task here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirewallStatus {
    /// What the configuration wants has been tried: whoever listens from now on is as protected as can be.
    pub settled: bool,
    /// The chains in force.
    pub chains: Vec<Chain>,
    /// Why these are not the wanted ones.
    pub problem: Option<String>,
}

/// What takes rules.
pub trait Filter: Send + Sync + 'static {
    /// Replaces the table in one step. May block.
    ///
    /// # Errors
    /// When the rules are refused; the old ones hold.
    fn replace(&self, table: &Table) -> Result<(), FilterError>;
}

/// The kernel's packet filter.
#[derive(Clone, Copy, Debug)]
struct Kernel;

impl Filter for Kernel {
    fn replace(&self, table: &Table) -> Result<(), FilterError> {
        linux::nft::replace(table)
    }
}

/// Keeps the firewall as the configuration wants it, until the node goes down; returns at once.
pub fn start(node: &Arc<Node>) {
    start_with(node, Kernel);
}

/// As [`start`], with another filter.
pub fn start_with(node: &Arc<Node>, filter: impl Filter) {
    let work = manager::run(Arc::clone(node), Arc::new(filter));
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(work));
}
