//! The documents of a stream: which is the main one, which kinds the others are, what may not be there twice.

use std::collections::HashMap;

use crate::{
    Problems, Warning,
    check::Checker,
    schema::Schema,
    tree::{self, Node},
};

/// Kinds of which each describes a link, so that one name may be in one of them only.
const LINKS: [&str; 8] =
    ["LinkConfig", "BondConfig", "BridgeConfig", "DummyLinkConfig", "VLANConfig", "VRFConfig", "VethConfig", "WireguardConfig"];

/// Kinds of which only one may have a name.
const EXCLUSIVE: [&[&str]; 2] = [&["UserVolumeConfig", "ExistingVolumeConfig"], &["Layer2VIPConfig", "HCloudVIPConfig"]];

/// A stream whose documents are known and fit their schemas, as far as the problems do not say otherwise.
pub(crate) struct Stream {
    pub documents: Vec<Document>,
    pub problems: Problems,
    pub warnings: Vec<Warning>,
}

impl Stream {
    /// The document with `machine:` and `cluster:`.
    pub fn main(&self) -> Option<&Node> {
        self.of_kind("").next()
    }

    /// The documents of some kinds, in the order of the text.
    pub fn among<'a>(&'a self, kinds: &[&str]) -> Vec<&'a Document> {
        self.documents.iter().filter(|document| kinds.contains(&document.kind.as_str())).collect()
    }

    /// The documents of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Node> {
        self.documents.iter().filter(move |document| document.kind == kind).map(|document| &document.node)
    }
}

/// A document and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Empty for the main document.
    pub kind: String,
    pub node: Node,
}

impl Document {
    /// Kind and name: what a patch is matched by, and what may be there once only.
    pub fn identity(&self) -> String {
        identity(&self.kind, self.name())
    }

    fn name(&self) -> &str {
        self.node.get("name").and_then(Node::text).unwrap_or_default()
    }

    /// The links that it describes.
    fn links(&self) -> impl Iterator<Item = &Node> {
        let own = LINKS.contains(&self.kind.as_str()).then(|| self.node.get("name")).flatten();
        let peer = (self.kind == "VethConfig").then(|| self.node.get("peer").and_then(|peer| peer.get("name"))).flatten();
        own.into_iter().chain(peer)
    }
}

fn identity(kind: &str, name: &str) -> String {
    match (kind, name) {
        ("", _) => "main document".to_owned(),
        (kind, "") => format!("{kind} document"),
        (kind, name) => format!("{kind} document {name:?}"),
    }
}

/// Reads and checks a stream.
pub(crate) fn read(text: &str) -> Stream {
    let mut problems = Problems::default();
    let nodes = tree::read(text, &mut problems);
    let schema = Schema::load();
    let mut checker = Checker::new(&schema, problems);
    let documents = identify(&mut checker, nodes);
    refuse_doubles(&documents, &mut checker.problems);
    let (problems, warnings) = checker.done();
    Stream { documents, problems, warnings }
}

/// The documents that it can be told of what they are, each checked against its schema.
pub(crate) fn identify(checker: &mut Checker<'_>, nodes: Vec<Node>) -> Vec<Document> {
    nodes.into_iter().filter_map(|node| document(checker, node)).collect()
}

fn document(checker: &mut Checker<'_>, node: Node) -> Option<Document> {
    let schema = checker.schema;
    if !matches!(node.kind, tree::Kind::Map(_)) {
        checker.problems.add(node.line, "", "a document must be a section with fields");
        return None;
    }
    let Some(kind) = node.get("kind") else {
        let structure = schema.get("Config")?;
        if !checker.deletes(&node) {
            checker.structure(&node, structure, "", &["apiVersion"], true);
        }
        return Some(Document { kind: String::new(), node });
    };
    let given = kind.text().unwrap_or_default();
    let Some(structure) = schema.document(given) else {
        checker.problems.add(kind.line, "kind", format!("there is no document of kind {:?}", given.chars().take(80).collect::<String>()));
        return None;
    };
    match node.get("apiVersion") {
        None => checker.problems.add(node.line, "apiVersion", "this is required: v1alpha1"),
        Some(version) if version.text() != Some("v1alpha1") => {
            checker.problems.add(version.line, "apiVersion", "this must be v1alpha1");
        }
        Some(_) => {}
    }
    if !checker.deletes(&node) {
        checker.structure(&node, structure, given, &["apiVersion", "kind"], structure.acted);
    }
    if !structure.acted {
        checker.warn(node.line, given, "this document is checked, but this version does not act on it");
    }
    Some(Document { kind: given.to_owned(), node })
}

/// Nothing may be described twice.
pub(crate) fn refuse_doubles(documents: &[Document], problems: &mut Problems) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut links: HashMap<&str, usize> = HashMap::new();
    for document in documents {
        let line = document.node.line;
        let own = document.identity();
        if let Some(first) = seen.get(&own) {
            let short: String = own.chars().take(160).collect();
            problems.add(line, "", format!("the {short} is there already, on line {first}"));
            continue;
        }
        seen.insert(own, line);
        for link in document.links() {
            let Some(name) = link.text().filter(|name| !name.is_empty()) else { continue };
            if let Some(first) = links.get(name) {
                let short: String = name.chars().take(80).collect();
                problems.add(link.line, format!("{}.name", document.kind), format!("link {short:?} is described already, on line {first}"));
            } else {
                links.insert(name, link.line);
            }
        }
        for others in EXCLUSIVE.iter().filter(|kinds| kinds.contains(&document.kind.as_str())) {
            for kind in others.iter().filter(|kind| **kind != document.kind) {
                if let Some(first) = seen.get(&identity(kind, document.name())) {
                    let short: String = document.name().chars().take(80).collect();
                    problems.add(
                        line,
                        "",
                        format!("a {kind} document named {short:?} is there already, on line {first}: only one of them may be"),
                    );
                }
            }
        }
    }
}
