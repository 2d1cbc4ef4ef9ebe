//! What a platform says beside the configuration: `network-config` in its versions 1 and 2 and `meta-data` of NoCloud, and
//! the network that META holds for metal.
//!
//! The first formats are cloud-init's (its documentation, "Network configuration" and "NoCloud"), the last one is that of the
//! network's specs. What they say becomes the same [`Network`] that configurations become. A file with a problem is not used at all: half a network is worse than DHCP.
//! What is not acted on is a warning.

mod bond;
mod metadata;
mod specs;
mod v1;
mod v2;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

pub use metadata::{MetaData, meta_data};
pub use specs::platform_specs;

use super::{Address, ClientId, Dhcp, Link, NameServer, NameServerProtocol, Network, Which};
use crate::{
    Problem, Problems, scalar,
    take::{Taker, flag, number},
    tree::{self, Node},
};

/// Longest file, bytes.
const MOST_BYTES: usize = 256 << 10;
/// Most links of a file.
const MOST_LINKS: usize = 128;
/// Most addresses, routes, servers or the like in one place.
const MOST_ITEMS: usize = 256;

/// A `network-config`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// What it wants.
    pub network: Network,
    /// What it says that is not acted on.
    pub warnings: Vec<Problem>,
}

/// Reads a `network-config`.
///
/// # Errors
/// Everything that is wrong with it, each with its line.
pub fn network_config(text: &str) -> Result<NetworkConfig, Problems> {
    let mut reader = Reader::new();
    if let Some(root) = reader.document(text) {
        reader.root(&root);
    }
    reader.finish()
}

/// A file in the making.
struct Reader {
    taker: Taker,
    network: Network,
    /// What the file calls links that the kernel may call otherwise.
    called: BTreeMap<String, Which>,
    warnings: Vec<Problem>,
}

impl Reader {
    fn new() -> Self {
        Self { taker: Taker { problems: Problems::default() }, network: Network::default(), called: BTreeMap::new(), warnings: Vec::new() }
    }

    fn finish(self) -> Result<NetworkConfig, Problems> {
        let Self { mut taker, network, mut warnings, .. } = self;
        taker.check_network(&network);
        warnings.sort_by_key(|warning| warning.line);
        taker.problems.or(NetworkConfig { network, warnings })
    }

    /// The one document; `None` when there is none, or it is not one that can be read.
    fn document(&mut self, text: &str) -> Option<Node> {
        if text.len() > MOST_BYTES {
            self.taker.problems.add(0, "", format!("the text has {} bytes; at most {MOST_BYTES} are taken", text.len()));
            return None;
        }
        let mut documents = tree::read(text, &mut self.taker.problems).into_iter();
        let (first, second) = (documents.next()?, documents.next());
        if let Some(second) = second {
            self.problem(&second, "", "one document is expected");
        }
        if !matches!(first.kind, tree::Kind::Map(_)) {
            self.problem(&first, "", "this must be a map");
            return None;
        }
        Some(first)
    }

    fn root(&mut self, root: &Node) {
        // Some have all of it below one key.
        let node = root.get("network").unwrap_or(root);
        if node.get("config").and_then(Node::text) == Some("disabled") {
            return;
        }
        match node.get("version").and_then(Node::text) {
            Some("1") => self.version_1(node),
            Some("2") => self.version_2(node),
            _ => self.problem(node, "version", "this must be 1 or 2"),
        }
    }

    fn problem(&mut self, node: &Node, path: &str, text: impl Into<String>) {
        self.taker.problems.add(node.line, path, text);
    }

    fn warn(&mut self, line: usize, path: &str, text: impl Into<String>) {
        if self.warnings.len() < MOST_ITEMS {
            self.warnings.push(Problem { line, path: path.to_owned(), text: text.into() });
        }
    }

    /// Tells which keys of a map are not acted on.
    fn only(&mut self, node: &Node, path: &str, known: &[&str]) {
        for entry in node.entries() {
            if !known.contains(&entry.key.as_str()) {
                let key: String = entry.key.chars().take(40).collect();
                let dot = if path.is_empty() { "" } else { "." };
                self.warn(entry.line, &format!("{path}{dot}{key}"), "this is not acted on");
            }
        }
    }

    /// The items of a list, or the one value that stands in its place; none beyond what is sensible.
    fn items<'n>(&mut self, node: Option<&'n Node>, path: &str) -> Vec<&'n Node> {
        let Some(node) = node else { return Vec::new() };
        let items: Vec<&Node> = if node.text().is_some() { vec![node] } else { node.items().iter().collect() };
        if items.len() > MOST_ITEMS {
            self.problem(node, path, format!("there are {} of these; at most {MOST_ITEMS} are taken", items.len()));
            return Vec::new();
        }
        items
    }

    fn add(&mut self, link: Link, path: &str) {
        if self.network.links.len() < MOST_LINKS {
            self.network.links.push(link);
        } else if self.network.links.len() == MOST_LINKS {
            self.taker.problems.add(link.line, path, format!("at most {MOST_LINKS} links are taken"));
        }
    }

    /// Several links may name one server; each is asked once.
    fn name_servers(&mut self, servers: &[&Node], path: &str) {
        for node in servers {
            let Some(address) = self.taker.one::<IpAddr>(Some(node), path, "an address") else { continue };
            if !self.network.name_servers.iter().any(|server| server.address == address) {
                self.network.name_servers.push(NameServer { address, protocol: NameServerProtocol::Plain, tls_name: String::new() });
            }
        }
    }

    fn search_domains(&mut self, domains: &[&Node]) {
        for domain in domains.iter().filter_map(|node| node.text()) {
            if !self.network.search_domains.iter().any(|known| known == domain) {
                self.network.search_domains.push(domain.to_owned());
            }
        }
    }

    fn dhcp(&mut self, which: &Which, six: bool, overrides: Option<&Node>) {
        let option = |key: &str| overrides.and_then(|overrides| overrides.get(key));
        self.network.dhcp.push(Dhcp {
            which: which.clone(),
            six,
            metric: number(option("route-metric")).filter(|metric| *metric > 0),
            ignore_hostname: flag(option("use-hostname")) == Some(false),
            ignore_routes: flag(option("use-routes")) == Some(false),
            client_id: ClientId::Mac,
        });
    }

    /// An address with its prefix in the text or in a netmask beside it.
    fn net(&mut self, node: &Node, mask: Option<&Node>, path: &str) -> Option<IpNet> {
        let text = node.text()?;
        let found = match (text.parse::<IpNet>(), text.parse::<IpAddr>(), mask) {
            (Ok(net), ..) => Some(net),
            (Err(_), Ok(address), Some(mask)) => {
                mask.text().and_then(|mask| prefix(mask, address)).and_then(|bits| IpNet::new(address, bits).ok())
            }
            (Err(_), Ok(address), None) => Some(IpNet::from(address)),
            _ => None,
        };
        if found.is_none() {
            let shown: String = text.chars().take(60).collect();
            self.problem(node, path, format!("{shown:?} is not an address with its prefix (10.0.0.2/24)"));
        }
        found
    }

    fn address(&mut self, node: &Node, mask: Option<&Node>, path: &str) -> Option<Address> {
        Some(Address { net: self.net(node, mask, path)?, metric: None })
    }

    /// Whether a flag is on; what is none is a problem.
    fn on(&mut self, node: Option<&Node>, path: &str) -> bool {
        let Some(node) = node else { return false };
        node.text().and_then(scalar::boolean).unwrap_or_else(|| {
            self.problem(node, path, "this must be true or false");
            false
        })
    }
}

/// A netmask as bits or in the form of an address.
fn prefix(mask: &str, of: IpAddr) -> Option<u8> {
    if let Ok(bits) = mask.parse::<u8>() {
        return Some(bits);
    }
    let mask: IpAddr = mask.parse().ok()?;
    (mask.is_ipv4() == of.is_ipv4()).then(|| ipnet::ip_mask_to_prefix(mask).ok()).flatten()
}

#[cfg(test)]
mod tests;
