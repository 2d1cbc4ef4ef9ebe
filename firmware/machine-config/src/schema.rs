//! Which documents and fields exist. The tables are text (`schema/*.txt`), read when a configuration is checked and
//! dropped afterwards: a node checks one rarely and keeps no memory for it in between.

use std::{cell::OnceCell, collections::HashMap};

const MAIN: &str = include_str!("../schema/main.txt");
const DOCUMENTS: &str = include_str!("../schema/documents.txt");

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Bool,
    Duration,
    Mode,
    Cidr,
    Address,
    Mac,
    Hex,
    HostPort,
    Base64,
    Args,
    Any,
    Url(Vec<&'static str>),
    Enum(Vec<&'static str>),
    List(Box<Self>),
    Map(Box<Self>),
    Struct(&'static str),
}

/// A field of a structure.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub kind: Type,
    /// Must be there.
    pub required: bool,
    /// This version does something with it, or with some of what is in it.
    pub acted: bool,
    /// Never shown in diffs and logs.
    pub secret: bool,
    /// A patch replaces it whole.
    pub whole: bool,
    /// A zero in a patch counts; otherwise it means "not given", as the decoder of the reference has it.
    pub zero: bool,
    /// For lists: fields that tell elements apart in a patch, the first that is there counts. Empty: they have no identity.
    pub keys: Vec<&'static str>,
}

/// A structure or document.
#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub fields: Vec<Field>,
    /// For documents: see [`Field::acted`].
    pub acted: bool,
}

/// All of them. The main document's structures have plain names, the others' a dotted one, documents `kind NAME`.
#[derive(Debug)]
pub(crate) struct Schema {
    structs: HashMap<&'static str, Entry>,
}

/// A line of the tables, read when it is asked for: most configurations need a few of some two hundred.
#[derive(Debug)]
struct Entry {
    line: &'static str,
    read: OnceCell<Option<Struct>>,
}

impl Schema {
    /// Finds the names in the tables. A line that is not understood is left out; a test sees to it that there is none.
    pub fn load() -> Self {
        let lines = MAIN.lines().chain(DOCUMENTS.lines()).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entry = |line: &'static str| {
            let (name, _) = line.split_once(" =")?;
            Some((name.trim_end_matches(MARKS), Entry { line, read: OnceCell::new() }))
        };
        Self { structs: lines.filter_map(entry).collect() }
    }

    /// A structure by its name.
    pub fn get(&self, name: &str) -> Option<&Struct> {
        let entry = self.structs.get(name)?;
        entry.read.get_or_init(|| structure(entry.line)).as_ref()
    }

    /// A document by its kind.
    pub fn document(&self, kind: &str) -> Option<&Struct> {
        self.get(&format!("kind {kind}"))
    }

    /// Every name, for tests and tables.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &Struct)> {
        self.structs.keys().filter_map(|name| Some((*name, self.get(name)?)))
    }
}

fn structure(line: &'static str) -> Option<Struct> {
    let (name, fields) = line.split_once(" =")?;
    let acted = name.ends_with('!');
    let fields = fields.split("; ").map(str::trim).filter(|field| !field.is_empty()).map(field).collect::<Option<_>>()?;
    Some(Struct { fields, acted })
}

/// What may stand after a field's name; `documents.txt` says what each means.
const MARKS: [char; 5] = ['*', '!', '~', '^', '&'];

fn field(text: &'static str) -> Option<Field> {
    let (marked, kind) = text.split_once(": ")?;
    let name = marked.trim_end_matches(MARKS);
    let has = |mark| marked[name.len()..].contains(mark);
    let (kind, keys) = match kind.strip_suffix(']').and_then(|list| list.split_once('@')) {
        Some((item, keys)) => (Type::List(Box::new(value_type(item.strip_prefix('[')?)?)), keys.split('|').collect()),
        None => (value_type(kind)?, Vec::new()),
    };
    Some(Field { name, kind, required: has('*'), acted: has('!'), secret: has('~'), whole: has('^'), zero: has('&'), keys })
}

fn value_type(text: &'static str) -> Option<Type> {
    let inside = |open: &str, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(item) = inside("[", ']') {
        return Some(Type::List(Box::new(value_type(item)?)));
    }
    if let Some(value) = inside("{", '}') {
        return Some(Type::Map(Box::new(value_type(value)?)));
    }
    if let Some(schemes) = inside("url(", ')') {
        return Some(Type::Url(schemes.split('|').collect()));
    }
    if let Some(values) = inside("enum(", ')') {
        return Some(Type::Enum(values.split('|').collect()));
    }
    Some(match text {
        "text" => Type::Text,
        "int" => Type::Int,
        "bool" => Type::Bool,
        "duration" => Type::Duration,
        "mode" => Type::Mode,
        "cidr" => Type::Cidr,
        "address" => Type::Address,
        "mac" => Type::Mac,
        "hex" => Type::Hex,
        "hostport" => Type::HostPort,
        "base64" => Type::Base64,
        "args" => Type::Args,
        "any" => Type::Any,
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(['(', ' ']) => Type::Struct(name),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_whole() {
        let schema = Schema::load();
        let lines = MAIN.lines().chain(DOCUMENTS.lines()).filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(schema.names().count(), lines.count(), "every line is understood, no name is there twice");
        let mut used = vec!["Config"];
        for (name, structure) in schema.names() {
            for field in &structure.fields {
                let mut kind = &field.kind;
                while let Type::List(inner) | Type::Map(inner) = kind {
                    kind = inner;
                }
                let element = if let Type::Struct(name) = kind { schema.get(name) } else { None };
                let known = |key: &&str| element.is_some_and(|element| element.fields.iter().any(|field| field.name == *key));
                assert!(field.keys.iter().all(known), "{name}.{}: {:?}", field.name, field.keys);
                if let Type::Struct(wanted) = kind {
                    assert!(schema.get(wanted).is_some(), "{name}.{}: {wanted}", field.name);
                    used.push(wanted);
                }
            }
        }
        assert_eq!(schema.names().filter(|(name, _)| name.starts_with("kind ")).count(), 89);
    }
}
