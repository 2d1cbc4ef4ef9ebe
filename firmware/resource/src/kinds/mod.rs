//! The types of resources that the node fills, by subject.
//!
//! Names, numbers, columns and ids are those that clients speak (wire facts: `resource-types`, `resource-specs`). A type is
//! here as soon as something fills it: one that nobody fills is not registered, and clients are told so.

/// Says what clients must know of types: the message, its full name, its namespace, short names, columns, `sensitive` or `large`.
macro_rules! kinds {
    ($($spec:ty: $kind:literal in $namespace:literal, [$($alias:literal),*], [$($column:literal = $path:literal),*] $(, $mark:ident)?;)*) => {
        $(impl $crate::Kind for $spec {
            const DEFINITION: $crate::Definition = $crate::Definition {
                kind: $kind,
                namespace: $namespace,
                aliases: &[$($alias),*],
                columns: &[$($crate::Column { name: $column, path: $path }),*],
                sensitive: kinds!(@sensitive $($mark)?),
                large: kinds!(@large $($mark)?),
            };
        })*

        /// The types of this subject.
        pub(super) const REGISTERED: &[$crate::Registered] = &[$($crate::Registered::of::<$spec>()),*];
    };
    (@sensitive sensitive) => { true };
    (@sensitive $($other:ident)?) => { false };
    (@large large) => { true };
    (@large $($other:ident)?) => { false };
}

pub mod block;
pub mod cluster;
pub mod config;
pub mod firewall;
pub mod hardware;
pub mod meta;
pub mod network;
pub mod params;
pub mod runtime;
pub mod secrets;
pub mod time;
pub mod v1alpha1;

use crate::Registered;

/// Namespaces with what is in them. They exist whether anything is in them or not.
pub const NAMESPACES: &[(&str, &str)] = &[
    ("cluster", "Members of the cluster and how they are found."),
    ("cluster-raw", "What each source says of the cluster's members."),
    ("config", "The machine configuration."),
    ("containers", "Containers that the node runs by itself."),
    ("controlplane", "The Kubernetes control plane."),
    ("cri", "Settings of the container runtime."),
    ("etcd", "The etcd member."),
    ("files", "Files that the node writes."),
    ("hardware", "The machine's hardware."),
    ("k8s", "Kubernetes on every node."),
    ("kubespan", "The encrypted network between nodes."),
    ("meta", "Namespaces and types of resources."),
    ("network", "The network as it is and as it is to be."),
    ("network-config", "What each source wants of the network."),
    ("perf", "Counters."),
    ("runtime", "The node itself: boot, services, disks, volumes."),
    ("secrets", "Keys and certificates."),
    ("security", "Rules of security."),
    ("storage", "Groups of disks."),
];

/// Every type, by subject.
pub fn all() -> impl Iterator<Item = &'static Registered> {
    [
        meta::REGISTERED,
        block::REGISTERED,
        cluster::REGISTERED,
        config::REGISTERED,
        firewall::REGISTERED,
        hardware::REGISTERED,
        network::REGISTERED,
        params::REGISTERED,
        runtime::REGISTERED,
        secrets::REGISTERED,
        time::REGISTERED,
        v1alpha1::REGISTERED,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;
