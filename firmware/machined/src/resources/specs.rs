//! What is wanted of the network, as resources: by layer in one namespace, what won in the types' own.

use std::{collections::BTreeMap, net::IpAddr};

use reconcile::{Context, ContextError, Output};
use resource::{
    Kind,
    kinds::network::{
        AddressSpecSpec, HOSTNAME, HostnameSpecSpec, LAYERS, LinkAliasSpecSpec, LinkSpecSpec, OperatorSpecSpec, RESOLVERS,
        ResolverSpecSpec, RouteSpecSpec, RoutingRuleSpecSpec, StaticHostSpec, TIME_SERVERS, TimeServerSpecSpec, TimeServerStatusSpec,
    },
};

use super::mirror::Mirror;
use crate::{
    net::specs::{Layered, Merged, Specs},
    node::{NetworkSpecs, Node},
};

pub(super) fn reconciler(node: &Node) -> Mirror<NetworkSpecs> {
    let mut outputs =
        vec![Output::exclusive::<LinkAliasSpecSpec>(), Output::exclusive::<StaticHostSpec>(), Output::exclusive::<TimeServerStatusSpec>()];
    outputs.extend(both::<LinkSpecSpec>());
    outputs.extend(both::<AddressSpecSpec>());
    outputs.extend(both::<RouteSpecSpec>());
    outputs.extend(both::<RoutingRuleSpecSpec>());
    outputs.extend(both::<HostnameSpecSpec>());
    outputs.extend(both::<ResolverSpecSpec>());
    outputs.extend(both::<TimeServerSpecSpec>());
    outputs.extend(both::<OperatorSpecSpec>());
    Mirror::new("network.specs", &node.network_specs, outputs, |NetworkSpecs { specs, merged }, context| {
        layers(specs, context)?;
        winners(merged, context)?;
        context.keep(specs.aliases.iter().map(|(alias, name)| (name.clone(), LinkAliasSpecSpec { alias: alias.clone() })))?;
        context.keep(hosts(&specs.hosts))?;
        let TimeServerSpecSpec { ntp_servers, use_nts, .. } = merged.time_servers.clone();
        context.keep([(TIME_SERVERS.to_owned(), TimeServerStatusSpec { ntp_servers, use_nts })])?;
        Ok(())
    })
}

/// A type in both namespaces.
fn both<K: Kind>() -> [Output; 2] {
    [Output::exclusive::<K>(), Output::exclusive::<K>().within(LAYERS)]
}

fn layers(specs: &Specs, context: &Context) -> Result<(), ContextError> {
    context.keep_within(LAYERS, by_layer(&specs.links))?;
    context.keep_within(LAYERS, by_layer(&specs.addresses))?;
    context.keep_within(LAYERS, by_layer(&specs.routes))?;
    context.keep_within(LAYERS, by_layer(&specs.rules))?;
    context.keep_within(LAYERS, by_layer(&specs.hostnames))?;
    context.keep_within(LAYERS, by_layer(&specs.resolvers))?;
    context.keep_within(LAYERS, by_layer(&specs.time_servers))?;
    context.keep_within(LAYERS, by_layer(&specs.operators))?;
    Ok(())
}

/// `LAYER/ID`. Within a layer the later one of an id holds, as when layers are merged.
fn by_layer<T: Layered>(specs: &[T]) -> BTreeMap<String, T> {
    specs.iter().map(|spec| (format!("{}/{}", spec.layer().as_str(), spec.id()), spec.clone())).collect()
}

fn winners(merged: &Merged, context: &Context) -> Result<(), ContextError> {
    context.keep(merged.links.clone())?;
    context.keep(merged.addresses.clone())?;
    context.keep(merged.routes.clone())?;
    context.keep(merged.rules.clone())?;
    context.keep(merged.operators.clone())?;
    let named = !merged.hostname.hostname.is_empty();
    context.keep(named.then(|| (HOSTNAME.to_owned(), merged.hostname.clone())))?;
    context.keep([(RESOLVERS.to_owned(), merged.resolvers.clone())])?;
    context.keep([(TIME_SERVERS.to_owned(), merged.time_servers.clone())])?;
    Ok(())
}

/// By name: a name may have several addresses.
fn hosts(hosts: &[(IpAddr, Vec<String>)]) -> BTreeMap<String, StaticHostSpec> {
    let mut all: BTreeMap<String, StaticHostSpec> = BTreeMap::new();
    for (address, names) in hosts {
        for name in names {
            all.entry(name.clone()).or_default().addresses.push(*address);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::specs::merge;

    #[test]
    fn layers_are_in_the_ids() {
        use resource::kinds::network::ConfigLayer;
        let spec = |layer, name: &str| HostnameSpecSpec { hostname: name.into(), domainname: String::new(), layer };
        let specs = [spec(ConfigLayer::Default, "a"), spec(ConfigLayer::Configuration, "b")];
        let ids: Vec<_> = by_layer(&specs).into_keys().collect();
        assert_eq!(ids, ["configuration/hostname", "default/hostname"]);
        assert_eq!(merge(&specs)["hostname"].hostname, "b");
    }

    #[test]
    fn a_host_has_all_its_addresses() {
        let [four, six]: [IpAddr; 2] = ["10.0.0.9", "fd00::9"].map(|text| text.parse().unwrap());
        let all = hosts(&[(four, vec!["db".into(), "db.lan".into()]), (six, vec!["db".into()])]);
        assert_eq!((all["db"].addresses.as_slice(), all["db.lan"].addresses.len()), ([four, six].as_slice(), 1));
    }
}
