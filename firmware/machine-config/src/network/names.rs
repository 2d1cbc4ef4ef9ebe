//! Names, name servers, time servers.

use super::{ExtraHost, NameServer, NameServerProtocol, Network};
use crate::{
    take::{Taker, flag, text, texts},
    tree::Node,
};

impl Taker {
    /// `ResolverConfig`; the main document may not say the same things.
    pub(super) fn resolvers(&mut self, network: &mut Network, node: &Node) {
        let servers: Vec<NameServer> = self.each(node.get("nameservers"), "ResolverConfig.nameservers", |taker, node, path| {
            let address = taker.one(node.get("address"), &format!("{path}.address"), "an address")?;
            let protocol = match node.get("protocol").and_then(Node::text) {
                Some("DoT") => NameServerProtocol::Tls,
                Some("DoH") => NameServerProtocol::Https,
                _ => NameServerProtocol::Plain,
            };
            Some(NameServer { address, protocol, tls_name: text(node.get("tlsServerName")) })
        });
        if !servers.is_empty() {
            self.once(node, "ResolverConfig.nameservers", "machine.network.nameservers", network.name_servers.is_empty());
            network.name_servers = servers;
        }
        let search = node.get("searchDomains");
        let domains = texts(search.and_then(|search| search.get("domains")));
        if !domains.is_empty() {
            self.once(node, "ResolverConfig.searchDomains", "machine.network.searchDomains", network.search_domains.is_empty());
            network.search_domains = domains;
        }
        network.search_only |= flag(search.and_then(|search| search.get("disableDefault"))).unwrap_or(false);
    }

    fn once(&mut self, node: &Node, path: &str, older: &str, free: bool) {
        if !free {
            self.problems.add(node.line, path, format!("the main document sets {older} already: remove it there"));
        }
    }

    /// A static host is called by its address.
    pub(super) fn static_host(&mut self, node: &Node) -> Option<ExtraHost> {
        let ip = self.one(node.get("name"), "StaticHostConfig.name", "an address")?;
        Some(ExtraHost { ip, aliases: texts(node.get("hostnames")) })
    }

    pub(super) fn time_servers(network: &mut Network, node: &Node) {
        let Some(ntp) = node.get("ntp") else { return };
        let servers = texts(ntp.get("servers"));
        if !servers.is_empty() {
            network.time_servers = servers;
        }
        network.use_nts = flag(ntp.get("useNTS")).unwrap_or(false);
    }
}
