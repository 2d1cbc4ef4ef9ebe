//! Patches: changes to a configuration that is there, as text to text.
//!
//! A [`Patch`] is a stream of documents that are merged into those of the configuration (`merge`), or a list of
//! operations after RFC 6902 on its only document (`json`). [`patch`] applies several in order. It knows what the tables
//! of the schema say and nothing else, so it works on a configuration of which parts are still missing; what the
//! result means is for [`crate::Config::parse`] to say.

mod deletes;
mod json;
mod merge;
#[cfg(test)]
mod tests;

pub(crate) use json::equal;
pub(crate) use merge::is_delete;
use pki::Secret;

use crate::{
    Problems,
    check::Checker,
    schema::Schema,
    stream::{self, Document},
    tree::{self, Kind, MAX_TEXT, Node},
    write,
};

/// A patch that is right in itself.
#[derive(Clone, Debug)]
pub struct Patch {
    kind: PatchKind,
}

#[derive(Clone, Debug)]
enum PatchKind {
    /// Documents to merge, in their order.
    Merge(Vec<Document>),
    /// Operations, in their order.
    Operations(Vec<json::Operation>),
}

/// Why a configuration was not patched. Lines are those of the text that the error is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The configuration to be patched cannot be read.
    #[error("the configuration to be patched is not right: {0}")]
    Config(Problems),
    /// A patch cannot be applied.
    #[error("patch {number} cannot be applied: {problems}")]
    Patch {
        /// Which one, from 1.
        number: usize,
        /// What is wrong, with lines of the patch.
        problems: Problems,
    },
    /// What came out is no configuration.
    #[error("the patched configuration is not right: {0}")]
    Result(Problems),
}

impl Patch {
    /// Reads a patch: a list is a JSON patch, everything else documents to be merged. No document is a patch that
    /// changes nothing.
    ///
    /// # Errors
    /// Every problem at once, with lines of this text: unknown fields and kinds, wrong types, wrong operations.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let nodes = tree::read(text, &mut problems);
        let kind = match nodes.as_slice() {
            [Node { kind: Kind::List(_), .. }] => PatchKind::Operations(json::read(&nodes, &mut problems)),
            _ => {
                let schema = Schema::load();
                let mut checker = Checker::partial(&schema, problems);
                let documents = stream::identify(&mut checker, nodes);
                problems = checker.problems;
                deletes::check(&documents, &schema, &mut problems);
                PatchKind::Merge(documents)
            }
        };
        problems.or(Self { kind })
    }
}

/// Applies patches in order. The result is written anew: comments and layout of `config` are not kept. Without
/// patches it is `config` as it was.
///
/// # Errors
/// [`PatchError`]; the first patch that cannot be applied ends it.
pub fn patch(config: &str, patches: &[Patch]) -> Result<Secret, PatchError> {
    if patches.is_empty() {
        return Ok(Secret::new(config));
    }
    let mut documents = read(config).map_err(PatchError::Config)?;
    for (at, patch) in patches.iter().enumerate() {
        let wrong = |problems| PatchError::Patch { number: at + 1, problems };
        match &patch.kind {
            PatchKind::Merge(changes) => merge::apply(&mut documents, changes).map_err(wrong)?,
            PatchKind::Operations(operations) => {
                let mut root = only(documents).map_err(wrong)?;
                json::apply(&mut root, operations).map_err(wrong)?;
                // What operations make may be anything: it is checked as a text of its own, with lines of its own.
                documents = read(&written(std::iter::once(&root))?).map_err(PatchError::Result)?;
            }
        }
    }
    written(documents.iter().map(|document| &document.node)).map(|text| Secret::new(text.as_str()))
}

/// Whether two configurations hold the same, comments and layout aside. Texts that cannot be read are not the same.
#[must_use]
pub fn same(left: &str, right: &str) -> bool {
    let mut problems = Problems::default();
    let (left, right) = (tree::read(left, &mut problems), tree::read(right, &mut problems));
    problems.is_empty() && left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| equal(left, right))
}

/// The documents of a configuration that fit the schema, whether or not they are complete.
fn read(text: &str) -> Result<Vec<Document>, Problems> {
    let mut problems = Problems::default();
    let nodes = tree::read(text, &mut problems);
    let schema = Schema::load();
    let mut checker = Checker::partial(&schema, problems);
    let documents = stream::identify(&mut checker, nodes);
    stream::refuse_doubles(&documents, &mut checker.problems);
    checker.problems.or(documents)
}

/// The one document that operations are for.
fn only(mut documents: Vec<Document>) -> Result<Node, Problems> {
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => Ok(document.node),
        (_, others) => {
            let mut problems = Problems::default();
            let text = format!("a JSON patch is for a configuration of one document, and not of {}: merge documents instead", others + 1);
            problems.add(0, "", text);
            Err(problems)
        }
    }
}

fn written<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Result<zeroize::Zeroizing<String>, PatchError> {
    let text = write::documents(nodes);
    if text.len() <= MAX_TEXT {
        return Ok(text);
    }
    let mut problems = Problems::default();
    problems.add(0, "", format!("it has {} bytes; at most {MAX_TEXT} are taken", text.len()));
    Err(PatchError::Result(problems))
}
