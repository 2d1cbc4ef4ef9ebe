//! Small value types that everything else is made of.

use std::fmt;

use gpt::disk::LogicalBlockSize;

/// A mebibyte: the alignment of every partition, on both sector sizes.
pub const MIB: u64 = 1 << 20;

/// Why a value is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Neither 512 nor 4096.
    #[error("sector size {0} is not supported (512 or 4096)")]
    Sector(u64),
    /// Not an architecture we build for.
    #[error("architecture {0:?} is not known (x86_64 or arm64)")]
    Arch(String),
    /// Not a size such as `512M`.
    #[error("{0:?} is not a size: write a number of mebibytes or gibibytes such as \"512M\" or \"2G\"")]
    Size(String),
}

/// Logical sector size of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorSize {
    /// 512 bytes.
    B512,
    /// 4096 bytes.
    B4096,
}

impl SectorSize {
    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }

    /// The same in the `gpt` crate's type.
    pub(crate) const fn gpt(self) -> LogicalBlockSize {
        match self {
            Self::B512 => LogicalBlockSize::Lb512,
            Self::B4096 => LogicalBlockSize::Lb4096,
        }
    }
}

impl TryFrom<u64> for SectorSize {
    type Error = UnitError;
    fn try_from(bytes: u64) -> Result<Self, UnitError> {
        match bytes {
            512 => Ok(Self::B512),
            4096 => Ok(Self::B4096),
            other => Err(UnitError::Sector(other)),
        }
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes())
    }
}

/// Architecture of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit PC.
    X86_64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The architecture this program was compiled for; `None` on one we build no images for.
    #[must_use]
    pub fn running() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl std::str::FromStr for Arch {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            other => Err(UnitError::Arch(other.to_owned())),
        }
    }
}

/// A stretch of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Range {
    /// First byte after the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Whether `other` lies wholly inside.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}..{}", self.start, self.end())
    }
}
