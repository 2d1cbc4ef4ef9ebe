//! YAML text to trees that know their lines. The one place where YAML is read for the node's configuration.
//!
//! Scalars stay text: what `0644`, `yes` or `1_000` means depends on the field, as it does for the decoder that
//! the configurations of this format are written for (see [`crate::scalar`]). Merge keys are applied, duplicate
//! keys refused. Everything is bounded: text, depth, and the size that aliases unfold to.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use zeroize::Zeroizing;

use crate::Problems;

/// Largest text taken, in bytes. A configuration with certificates and manifests is tens of kilobytes.
pub(crate) const MAX_TEXT: usize = 4 << 20;
/// Most documents of a stream.
pub(crate) const MAX_DOCUMENTS: usize = 1000;
/// Deepest nesting.
pub(crate) const MAX_DEPTH: usize = 100;
/// Most nodes after aliases are unfolded.
pub(crate) const MAX_NODES: usize = 500_000;
/// Most bytes of scalars after aliases are unfolded.
pub(crate) const MAX_BYTES: usize = 2 * MAX_TEXT;
/// Most keys of one section. Looking for a key is a walk, so this bounds what a section costs.
const MAX_KEYS: usize = 4096;

/// A value with the line it starts on.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub line: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `plain`: written without quotes or block style, so that it may mean null, a number or a truth value.
    /// Any text may be a secret, so all of it is zeroed when dropped.
    Scalar {
        text: Zeroizing<String>,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub line: usize,
    pub value: Node,
}

impl Node {
    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        if let Kind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Self] {
        if let Kind::List(items) = &self.kind { items } else { &[] }
    }

    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// A value left out on purpose: nothing, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// The documents of a stream, empty ones left out. On a syntax error what was read before it is dropped.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Vec<Node> {
    if text.len() > MAX_TEXT {
        problems.add(0, "", format!("the text has {} bytes; at most {MAX_TEXT} are taken", text.len()));
        return Vec::new();
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let refused = match event {
            Ok((event, span)) => reader.take(event, span, problems),
            Err(error) => Err((error.marker().line(), format!("this is not valid YAML: {}", error.info()))),
        };
        if let Err((line, text)) = refused {
            problems.add(line, "", text);
            return Vec::new();
        }
    }
    reader.documents
}

type Refusal = (usize, String);

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    bytes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    anchor: usize,
    node: Node,
    key: Option<(String, bool, usize)>,
    nodes_before: usize,
    bytes_before: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span, problems: &mut Problems) -> Result<(), Refusal> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let plain = check_tag(tag.as_deref(), plain, line)?;
                self.count(1, text.len(), line)?;
                let node = Node { line, kind: Kind::Scalar { text: Zeroizing::new(text.into_owned()), plain } };
                if anchor > 0 {
                    let bytes = node.text().map_or(0, str::len);
                    self.anchors.insert(anchor, (node.clone(), 1, bytes));
                }
                self.place(node, problems)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), false, line)?;
                self.open(anchor, line, Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), false, line)?;
                self.open(anchor, line, Kind::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line, problems),
            Event::Alias(anchor) => {
                let Some((node, nodes, bytes)) = self.anchors.get(&anchor) else {
                    return Err((line, "an alias must not refer to the value it is part of".into()));
                };
                let (nodes, bytes) = (*nodes, *bytes);
                let node = node.clone();
                self.count(nodes, bytes, line)?;
                self.place(node, problems)
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, bytes: usize, line: usize) -> Result<(), Refusal> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes > MAX_NODES || self.bytes > MAX_BYTES {
            return Err((line, "the configuration unfolds to too many values (are aliases nested?)".into()));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, line: usize, kind: Kind) -> Result<(), Refusal> {
        if self.open.len() >= MAX_DEPTH {
            return Err((line, format!("values are nested deeper than {MAX_DEPTH} levels")));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.count(1, 0, line)?;
        self.open.push(Open { anchor, node: Node { line, kind }, key: None, nodes_before, bytes_before });
        Ok(())
    }

    fn close(&mut self, line: usize, problems: &mut Problems) -> Result<(), Refusal> {
        let Some(mut open) = self.open.pop() else {
            return Err((line, "this is not valid YAML: an end without a start".into()));
        };
        if let Kind::Map(entries) = &mut open.node.kind {
            merge(entries)?;
        }
        if open.anchor > 0 {
            let size = (self.nodes - open.nodes_before, self.bytes - open.bytes_before);
            self.anchors.insert(open.anchor, (open.node.clone(), size.0, size.1));
            self.count(size.0, size.1, line)?; // the kept copy is memory too
        }
        self.place(open.node, problems)
    }

    fn place(&mut self, node: Node, problems: &mut Problems) -> Result<(), Refusal> {
        let Some(open) = self.open.last_mut() else {
            if self.documents.len() >= MAX_DOCUMENTS {
                return Err((node.line, format!("there are more than {MAX_DOCUMENTS} documents")));
            }
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((key, plain, line))) => {
                let key = if plain && key == "<<" { MERGE.to_owned() } else { key };
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    problems.add(line, shown(&key), format!("this key is already given on line {}", first.line));
                } else if entries.len() >= MAX_KEYS {
                    return Err((line, format!("a section has more than {MAX_KEYS} keys")));
                } else {
                    entries.push(Entry { key, line, value: node });
                }
            }
            (Kind::Map(_), None) => match node.kind {
                Kind::Scalar { mut text, plain } => open.key = Some((std::mem::take(&mut *text), plain, node.line)),
                Kind::List(_) | Kind::Map(_) => return Err((node.line, "a key must be text, not a list or a map".into())),
            },
            (Kind::Scalar { .. }, _) => return Err((node.line, "this is not valid YAML".into())),
        }
        Ok(())
    }
}

/// Name of the merge entry until it is applied; no YAML text can make a plain key of it.
const MERGE: &str = "\0<<";

fn shown(key: &str) -> &str {
    if key == MERGE { "<<" } else { key }
}

/// Applies `<<`: entries of the merged maps that the map itself has not; earlier maps of a list win.
fn merge(entries: &mut Vec<Entry>) -> Result<(), Refusal> {
    let Some(at) = entries.iter().position(|entry| entry.key == MERGE) else { return Ok(()) };
    let line = entries.get(at).map_or(0, |entry| entry.line);
    let merged = entries.remove(at).value;
    let sources = match merged.kind {
        Kind::List(items) => items,
        Kind::Map(_) | Kind::Scalar { .. } => vec![merged],
    };
    for source in sources {
        match source.kind {
            Kind::Map(found) => {
                for entry in found {
                    if entries.len() > MAX_KEYS {
                        return Err((line, format!("a section has more than {MAX_KEYS} keys")));
                    }
                    if entries.iter().all(|own| own.key != entry.key) {
                        entries.push(entry);
                    }
                }
            }
            // Left in place under its name: the check of the map reports it as what it is, an unknown key.
            kind => entries.push(Entry { key: "<<".into(), line: source.line, value: Node { line: source.line, kind } }),
        }
    }
    Ok(())
}

/// Whether a scalar with that tag is still plain; foreign tags are refused.
fn check_tag(tag: Option<&Tag>, plain: bool, line: usize) -> Result<bool, Refusal> {
    let Some(tag) = tag else { return Ok(plain) };
    if tag.is_yaml_core_schema() {
        match tag.suffix.as_str() {
            "str" => return Ok(false),
            "int" | "bool" | "float" | "null" => return Ok(true),
            "map" | "seq" => return Ok(plain),
            _ => {}
        }
    } else if tag.suffix.is_empty() {
        return Ok(false); // a lone `!` makes text of a scalar
    }
    Err((line, format!("the tag {:?} has no meaning here", format!("{}{}", tag.handle, tag.suffix))))
}
