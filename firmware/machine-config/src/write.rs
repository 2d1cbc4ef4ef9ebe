//! Trees to YAML text: what was patched, redacted or generated. Comments and layout of the source are not kept.
//!
//! What is written reads back as the same tree: every text that could be taken for something else is quoted, text of
//! several lines is a literal block where that keeps each of its letters.

use zeroize::Zeroizing;

use crate::{
    quote::{self, is_printable},
    scalar,
    tree::{Entry, Kind, Node},
};

/// Columns that each level stands further right.
const STEP: usize = 2;
/// Longest key written in front of a colon; YAML allows 1,024 letters, and escapes make up to six of one.
const SHORT_KEY: usize = 160;

/// The documents as one stream.
pub(crate) fn documents<'a>(documents: impl IntoIterator<Item = &'a Node>) -> Zeroizing<String> {
    let mut out = Writer::default();
    for (at, document) in documents.into_iter().enumerate() {
        if at > 0 {
            out.push("---\n");
        }
        match &document.kind {
            Kind::Map(entries) if !entries.is_empty() => out.map(entries, 0, false),
            Kind::List(items) if !items.is_empty() => out.list(items, 0),
            Kind::Map(_) => out.push("{}\n"),
            Kind::List(_) => out.push("[]\n"),
            Kind::Scalar { text, plain } => {
                out.push(&inline(text, *plain));
                out.push("\n");
            }
        }
    }
    out.text
}

/// Text that grows without leaving copies of secrets behind in freed memory.
#[derive(Default)]
struct Writer {
    text: Zeroizing<String>,
}

impl Writer {
    fn push(&mut self, more: &str) {
        let wanted = self.text.len() + more.len();
        if wanted > self.text.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity((2 * wanted).max(4096)));
            larger.push_str(&self.text);
            self.text = larger;
        }
        self.text.push_str(more);
    }

    fn pad(&mut self, indent: usize) {
        for _ in 0..indent {
            self.push(" ");
        }
    }

    /// `started`: the first line's indent is there already (behind a dash).
    fn map(&mut self, entries: &[Entry], indent: usize, mut started: bool) {
        for entry in entries {
            if !std::mem::take(&mut started) {
                self.pad(indent);
            }
            let key = quote::scalar(&entry.key);
            if entry.key.chars().count() > SHORT_KEY {
                self.push("? ");
                self.push(&key);
                self.push("\n");
                self.pad(indent);
                self.push(":");
            } else {
                self.push(&key);
                self.push(":");
            }
            self.value(&entry.value, indent);
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for item in items {
            self.pad(indent);
            self.push("-");
            match &item.kind {
                Kind::Map(entries) if !entries.is_empty() => {
                    self.push(" ");
                    self.map(entries, indent + STEP, true);
                }
                _ => self.value(item, indent),
            }
        }
    }

    /// What stands behind a colon or a dash, its line break included.
    fn value(&mut self, node: &Node, indent: usize) {
        match &node.kind {
            Kind::Map(entries) if entries.is_empty() => self.push(" {}\n"),
            Kind::List(items) if items.is_empty() => self.push(" []\n"),
            Kind::Map(entries) => {
                self.push("\n");
                self.map(entries, indent + STEP, false);
            }
            Kind::List(items) => {
                self.push("\n");
                self.list(items, indent + STEP);
            }
            Kind::Scalar { text, plain: false } if is_block(text) => self.block(text, indent + STEP),
            Kind::Scalar { text, plain } => {
                self.push(" ");
                self.push(&inline(text, *plain));
                self.push("\n");
            }
        }
    }

    fn block(&mut self, text: &str, indent: usize) {
        let (text, header) = text.strip_suffix('\n').map_or((text, " |-\n"), |text| (text, " |\n"));
        self.push(header);
        for line in text.split('\n') {
            if !line.is_empty() {
                self.pad(indent);
                self.push(line);
            }
            self.push("\n");
        }
    }
}

/// A scalar on one line. A plain one that means a number, a truth value or nothing keeps that meaning.
fn inline(text: &str, plain: bool) -> Zeroizing<String> {
    if plain && means_something(text) {
        return Zeroizing::new(if text.is_empty() { "null".into() } else { text.to_owned() });
    }
    Zeroizing::new(quote::scalar(text).into_owned())
}

/// Whether a plain scalar may be something else than text: a short word of harmless letters.
fn means_something(text: &str) -> bool {
    const NULLS: [&str; 5] = ["", "~", "null", "Null", "NULL"];
    let harmless = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "+.".contains(c)) || text.starts_with('-') && text.len() > 1;
    NULLS.contains(&text)
        || starts
            && !text.starts_with("--")
            && text.chars().all(harmless)
            && (scalar::boolean(text).is_some() || scalar::integer(text).is_some() || scalar::is_float(text))
}

/// Whether a literal block holds the text letter by letter.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || is_printable(c))
        && body.split('\n').all(|line| line.is_empty() || !line.trim_matches(' ').is_empty())
}
