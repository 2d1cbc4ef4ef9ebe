//! Configurations for eyes that are not their owner's: logs, diffs. The schema says which fields are secrets; whatever
//! it does not know (an unknown field, another program's configuration in a secret field) is taken for one.
//!
//! What comes out has no comments: a comment may hold what was a value once.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use zeroize::Zeroizing;

use crate::{
    Problems,
    check::join,
    schema::{Schema, Type},
    tree::{self, Entry, Kind, Node},
    write,
};

/// Stands for a secret.
pub const REDACTED: &str = "<redacted>";
/// Stands for a secret that was not there before, or was another.
const CHANGED: &str = "<redacted, changed>";

/// The configuration with `replacement` for each secret's value.
///
/// # Errors
/// Text that is no YAML; nothing of it is shown then.
pub fn redact(text: &str, replacement: &str) -> Result<String, Problems> {
    Ok(shown(read(text)?, |_, _| replacement.to_owned()))
}

/// Two configurations for a comparison: no secret of either is in what comes out, and one of `new` that `old` does not
/// have at its place reads differently from one that did not change. How it changed cannot be told.
///
/// # Errors
/// Text that is no YAML.
pub fn redact_pair(old: &str, new: &str) -> Result<(String, String), Problems> {
    // Hashes with a key of this call's own: no copy of a secret stays behind.
    let hasher = RandomState::new();
    let mut known: HashMap<String, HashSet<u64>> = HashMap::new();
    let old = shown(read(old)?, |place, text| {
        known.entry(place.to_owned()).or_default().insert(hasher.hash_one(text));
        REDACTED.to_owned()
    });
    let new = shown(read(new)?, |place, text| {
        let same = known.get(place).is_some_and(|values| values.contains(&hasher.hash_one(text)));
        if same { REDACTED.to_owned() } else { CHANGED.to_owned() }
    });
    Ok((old, new))
}

fn read(text: &str) -> Result<Vec<Node>, Problems> {
    let mut problems = Problems::default();
    let documents = tree::read(text, &mut problems);
    problems.or(documents)
}

/// `replace` is asked with the place of each secret (without the numbers of list elements, which shift) and its value.
fn shown(mut documents: Vec<Node>, replace: impl FnMut(&str, &str) -> String) -> String {
    let schema = Schema::load();
    let mut redactor = Redactor { schema: &schema, replace };
    for document in &mut documents {
        redactor.document(document);
    }
    write::documents(&documents).as_str().to_owned()
}

struct Redactor<'a, F> {
    schema: &'a Schema,
    replace: F,
}

impl<F: FnMut(&str, &str) -> String> Redactor<'_, F> {
    fn document(&mut self, document: &mut Node) {
        let schema = self.schema;
        let text = |key: &str| document.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        let (kind, name) = (text("kind"), text("name"));
        let structure = if document.get("kind").is_none() { schema.get("Config") } else { schema.document(&kind) };
        let Kind::Map(entries) = &mut document.kind else { return self.hide(document, "") };
        for entry in entries.iter_mut().filter(|entry| !["apiVersion", "kind"].contains(&entry.key.as_str())) {
            let field = structure.and_then(|structure| structure.fields.iter().find(|field| field.name == entry.key));
            let place = format!("{kind} {name} {}", entry.key);
            match field {
                Some(field) if !field.secret => self.value(&mut entry.value, &field.kind, &place),
                _ => self.hide(&mut entry.value, &place),
            }
        }
    }

    fn value(&mut self, node: &mut Node, kind: &Type, place: &str) {
        let schema = self.schema;
        match (kind, &mut node.kind) {
            (Type::Struct(name), Kind::Map(entries)) => {
                let structure = schema.get(name);
                for Entry { key, value, .. } in entries {
                    let place = join(place, key);
                    match structure.and_then(|structure| structure.fields.iter().find(|field| field.name == *key)) {
                        Some(field) if !field.secret => self.value(value, &field.kind, &place),
                        _ => self.hide(value, &place),
                    }
                }
            }
            (Type::Map(kind), Kind::Map(entries)) => {
                for Entry { key, value, .. } in entries {
                    self.value(value, kind, &join(place, key));
                }
            }
            (Type::List(kind), Kind::List(items)) => items.iter_mut().for_each(|item| self.value(item, kind, place)),
            (Type::Any | Type::Args, _) => {}
            // Of another shape than its type: not to be shown, nobody knows what slipped to where.
            (_, Kind::List(_) | Kind::Map(_)) | (Type::Struct(_) | Type::Map(_) | Type::List(_), Kind::Scalar { .. }) => {
                self.hide(node, place)
            }
            (_, Kind::Scalar { .. }) => {}
        }
    }

    /// Replaces every value that is not empty.
    fn hide(&mut self, node: &mut Node, place: &str) {
        if node.is_null() {
            return;
        }
        match &mut node.kind {
            Kind::Scalar { text, plain } => {
                if !text.is_empty() {
                    *text = Zeroizing::new((self.replace)(place, text));
                    *plain = false;
                }
            }
            Kind::List(items) => items.iter_mut().for_each(|item| self.hide(item, place)),
            Kind::Map(entries) => entries.iter_mut().for_each(|entry| self.hide(&mut entry.value, &join(place, &entry.key))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
# token: comment
machine:
  type: worker
  token: geheim
  ca: {crt: certificate, key: geheim}
  network:
    interfaces:
      - interface: wg0
        wireguard: {privateKey: geheim, listenPort: 1}
  registries: {config: {a: {auth: {username: u, password: geheim}}}}
  unknown: geheim
cluster: {secret: geheim, aescbcEncryptionSecret: \"\", ca: [geheim]}
---
apiVersion: v1alpha1
kind: KubeEtcdEncryptionConfig
config: {resources: [{providers: [{secretbox: {keys: [{name: key2, secret: geheim}]}}]}]}
---
apiVersion: v1alpha1
kind: WireguardConfig
name: wg1
privateKey: geheim
---
apiVersion: v1alpha1
kind: NoConfig
value: geheim
";

    #[test]
    fn no_secret_is_shown_and_the_rest_is() {
        let shown = redact(CONFIG, "***").expect("redacted");
        assert!(!shown.contains("geheim") && !shown.contains("comment"), "{shown}");
        for part in ["type: worker", "token: \"***\"", "certificate", "listenPort: 1", "username: u", "aescbcEncryptionSecret: \"\"", "wg1"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(redact(&shown, "***").expect("again"), shown);
        assert!(!redact("a: [geheim", "x").expect_err("no YAML").to_string().contains("geheim"));
        assert_eq!(redact("geheim", "x").expect("redacted"), "x\n");
    }

    #[test]
    fn changed_secrets_are_told_from_others() {
        let changed = CONFIG.replace("token: geheim", "token: neu").replace("{interfaces", "x");
        let (old, new) = redact_pair(CONFIG, &changed).expect("redacted");
        let lines: Vec<_> = old.lines().zip(new.lines()).filter(|(old, new)| old != new).collect();
        assert_eq!(lines, [("  token: \"<redacted>\"", "  token: \"<redacted, changed>\"")]);
        let shifted =
            CONFIG.replace("      - interface: wg0", "      - {interface: a, wireguard: {privateKey: neu}}\n      - interface: wg0");
        let (_, new) = redact_pair(CONFIG, &shifted).expect("redacted");
        assert_eq!(new.matches(CHANGED).count(), 1, "{new}");
        let (_, new) = redact_pair("", CONFIG).expect("redacted");
        assert!(!new.contains("\"<redacted>\""));
    }

    /// Every field whose name sounds like a secret is marked, or is known to be none.
    #[test]
    fn fields_that_sound_secret_are_marked() {
        const NONE: [&str; 6] = ["publicKey", "publicKeys", "keyless", "adUserPortKey", "apidCheckExtKeyUsage", "keySize"];
        const STRUCTURES: [&str; 1] = ["keys"];
        let schema = Schema::load();
        for (name, structure) in schema.names() {
            for field in structure.fields.iter().filter(|field| ![&NONE[..], &STRUCTURES].concat().contains(&field.name)) {
                let word = field.name.to_lowercase();
                let sounds = ["key", "secret", "token", "password", "passphrase"].iter().any(|part| word.contains(part));
                assert!(!sounds || field.secret, "{name}.{}", field.name);
            }
        }
    }
}
