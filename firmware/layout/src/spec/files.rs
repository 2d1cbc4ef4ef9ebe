//! Partition files as people write them.

use serde::Deserialize;

use super::{Content, Created, Kind, Partition, PartitionSet, Size, SpecError};
use crate::{MIB, UnitError};

/// What is wrong with the partition files.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not TOML of the expected shape.
    #[error("partition file {file}")]
    Syntax {
        /// File name.
        file: String,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A size is not one.
    #[error("partition file {file}, {field}")]
    Size {
        /// File name.
        file: String,
        /// Field name.
        field: &'static str,
        /// What was found.
        source: UnitError,
    },
    /// A size has a lower limit that it cannot have.
    #[error("partition file {file}: min-size belongs to size = \"rest\" only")]
    MinSize {
        /// File name.
        file: String,
    },
    /// Together they break a rule.
    #[error("partition files")]
    Rule {
        /// Which one, and where.
        source: SpecError,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    label: String,
    #[serde(rename = "type")]
    kind: Kind,
    size: String,
    min_size: Option<String>,
    created: Created,
    content: Content,
    mount: Option<String>,
}

impl PartitionSet {
    /// Reads partition files given as (file name, text), in any order.
    ///
    /// # Errors
    /// The first file that is malformed, or the first rule that is broken.
    pub fn parse<N: AsRef<str>, T: AsRef<str>>(files: impl IntoIterator<Item = (N, T)>) -> Result<Self, FileError> {
        let mut files: Vec<(N, T)> = files.into_iter().collect();
        files.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let named = files.iter().map(|(file, text)| Ok((file.as_ref().to_owned(), one(file.as_ref(), text.as_ref())?)));
        let named = named.collect::<Result<Vec<_>, FileError>>()?;
        Self::checked(named).map_err(|source| FileError::Rule { source })
    }
}

fn one(file: &str, text: &str) -> Result<Partition, FileError> {
    let raw: Raw = toml::from_str(text).map_err(|source| FileError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
    let bytes = |field, text: &str| parse_size(text).map_err(|source| FileError::Size { file: file.to_owned(), field, source });
    let size = if raw.size == "rest" {
        let min = raw.min_size.as_deref().map(|text| bytes("min-size", text)).transpose()?;
        Size::Rest { min: min.unwrap_or(MIB) }
    } else {
        if raw.min_size.is_some() {
            return Err(FileError::MinSize { file: file.to_owned() });
        }
        Size::Fixed(bytes("size", &raw.size)?)
    };
    Ok(Partition { number: 0, label: raw.label, kind: raw.kind, size, created: raw.created, content: raw.content, mount: raw.mount })
}

/// Reads `512M`, `2G`. Only whole mebibytes: partitions are aligned to them.
fn parse_size(text: &str) -> Result<u64, UnitError> {
    let bad = || UnitError::Size(text.to_owned());
    let (digits, unit) = match text.strip_suffix('M') {
        Some(digits) => (digits, MIB),
        None => (text.strip_suffix('G').ok_or_else(bad)?, 1 << 30),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    count.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(bad)
}
