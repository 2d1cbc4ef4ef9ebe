//! What the launcher is to do, as bytes: little-endian numbers, texts and lists with their length in front, in a fixed order.
//!
//! Both ends are the same file, so the form has no versions. It is read as if it came from anywhere: every length has a limit,
//! and what breaks a rule of [`Sandbox`] is refused by name before anything is done.

mod bytes;
#[cfg(test)]
mod tests;

use std::{
    ffi::{CString, OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use self::bytes::{Reader, Writer};
use super::{Access, Call, Calls, Condition, Mount, Namespaces, Otherwise, Sandbox, root::STAGE};
use crate::process::{Capabilities, Image, Privileges, User};

/// Most bytes of an order; well below what a socket takes without a reader.
pub(super) const MAX: usize = 32 * 1024;
/// Most bytes of a path, an argument, a variable (`PATH_MAX`).
const MAX_TEXT: usize = 4096;
/// Most arguments, and most variables.
const MAX_WORDS: usize = 64;
/// Most mounts, supplementary groups, limits.
const MAX_MOUNTS: usize = 64;
const MAX_GROUPS: usize = 32;
const MAX_RLIMITS: usize = 16;
/// Most system calls that are named, and most conditions of one.
const MAX_CALLS: usize = 512;
const MAX_CONDITIONS: usize = 6;
/// Numbers from here on are another table of system calls (x32 on x86_64).
const CALL_NUMBERS: u32 = 0x4000_0000;

/// A description that is against the rules, or bytes that are none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the object and the figures of the message")]
pub enum OrderError {
    /// The bytes end within something.
    #[error("the order ends within {field}")]
    Truncated { field: &'static str },
    /// The bytes go on after the last field.
    #[error("{bytes} bytes follow the order")]
    Trailing { bytes: usize },
    /// Something is longer, or there are more of it, than is allowed.
    #[error("{field}: {count} is more than the limit of {limit}")]
    TooMuch { field: &'static str, count: usize, limit: usize },
    /// A number without a meaning.
    #[error("{field}: {value} means nothing")]
    Unknown { field: &'static str, value: u64 },
    /// A text holds a zero byte.
    #[error("{field} holds a zero byte")]
    Zero { field: &'static str },
    /// A path that is not absolute, or has `.` or `..` in it.
    #[error("{field} {path} is not absolute and plain")]
    Path { field: &'static str, path: PathBuf },
    /// A mount that the rules forbid.
    #[error("mount on {path}: {why}")]
    Mount { path: PathBuf, why: &'static str },
}

/// What the launcher is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(super) image: Image,
    pub(super) privileges: Privileges,
    /// Its launcher is not told: it is the one who reads.
    pub(super) sandbox: Sandbox,
}

impl Order {
    pub(crate) fn new(image: Image, privileges: Privileges, sandbox: &Sandbox) -> Self {
        Self { image, privileges, sandbox: Sandbox { launcher: PathBuf::new(), ..sandbox.clone() } }
    }

    /// # Errors
    /// [`OrderError`], as [`Order::decode`] would have it.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, OrderError> {
        self.check()?;
        let mut to = Writer::default();
        to.text("program", self.image.program.as_bytes(), MAX_TEXT)?;
        for (field, words) in [("arguments", &self.image.arguments), ("environment", &self.image.environment)] {
            to.list(field, words, MAX_WORDS, |to, word| to.text(field, word.as_bytes(), MAX_TEXT))?;
        }
        self.write_privileges(&mut to)?;
        self.write_sandbox(&mut to)?;
        let bytes = to.into_bytes();
        if bytes.len() > MAX {
            return Err(OrderError::TooMuch { field: "the order", count: bytes.len(), limit: MAX });
        }
        Ok(bytes)
    }

    fn write_privileges(&self, to: &mut Writer) -> Result<(), OrderError> {
        let Privileges { rlimits, user, groups, capabilities, no_new_privs } = &self.privileges;
        to.list("limits", rlimits, MAX_RLIMITS, |to, (resource, value)| {
            to.u32(*resource);
            to.u64(*value);
            Ok(())
        })?;
        to.flag(user.is_some());
        if let Some(user) = user {
            to.u32(user.uid);
            to.u32(user.gid);
        }
        to.list("groups", groups, MAX_GROUPS, |to, group| {
            to.u32(*group);
            Ok(())
        })?;
        to.flag(capabilities.is_some());
        if let Some(capabilities) = capabilities {
            to.u64(capabilities.0);
        }
        to.flag(*no_new_privs);
        Ok(())
    }

    fn write_sandbox(&self, to: &mut Writer) -> Result<(), OrderError> {
        let Sandbox { launcher: _, namespaces: Namespaces { pid, ipc, uts }, mounts, directory, umask, calls } = &self.sandbox;
        for flag in [pid, ipc, uts] {
            to.flag(*flag);
        }
        to.list("mounts", mounts, MAX_MOUNTS, write_mount)?;
        to.path("the working directory", directory)?;
        to.u32(*umask);
        to.flag(calls.is_some());
        let Some(Calls { allowed, otherwise }) = calls else { return Ok(()) };
        to.list("system calls", allowed, MAX_CALLS, |to, Call { number, conditions }| {
            to.u32(*number);
            to.list("conditions", conditions, MAX_CONDITIONS, |to, Condition { argument, mask, value }| {
                to.u8(*argument);
                to.u64(*mask);
                to.u64(*value);
                Ok(())
            })
        })?;
        match otherwise {
            Otherwise::Kill => to.u8(0),
            Otherwise::Refuse(number) => {
                to.u8(1);
                to.u32(u32::from(*number));
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`OrderError`]: the bytes are no order, or one that is against the rules.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, OrderError> {
        if bytes.len() > MAX {
            return Err(OrderError::TooMuch { field: "the order", count: bytes.len(), limit: MAX });
        }
        let mut from = Reader::new(bytes);
        let word = |from: &mut Reader<'_>, field| {
            let text = from.text(field, MAX_TEXT)?;
            CString::new(text).map_err(|_| OrderError::Zero { field })
        };
        let image = Image {
            program: word(&mut from, "program")?,
            arguments: from.list("arguments", MAX_WORDS, |from| word(from, "arguments"))?,
            environment: from.list("environment", MAX_WORDS, |from| word(from, "environment"))?,
        };
        let order = Self { image, privileges: read_privileges(&mut from)?, sandbox: read_sandbox(&mut from)? };
        from.end()?;
        order.check()?;
        Ok(order)
    }

    /// The rules that hold whatever the form.
    fn check(&self) -> Result<(), OrderError> {
        plain("the program", Path::new(OsStr::from_bytes(self.image.program.as_bytes())))?;
        let sandbox = &self.sandbox;
        plain("the working directory", &sandbox.directory)?;
        for (at, mount) in sandbox.mounts.iter().enumerate() {
            check_mount(mount, sandbox.mounts.get(..at).unwrap_or_default())?;
        }
        let calls = sandbox.calls.iter().flat_map(|calls| &calls.allowed);
        for Call { number, conditions } in calls {
            if *number >= CALL_NUMBERS {
                return Err(OrderError::Unknown { field: "system call", value: u64::from(*number) });
            }
            for Condition { argument, mask, value } in conditions {
                if *argument > 5 {
                    return Err(OrderError::Unknown { field: "argument of a condition", value: u64::from(*argument) });
                }
                // It would never hold.
                if value & !mask != 0 {
                    return Err(OrderError::Unknown { field: "value of a condition", value: *value });
                }
            }
        }
        Ok(())
    }
}

/// Whether a mount keeps the rules of [`Mount`] after the `earlier` ones.
fn check_mount(mount: &Mount, earlier: &[Mount]) -> Result<(), OrderError> {
    let target = mount.target();
    plain("mount point", target)?;
    let refused = |why| Err(OrderError::Mount { path: target.to_owned(), why });
    if target == Path::new("/") {
        return refused("the root is there already");
    }
    if earlier.iter().any(|other| other.target() == target) {
        return refused("something is mounted there already");
    }
    if earlier.iter().any(|other| matches!(other, Mount::Bind { .. } | Mount::Proc { .. }) && target.starts_with(other.target())) {
        return refused("its mount point would be made in what an earlier mount brought");
    }
    if let Mount::Bind { source, .. } = mount {
        plain("source", source)?;
        if source.starts_with(STAGE) {
            return refused("its source is where the root is built");
        }
    }
    Ok(())
}

/// Absolute, without `.` and `..`, repeated or final slashes.
fn plain(field: &'static str, path: &Path) -> Result<(), OrderError> {
    let mut parts = path.components();
    let absolute = parts.next() == Some(Component::RootDir) && parts.all(|part| matches!(part, Component::Normal(_)));
    let same: PathBuf = path.components().collect();
    if absolute && same.as_os_str() == path.as_os_str() { Ok(()) } else { Err(OrderError::Path { field, path: path.into() }) }
}

fn write_mount(to: &mut Writer, mount: &Mount) -> Result<(), OrderError> {
    match mount {
        Mount::Bind { source, target, access: Access { write, execute, devices } } => {
            to.u8(0);
            to.path("source", source)?;
            to.path("mount point", target)?;
            for flag in [write, execute, devices] {
                to.flag(*flag);
            }
        }
        Mount::Tmpfs { target, bytes, mode } => {
            to.u8(1);
            to.path("mount point", target)?;
            to.u64(*bytes);
            to.u32(*mode);
        }
        Mount::Proc { target } => {
            to.u8(2);
            to.path("mount point", target)?;
        }
    }
    Ok(())
}

fn read_mount(from: &mut Reader<'_>) -> Result<Mount, OrderError> {
    Ok(match from.u8("kind of mount")? {
        0 => Mount::Bind {
            source: path(from, "source")?,
            target: path(from, "mount point")?,
            access: Access { write: from.flag("write")?, execute: from.flag("execute")?, devices: from.flag("devices")? },
        },
        1 => Mount::Tmpfs { target: path(from, "mount point")?, bytes: from.u64("bytes")?, mode: from.u32("mode")? },
        2 => Mount::Proc { target: path(from, "mount point")? },
        other => return Err(OrderError::Unknown { field: "kind of mount", value: u64::from(other) }),
    })
}

fn path(from: &mut Reader<'_>, field: &'static str) -> Result<PathBuf, OrderError> {
    let text = from.text(field, MAX_TEXT)?;
    if text.contains(&0) {
        return Err(OrderError::Zero { field });
    }
    Ok(PathBuf::from(OsString::from_vec(text)))
}

fn read_privileges(from: &mut Reader<'_>) -> Result<Privileges, OrderError> {
    Ok(Privileges {
        rlimits: from.list("limits", MAX_RLIMITS, |from| Ok((from.u32("limit")?, from.u64("limit")?)))?,
        user: if from.flag("user")? { Some(User { uid: from.u32("user")?, gid: from.u32("group")? }) } else { None },
        groups: from.list("groups", MAX_GROUPS, |from| from.u32("group"))?,
        capabilities: if from.flag("capabilities")? { Some(Capabilities(from.u64("capabilities")?)) } else { None },
        no_new_privs: from.flag("no new privileges")?,
    })
}

fn read_sandbox(from: &mut Reader<'_>) -> Result<Sandbox, OrderError> {
    let namespace = "namespaces";
    Ok(Sandbox {
        launcher: PathBuf::new(),
        namespaces: Namespaces { pid: from.flag(namespace)?, ipc: from.flag(namespace)?, uts: from.flag(namespace)? },
        mounts: from.list("mounts", MAX_MOUNTS, read_mount)?,
        directory: path(from, "the working directory")?,
        umask: from.u32("umask")?,
        calls: if from.flag("system calls")? { Some(read_calls(from)?) } else { None },
    })
}

fn read_calls(from: &mut Reader<'_>) -> Result<Calls, OrderError> {
    let condition = |from: &mut Reader<'_>| {
        let (argument, mask, value) = (from.u8("condition")?, from.u64("condition")?, from.u64("condition")?);
        Ok(Condition { argument, mask, value })
    };
    let call = |from: &mut Reader<'_>| {
        Ok(Call { number: from.u32("system call")?, conditions: from.list("conditions", MAX_CONDITIONS, condition)? })
    };
    let allowed = from.list("system calls", MAX_CALLS, call)?;
    let otherwise = match from.u8("other system calls")? {
        0 => Otherwise::Kill,
        1 => {
            let value = from.u32("error number")?;
            Otherwise::Refuse(u16::try_from(value).map_err(|_| OrderError::Unknown { field: "error number", value: u64::from(value) })?)
        }
        other => return Err(OrderError::Unknown { field: "other system calls", value: u64::from(other) }),
    };
    Ok(Calls { allowed, otherwise })
}
