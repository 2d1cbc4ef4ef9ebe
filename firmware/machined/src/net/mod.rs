//! The network: links, addresses, routes, names.
//!
//! - [`start`] runs it all: one task that reads the kernel, decides and acts ([`manager`]), one DHCP client a link and family.
//! - [`layers`] says what each source wants, [`specs`] who wins, [`plan`] the steps from what the kernel has; [`bond`],
//!   [`cmdline`] and [`names`] are parts of that. All of them are functions of values.
//! - [`kernel`], [`tunnel`], [`changes`], [`dhcp`], [`dhcp6`] and [`clients`] touch the world.
//!
//! Absent so far: name servers from router announcements, a lease kept over a reboot (the address is: [`memory`]), virtual
//! addresses, settings of drivers.

mod bond;
pub(crate) mod changes;
mod clients;
pub mod cmdline;
mod cmdline_links;
pub mod dhcp;
pub mod dhcp6;
pub(crate) mod kernel;
pub mod layers;
mod manager;
pub(crate) mod memory;
pub mod model;
pub mod names;
pub mod plan;
pub mod specs;
pub(crate) mod tunnel;

use std::{path::PathBuf, sync::Arc};

use crate::node::Node;

/// Where the network reads and writes; tests put their own.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The kernel command line.
    pub cmdline: PathBuf,
    /// Links in sysfs: a link with a `device` here is physical.
    pub sys_net: PathBuf,
    /// Network settings of the kernel.
    pub proc_net: PathBuf,
    /// Folder of `resolv.conf` and `hosts`.
    pub etc: PathBuf,
    /// Folder of the `resolv.conf` that is for pods.
    pub pods: PathBuf,
    /// Where STATE is mounted, sooner or later: what outlives a reboot.
    pub state: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            cmdline: "/proc/cmdline".into(),
            sys_net: "/sys/class/net".into(),
            proc_net: "/proc/sys/net".into(),
            etc: "/run/etc".into(),
            pods: "/run/resolved".into(),
            state: "/system/state".into(),
        }
    }
}

/// Starts the network; returns at once. The tasks belong to `node.tasks` and end with `node.stop`; addresses stay.
/// Needs `/proc`, `/sys` and `/run`; of the disk only a memory that it waits for briefly: start it early.
pub fn start(node: &Arc<Node>) {
    start_with(node, Paths::default());
}

/// As [`start`], with other paths.
pub fn start_with(node: &Arc<Node>, paths: Paths) {
    node.tasks.spawn(manager::run(Arc::clone(node), paths));
}
