//! The block map of a disk image: which ranges have to be written, each with its hash.
//!
//! What is not named may hold anything on the target. The file is JSON:
//! `{"format": 1, "image": "disk.img", "image_size": n, "least_disk": n, "sector_size": 512, "ranges": [{"offset", "length", "sha256"}]}`, numbers in
//! bytes, ranges sorted and apart from each other, each at most [`MAX_RANGE`] long so that a writer can verify in small steps.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use crate::digest;

/// Longest range.
pub const MAX_RANGE: u64 = 4 << 20;

/// The whole map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockMap {
    /// The shape of this document; 1.
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

/// A range that has to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Of these bytes.
    pub sha256: String,
}

/// Joins (offset, length) pairs that touch or overlap, then cuts what is longer than [`MAX_RANGE`].
#[must_use]
pub fn tidy(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (offset, length) in ranges.into_iter().filter(|(_, length)| *length > 0) {
        match joined.last_mut() {
            Some((start, size)) if offset <= *start + *size => *size = (*size).max(offset + length - *start),
            _ => joined.push((offset, length)),
        }
    }
    joined
        .into_iter()
        .flat_map(|(offset, length)| {
            (0..length.div_ceil(MAX_RANGE)).map(move |part| {
                let skip = part * MAX_RANGE;
                (offset + skip, (length - skip).min(MAX_RANGE))
            })
        })
        .collect()
}

impl BlockMap {
    /// Hashes `ranges` of `image`. `least_disk` and `sector_size` are in bytes.
    ///
    /// # Errors
    /// That of reading the image.
    pub fn of(image: &File, name: &str, least_disk: u64, sector_size: u64, ranges: Vec<(u64, u64)>) -> io::Result<Self> {
        let mut buffer = Vec::new();
        let mut used = Vec::new();
        for (offset, length) in tidy(ranges) {
            // At most MAX_RANGE.
            buffer.resize(length as usize, 0);
            image.read_exact_at(&mut buffer, offset)?;
            used.push(Used { offset, length, sha256: digest::bytes(&buffer) });
        }
        Ok(Self { format: 1, image: name.to_owned(), image_size: image.metadata()?.len(), least_disk, sector_size, ranges: used })
    }

    /// The document as it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain values always serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// How many bytes have to be written.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.ranges.iter().map(|range| range.length).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockMap, MAX_RANGE, tidy};
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn ranges_are_joined_and_cut() {
        let check = |given: &[(u64, u64)], expected: &[(u64, u64)]| assert_eq!(tidy(given.to_vec()), expected);
        check(&[], &[]);
        check(&[(4096, 4096), (0, 4096), (8192, 0)], &[(0, 8192)]);
        check(&[(0, 10), (5, 2)], &[(0, 10)]);
        check(&[(0, 10), (5, 10), (20, 1)], &[(0, 15), (20, 1)]);
        check(&[(7, MAX_RANGE + 1)], &[(7, MAX_RANGE), (7 + MAX_RANGE, 1)]);
    }

    #[test]
    fn hashes_are_of_the_bytes_in_the_image() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1 << 20).expect("a length");
        file.write_all_at(b"abc", 1000).expect("written");
        let map = BlockMap::of(&file, "disk.img", 1 << 21, 512, vec![(1000, 3)]).expect("readable");
        assert_eq!(map.used(), 3);
        assert_eq!(map.ranges[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let again: BlockMap = serde_json::from_str(&map.to_json()).expect("JSON");
        assert_eq!(again, map);
    }
}
