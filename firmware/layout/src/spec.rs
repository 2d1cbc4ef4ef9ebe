//! Partition files, and where each partition lies on a disk.
//!
//! One file a partition, `partitions/NN-label.toml` ([`files`], for the builder); the order of the file names is the order on
//! the disk and gives the number in the table. Partitions follow each other without gaps from the first mebibyte on. The
//! image carries the whole set as one serialised [`PartitionSet`], which keeps the rules when it is read.

#[cfg(feature = "files")]
pub mod files;

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use crate::{Arch, MIB, Range};

/// Type GUID of the META partition; ours, so that no other system touches it.
pub const META_TYPE: Uuid = uuid!("1833777a-4df9-459f-b332-fd8f55d6b24e");
/// Space kept free at the end of a disk for the backup table, and at the start for the primary one.
pub const RESERVED: u64 = MIB;
/// Most partitions a set may have.
const MAX_PARTITIONS: usize = 32;
/// `mkfs.xfs` of xfsprogs 5.19 and later refuses less: a log of 64 MiB, and allocation groups that make sense.
pub const XFS_LEAST: u64 = 300 * MIB;
/// Most characters of a label: XFS takes 12, so every label fits everywhere.
const MAX_LABEL: usize = 12;

/// Label of the partition that holds the configuration.
pub const STATE: &str = "STATE";
/// Label of the partition mounted at `/var`.
pub const EPHEMERAL: &str = "EPHEMERAL";
/// Label of the META partition.
pub const META: &str = "META";

/// What is wrong with a set of partitions.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A rule over one or more partitions is broken.
    #[error("partition {name}: {problem}")]
    Rule {
        /// Its file, or its label where there are no files.
        name: String,
        /// What is wrong, for people.
        problem: String,
    },
    /// None at all.
    #[error("there are no partitions")]
    Empty,
}

/// What a partition is for; decides its type GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// EFI system partition.
    Esp,
    /// Root file system of the image's architecture (discoverable partitions specification).
    Root,
    /// The META store.
    Meta,
    /// Any Linux data.
    Linux,
}

impl Kind {
    /// The type GUID in the table.
    #[must_use]
    pub fn type_guid(self, arch: Arch) -> Uuid {
        use gpt::partition_types::{EFI, LINUX_FS, LINUX_ROOT_ARM_64, LINUX_ROOT_X64};
        match (self, arch) {
            (Self::Esp, _) => EFI.guid,
            (Self::Root, Arch::X86_64) => LINUX_ROOT_X64.guid,
            (Self::Root, Arch::Arm64) => LINUX_ROOT_ARM_64.guid,
            (Self::Meta, _) => META_TYPE,
            (Self::Linux, _) => LINUX_FS.guid,
        }
    }
}

/// Who makes the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Created {
    /// The builder: it is part of the flashed image.
    Image,
    /// The node at its first boot.
    FirstBoot,
}

/// What is in the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// FAT with the loader and the UKIs.
    Esp,
    /// EROFS followed by its verity tree.
    VerityRoot,
    /// The META store.
    Meta,
    /// An XFS file system.
    Xfs,
    /// Nothing yet.
    Empty,
}

impl Content {
    /// The word shown to people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp => "vfat",
            Self::VerityRoot => "erofs+verity",
            Self::Meta => "meta",
            Self::Xfs => "xfs",
            Self::Empty => "empty",
        }
    }
}

/// How big a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// Exactly so many bytes.
    Fixed(u64),
    /// All that is left of the disk, at least so many bytes.
    Rest {
        /// Smallest useful size in bytes.
        min: u64,
    },
}

impl Size {
    /// The smallest size in bytes.
    #[must_use]
    pub const fn least(self) -> u64 {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Rest { min } => min,
        }
    }
}

/// One partition as the files describe it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Number in the table, from 1: its place in the set.
    #[serde(skip)]
    pub number: u32,
    /// Name in the table and label of its file system.
    pub label: String,
    /// What it is for.
    pub kind: Kind,
    /// How big it is.
    pub size: Size,
    /// Who makes it.
    pub created: Created,
    /// What is in it.
    pub content: Content,
    /// Where the node mounts it.
    pub mount: Option<String>,
}

/// All partitions of a board, in disk order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Vec<Partition>", into = "Vec<Partition>")]
pub struct PartitionSet {
    partitions: Vec<Partition>,
}

/// A partition with its place on a disk.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// Its bytes.
    pub range: Range,
}

impl TryFrom<Vec<Partition>> for PartitionSet {
    type Error = SpecError;

    fn try_from(partitions: Vec<Partition>) -> Result<Self, SpecError> {
        Self::checked(partitions.into_iter().map(|partition| (partition.label.clone(), partition)).collect())
    }
}

impl From<PartitionSet> for Vec<Partition> {
    fn from(set: PartitionSet) -> Self {
        set.partitions
    }
}

impl PartitionSet {
    /// Takes partitions in disk order, each with the name that an error calls it by, and numbers them.
    ///
    /// # Errors
    /// [`SpecError::Rule`], [`SpecError::Empty`]: labels are unique, of 1 to 12 of `A-Z 0-9 -`; partitions of the image come
    /// before those of the first boot; only the last one takes the rest; there is one META.
    fn checked(named: Vec<(String, Partition)>) -> Result<Self, SpecError> {
        let count = named.len();
        let mut partitions: Vec<Partition> = Vec::with_capacity(count);
        for (number, (name, partition)) in (1u32..).zip(named) {
            let partition = Partition { number, ..partition };
            check_rules(&partition, &partitions, count).map_err(|problem| SpecError::Rule { name, problem })?;
            partitions.push(partition);
        }
        if partitions.is_empty() {
            return Err(SpecError::Empty);
        }
        if partitions.iter().filter(|p| p.content == Content::Meta).count() != 1 {
            let problem = "the set needs exactly one with content \"meta\"".to_owned();
            return Err(SpecError::Rule { name: "(all)".to_owned(), problem });
        }
        Ok(Self { partitions })
    }

    /// All partitions in disk order.
    #[must_use]
    pub fn all(&self) -> &[Partition] {
        &self.partitions
    }

    /// The partition with this label.
    #[must_use]
    pub fn by_label(&self, label: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.label == label)
    }

    /// Size in bytes of the flashed image: its partitions and room for both tables.
    #[must_use]
    pub fn image_size(&self) -> u64 {
        let made = self.partitions.iter().filter(|p| p.created == Created::Image);
        made.map(|p| p.size.least()).sum::<u64>() + 2 * RESERVED
    }

    /// Size in bytes of the smallest disk that takes all partitions.
    #[must_use]
    pub fn least_disk(&self) -> u64 {
        self.partitions.iter().map(|p| p.size.least()).sum::<u64>() + 2 * RESERVED
    }

    /// Partitions that are too small for what is to be made in them, for the builder: a node would find out at first boot.
    #[must_use]
    pub fn too_small(&self) -> Vec<&Partition> {
        self.partitions.iter().filter(|p| p.content == Content::Xfs && p.size.least() < XFS_LEAST).collect()
    }

    /// The image's own partitions with their places; the same on every disk.
    #[must_use]
    pub fn place_image(&self) -> Vec<Placed<'_>> {
        let mut placed = self.place_from(u64::MAX);
        placed.retain(|p| p.partition.created == Created::Image);
        placed
    }

    /// All partitions with their places on a disk of `disk_size` bytes; `None` when it is smaller than
    /// [`Self::least_disk`].
    #[must_use]
    pub fn place(&self, disk_size: u64) -> Option<Vec<Placed<'_>>> {
        (disk_size >= self.least_disk()).then(|| self.place_from(disk_size))
    }

    fn place_from(&self, disk_size: u64) -> Vec<Placed<'_>> {
        let limit = disk_size.saturating_sub(RESERVED) / MIB * MIB;
        let mut start = RESERVED;
        let mut placed = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            let length = match partition.size {
                Size::Fixed(bytes) => bytes,
                Size::Rest { .. } => limit.saturating_sub(start),
            };
            placed.push(Placed { partition, range: Range { start, length } });
            start = start.saturating_add(length);
        }
        placed
    }
}

/// The rules that one partition and those before it must keep; the text says which one is broken.
fn check_rules(new: &Partition, before: &[Partition], count: usize) -> Result<(), String> {
    let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    if new.label.is_empty() || new.label.len() > MAX_LABEL || !new.label.chars().all(letters) {
        return Err(format!("label {:?} is not 1 to {MAX_LABEL} of A-Z, 0-9 and -", new.label));
    }
    if count > MAX_PARTITIONS {
        return Err(format!("{count} partitions are more than {MAX_PARTITIONS}"));
    }
    if before.iter().any(|p| p.label == new.label) {
        return Err(format!("label {} is used twice", new.label));
    }
    if before.iter().any(|p| matches!(p.size, Size::Rest { .. })) {
        return Err("it comes after a partition that takes the rest of the disk".to_owned());
    }
    if new.created == Created::Image {
        if before.iter().any(|p| p.created == Created::FirstBoot) {
            return Err("it is part of the image but comes after one made at first boot".to_owned());
        }
        if matches!(new.size, Size::Rest { .. }) {
            return Err("a partition of the image needs a fixed size".to_owned());
        }
    } else if matches!(new.content, Content::Esp | Content::VerityRoot | Content::Meta) {
        return Err("only \"xfs\" and \"empty\" can be made at first boot".to_owned());
    }
    let Some(mount) = &new.mount else { return Ok(()) };
    let within = |inner: &str, outer: &str| Path::new(inner).starts_with(outer);
    if !mount.starts_with('/') {
        return Err(format!("mount {mount:?} is not an absolute path"));
    }
    if new.content != Content::Xfs {
        return Err("only \"xfs\" is mounted".to_owned());
    }
    match before.iter().filter_map(|p| p.mount.as_deref()).find(|other| within(mount, other) || within(other, mount)) {
        Some(other) => Err(format!("mount {mount:?} and {other:?} lie within each other: all are mounted at the same time")),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
