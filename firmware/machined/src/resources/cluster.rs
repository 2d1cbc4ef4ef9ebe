//! The node among others, as resources.

use std::net::IpAddr;

use reconcile::{Context, Declaration, Failure, Output, Reconciler, Task};
use resource::kinds::{
    cluster::{AffiliateSpec, IdentitySpec, LOCAL, MemberSpec},
    config::Type,
};
use tokio::sync::watch;

use super::{config::machine_type, mirror::Mirror};
use crate::{
    api::TAG,
    node::{ConfigStatus, IdentityStatus, NetworkStatus, Node},
};

pub(super) fn identity(node: &Node) -> Mirror<IdentityStatus> {
    Mirror::new("cluster.identity", &node.identity, vec![Output::exclusive::<IdentitySpec>()], |identity, context| {
        context.keep(identity.id.as_ref().map(|id| (LOCAL.to_owned(), IdentitySpec { node_id: id.to_string() })))?;
        Ok(())
    })
}

/// Writes down the members of the cluster: this node, and no other as long as nodes do not discover one another.
pub(super) struct Members {
    identity: watch::Receiver<IdentityStatus>,
    network: watch::Receiver<NetworkStatus>,
    config: watch::Receiver<ConfigStatus>,
}

impl Members {
    pub(super) fn new(node: &Node) -> Self {
        Self { identity: node.identity.subscribe(), network: node.network.subscribe(), config: node.config.subscribe() }
    }
}

impl Reconciler for Members {
    fn declaration(&self) -> Declaration {
        let outputs = vec![Output::exclusive::<AffiliateSpec>(), Output::exclusive::<MemberSpec>()];
        Declaration { name: "cluster.members", inputs: Vec::new(), outputs }
    }

    fn stirred(&mut self) -> Task<'_, ()> {
        Box::pin(async {
            let open = tokio::select! {
                open = self.identity.changed() => open,
                open = self.network.changed() => open,
                open = self.config.changed() => open,
            };
            if open.is_err() {
                // The node is gone, and this with it.
                std::future::pending::<()>().await;
            }
        })
    }

    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
        Box::pin(async {
            let machine = machine_type(&self.config.borrow_and_update()).0;
            let own = affiliate(&self.identity.borrow_and_update(), &self.network.borrow_and_update(), machine);
            context.keep(own.as_ref().map(|(id, own)| (id.clone(), member(own))))?;
            context.keep(own.map(|(_, own)| (own.node_id.clone(), own)))?;
            Ok(())
        })
    }
}

/// What this node says of itself, and its name as a member. A node that has no configuration belongs to no cluster, and one without
/// an identity or a name cannot be told from others. There is no API server here whose port it could tell, and no name in Kubernetes.
fn affiliate(identity: &IdentityStatus, network: &NetworkStatus, machine_type: Type) -> Option<(String, AffiliateSpec)> {
    let node_id = identity.id.as_ref()?.to_string();
    if machine_type == Type::Unknown || network.hostname.is_empty() {
        return None;
    }
    let own = |address: &IpAddr| !network.kubernetes.iter().any(|range| range.contains(address));
    let domain = Some(&network.domain).filter(|domain| !domain.is_empty());
    let hostname = domain.map_or_else(|| network.hostname.clone(), |domain| format!("{}.{domain}", network.hostname));
    let spec = AffiliateSpec {
        node_id,
        addresses: network.addresses().filter(own).collect(),
        hostname,
        nodename: String::new(),
        operating_system: format!("Keelson ({TAG})"),
        machine_type,
    };
    Some((network.hostname.clone(), spec))
}

fn member(affiliate: &AffiliateSpec) -> MemberSpec {
    let AffiliateSpec { node_id, addresses, hostname, operating_system, machine_type, .. } = affiliate.clone();
    MemberSpec { node_id, addresses, hostname, machine_type, operating_system }
}

#[cfg(test)]
mod tests {
    use resource::Value;

    use super::*;
    use crate::node::LinkStatus;

    #[test]
    fn a_member_has_a_name_an_identity_and_a_cluster() {
        let link = LinkStatus {
            name: "eth0".into(),
            mac: String::new(),
            up: true,
            addresses: ["10.0.2.15/24", "10.244.0.1/24"].map(|text| text.parse().expect("address")).into(),
            source: String::new(),
        };
        let network = NetworkStatus {
            hostname: "node-1".into(),
            domain: "lan".into(),
            kubernetes: vec!["10.244.0.0/16".parse().expect("range")],
            links: vec![link],
            ..NetworkStatus::default()
        };
        let id = crate::identity::NodeId::from_random([7; 32]);
        let identity = IdentityStatus { id: Some(id.clone()), settled: true };
        let (name, own) = affiliate(&identity, &network, Type::Worker).expect("a member");
        assert_eq!(name, "node-1");
        let yaml = member(&own).form().to_yaml().expect("yaml");
        let wanted =
            format!("nodeId: {id}\naddresses:\n- 10.0.2.15\nhostname: node-1.lan\nmachineType: worker\noperatingSystem: Keelson ({TAG})\n");
        assert_eq!(yaml, wanted);
        assert!(!own.form().to_yaml().expect("yaml").contains("nodename"));
        assert!(affiliate(&identity, &network, Type::Unknown).is_none(), "in maintenance");
        assert!(affiliate(&IdentityStatus::default(), &network, Type::Worker).is_none(), "without an identity");
        assert!(affiliate(&identity, &NetworkStatus { hostname: String::new(), ..network }, Type::Worker).is_none(), "without a name");
    }
}
