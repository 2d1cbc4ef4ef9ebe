//! Meanings that types cannot say.

use std::collections::BTreeMap;

use super::{Link, LinkKind, Network, Which};
use crate::{Problems, take::Taker};

/// Most links of a configuration.
const MOST_LINKS: usize = 1024;

/// The kernel's limits of a link's name (`IFNAMSIZ`, `dev_valid_name`).
#[must_use]
pub fn is_link_name(name: &str) -> bool {
    (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

impl Taker {
    pub(super) fn check_network(&mut self, network: &Network) {
        if network.links.len() > MOST_LINKS {
            let text = format!("{} links are described; at most {MOST_LINKS} are taken", network.links.len());
            self.problems.add(0, "", text);
            return;
        }
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for link in &network.links {
            let line = link.line;
            let name = label(link);
            check_link(link, line, &name, &mut self.problems);
            for port in &link.ports {
                let Some(port) = port.name() else { continue };
                if link.which.name() == Some(port) {
                    self.problems.add(line, &name, "this link cannot be part of itself");
                }
                if let Some(owner) = owners.insert(port.to_owned(), name.clone()).filter(|owner| *owner != name) {
                    self.problems.add(line, &name, format!("{port:?} is part of {owner} already"));
                }
            }
        }
        if turns_back(network) {
            self.problems.add(0, "", "links stand on each other in a circle");
        }
    }
}

fn check_link(link: &Link, line: usize, name: &str, problems: &mut Problems) {
    // That a name is required is said elsewhere.
    if let Some(given) = link.which.name().filter(|name| !name.is_empty())
        && !is_link_name(given)
    {
        let short: String = given.chars().take(40).collect();
        problems.add(line, name, format!("{short:?} is not a link name (1 to 15 characters, no space, slash or colon)"));
    }
    for route in &link.routes {
        let families = [route.network.map(|net| net.addr()), route.gateway, route.source].into_iter().flatten();
        let mut four: Vec<bool> = families.map(|address| address.is_ipv4()).collect();
        four.dedup();
        match four.len() {
            0 => problems.add(line, format!("{name}.routes"), "a route needs a network or a gateway"),
            1 if route.network.is_none() && route.gateway.is_none() => {
                problems.add(line, format!("{name}.routes"), "a route needs a network or a gateway");
            }
            1 => {}
            _ => problems.add(line, format!("{name}.routes"), "network, gateway and source are of different families"),
        }
    }
}

fn label(link: &Link) -> String {
    match &link.which {
        Which::Named(name) => format!("link {:?}", name.chars().take(40).collect::<String>()),
        Which::Matching(_) => "machine.network.interfaces".to_owned(),
    }
}

/// Whether a link stands on itself, over parents and ports. A link stands on few others, so each is followed to the ground.
fn turns_back(network: &Network) -> bool {
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for link in &network.links {
        let Some(name) = link.which.name() else { continue };
        let own = below.entry(name).or_default();
        own.extend(link.ports.iter().filter_map(Which::name));
        if let LinkKind::Vlan { parent, .. } = &link.kind {
            own.extend(parent.name());
        }
    }
    // Links on the ground are taken away until none is left or the rest is a circle.
    loop {
        let free: Vec<&str> = below.iter().filter(|(_, on)| on.iter().all(|one| !below.contains_key(one))).map(|(name, _)| *name).collect();
        if free.is_empty() {
            return !below.is_empty();
        }
        for name in free {
            below.remove(name);
        }
    }
}
