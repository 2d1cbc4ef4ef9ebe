//! Namespace `cluster`: the node among others.

/// The only id of [`IdentitySpec`].
pub const LOCAL: &str = "local";

crate::message! {
    /// Who the node is.
    pub struct IdentitySpec {
        /// Letters and digits that no other node has.
        1 node_id: String = "nodeId",
    }
}

kinds! {
    IdentitySpec: "Identities.cluster.talos.dev" in "cluster", [], ["ID" = "{.nodeId}"];
}
