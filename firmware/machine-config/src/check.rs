//! A document against its schema: unknown fields, wrong types, missing fields; and warnings for what has no effect.

use ipnet::IpNet;

use crate::{
    Problems, Warning,
    patch::is_delete,
    scalar,
    schema::{Field, Schema, Struct, Type},
    tree::{Kind, Node},
};

/// Most warnings kept; the rest is only counted.
const MAX_WARNINGS: usize = 100;
/// Settings that ask for what this version does anyway, and that every generated configuration has.
const USUAL: [(&str, bool); 2] = [("debug", false), ("persist", true)];

pub(crate) struct Checker<'a> {
    pub schema: &'a Schema,
    pub problems: Problems,
    warnings: Vec<Warning>,
    more_warnings: usize,
    /// What is checked is a piece of a configuration or a patch: nothing is required, deletions may be there, and
    /// nobody is warned.
    partial: bool,
}

impl<'a> Checker<'a> {
    pub fn new(schema: &'a Schema, problems: Problems) -> Self {
        Self { schema, problems, warnings: Vec::new(), more_warnings: 0, partial: false }
    }

    /// For something that is not a whole configuration.
    pub fn partial(schema: &'a Schema, problems: Problems) -> Self {
        Self { partial: true, ..Self::new(schema, problems) }
    }

    /// Checks a map against a structure. `skip` names fields that are the caller's (`apiVersion`, `kind`). `acted`:
    /// whether warnings are wanted below (not when the whole was warned of already).
    pub fn structure(&mut self, node: &Node, structure: &Struct, path: &str, skip: &[&str], acted: bool) {
        let Kind::Map(entries) = &node.kind else {
            return self.wrong(node, path, "a section with fields");
        };
        for entry in entries.iter().filter(|entry| !skip.contains(&entry.key.as_str())) {
            let at = join(path, &entry.key);
            match structure.fields.iter().find(|field| field.name == entry.key) {
                Some(field) => self.field(&entry.value, field, &at, acted),
                None => self.problems.add(entry.line, at, unknown(structure, &entry.key)),
            }
        }
        if self.partial {
            return;
        }
        for field in structure.fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
            self.problems.add(node.line, join(path, field.name), "this is required");
        }
    }

    fn field(&mut self, node: &Node, field: &Field, path: &str, acted: bool) {
        let usual = || USUAL.iter().any(|(name, value)| *name == path && node.text().and_then(scalar::boolean) == Some(*value));
        if acted && !field.acted && !is_empty(node) && !usual() {
            self.warn(node.line, path, "checked, but this version does not act on it");
        }
        self.value(node, &field.kind, path, acted && field.acted);
    }

    /// Whether this is a deletion, where there may be one.
    pub fn deletes(&self, node: &Node) -> bool {
        self.partial && is_delete(node)
    }

    /// Notes something to know.
    pub fn warn(&mut self, line: usize, path: &str, text: &str) {
        if self.partial {
            return;
        }
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { line, path: path.into(), text: text.into() });
        } else {
            self.more_warnings += 1;
        }
    }

    /// What was found.
    pub fn done(mut self) -> (Problems, Vec<Warning>) {
        if self.more_warnings > 0 {
            let text = format!("{} more settings have no effect in this version", self.more_warnings);
            self.warnings.push(Warning { line: 0, path: String::new(), text });
        }
        (self.problems, self.warnings)
    }

    fn value(&mut self, node: &Node, kind: &Type, path: &str, acted: bool) {
        if node.is_null() || self.deletes(node) {
            return;
        }
        match kind {
            Type::Any => {}
            Type::Struct(name) => {
                let schema = self.schema;
                if let Some(structure) = schema.get(name) {
                    self.structure(node, structure, path, &[], acted);
                }
            }
            Type::List(item) => match &node.kind {
                Kind::List(items) => {
                    for (at, node) in items.iter().enumerate() {
                        self.value(node, item, &format!("{path}[{at}]"), acted);
                    }
                }
                _ => self.wrong(node, path, "a list"),
            },
            Type::Map(value) => match &node.kind {
                Kind::Map(entries) => {
                    for entry in entries {
                        self.value(&entry.value, value, &join(path, &entry.key), acted);
                    }
                }
                _ => self.wrong(node, path, "a section with names and values"),
            },
            Type::Args => self.args(node, path),
            scalar => self.scalar(node, scalar, path),
        }
    }

    /// Command-line arguments: a value or several under each name.
    fn args(&mut self, node: &Node, path: &str) {
        let Kind::Map(entries) = &node.kind else {
            return self.wrong(node, path, "a section with names and values");
        };
        let partial = self.partial;
        for entry in entries.iter().filter(|entry| !(partial && is_delete(&entry.value))) {
            let at = join(path, &entry.key);
            match &entry.value.kind {
                Kind::Scalar { .. } => {}
                Kind::List(items) => {
                    for item in items.iter().filter(|item| !matches!(item.kind, Kind::Scalar { .. })) {
                        self.wrong(item, &at, "text");
                    }
                }
                Kind::Map(_) => self.wrong(&entry.value, &at, "text or a list of texts"),
            }
        }
    }

    fn scalar(&mut self, node: &Node, kind: &Type, path: &str) {
        let Kind::Scalar { text, plain } = &node.kind else {
            return self.wrong(node, path, &wanted(kind));
        };
        let empty = text.is_empty();
        let fits = match kind {
            Type::Text => true,
            Type::Int | Type::Mode => *plain && scalar::integer(text).is_some(),
            Type::Bool => *plain && scalar::boolean(text).is_some(),
            Type::Duration => scalar::is_duration(text) || *plain && scalar::integer(text).is_some(),
            Type::Cidr => empty || text.parse::<IpNet>().is_ok(),
            Type::Address => empty || text.parse::<std::net::IpAddr>().is_ok(),
            Type::HostPort => empty || text.parse::<std::net::SocketAddr>().is_ok(),
            Type::Mac => empty || pairs(text, &[':', '-']),
            Type::Hex => empty || pairs(text, &[':']),
            Type::Base64 => empty || text.as_str() == "******" || pki::is_base64(text),
            Type::Url(schemes) => {
                empty || text.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
            }
            Type::Enum(values) => empty || values.contains(&text.as_str()),
            Type::Args | Type::Any | Type::List(_) | Type::Map(_) | Type::Struct(_) => true,
        };
        if !fits {
            self.wrong(node, path, &wanted(kind));
        }
    }

    /// The value itself is not shown: it may be a secret.
    fn wrong(&mut self, node: &Node, path: &str, wanted: &str) {
        let found = match node.kind {
            Kind::Scalar { .. } => return self.problems.add(node.line, path, format!("this must be {wanted}")),
            Kind::List(_) => "a list",
            Kind::Map(_) => "a section",
        };
        self.problems.add(node.line, path, format!("this must be {wanted}, not {found}"));
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar { text, .. } => node.is_null() || text.is_empty(),
        Kind::List(items) => items.is_empty(),
        Kind::Map(entries) => entries.is_empty(),
    }
}

/// Two hex digits, separated.
fn pairs(text: &str, separators: &[char]) -> bool {
    text.split(separators).all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A field's path; a key with odd letters is quoted, a very long one cut.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_alphanumeric() || "_-/".contains(c)) && key.chars().count() <= 80;
    let short: String = key.chars().take(80).collect();
    let key = if plain { key.to_owned() } else { format!("{short:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn unknown(structure: &Struct, key: &str) -> String {
    if key == "$patch" {
        return "this is an instruction for patches, and its only value is delete".into();
    }
    let squeezed = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    match structure.fields.iter().find(|field| squeezed(field.name) == squeezed(key)) {
        Some(field) => format!("there is no such field (did you mean {}?)", field.name),
        None => "there is no such field".into(),
    }
}

fn wanted(kind: &Type) -> String {
    match kind {
        Type::Int => "a whole number".into(),
        Type::Mode => "a file mode (0o644)".into(),
        Type::Bool => "true or false".into(),
        Type::Duration => "a span of time (1h30m, 10s)".into(),
        Type::Cidr => "an address with prefix (10.0.0.0/24)".into(),
        Type::Address => "an address".into(),
        Type::HostPort => "an address with port (10.0.0.1:51820)".into(),
        Type::Mac => "a hardware address (aa:bb:cc:dd:ee:ff)".into(),
        Type::Hex => "pairs of hex digits with colons".into(),
        Type::Base64 => "base64".into(),
        Type::Url(schemes) => format!("a URL that starts with {}", join_or(schemes, "://")),
        Type::Enum(values) => join_or(values, ""),
        _ => "text".into(),
    }
}

fn join_or(items: &[&str], end: &str) -> String {
    items.iter().map(|item| format!("{item}{end}")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that are all different: names may be there once only.
    static NUMBERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

    /// Some value of a type, in YAML.
    fn sample(schema: &Schema, kind: &Type) -> String {
        match kind {
            Type::Int | Type::Mode => "1".into(),
            Type::Bool => "true".into(),
            Type::Duration => "1m".into(),
            Type::Cidr => "10.0.0.0/8".into(),
            Type::Address => "10.0.0.1".into(),
            Type::HostPort => "'10.0.0.1:1'".into(),
            Type::Mac | Type::Hex => "'aa:bb:cc:dd:ee:ff'".into(),
            Type::Base64 => "YQ==".into(),
            Type::Args | Type::Any => "{a: b}".into(),
            Type::Url(schemes) => format!("'{}://a'", schemes.first().copied().unwrap_or_default()),
            Type::Enum(values) => format!("'{}'", values.first().copied().unwrap_or_default()),
            Type::List(item) => format!("[{}]", sample(schema, item)),
            Type::Map(value) => format!("{{a: {}}}", sample(schema, value)),
            Type::Struct(name) => {
                let fields = schema.get(name).map(|structure| &structure.fields[..]).unwrap_or_default();
                let fields: Vec<String> = fields.iter().map(|field| format!("{}: {}", field.name, sample(schema, &field.kind))).collect();
                if fields.is_empty() { "{}".into() } else { format!("{{{}}}", fields.join(", ")) }
            }
            Type::Text => NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string(),
        }
    }

    /// The paths at which a warning is due: the outermost settings that are not acted on.
    fn due(schema: &Schema, structure: &Struct, path: &str, out: &mut Vec<String>) {
        for field in &structure.fields {
            let (mut at, mut kind) = (join(path, field.name), &field.kind);
            if !field.acted {
                if !matches!(kind, Type::Struct(name) if schema.get(name).is_some_and(|inner| inner.fields.is_empty())) {
                    out.push(at);
                }
                continue;
            }
            while let Type::List(inner) | Type::Map(inner) = kind {
                at.push_str(if matches!(kind, Type::List(_)) { "[0]" } else { ".a" });
                kind = inner;
            }
            if let Type::Struct(name) = kind
                && let Some(inner) = schema.get(name)
            {
                due(schema, inner, &at, out);
            }
        }
    }

    #[test]
    fn every_setting_without_effect_gives_a_warning() {
        let schema = Schema::load();
        for (name, structure) in schema.names().filter(|(name, _)| *name == "Config" || name.starts_with("kind ")) {
            let kind = name.strip_prefix("kind ").unwrap_or_default();
            let unusual = |field: &Field| match (kind, USUAL.iter().find(|(name, _)| *name == field.name)) {
                ("", Some((_, value))) => (!value).to_string(),
                _ => sample(&schema, &field.kind),
            };
            let fields: Vec<String> = structure.fields.iter().map(|field| format!("{}: {}\n", field.name, unusual(field))).collect();
            let head = if kind.is_empty() { String::new() } else { format!("apiVersion: v1alpha1\nkind: {kind}\n") };
            let stream = crate::stream::read(&format!("{head}{}", fields.concat()));
            assert!(stream.problems.is_empty(), "{kind}: {}", stream.problems);
            let mut wanted = Vec::new();
            if kind.is_empty() || structure.acted {
                due(&schema, structure, kind, &mut wanted);
            } else {
                wanted.push(kind.to_owned());
            }
            let mut found: Vec<&str> = stream.warnings.iter().map(|warning| warning.path.as_str()).collect();
            wanted.sort();
            found.sort_unstable();
            assert_eq!(found, wanted, "{kind}");
        }
    }

    /// Those too many to list are counted, so that nothing is ignored in silence.
    #[test]
    fn warnings_are_limited() {
        let text: String = (0..300).map(|n| format!("    - {{interface: eth{n}, vip: {{ip: 10.0.0.1}}}}\n")).collect();
        let stream = crate::stream::read(&format!("machine:\n  network:\n   interfaces:\n{text}"));
        assert_eq!(stream.warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(stream.warnings[MAX_WARNINGS].to_string(), "200 more settings have no effect in this version");
    }
}
