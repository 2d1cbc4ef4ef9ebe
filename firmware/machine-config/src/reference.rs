//! The tables of the schema as data for people: what may be in a configuration and what this version does with it.

use crate::schema::{Field, Schema, Struct, Type};

/// A document and what may be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentReference {
    /// Its kind; empty for the main document.
    pub kind: &'static str,
    /// Whether this version acts on something in it.
    pub acted: bool,
    /// Its fields and those within them, each after what holds it.
    pub fields: Vec<FieldReference>,
}

/// A field of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldReference {
    /// Its place: `machine.network.interfaces[].mtu`, `{}` for any name.
    pub path: String,
    /// What its value is, in words.
    pub kind: String,
    /// Must be there when what holds it is.
    pub required: bool,
    /// Whether this version acts on it, or on something within it.
    pub acted: bool,
    /// Never shown in diffs and logs.
    pub secret: bool,
    /// What a patch does with it, where that is not what its type says.
    pub patched: Option<String>,
}

/// Every document: the main one first, the others by kind.
#[must_use]
pub fn reference() -> Vec<DocumentReference> {
    let schema = Schema::load();
    let mut kinds: Vec<&'static str> = schema.names().filter_map(|(name, _)| name.strip_prefix("kind ")).collect();
    kinds.sort_unstable();
    let main = schema.get("Config").map(|structure| document(&schema, "", structure, true));
    let others = kinds.into_iter().filter_map(|kind| {
        let structure = schema.document(kind)?;
        Some(document(&schema, kind, structure, structure.acted))
    });
    main.into_iter().chain(others).collect()
}

fn document(schema: &Schema, kind: &'static str, structure: &Struct, acted: bool) -> DocumentReference {
    let mut fields = Vec::new();
    list(schema, structure, "", acted, &mut fields);
    DocumentReference { kind, acted, fields }
}

fn list(schema: &Schema, structure: &Struct, prefix: &str, acted: bool, out: &mut Vec<FieldReference>) {
    for field in &structure.fields {
        let acted = acted && field.acted;
        out.push(FieldReference {
            path: format!("{prefix}{}", field.name),
            kind: words(&field.kind),
            required: field.required,
            acted,
            secret: field.secret,
            patched: patched(field),
        });
        let (mut kind, mut inside) = (&field.kind, String::new());
        while let Type::List(inner) | Type::Map(inner) = kind {
            inside.push_str(if matches!(kind, Type::List(_)) { "[]" } else { ".{}" });
            kind = inner;
        }
        if let Type::Struct(name) = kind
            && let Some(inner) = schema.get(name)
        {
            list(schema, inner, &format!("{prefix}{}{inside}.", field.name), acted, out);
        }
    }
}

fn patched(field: &Field) -> Option<String> {
    let keys = field.keys.join(" or ");
    match (field.whole, field.keys.is_empty()) {
        (true, true) => Some("replaced whole".into()),
        (true, false) => Some(format!("an element with the same {keys} is replaced")),
        (false, false) => Some(format!("elements with the same {keys} are merged")),
        (false, true) => None,
    }
}

fn words(kind: &Type) -> String {
    let choice = |values: &[&str], end: &str| values.iter().map(|value| format!("`{value}{end}`")).collect::<Vec<_>>().join(", ");
    match kind {
        Type::Text => "text".into(),
        Type::Int => "whole number".into(),
        Type::Bool => "true or false".into(),
        Type::Duration => "span of time".into(),
        Type::Mode => "file mode".into(),
        Type::Cidr => "address with prefix".into(),
        Type::Address => "address".into(),
        Type::Mac => "hardware address".into(),
        Type::Hex => "hex digits".into(),
        Type::HostPort => "address with port".into(),
        Type::Base64 => "base64".into(),
        Type::Args => "arguments by name".into(),
        Type::Any => "anything".into(),
        Type::Url(schemes) => format!("URL: {}", choice(schemes, "://")),
        Type::Enum(values) => format!("one of {}", choice(values, "")),
        Type::List(item) => format!("list of {}", words(item)),
        Type::Map(value) => format!("{} by name", words(value)),
        Type::Struct(_) => "section".into(),
    }
}
