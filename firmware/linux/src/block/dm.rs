//! Device-mapper: what a mapping really is, asked of the kernel and not of the command line.

use std::{fs::File, io, os::fd::AsRawFd, path::Path};

const CONTROL: &str = "/dev/mapper/control";
/// Room for the answer: a verity table has about 300 bytes.
const ANSWER: usize = 16 * 1024;
const STATUS_TABLE_FLAG: u32 = 1 << 4;
const BUFFER_FULL_FLAG: u32 = 1 << 8;

/// `struct dm_ioctl` of `linux/dm-ioctl.h`.
#[repr(C)]
struct DmIoctl {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

#[repr(C)]
struct Request {
    header: DmIoctl,
    answer: [u8; ANSWER],
}

mod raw {
    nix::ioctl_readwrite!(dm_table_status, 0xfd, 12, super::DmIoctl);
}

/// A mapping could not be asked about.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum DmError {
    #[error("open {CONTROL}")]
    Open { source: io::Error },
    #[error("ask device-mapper about {name}")]
    Ask { name: String, source: io::Error },
    #[error("device-mapper's answer about {name} makes no sense")]
    Answer { name: String },
}

/// One target of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// First 512-byte sector.
    pub start: u64,
    /// Number of 512-byte sectors.
    pub length: u64,
    /// Target type (`verity`).
    pub kind: String,
    /// Its parameters, or its state.
    pub text: String,
}

/// The tables of the mapping called `name`.
///
/// # Errors
/// [`DmError`].
pub fn table(name: &str) -> Result<Vec<Target>, DmError> {
    ask(name, STATUS_TABLE_FLAG)
}

/// The state of the mapping's targets; for verity `V` (all read blocks were right) or `C` (corruption was found).
///
/// # Errors
/// [`DmError`].
pub fn status(name: &str) -> Result<Vec<Target>, DmError> {
    ask(name, 0)
}

fn ask(name: &str, flags: u32) -> Result<Vec<Target>, DmError> {
    let control = File::options().read(true).write(true).open(Path::new(CONTROL)).map_err(|source| DmError::Open { source })?;
    let bad = |source| DmError::Ask { name: name.to_owned(), source };
    let mut field = [0; 128];
    if name.is_empty() || name.len() >= field.len() {
        return Err(bad(io::Error::from(io::ErrorKind::InvalidInput)));
    }
    field.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    let mut request = Box::new(Request {
        header: DmIoctl {
            version: [4, 0, 0],
            data_size: u32::try_from(size_of::<Request>()).unwrap_or(0),
            data_start: u32::try_from(size_of::<DmIoctl>()).unwrap_or(0),
            target_count: 0,
            open_count: 0,
            flags,
            event_nr: 0,
            padding: 0,
            dev: 0,
            name: field,
            uuid: [0; 129],
            data: [0; 7],
        },
        answer: [0; ANSWER],
    });
    let pointer = (&raw mut *request).cast::<DmIoctl>();
    // SAFETY: DM_TABLE_STATUS reads and writes `data_size` bytes from the pointer; that is the size of the whole
    // request, which the pointer was made from, which is laid out as the kernel's header followed by plain bytes,
    // and which outlives the call.
    let result = unsafe { raw::dm_table_status(control.as_raw_fd(), pointer) };
    result.map_err(|errno| bad(errno.into()))?;
    if request.header.flags & BUFFER_FULL_FLAG != 0 {
        return Err(DmError::Answer { name: name.to_owned() });
    }
    let skip = usize::try_from(request.header.data_start).unwrap_or(0).saturating_sub(size_of::<DmIoctl>());
    parse(request.answer.get(skip..).unwrap_or_default(), request.header.target_count)
        .ok_or_else(|| DmError::Answer { name: name.to_owned() })
}

/// `struct dm_target_spec` (start, length, status, offset of the next, type) followed by a text, `count` times.
pub(crate) fn parse(answer: &[u8], count: u32) -> Option<Vec<Target>> {
    let mut targets = Vec::new();
    let mut at = 0usize;
    for _ in 0..count {
        let spec = answer.get(at..)?;
        let number = |range: std::ops::Range<usize>| Some(u64::from_ne_bytes(spec.get(range)?.try_into().ok()?));
        let next = u32::from_ne_bytes(spec.get(20..24)?.try_into().ok()?);
        targets.push(Target { start: number(0..8)?, length: number(8..16)?, kind: text(spec.get(24..40)?)?, text: text(spec.get(40..)?)? });
        at = usize::try_from(next).ok()?;
    }
    Some(targets)
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_bounded() {
        let mut answer = Vec::new();
        answer.extend(0u64.to_ne_bytes());
        answer.extend(80u64.to_ne_bytes());
        answer.extend(0u32.to_ne_bytes());
        answer.extend(64u32.to_ne_bytes());
        answer.extend(b"verity\0\0\0\0\0\0\0\0\0\0");
        answer.extend(b"V\0");
        let target = Target { start: 0, length: 80, kind: "verity".to_owned(), text: "V".to_owned() };
        assert_eq!(parse(&answer, 1), Some(vec![target]));
        assert_eq!(parse(&answer, 2), None);
        assert_eq!(parse(&answer[..30], 1), None);
        assert_eq!(parse(&[], 0), Some(vec![]));
        assert_eq!(size_of::<DmIoctl>(), 312);
    }
}
