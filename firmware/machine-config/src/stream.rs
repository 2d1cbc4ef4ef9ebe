//! The documents of a stream: which is the main one, which kinds the others are, what may not be there twice.

use std::collections::HashMap;

use crate::{
    Problems, Warning,
    check::Checker,
    host, network,
    schema::Schema,
    tree::{self, Node},
};

/// Kinds of which each describes a link, so that one name may be in one of them only.
const LINKS: [&str; 8] =
    ["LinkConfig", "BondConfig", "BridgeConfig", "DummyLinkConfig", "VLANConfig", "VRFConfig", "VethConfig", "WireguardConfig"];

/// Kinds of which there is at most one and whose content is taken out.
pub(crate) const HOSTNAME: &str = "HostnameConfig";
pub(crate) const CLUSTER: &str = "KubeClusterConfig";
pub(crate) const IDENTITY: &str = "DiscoveryIdentityConfig";
const TAKEN: [&str; 3] = [HOSTNAME, CLUSTER, IDENTITY];

/// A stream whose documents are known and fit their schemas, as far as the problems do not say otherwise.
pub(crate) struct Stream {
    /// The document with `machine:` and `cluster:`.
    pub main: Option<Node>,
    /// Those of [`TAKEN`] that are there, by kind.
    pub documents: HashMap<String, Node>,
    /// Those of [`network::KINDS`] with their kinds, in the order of the text.
    pub network: Vec<(String, Node)>,
    /// Those of [`host::KINDS`], in the order of the text.
    pub host: Vec<Node>,
    pub problems: Problems,
    pub warnings: Vec<Warning>,
}

/// Reads and checks a stream.
pub(crate) fn read(text: &str) -> Stream {
    let mut problems = Problems::default();
    let documents = tree::read(text, &mut problems);
    let schema = Schema::load();
    let mut checker = Checker::new(&schema, problems);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let (mut main, mut taken, mut network, mut host) = (None, HashMap::new(), Vec::new(), Vec::new());
    for node in documents {
        let kind = node.get("kind").and_then(Node::text).unwrap_or_default().to_owned();
        let Some(identity) = document(&mut checker, &node, &kind) else { continue };
        if let Some(line) = seen.insert(identity.clone(), node.line) {
            checker.problems.add(node.line, "", format!("the {identity} is there already, on line {line}"));
        } else if node.get("kind").is_none() {
            main = Some(node);
        } else if TAKEN.contains(&kind.as_str()) {
            taken.insert(kind, node);
        } else {
            // One document may be of interest to both.
            if host::KINDS.contains(&kind.as_str()) {
                host.push(node.clone());
            }
            if network::KINDS.contains(&kind.as_str()) {
                network.push((kind, node));
            }
        }
    }
    Stream { main, documents: taken, network, host, problems: checker.problems, warnings: checker.warnings }
}

/// Checks one document; returns what it is, for finding doubles. `None` when it cannot be told what it is.
fn document(checker: &mut Checker<'_>, node: &Node, kind: &str) -> Option<String> {
    let schema = checker.schema;
    if !matches!(node.kind, tree::Kind::Map(_)) {
        checker.problems.add(node.line, "", "a document must be a section with fields");
        return None;
    }
    if node.get("kind").is_none() {
        let structure = schema.get("Config")?;
        checker.structure(node, structure, "", &["apiVersion"], true);
        return Some("main document".into());
    }
    let Some(structure) = schema.document(kind) else {
        let line = node.get("kind").map_or(node.line, |kind| kind.line);
        checker.problems.add(line, "kind", format!("there is no document of kind {:?}", kind.chars().take(80).collect::<String>()));
        return None;
    };
    match node.get("apiVersion") {
        None => checker.problems.add(node.line, "apiVersion", "this is required: v1alpha1"),
        Some(version) if version.text() != Some("v1alpha1") => {
            checker.problems.add(version.line, "apiVersion", "this must be v1alpha1");
        }
        Some(_) => {}
    }
    checker.structure(node, structure, kind, &["apiVersion", "kind"], structure.acted);
    if !structure.acted {
        checker.warn(node.line, kind, "this document is checked, but this version does not act on it");
    }
    let name = node.get("name").and_then(Node::text).unwrap_or_default();
    let short: String = name.chars().take(80).collect();
    Some(match (LINKS.contains(&kind), name) {
        (true, _) => format!("description of link {short:?}"),
        (false, "") => format!("{kind} document"),
        (false, _) => format!("{kind} document {short:?}"),
    })
}
