//! File systems on the system disk: made, mounted, listed.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use layout::{
    Range,
    spec::{Content, EPHEMERAL, PartitionSet, STATE},
    table::Table,
};
use linux::{
    mount::{self, Flags, MountError},
    process::{self, ProcessError, Spec},
};
use log::info;
use tokio::runtime::Handle;

use super::{Outcome, medium::Medium};
use crate::node::PartitionStatus;

/// The real program; Debian's path.
const MKFS_XFS: &str = "/usr/sbin/mkfs.xfs";
/// How long making a file system may take: seconds on a fast disk, tens of them on a slow stick.
const MKFS_LIMIT: Duration = Duration::from_secs(300);
/// STATE without the trees that speed up large file systems: each is read when it is mounted, before there is an API, and it
/// holds a few small files. A third fewer reads.
const FEW_TREES: &str = "finobt=0,inobtcount=0,reflink=0,rmapbt=0";

/// A file system could not be made or used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum VolumeError {
    #[error("run mkfs.xfs on {node}")]
    Run { node: PathBuf, source: ProcessError },
    #[error("mkfs.xfs on {node} failed ({exit}): {output}")]
    Mkfs { node: PathBuf, exit: String, output: String },
    #[error("look for what is mounted")]
    Table { source: MountError },
    #[error("use its file system")]
    Mount { source: MountError },
    #[error("set permissions of {target}")]
    Permissions { target: PathBuf, source: io::Error },
    #[error("sync {target}")]
    Sync { target: PathBuf, source: io::Error },
    #[error("the kernel does not show the partition that the table has")]
    Unseen,
    #[error("start a thread")]
    Thread { source: io::Error },
    #[error("mounting it panicked")]
    Panicked,
}

/// What is done with partitions once they are there.
pub trait Mounter {
    /// Makes an XFS file system, over whatever is there.
    ///
    /// # Errors
    /// [`VolumeError`].
    fn format_xfs(&self, node: &Path, range: Range, label: &str) -> Result<(), VolumeError>;
    /// Mounts an XFS file system; free when it is mounted there already.
    ///
    /// # Errors
    /// [`VolumeError`].
    fn mount_xfs(&self, node: &Path, target: &Path, label: &str) -> Result<(), VolumeError>;
    /// Mounts several that do not lie within each other; results in their order.
    fn mount_each(&self, wanted: &[Mount]) -> Vec<Result<(), VolumeError>> {
        wanted.iter().map(|mount| self.mount_xfs(&mount.node, &mount.target, &mount.label)).collect()
    }
    /// Waits until everything in a mounted file system is on the disk.
    ///
    /// # Errors
    /// [`VolumeError`].
    fn sync(&self, target: &Path) -> Result<(), VolumeError>;
}

/// A file system and its place.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Block device.
    pub node: PathBuf,
    /// Mount point.
    pub target: PathBuf,
    /// Label of its partition.
    pub label: String,
}

/// The real thing: mkfs.xfs as a child of the reaper, mount(2).
#[derive(Debug)]
pub struct KernelVolumes {
    runtime: Handle,
}

impl KernelVolumes {
    /// Must be used from a thread that may block.
    #[must_use]
    pub const fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Mounter for KernelVolumes {
    fn format_xfs(&self, node: &Path, _range: Range, label: &str) -> Result<(), VolumeError> {
        // -K: no discard, whose duration on cheap media has no limit. -f: the record allows it, whatever is there.
        let mut args: Vec<std::ffi::OsString> = ["-q", "-f", "-K", "-L", label].map(Into::into).into();
        if label == STATE {
            args.extend(["-m", FEW_TREES].map(Into::into));
        }
        args.push(node.into());
        let run = process::run(Spec::new(MKFS_XFS, args), MKFS_LIMIT);
        let finished = self.runtime.block_on(run).map_err(|source| VolumeError::Run { node: node.to_owned(), source })?;
        if finished.exit.success() {
            return Ok(());
        }
        // Its first line says what is wrong; a screen of usage follows.
        let output = finished.output.trim().lines().next().unwrap_or_default().to_owned();
        let exit = finished.exit.to_string();
        Err(VolumeError::Mkfs { node: node.to_owned(), exit, output })
    }

    fn mount_xfs(&self, node: &Path, target: &Path, label: &str) -> Result<(), VolumeError> {
        if mount::is_mounted(target).map_err(|source| VolumeError::Table { source })? {
            return Ok(());
        }
        let (flags, data, mode) = options(label);
        mount::mount(node, target, "xfs", flags, data).map_err(|source| VolumeError::Mount { source })?;
        info!("disk: {label} ({}) is mounted on {}", node.display(), target.display());
        fs::set_permissions(target, fs::Permissions::from_mode(mode))
            .map_err(|source| VolumeError::Permissions { target: target.to_owned(), source })
    }

    /// Side by side: each reads its log and its first blocks, and waits for the disk between them.
    fn mount_each(&self, wanted: &[Mount]) -> Vec<Result<(), VolumeError>> {
        std::thread::scope(|scope| {
            let start = wanted.iter().map(|Mount { node, target, label }| {
                std::thread::Builder::new().spawn_scoped(scope, move || self.mount_xfs(node, target, label))
            });
            let threads: Vec<_> = start.collect();
            let joined = threads.into_iter().map(|thread| match thread {
                Ok(thread) => thread.join().unwrap_or(Err(VolumeError::Panicked)),
                Err(source) => Err(VolumeError::Thread { source }),
            });
            joined.collect()
        })
    }

    fn sync(&self, target: &Path) -> Result<(), VolumeError> {
        let fault = |source| VolumeError::Sync { target: target.to_owned(), source };
        let dir = fs::File::open(target).map_err(fault)?;
        nix::unistd::syncfs(&dir).map_err(|errno| fault(errno.into()))
    }
}

/// Mount flags, mount data and permissions of the top folder. Workloads execute from `/var`; nothing does from STATE.
fn options(label: &str) -> (Flags, &'static str, u32) {
    match label {
        STATE => (mount::DATA, "", 0o700),
        EPHEMERAL => (Flags::NOSUID | Flags::NODEV, "prjquota", 0o755),
        _ => (Flags::NOSUID | Flags::NODEV, "", 0o755),
    }
}

/// The partitions of a table as they are shown to people, with nodes where the kernel sees them.
#[must_use]
pub fn list(set: &PartitionSet, table: &Table, disk: &dyn Medium) -> Vec<PartitionStatus> {
    let mut partitions = list_plain(set, table);
    let seen = disk.seen();
    for partition in &mut partitions {
        let range = Range { start: partition.start, length: partition.size };
        let there = seen.iter().find(|seen| seen.number == partition.number && seen.range == range);
        partition.device = there.map(|seen| seen.node.clone()).unwrap_or_default();
    }
    partitions
}

/// The same without nodes.
#[must_use]
pub fn list_plain(set: &PartitionSet, table: &Table) -> Vec<PartitionStatus> {
    let entries = table.entries().iter();
    let partition = |(number, entry): (&u32, &layout::table::Entry)| PartitionStatus {
        number: *number,
        label: entry.name.clone(),
        device: PathBuf::new(),
        start: entry.range.start,
        size: entry.range.length,
        content: set.by_label(&entry.name).map_or("", |p| p.content.name()).to_owned(),
        mounted_on: None,
    };
    entries.map(partition).collect()
}

/// Mounts the partitions that the image mounts and whose labels are `meant`. One that does not mount is reported and left as it is.
pub fn mount(set: &PartitionSet, mounter: &dyn Mounter, outcome: &mut Outcome, warn: &dyn Fn(String), meant: fn(&str) -> bool) {
    let wanted = set.all().iter().filter(|partition| partition.content == Content::Xfs && meant(&partition.label));
    let wanted = wanted.filter_map(|partition| {
        let there = outcome.partitions.iter().find(|there| there.label == partition.label);
        let node = there.map(|there| there.device.clone()).unwrap_or_default();
        Some(Mount { node, target: PathBuf::from(partition.mount.as_deref()?), label: partition.label.clone() })
    });
    let (seen, unseen): (Vec<Mount>, Vec<Mount>) = wanted.partition(|mount| !mount.node.as_os_str().is_empty());
    let results = mounter.mount_each(&seen);
    let unseen = unseen.into_iter().map(|mount| (mount, Err(VolumeError::Unseen)));
    for (Mount { target, label, .. }, result) in seen.into_iter().zip(results).chain(unseen) {
        match result {
            Ok(()) => {
                for there in outcome.partitions.iter_mut().filter(|there| there.label == label) {
                    there.mounted_on = Some(target.clone());
                }
            }
            Err(err) => {
                let problem = unusable(&label, &daemon::report(&err).to_string());
                warn(problem.clone());
                outcome.problems.push(problem);
                outcome.state_lost |= label == STATE;
            }
        }
    }
}

/// A volume that was made once but cannot be used: what it means and what to do.
fn unusable(label: &str, cause: &str) -> String {
    match label {
        STATE => format!(
            "STATE cannot be used ({cause}); nothing was formatted, data is kept; the stored configuration is out of \
             reach, so only an administrator may configure the node; repair the file system on another machine, or \
             flash the image again to start afresh"
        ),
        EPHEMERAL => format!(
            "EPHEMERAL cannot be used ({cause}); nothing was formatted, data is kept; workloads cannot run; repair the \
             file system on another machine, or flash the image again to start afresh"
        ),
        _ => format!("{label} cannot be used ({cause}); nothing was formatted, data is kept"),
    }
}
