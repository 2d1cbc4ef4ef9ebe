//! Bytes of one copy.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic |
//! | 8..12 | format version, then 4 zero bytes |
//! | 16..24 | generation |
//! | 24..32 | length of the records |
//! | 32..64 | SHA-256 over bytes 0..32 and the records |
//! | 64.. | records: kind, key, length, bytes |
//!
//! Numbers are little-endian. What lies behind the records is not looked at.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Action, COPY_SIZE, Life, MAX_RECORDS, Meta, Record, Recorded, Reset, Scope};
use crate::{Range, SectorSize};

const MAGIC: [u8; 8] = *b"KeelMETA";
const VERSION: u32 = 1;
const HEADER: usize = 32;
const RECORDS_AT: usize = 64;
/// Copies are written in whole sectors of the larger kind.
const BLOCK: usize = 4096;
/// Where a header says how long the records are.
const LENGTH_AT: usize = 24;

const KIND_LIFE: u8 = 0;
const KIND_KEY: u8 = 1;
const LIFE_FACTORY: u8 = 0;
const LIFE_PROVISIONING: u8 = 1;
const LIFE_PROVISIONED: u8 = 2;
const LIFE_RESETTING: u8 = 3;
/// Most partitions of a record; the same as entries in a table.
const MAX_PARTITIONS: usize = 128;

/// What is wrong with one copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// Shorter than a header.
    #[error("only {0} bytes")]
    Short(usize),
    /// The magic is not there.
    #[error("not a META copy")]
    Magic,
    /// Written by a version that this one does not understand.
    #[error("format version {0} is newer than this version understands")]
    Version(u32),
    /// The length is out of bounds.
    #[error("a length of {0} bytes is not possible")]
    Length(u64),
    /// The checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
    /// The checksum is right, but a record makes no sense.
    #[error("the {0} record makes no sense")]
    Record(&'static str),
}

/// Why contents cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// A value is too long.
    #[error("the value of META key {key:#04x} has {length} bytes, {max} are possible", max = super::MAX_VALUE)]
    Value {
        /// The key.
        key: u8,
        /// Its length in bytes.
        length: usize,
    },
    /// All records together are too long.
    #[error("META records of {0} bytes are more than {max}", max = MAX_RECORDS)]
    Full(usize),
}

/// The bytes of one copy, a multiple of 4096.
pub(super) fn encode(generation: u64, meta: &Meta) -> Result<Vec<u8>, MetaError> {
    let records = encode_records(meta);
    if records.len() > MAX_RECORDS {
        return Err(MetaError::Full(records.len()));
    }
    let mut bytes = Vec::with_capacity((RECORDS_AT + records.len()).next_multiple_of(BLOCK));
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&length64(&records).to_le_bytes());
    let digest = Sha256::new().chain_update(&bytes).chain_update(&records).finalize();
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(&records);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    Ok(bytes)
}

/// Bytes from a copy's beginning that hold it, a multiple of 4096, by its first ones; those of its header at least, when
/// they are no header.
pub(super) fn stored_length(start: &[u8]) -> usize {
    let length = start.get(LENGTH_AT..).and_then(|rest| Reader(rest).u64());
    let records = length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= COPY_SIZE - RECORDS_AT);
    (RECORDS_AT + records.unwrap_or(0)).next_multiple_of(BLOCK)
}

/// Generation and contents of one copy.
pub(super) fn decode(copy: &[u8]) -> Result<(u64, Meta), CopyError> {
    let short = || CopyError::Short(copy.len());
    let (header, rest) = copy.split_at_checked(HEADER).ok_or_else(short)?;
    let (digest, rest) = rest.split_at_checked(RECORDS_AT - HEADER).ok_or_else(short)?;
    let mut fields = Reader(header);
    if fields.array().ok_or_else(short)? != MAGIC {
        return Err(CopyError::Magic);
    }
    let version = fields.u32().ok_or_else(short)?;
    fields.u32().ok_or_else(short)?;
    let generation = fields.u64().ok_or_else(short)?;
    let length = fields.u64().ok_or_else(short)?;
    let wanted = usize::try_from(length).ok().filter(|length| *length <= COPY_SIZE - RECORDS_AT);
    let records = wanted.and_then(|length| rest.get(..length)).ok_or(CopyError::Length(length))?;
    if Sha256::new().chain_update(header).chain_update(records).finalize().as_slice() != digest {
        return Err(CopyError::Checksum);
    }
    // Only after the checksum: a flipped bit must not look like a newer format.
    if version != VERSION {
        return Err(CopyError::Version(version));
    }
    Ok((generation, decode_records(records)?))
}

fn encode_records(meta: &Meta) -> Vec<u8> {
    let mut out = Vec::new();
    let life = match &meta.life {
        Life::Factory => vec![LIFE_FACTORY],
        Life::Provisioning(record) => encode_record(LIFE_PROVISIONING, record),
        Life::Provisioned(record) => encode_record(LIFE_PROVISIONED, record),
        Life::Resetting(reset) => encode_reset(reset),
    };
    put(&mut out, KIND_LIFE, 0, &life);
    for (key, value) in meta.keys() {
        put(&mut out, KIND_KEY, key, value);
    }
    out
}

fn put(out: &mut Vec<u8>, kind: u8, key: u8, value: &[u8]) {
    out.extend_from_slice(&[kind, key]);
    out.extend_from_slice(&length64(value).to_le_bytes());
    out.extend_from_slice(value);
}

fn length64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn decode_records(bytes: &[u8]) -> Result<Meta, CopyError> {
    let mut rest = Reader(bytes);
    let mut life = None;
    let mut meta = Meta::new(Life::Factory);
    while !rest.0.is_empty() {
        let (kind, key, value) = rest.record().ok_or(CopyError::Record("cut off"))?;
        match kind {
            KIND_LIFE if life.is_none() => life = Some(decode_life(value).ok_or(CopyError::Record("life"))?),
            KIND_KEY => meta.set(key, value.to_vec()).map_err(|_| CopyError::Record("key"))?,
            _ => return Err(CopyError::Record("unknown")),
        }
    }
    meta.life = life.ok_or(CopyError::Record("life"))?;
    Ok(meta)
}

/// The scope with a number that says what it is, the partitions' count and numbers, whether it is erased, the record.
fn encode_reset(reset: &Reset) -> Vec<u8> {
    let (kind, numbers): (u8, &[u32]) = match &reset.scope {
        Scope::Partitions(numbers) => (0, numbers),
        Scope::Factory => (1, &[]),
        Scope::Disk { restart: false } => (2, &[]),
        Scope::Disk { restart: true } => (3, &[]),
    };
    let mut out = vec![LIFE_RESETTING, kind];
    out.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    out.push(u8::from(reset.erased));
    put_record(&mut out, &reset.record);
    out
}

fn decode_reset(mut rest: Reader<'_>) -> Option<Reset> {
    let [kind] = rest.array()?;
    let count = usize::try_from(rest.u32()?).ok().filter(|count| *count <= MAX_PARTITIONS)?;
    let numbers: Vec<u32> = (0..count).map(|_| rest.u32()).collect::<Option<_>>()?;
    let scope = match (kind, numbers.is_empty()) {
        (0, false) => Scope::Partitions(numbers),
        (1, true) => Scope::Factory,
        (2, true) => Scope::Disk { restart: false },
        (3, true) => Scope::Disk { restart: true },
        _ => return None,
    };
    let erased = match rest.array()? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some(Reset { scope, erased, record: decode_record(rest)? })
}

fn encode_record(life: u8, record: &Record) -> Vec<u8> {
    let mut out = vec![life];
    put_record(&mut out, record);
    out
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(record.disk_guid.as_bytes());
    out.extend_from_slice(&record.disk_size.to_le_bytes());
    out.extend_from_slice(&record.sector.bytes().to_le_bytes());
    for partition in &record.partitions {
        out.extend_from_slice(&partition.number.to_le_bytes());
        out.extend_from_slice(partition.type_guid.as_bytes());
        out.extend_from_slice(partition.guid.as_bytes());
        out.extend_from_slice(&partition.range.start.to_le_bytes());
        out.extend_from_slice(&partition.range.length.to_le_bytes());
        out.push(match partition.action {
            Action::Keep => 0,
            Action::Wipe => 1,
            Action::FormatXfs => 2,
        });
        out.extend_from_slice(&length64(partition.label.as_bytes()).to_le_bytes());
        out.extend_from_slice(partition.label.as_bytes());
    }
}

fn decode_life(bytes: &[u8]) -> Option<Life> {
    let mut rest = Reader(bytes);
    match rest.array::<1>()? {
        [LIFE_FACTORY] if rest.0.is_empty() => Some(Life::Factory),
        [LIFE_PROVISIONING] => Some(Life::Provisioning(decode_record(rest)?)),
        [LIFE_PROVISIONED] => Some(Life::Provisioned(decode_record(rest)?)),
        [LIFE_RESETTING] => Some(Life::Resetting(decode_reset(rest)?)),
        _ => None,
    }
}

fn decode_record(mut rest: Reader<'_>) -> Option<Record> {
    let disk_guid = rest.uuid()?;
    let disk_size = rest.u64()?;
    let sector = SectorSize::try_from(rest.u64()?).ok()?;
    let mut partitions = Vec::new();
    while !rest.0.is_empty() {
        if partitions.len() == MAX_PARTITIONS {
            return None;
        }
        partitions.push(decode_partition(&mut rest)?);
    }
    Some(Record { disk_guid, disk_size, sector, partitions })
}

fn decode_partition(rest: &mut Reader<'_>) -> Option<Recorded> {
    let number = rest.u32()?;
    let type_guid = rest.uuid()?;
    let guid = rest.uuid()?;
    let range = Range { start: rest.u64()?, length: rest.u64()? };
    let action = match rest.array::<1>()? {
        [0] => Action::Keep,
        [1] => Action::Wipe,
        [2] => Action::FormatXfs,
        _ => return None,
    };
    let label = String::from_utf8(rest.counted()?.to_vec()).ok()?;
    Some(Recorded { number, label, type_guid, guid, range, action })
}

/// Takes values from the front of a slice; `None` once it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn record(&mut self) -> Option<(u8, u8, &'a [u8])> {
        let [kind, key] = self.array()?;
        Some((kind, key, self.counted()?))
    }
}
