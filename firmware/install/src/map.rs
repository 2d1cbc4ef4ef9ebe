//! The block map of an image: which ranges have to be written, each with its hash. The builder makes it.

use serde::Deserialize;

/// The only format there is.
const FORMAT: u32 = 1;
/// Longest range: bounds the memory of a copy.
const MAX_RANGE: u64 = 64 << 20;
/// Most ranges; an image of a terabyte with ranges of 4 MiB stays below.
const MAX_RANGES: usize = 1 << 20;

/// Why a block map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Not JSON of the expected shape.
    #[error("not a block map")]
    Syntax(#[source] serde_json::Error),
    /// Another format.
    #[error("format {0} is not understood")]
    Format(u32),
    /// A range is out of order, too long, empty, outside the image or not in whole sectors.
    #[error("range {index} (byte {offset}, {length} bytes) {problem}")]
    Range {
        /// Position in the list, from 0.
        index: usize,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Too many ranges.
    #[error("{0} ranges are too many")]
    Many(usize),
}

/// A range that has to be written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Used {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// SHA-256 of these bytes, lower-case hexadecimal.
    pub sha256: String,
}

/// The whole map. Once parsed, its ranges are sorted, apart from each other and inside the image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BlockMap {
    /// The shape of the document.
    pub format: u32,
    /// The image's file name.
    pub image: String,
    /// Its size in bytes.
    pub image_size: u64,
    /// Smallest disk in bytes on which the image's node can set itself up.
    pub least_disk: u64,
    /// Sector size of the disks it is for.
    pub sector_size: u64,
    /// What has to be written.
    pub ranges: Vec<Used>,
}

impl BlockMap {
    /// Reads a map and checks every range.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn parse(text: &str) -> Result<Self, MapError> {
        let map: Self = serde_json::from_str(text).map_err(MapError::Syntax)?;
        if map.format != FORMAT {
            return Err(MapError::Format(map.format));
        }
        if map.ranges.len() > MAX_RANGES {
            return Err(MapError::Many(map.ranges.len()));
        }
        let mut free = 0;
        for (index, range) in map.ranges.iter().enumerate() {
            let end = range.offset.checked_add(range.length);
            let problem = match end {
                _ if range.length == 0 || range.length > MAX_RANGE => Some("has no possible length"),
                _ if range.offset < free => Some("overlaps the one before"),
                Some(end) if end <= map.image_size => None,
                _ => Some("lies outside the image"),
            };
            if let Some(problem) = problem {
                return Err(MapError::Range { index, offset: range.offset, length: range.length, problem });
            }
            free = end.unwrap_or(u64::MAX);
        }
        Ok(map)
    }

    /// How many bytes have to be written.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.ranges.iter().map(|range| range.length).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ranges: &str, expect: Result<u64, &str>) {
        let text = format!(
            r#"{{"format": 1, "image": "disk.img", "image_size": 10000, "least_disk": 20000, "sector_size": 512, "ranges": [{ranges}]}}"#
        );
        match (BlockMap::parse(&text), expect) {
            (Ok(map), Ok(used)) => assert_eq!(map.used(), used),
            (Err(err), Err(part)) => assert!(err.to_string().contains(part), "{err}"),
            (got, expect) => panic!("{got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn ranges_are_checked() {
        let range = |offset: u64, length: u64| format!(r#"{{"offset": {offset}, "length": {length}, "sha256": ""}}"#);
        check("", Ok(0));
        check(&format!("{}, {}", range(0, 512), range(512, 512)), Ok(1024));
        check(&format!("{}, {}", range(0, 513), range(512, 512)), Err("overlaps"));
        check(&range(0, 0), Err("length"));
        check(&range(9999, 2), Err("outside"));
        check(&range(u64::MAX, 2), Err("outside"));
        check(&range(0, MAX_RANGE + 1), Err("length"));
        assert!(matches!(BlockMap::parse("{}"), Err(MapError::Syntax(_))));
        let other = r#"{"format": 2, "image": "x", "image_size": 0, "least_disk": 0, "sector_size": 512, "ranges": []}"#;
        assert!(matches!(BlockMap::parse(other), Err(MapError::Format(2))));
    }
}
