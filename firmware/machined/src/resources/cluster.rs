//! The node among others, as resources.

use reconcile::Output;
use resource::kinds::cluster::{IdentitySpec, LOCAL};

use super::mirror::Mirror;
use crate::node::{IdentityStatus, Node};

pub(super) fn identity(node: &Node) -> Mirror<IdentityStatus> {
    Mirror::new("cluster.identity", &node.identity, vec![Output::exclusive::<IdentitySpec>()], |identity, context| {
        context.keep(identity.id.as_ref().map(|id| (LOCAL.to_owned(), IdentitySpec { node_id: id.to_string() })))?;
        Ok(())
    })
}
