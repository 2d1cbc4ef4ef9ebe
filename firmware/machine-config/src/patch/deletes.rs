//! Whether every `$patch: delete` of a patch stands where it can mean something. This depends on the patch alone, so
//! it is found when the patch is read, whatever it is applied to.

use crate::{
    Problems, check,
    schema::{Schema, Type},
    stream::Document,
    tree::Node,
};

use super::merge::{is_delete, selector};

/// Most elements of one list that a patch may delete: each is looked for from the start.
const MAX_DELETES: usize = 1000;

pub(super) fn check(documents: &[Document], schema: &Schema, problems: &mut Problems) {
    let mut walk = Walk { schema, problems };
    for document in documents {
        let Document { kind, node } = document;
        if kind.is_empty() && is_delete(node) {
            walk.problems.add(node.line, check::join("", "$patch"), "the main document cannot be deleted");
        }
        let name = if kind.is_empty() { "Config".to_owned() } else { format!("kind {kind}") };
        walk.structure(node, &name, kind);
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    fn structure(&mut self, node: &Node, name: &str, path: &str) {
        let schema = self.schema;
        let Some(structure) = schema.get(name) else { return };
        for entry in node.entries() {
            if let Some(field) = structure.fields.iter().find(|field| field.name == entry.key) {
                self.value(&entry.value, &field.kind, &field.keys, &check::join(path, &entry.key));
            }
        }
    }

    fn value(&mut self, node: &Node, kind: &Type, keys: &[&str], path: &str) {
        match kind {
            Type::Struct(name) => self.structure(node, name, path),
            Type::Map(value) => self.section(node, value, path),
            Type::List(item) => self.list(node, item, keys, path),
            Type::Any => {
                self.section(node, kind, path);
                self.list(node, kind, &[], path);
            }
            _ => {}
        }
    }

    fn section(&mut self, node: &Node, kind: &Type, path: &str) {
        for entry in node.entries() {
            self.value(&entry.value, kind, &[], &check::join(path, &entry.key));
        }
    }

    fn list(&mut self, node: &Node, kind: &Type, keys: &[&str], path: &str) {
        let mut deletes = 0;
        for (at, item) in node.items().iter().enumerate() {
            let path = || format!("{path}[{at}]");
            if is_delete(item) {
                deletes += 1;
                if selector(item).is_none() {
                    let text = "to delete an element, give a field of it beside $patch: delete (such as its name)";
                    self.problems.add(item.line, path(), text);
                }
            } else if keys.is_empty() && holds_delete(item) {
                let text = "elements of this list have no identity, so nothing inside one can be deleted: delete it whole and add it anew";
                self.problems.add(item.line, path(), text);
            } else {
                self.value(item, kind, &[], &path());
            }
        }
        if deletes > MAX_DELETES {
            self.problems.add(node.line, path, format!("{deletes} elements of a list are deleted; at most {MAX_DELETES} may be"));
        }
    }
}

fn holds_delete(node: &Node) -> bool {
    is_delete(node) || node.items().iter().any(holds_delete) || node.entries().iter().any(|entry| holds_delete(&entry.value))
}
