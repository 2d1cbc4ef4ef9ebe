//! Mounts: `mount(2)` through `sys-mount`, and what `/proc/self/mountinfo` says.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags};
pub use sys_mount::MountFlags as Flags;

/// The usual flags of a place for data: nothing in it is executed, honoured as set-user-id, or a device.
pub const DATA: Flags = Flags::NOSUID.union(Flags::NODEV).union(Flags::NOEXEC);

/// A mount, remount or unmount failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum MountError {
    /// The mount point could not be made.
    #[error("create mount point {target}")]
    MountPoint { target: PathBuf, source: io::Error },
    /// The kernel refused the mount.
    #[error("mount {fstype} {device} on {target}")]
    Mount { fstype: String, device: PathBuf, target: PathBuf, source: io::Error },
    /// The kernel refused the change.
    #[error("remount {target}")]
    Remount { target: PathBuf, source: io::Error },
    /// The kernel refused the unmount.
    #[error("unmount {target}")]
    Unmount { target: PathBuf, source: io::Error },
    /// The table of mounts could not be read.
    #[error("read /proc/self/mountinfo")]
    Table { source: io::Error },
}

/// Mounts `device` (any word for file systems without one) on `target`, which is created when it is missing.
///
/// # Errors
/// [`MountError::MountPoint`], [`MountError::Mount`].
pub fn mount(device: impl AsRef<Path>, target: &Path, fstype: &str, flags: Flags, data: &str) -> Result<(), MountError> {
    if !target.is_dir() {
        fs::create_dir_all(target).map_err(|source| MountError::MountPoint { target: target.into(), source })?;
    }
    let builder = sys_mount::Mount::builder().fstype(fstype).flags(flags);
    let builder = if data.is_empty() { builder } else { builder.data(data) };
    match builder.mount(device.as_ref(), target) {
        Ok(_) => Ok(()),
        Err(source) => Err(MountError::Mount { fstype: fstype.into(), device: device.as_ref().into(), target: target.into(), source }),
    }
}

/// Changes the flags of what is mounted on `target` ([`Flags::RDONLY`] or not, and the rest).
///
/// # Errors
/// [`MountError::Remount`].
pub fn remount(target: &Path, flags: Flags) -> Result<(), MountError> {
    let result = sys_mount::Mount::builder().fstype("none").flags(flags | Flags::REMOUNT).mount("none", target);
    result.map(drop).map_err(|source| MountError::Remount { target: target.into(), source })
}

/// Makes mounts at and below `target` visible in namespaces made from here later, both ways.
///
/// # Errors
/// [`MountError::Remount`].
pub fn make_shared(target: &Path) -> Result<(), MountError> {
    // sys-mount has no propagation flags.
    let (flags, none) = (MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    nix::mount::mount(none, target, none, flags, none).map_err(|errno| MountError::Remount { target: target.into(), source: errno.into() })
}

/// Takes `target` out of the tree. `lazy` leaves open files working and detaches the rest at once.
///
/// # Errors
/// [`MountError::Unmount`].
pub fn unmount(target: &Path, lazy: bool) -> Result<(), MountError> {
    let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    // Not through sys-mount: its NOFOLLOW is the flag of open(2), which umount2(2) answers with EINVAL.
    nix::mount::umount2(target, flags | MntFlags::UMOUNT_NOFOLLOW)
        .map_err(|errno| MountError::Unmount { target: target.into(), source: errno.into() })
}

/// A line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Where it is mounted.
    pub target: PathBuf,
    /// File system type.
    pub fstype: String,
    /// Device node or the word given at mount time.
    pub device: String,
    /// Mount options and super options, joined by commas.
    pub options: String,
}

/// The mounts of this process, in mount order.
///
/// # Errors
/// [`MountError::Table`].
pub fn mounts() -> Result<Vec<MountEntry>, MountError> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|source| MountError::Table { source })?;
    Ok(parse(&text))
}

/// Whether something is mounted exactly on `target`.
///
/// # Errors
/// [`MountError::Table`].
pub fn is_mounted(target: &Path) -> Result<bool, MountError> {
    Ok(mounts()?.iter().any(|entry| entry.target == target))
}

/// `ID PARENT MAJ:MIN ROOT TARGET OPTIONS [TAG...] - TYPE DEVICE SUPER`; lines of another shape are left out.
pub(crate) fn parse(text: &str) -> Vec<MountEntry> {
    text.lines()
        .filter_map(|line| {
            let (head, tail) = line.split_once(" - ")?;
            let mut head = head.split(' ').skip(4);
            let (target, options) = (head.next()?, head.next()?);
            let mut tail = tail.splitn(3, ' ');
            let (fstype, device, extra) = (tail.next()?, tail.next()?, tail.next().unwrap_or_default());
            Some(MountEntry {
                target: PathBuf::from(unescape(target)),
                fstype: fstype.to_owned(),
                device: unescape(device),
                options: format!("{options},{extra}"),
            })
        })
        .collect()
}

/// The kernel writes space, tab, line break and backslash as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wanted: Option<(&str, &str, &str, &str)>) {
        let found = parse(line);
        let found = found.first().map(|m| (m.target.to_str().expect("UTF-8"), &*m.fstype, &*m.device, &*m.options));
        assert_eq!(found, wanted);
    }

    #[test]
    fn table_lines() {
        check("22 1 253:0 / / ro,relatime - erofs /dev/dm-0 ro", Some(("/", "erofs", "/dev/dm-0", "ro,relatime,ro")));
        check(
            "36 22 8:2 / /mnt/a\\040b rw shared:1 master:2 - xfs /dev/sd\\134a rw,noquota",
            Some(("/mnt/a b", "xfs", "/dev/sd\\a", "rw,rw,noquota")),
        );
        check("36 22 8:2 / /x rw -", None);
        check("", None);
    }

    #[test]
    fn the_live_table_has_a_root() {
        assert!(is_mounted(Path::new("/proc")).expect("proc is there"));
    }
}
