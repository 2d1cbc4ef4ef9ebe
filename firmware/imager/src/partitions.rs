//! The board's partitions: read and judged once, for the root file system and the disk images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use layout::MIB;
use layout::spec::{PartitionSet, XFS_LEAST};

use crate::context::Context;
use crate::digest;
use crate::request::Error;
use crate::step::{Step, read_text};

const STEP: &str = "partitions";

/// The set, and what it was made of.
#[derive(Debug)]
pub struct Partitions {
    /// All partitions of the board.
    pub set: PartitionSet,
    /// Partition files with their hashes, for the manifest.
    pub files: BTreeMap<String, String>,
}

/// Reads the board's partition files.
///
/// # Errors
/// [`Error::Input`] naming file and key; [`Error::Refused`] for a file system that would be too small to be made.
pub fn read(context: &Context<'_>) -> Result<Partitions, Error> {
    let step = context.step(STEP)?;
    let (mut texts, mut files) = (BTreeMap::new(), BTreeMap::new());
    for (name, path) in named(context)? {
        files.insert(context.display(&path), digest::file(STEP, &path)?.1);
        texts.insert(name, read_text(STEP, &path)?);
    }
    let set = PartitionSet::parse(texts).map_err(|error| refused(context, &step, &error))?;
    let small: Vec<String> = set.too_small().into_iter().map(|partition| partition.label.clone()).collect();
    if small.is_empty() {
        return Ok(Partitions { set, files });
    }
    Err(Error::Refused {
        step: STEP,
        what: format!("mkfs.xfs makes no file system below {} MiB", XFS_LEAST / MIB),
        problems: small,
        help: "give these partitions a larger size or min-size".to_owned(),
    })
}

/// The set as the node reads it.
#[must_use]
pub fn json(set: &PartitionSet) -> String {
    let text = serde_json::to_string_pretty(set).expect("strings and numbers");
    format!("{text}\n")
}

/// Partition files by name; a later folder's file replaces an earlier one's.
fn named(context: &Context<'_>) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    for folder in &context.board.partition_folders {
        for path in digest::walk(STEP, folder)? {
            if path.extension().is_some_and(|end| end == "toml") {
                found.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path);
            }
        }
    }
    Ok(found)
}

/// An error about the partition files, with everything that caused it.
pub(crate) fn refused(context: &Context<'_>, step: &Step<'_>, error: &(dyn std::error::Error + 'static)) -> Error {
    let chain = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>();
    step.input_error(&context.request.project.join("partitions"), chain.join(": "))
}
