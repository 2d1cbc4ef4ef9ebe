//! The kernel's parameters and modules.
//!
//! - [`start`] runs it: one task that follows the configuration, writes what differs and puts back what nobody wants any more.
//! - [`plan`] decides, as functions of values; [`defaults`] is what every node has.
//!
//! A parameter that the kernel does not know is told by name, and the others are set all the same. A module stays loaded when its
//! entry goes: unloading is not worth a kernel that crashes.

pub mod defaults;
mod manager;
pub mod plan;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use machine_config::KernelModule;

use crate::node::Node;

/// What is known of parameters and modules: written by the one task here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamStatus {
    /// The configuration has been followed for the first time.
    pub settled: bool,
    /// What the configuration wants, by id (`proc.sys.net.ipv4.ip_forward`).
    pub wanted: BTreeMap<String, String>,
    /// What there is.
    pub params: BTreeMap<String, Param>,
    /// Modules of the configuration.
    pub modules: Vec<KernelModule>,
    /// What went wrong, by id.
    pub problems: BTreeMap<String, String>,
}

/// A parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Param {
    /// Its value after it was set.
    pub current: String,
    /// Its value before the node touched it.
    pub original: String,
    /// The kernel has no such parameter.
    pub unsupported: bool,
}

/// Where parameters are; tests put their own.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

impl Root {
    fn path(&self, id: &str) -> PathBuf {
        self.0.join(Path::new(id).strip_prefix("/").unwrap_or(Path::new(id)))
    }
}

/// What loads modules.
pub trait Loader: Send + Sync + 'static {
    /// Loads a module with its parameters, and what it needs; `false` when it is loaded already. May block.
    ///
    /// # Errors
    /// Why not, for people.
    fn load(&self, module: &KernelModule) -> Result<bool, String>;
}

/// The kernel.
#[derive(Clone, Copy, Debug)]
struct Kernel;

impl Loader for Kernel {
    fn load(&self, module: &KernelModule) -> Result<bool, String> {
        let load = || linux::modules::Modules::of_this_kernel()?.load_with(&module.name, &module.parameters.join(" "));
        load().map_err(|error| daemon::report(&error).to_string())
    }
}

/// Keeps parameters and modules as wanted until the node goes down; returns at once.
pub fn start(node: &Arc<Node>) {
    start_with(node, Root("/".into()), Kernel);
}

/// As [`start`], elsewhere.
pub fn start_with(node: &Arc<Node>, root: Root, loader: impl Loader) {
    let work = manager::run(Arc::clone(node), root, Arc::new(loader));
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(work));
}
