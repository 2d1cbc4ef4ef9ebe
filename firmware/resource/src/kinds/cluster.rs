//! Namespace `cluster`: the node among others.

use std::net::IpAddr;

use super::config::Type;

/// The only id of [`IdentitySpec`].
pub const LOCAL: &str = "local";

crate::message! {
    /// Who the node is.
    pub struct IdentitySpec {
        /// Letters and digits that no other node has.
        1 node_id: String = "nodeId",
    }

    /// What a node says of itself to those that look for it.
    pub struct AffiliateSpec {
        /// Its id.
        1 node_id: String = "nodeId",
        /// Where it is reached, the most usual first.
        2 addresses: Vec<IpAddr> = "addresses",
        /// Its host name with its domain.
        3 hostname: String = "hostname",
        /// What Kubernetes calls it.
        4 nodename: String = "nodename" omitempty,
        /// Its system and the version of that.
        5 operating_system: String = "operatingSystem",
        /// What it is for.
        6 machine_type: Type = "machineType",
    }

    /// A node of the cluster.
    pub struct MemberSpec {
        /// Its id.
        1 node_id: String = "nodeId",
        /// Where it is reached, the most usual first.
        2 addresses: Vec<IpAddr> = "addresses",
        /// Its host name with its domain.
        3 hostname: String = "hostname",
        /// What it is for.
        4 machine_type: Type = "machineType",
        /// Its system and the version of that.
        5 operating_system: String = "operatingSystem",
    }
}

kinds! {
    AffiliateSpec: "Affiliates.cluster.talos.dev" in "cluster", [],
        ["Hostname" = "{.hostname}", "Machine Type" = "{.machineType}", "Addresses" = "{.addresses}"];
    IdentitySpec: "Identities.cluster.talos.dev" in "cluster", [], ["ID" = "{.nodeId}"];
    MemberSpec: "Members.cluster.talos.dev" in "cluster", [],
        ["Hostname" = "{.hostname}", "Machine Type" = "{.machineType}", "OS" = "{.operatingSystem}", "Addresses" = "{.addresses}"];
}
