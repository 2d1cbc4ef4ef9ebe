//! Merging documents into those that are there.
//!
//! Documents are matched by kind and name, those without a match are added. Then field by field: a scalar replaces
//! (nothing, an empty text and the number zero mean "not given" and leave what is there, but false replaces), sections
//! merge by key, lists append. Where the schema says so, a field is replaced whole, or elements of a list are matched
//! by what tells them apart. `$patch: delete` in a document, section or element takes it away; that there was none is
//! no error.

use std::collections::HashMap;

use crate::{
    Problems, check, scalar,
    schema::{Field, Schema, Type},
    stream::Document,
    tree::{Entry, Kind, Node},
};

/// The key of an instruction to this merge, and the only one there is.
const INSTRUCTION: &str = "$patch";
/// Whether a section says that what it stands for goes.
pub(crate) fn is_delete(node: &Node) -> bool {
    node.get(INSTRUCTION).and_then(Node::text) == Some("delete")
}

/// Merges `changes` into `documents`.
pub(super) fn apply(documents: &mut Vec<Document>, changes: &[Document]) -> Result<(), Problems> {
    let schema = Schema::load();
    let mut merger = Merger { schema: &schema, problems: Problems::default() };
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, document) in documents.iter().enumerate() {
        places.insert(document.identity(), at);
    }
    for change in changes {
        let found = places.get(&change.identity()).copied();
        match (found, is_delete(&change.node)) {
            (_, true) if change.kind.is_empty() => {
                merger.problems.add(change.node.line, INSTRUCTION, "the main document cannot be deleted");
            }
            (Some(at), true) => {
                documents.remove(at);
                places.clear();
                places.extend(documents.iter().enumerate().map(|(at, document)| (document.identity(), at)));
            }
            (None, true) => {}
            (Some(at), false) => {
                if let Some(document) = documents.get_mut(at) {
                    merger.document(document, change);
                }
            }
            (None, false) => {
                if let Some(document) = merger.fresh(change) {
                    places.insert(document.identity(), documents.len());
                    documents.push(document);
                }
            }
        }
    }
    merger.problems.or(())
}

struct Merger<'a> {
    schema: &'a Schema,
    problems: Problems,
}

/// How a value is merged: its type, and what the field that holds it is marked with.
#[derive(Clone, Copy)]
struct Rule<'a> {
    kind: &'a Type,
    whole: bool,
    zero: bool,
    keys: &'a [&'static str],
}

impl<'a> Rule<'a> {
    fn of(field: &'a Field) -> Self {
        Self { kind: &field.kind, whole: field.whole, zero: field.zero, keys: &field.keys }
    }

    const fn plain(kind: &'a Type) -> Self {
        Self { kind, whole: false, zero: false, keys: &[] }
    }
}

impl Merger<'_> {
    fn document(&mut self, document: &mut Document, change: &Document) {
        let schema = self.schema;
        let name = if document.kind.is_empty() { "Config".to_owned() } else { format!("kind {}", document.kind) };
        let Some(structure) = schema.get(&name) else { return };
        for entry in change.node.entries() {
            if ["apiVersion", "kind"].contains(&entry.key.as_str()) {
                continue;
            }
            let Some(field) = structure.fields.iter().find(|field| field.name == entry.key) else { continue };
            self.entry(&mut document.node, entry, Rule::of(field), &check::join(&document.kind, &entry.key));
        }
    }

    /// A document that was not there, without what it deletes; `None` when it has nothing but deletions.
    fn fresh(&mut self, change: &Document) -> Option<Document> {
        let node = stripped(&change.node)?;
        let only_named = node.entries().iter().all(|entry| ["apiVersion", "kind", "name"].contains(&entry.key.as_str()));
        let deletes = node.entries().len() != change.node.entries().len();
        (!(only_named && deletes)).then(|| Document { kind: change.kind.clone(), node })
    }

    /// One entry of a section of the patch into a section of the configuration.
    fn entry(&mut self, base: &mut Node, change: &Entry, rule: Rule<'_>, path: &str) {
        let Kind::Map(entries) = &mut base.kind else { return };
        if is_delete(&change.value) {
            entries.retain(|entry| entry.key != change.key);
            return;
        }
        match entries.iter_mut().find(|entry| entry.key == change.key) {
            Some(entry) if !entry.value.is_null() => self.value(&mut entry.value, &change.value, rule, path),
            found => {
                let Some(value) = stripped(&change.value) else { return };
                match found {
                    Some(entry) => entry.value = value,
                    None => entries.push(Entry { key: change.key.clone(), line: change.line, value }),
                }
            }
        }
    }

    fn value(&mut self, base: &mut Node, change: &Node, rule: Rule<'_>, path: &str) {
        if change.is_null() {
            return;
        }
        if rule.whole && rule.keys.is_empty() {
            if let Some(value) = stripped(change) {
                *base = value;
            }
            return;
        }
        match (rule.kind, &change.kind) {
            (Type::Struct(name), Kind::Map(entries)) => self.structure(base, entries, name, path),
            (Type::Map(value), Kind::Map(entries)) => self.section(base, entries, Rule::plain(value), path),
            (Type::Args, Kind::Map(entries)) => self.args(base, entries),
            (Type::List(item), Kind::List(items)) => self.list(base, items, Rule { kind: item, ..rule }, path),
            (Type::Any, _) => self.anything(base, change, path),
            (kind, Kind::Scalar { text, plain }) if rule.zero && !text.is_empty() || !is_zero(kind, text, *plain) => {
                *base = change.clone();
            }
            _ => {} // "not given"; a shape other than the type's was refused when the patch was read
        }
    }

    fn structure(&mut self, base: &mut Node, entries: &[Entry], name: &str, path: &str) {
        let schema = self.schema;
        let Some(structure) = schema.get(name) else { return };
        for entry in entries {
            if let Some(field) = structure.fields.iter().find(|field| field.name == entry.key) {
                self.entry(base, entry, Rule::of(field), &check::join(path, &entry.key));
            }
        }
    }

    fn section(&mut self, base: &mut Node, entries: &[Entry], rule: Rule<'_>, path: &str) {
        for entry in entries {
            self.entry(base, entry, rule, &check::join(path, &entry.key));
        }
    }

    /// Arguments of a program: each name's values are replaced, and empty ones count.
    fn args(&mut self, base: &mut Node, changes: &[Entry]) {
        let Kind::Map(entries) = &mut base.kind else { return };
        for change in changes {
            entries.retain(|entry| entry.key != change.key);
            if !is_delete(&change.value) {
                entries.push(change.clone());
            }
        }
    }

    /// Configuration of other programs: no types are known, so both must be of one shape.
    fn anything(&mut self, base: &mut Node, change: &Node, path: &str) {
        match (&mut base.kind, &change.kind) {
            (Kind::Map(_), Kind::Map(entries)) => self.section(base, entries, Rule::plain(&Type::Any), path),
            (Kind::List(_), Kind::List(items)) => self.list(base, items, Rule::plain(&Type::Any), path),
            (Kind::Scalar { .. }, Kind::Scalar { text, plain }) => {
                if !is_zero(&Type::Any, text, *plain) {
                    *base = change.clone();
                }
            }
            (found, _) => {
                let found = shape(found);
                let text = format!("{} cannot be merged into {found}: delete what is there in a patch before", shape(&change.kind));
                self.problems.add(change.line, path, text);
            }
        }
    }

    fn list(&mut self, base: &mut Node, changes: &[Node], rule: Rule<'_>, path: &str) {
        let Kind::List(items) = &mut base.kind else { return };
        delete(items, changes);
        let mut places: HashMap<String, usize> = HashMap::new();
        for (at, item) in items.iter().enumerate() {
            if let Some(identity) = identity(item, rule.keys) {
                places.entry(identity).or_insert(at);
            }
        }
        for (at, change) in changes.iter().enumerate().filter(|(_, change)| !is_delete(change)) {
            let path = format!("{path}[{at}]");
            let identity = identity(change, rule.keys);
            let found = identity.as_ref().and_then(|identity| places.get(identity)).and_then(|at| items.get_mut(*at));
            match found {
                Some(item) if !rule.whole => self.value(item, change, Rule::plain(rule.kind), &path),
                found => {
                    let Some(value) = stripped(change) else { continue };
                    if let Some(item) = found {
                        *item = value;
                        continue;
                    }
                    if let Some(identity) = identity {
                        places.insert(identity, items.len());
                    }
                    items.push(value);
                }
            }
        }
    }
}

/// Takes away the elements that the patch's deletions mean: the first whose field has the value of the first field
/// beside the instruction.
fn delete(items: &mut Vec<Node>, changes: &[Node]) {
    for change in changes.iter().filter(|change| is_delete(change)) {
        let Some((key, value)) = selector(change) else { continue };
        if let Some(found) = items.iter().position(|item| item.get(key).and_then(Node::text) == Some(value)) {
            items.remove(found);
        }
    }
}

/// The field and value that the element to be deleted has.
pub(super) fn selector(change: &Node) -> Option<(&str, &str)> {
    let entry = change.entries().iter().find(|entry| entry.key != INSTRUCTION)?;
    Some((entry.key.as_str(), entry.value.text()?))
}

/// What tells an element of a list apart: the first of the keys that it has, with its value.
fn identity(node: &Node, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| {
        let value = node.get(key)?;
        match &value.kind {
            Kind::Scalar { text, .. } if text.is_empty() => None,
            Kind::Scalar { text, plain } => match scalar::integer(text).filter(|_| *plain) {
                Some(number) => Some(format!("{key}={number}")),
                None => Some(format!("{key}={}", **text)),
            },
            Kind::Map(entries) => {
                let field = |entry: &Entry| Some(format!("{}={}", entry.key, entry.value.text()?));
                let mut fields: Vec<String> = entries.iter().filter_map(field).collect();
                fields.sort();
                Some(format!("{key}={{{}}}", fields.join(",")))
            }
            Kind::List(_) => None,
        }
    })
}

/// Whether a scalar of a patch means "not given".
fn is_zero(kind: &Type, text: &str, plain: bool) -> bool {
    let zero = || scalar::integer(text) == Some(0);
    match kind {
        Type::Int | Type::Mode => zero(),
        Type::Duration => zero() || scalar::is_duration(text) && !text.contains(|c| ('1'..='9').contains(&c)),
        Type::Any => text.is_empty() || plain && zero(),
        Type::Bool => false,
        _ => text.is_empty(),
    }
}

/// A value of a patch without its deletions; `None` when there was nothing else.
fn stripped(node: &Node) -> Option<Node> {
    if is_delete(node) {
        return None;
    }
    let kind = match &node.kind {
        Kind::Scalar { .. } => return Some(node.clone()),
        Kind::List(items) => {
            let kept: Vec<Node> = items.iter().filter_map(stripped).collect();
            if kept.is_empty() && !items.is_empty() {
                return None;
            }
            Kind::List(kept)
        }
        Kind::Map(entries) => {
            let keep = |entry: &Entry| Some(Entry { key: entry.key.clone(), line: entry.line, value: stripped(&entry.value)? });
            let kept: Vec<Entry> = entries.iter().filter_map(keep).collect();
            if kept.is_empty() && !entries.is_empty() {
                return None;
            }
            Kind::Map(kept)
        }
    };
    Some(Node { line: node.line, kind })
}

const fn shape(kind: &Kind) -> &'static str {
    match kind {
        Kind::Scalar { .. } => "a single value",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a section",
    }
}
