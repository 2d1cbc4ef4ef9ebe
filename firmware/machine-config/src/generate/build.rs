//! Trees in the making.

use pki::{AuthorityPem, encode_base64};
use zeroize::Zeroizing;

use crate::tree::{Entry, Kind, Node};

/// A section that grows.
pub(super) struct Section(Vec<Entry>);

impl Section {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A document of a kind.
    pub fn document(kind: &str) -> Self {
        Self::new().put("apiVersion", text("v1alpha1")).put("kind", text(kind))
    }

    pub fn put(mut self, key: &str, value: impl Into<Node>) -> Self {
        self.0.push(Entry { key: key.to_owned(), line: 0, value: value.into() });
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.put(key, text(value))
    }

    /// Only if `condition` holds.
    pub fn when(self, condition: bool, more: impl FnOnce(Self) -> Self) -> Self {
        if condition { more(self) } else { self }
    }
}

impl From<Section> for Node {
    fn from(section: Section) -> Self {
        node(Kind::Map(section.0))
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Self {
        plain(if flag { "true" } else { "false" })
    }
}

impl From<u16> for Node {
    fn from(number: u16) -> Self {
        plain(&number.to_string())
    }
}

pub(super) fn text(text: &str) -> Node {
    node(Kind::Scalar { text: Zeroizing::new(text.to_owned()), plain: false })
}

pub(super) fn list<T: Into<Node>>(items: impl IntoIterator<Item = T>) -> Node {
    node(Kind::List(items.into_iter().map(Into::into).collect()))
}

pub(super) fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> Node {
    list(items.into_iter().map(text))
}

/// An authority as the main document has it; without its key for those who may not issue.
pub(super) fn authority(pem: &AuthorityPem, with_key: bool) -> Section {
    let key = pem.key_pem.as_ref().filter(|_| with_key);
    let key = Zeroizing::new(key.map_or_else(String::new, |key| encode_base64(key.expose())));
    Section::new().text("crt", &encode_base64(&pem.cert_pem)).text("key", &key)
}

/// An authority as documents of their own have it.
pub(super) fn authority_pem(pem: &AuthorityPem) -> Section {
    Section::new().text("cert", &pem.cert_pem).text("key", pem.key_pem.as_ref().map_or("", |key| key.expose()))
}

fn plain(text: &str) -> Node {
    node(Kind::Scalar { text: Zeroizing::new(text.to_owned()), plain: true })
}

const fn node(kind: Kind) -> Node {
    Node { line: 0, kind }
}
