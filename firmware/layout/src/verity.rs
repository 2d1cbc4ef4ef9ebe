//! The root's dm-verity table: the partition GUID that follows from its hash, the kernel argument, and back.
//!
//! Data and hash tree lie in one partition, without a verity superblock: the numbers are on the signed command line.

use std::fmt;

use uuid::Uuid;

/// Block size in bytes of data and tree: the page size of both architectures.
pub const BLOCK: u64 = 4096;
/// Bytes of a device-mapper sector, whatever the disk's own are.
const DM_SECTOR: u64 = 512;
/// Longest salt in bytes that dm-verity takes.
const MAX_SALT: usize = 256;
/// Name of the mapping that holds the root.
const NAME: &str = "root";

/// Why a text is no verity table of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerityError {
    /// The command line has no such argument.
    #[error("the command line has no dm-mod.create=")]
    Absent,
    /// Too few words, or another target.
    #[error("not a verity table: {0:?}")]
    Shape(String),
    /// A number or a hexadecimal value is not one.
    #[error("verity {field} {value:?} is not valid")]
    Field {
        /// Which field.
        field: &'static str,
        /// What was found.
        value: String,
    },
}

/// A dm-verity table over one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityTable {
    /// SHA-256 root hash.
    pub root_hash: [u8; 32],
    /// Salt, at most 256 bytes.
    pub salt: Vec<u8>,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// First block of the hash tree, counted from the start of the partition.
    pub hash_start: u64,
    /// Panic on a rotten block, so that it counts as a failed boot.
    pub panic_on_corruption: bool,
}

impl VerityTable {
    /// GUID of the partition that holds this root: the first half of the root hash, so that a command line finds
    /// exactly its own root.
    #[must_use]
    pub fn part_uuid(&self) -> Uuid {
        part_uuid(&self.root_hash)
    }

    /// The target's parameters over `device` (`PARTUUID=...` or a device number).
    #[must_use]
    pub fn params(&self, device: impl fmt::Display) -> String {
        let (blocks, start) = (self.data_blocks, self.hash_start);
        let salt = if self.salt.is_empty() { "-".to_owned() } else { hex(&self.salt) };
        let root = hex(&self.root_hash);
        let option = if self.panic_on_corruption { " 1 panic_on_corruption" } else { "" };
        format!("1 {device} {device} {BLOCK} {BLOCK} {blocks} {start} sha256 {root} {salt}{option}")
    }

    /// Number of 512-byte sectors of the mapped device.
    #[must_use]
    pub const fn sectors(&self) -> u64 {
        self.data_blocks.saturating_mul(BLOCK / DM_SECTOR)
    }

    /// The kernel arguments that map the root before init starts: `dm-mod.waitfor=` and `dm-mod.create=`, in order.
    #[must_use]
    pub fn kernel_arguments(&self) -> [String; 2] {
        let device = format!("PARTUUID={}", self.part_uuid());
        let params = self.params(&device);
        [format!("dm-mod.waitfor={device}"), format!("dm-mod.create=\"{NAME},,,ro,0 {} verity {params}\"", self.sectors())]
    }

    /// Reads `dm-mod.create=` of a kernel command line.
    ///
    /// # Errors
    /// [`VerityError`] when there is none or it is not a verity table as this module writes them.
    pub fn from_cmdline(cmdline: &str) -> Result<Self, VerityError> {
        let rest = cmdline.split_once("dm-mod.create=").ok_or(VerityError::Absent)?.1;
        let text = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            None => rest.split_ascii_whitespace().next().unwrap_or_default(),
        };
        let table = text.splitn(5, ',').nth(4).ok_or_else(|| VerityError::Shape(text.to_owned()))?;
        Self::from_table(table)
    }

    /// Reads a table line: `<start> <sectors> verity 1 <device> <device> ...`.
    ///
    /// # Errors
    /// [`VerityError::Shape`] or [`VerityError::Field`].
    pub fn from_table(line: &str) -> Result<Self, VerityError> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let shape = || VerityError::Shape(line.to_owned());
        let [_, sectors, "verity", "1", _, _, data_size, hash_size, blocks, start, "sha256", root, salt, options @ ..] = words.as_slice()
        else {
            return Err(shape());
        };
        for (field, value) in [("data block size", data_size), ("hash block size", hash_size)] {
            if number(field, value)? != BLOCK {
                return Err(VerityError::Field { field, value: (*value).to_owned() });
            }
        }
        let root_hash = unhex(root).and_then(|bytes| bytes.try_into().ok());
        let salt_bytes = if *salt == "-" { Some(Vec::new()) } else { unhex(salt) };
        let bad = |field, value: &str| VerityError::Field { field, value: value.to_owned() };
        let table = Self {
            root_hash: root_hash.ok_or_else(|| bad("root hash", root))?,
            salt: salt_bytes.filter(|s| s.len() <= MAX_SALT).ok_or_else(|| bad("salt", salt))?,
            data_blocks: number("data blocks", blocks)?,
            hash_start: number("hash start", start)?,
            panic_on_corruption: options.contains(&"panic_on_corruption"),
        };
        if number("sectors", sectors)? != table.sectors() {
            return Err(bad("sectors", sectors));
        }
        Ok(table)
    }
}

/// GUID of the partition that holds the root with this hash.
#[must_use]
pub fn part_uuid(root_hash: &[u8; 32]) -> Uuid {
    let mut half = [0; 16];
    half.iter_mut().zip(root_hash).for_each(|(to, from)| *to = *from);
    Uuid::from_bytes(half)
}

fn number(field: &'static str, value: &str) -> Result<u64, VerityError> {
    value.parse().map_err(|_| VerityError::Field { field, value: value.to_owned() })
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of a hexadecimal text; `None` when it is not one.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<Vec<u8>>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> VerityTable {
        VerityTable {
            root_hash: std::array::from_fn(|i| u8::try_from(i * 7).unwrap()),
            salt: vec![0xab; 32],
            data_blocks: 1000,
            hash_start: 1000,
            panic_on_corruption: true,
        }
    }

    #[test]
    fn survives_the_command_line() {
        let [wait, create] = sample().kernel_arguments();
        assert_eq!(wait, "dm-mod.waitfor=PARTUUID=00070e15-1c23-2a31-383f-464d545b6269");
        assert!(create.starts_with("dm-mod.create=\"root,,,ro,0 8000 verity 1 PARTUUID=00070e15-"), "{create}");
        assert!(create.ends_with(" 1 panic_on_corruption\""), "{create}");
        let cmdline = format!("quiet {wait} {create} root=/dev/dm-0");
        assert_eq!(VerityTable::from_cmdline(&cmdline), Ok(sample()));
        let plain = VerityTable { salt: vec![], panic_on_corruption: false, ..sample() };
        assert_eq!(VerityTable::from_table(&format!("0 8000 verity {}", plain.params("8:2"))), Ok(plain));
    }

    #[track_caller]
    fn check_bad(line: &str, expect: &str) {
        let err = VerityTable::from_table(line).unwrap_err().to_string();
        assert!(err.contains(expect), "{line:?} gave {err:?}");
    }

    #[test]
    fn names_what_is_wrong() {
        check_bad("", "not a verity table");
        check_bad("0 8000 linear 8:2 0", "not a verity table");
        let good = format!("0 8000 verity {}", sample().params("8:2"));
        check_bad(&good.replace("0 8000", "0 8001"), "sectors");
        check_bad(&good.replace("4096 4096", "4096 512"), "hash block size");
        check_bad(&good.replace("00070e", "0007zz"), "root hash");
        assert_eq!(VerityTable::from_cmdline("root=/dev/dm-0"), Err(VerityError::Absent));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in ".{0,200}") {
            let _ = VerityTable::from_cmdline(&line);
            let _ = VerityTable::from_cmdline(&format!("dm-mod.create={line}"));
            let _ = VerityTable::from_table(&line);
        }
    }
}
