//! The private root: assembled on a file system in memory, then made the root; what was there before is let go.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{chdir, pivot_root},
};

use super::{Access, Mount, Namespaces, Report};

/// Where the root is built: a folder that every machine has. In the launcher's own namespace nobody misses what was there, and no
/// description binds anything from it: a service gets a `/proc` of its own or none.
pub(super) const STAGE: &str = "/proc";

/// Room for mount points; nothing else is ever in the root itself.
const ROOT_DATA: &str = "mode=0755,size=64k";

/// Nothing on it is honoured as set-user-id, a device, or a program.
const DATA: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

impl Mount {
    /// Where it is in the root.
    pub(super) fn target(&self) -> &Path {
        let (Self::Bind { target, .. } | Self::Tmpfs { target, .. } | Self::Proc { target }) = self;
        target
    }
}

/// Leaves the namespaces of the node. That of processes is one that only a birth can leave: see `clone`.
pub(super) fn leave(namespaces: Namespaces) -> Result<(), Report> {
    let mut flags = CloneFlags::CLONE_NEWNS;
    flags.set(CloneFlags::CLONE_NEWIPC, namespaces.ipc);
    flags.set(CloneFlags::CLONE_NEWUTS, namespaces.uts);
    unshare(flags).map_err(|errno| Report::new("leave the node's namespaces", errno))?;
    // Else what is mounted here is mounted on the node.
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE).map_err(|errno| Report::new("keep mounts to itself", errno))
}

/// Builds the root and enters it. Nothing of the node's tree is reachable afterwards but what was asked for.
pub(super) fn enter(mounts: &[Mount]) -> Result<(), Report> {
    let stage = Path::new(STAGE);
    mount(Some("root"), stage, Some("tmpfs"), DATA, Some(ROOT_DATA)).map_err(|errno| Report::new("mount the root", errno))?;
    for item in mounts {
        place(stage, item)?;
    }
    let none = None::<&str>;
    mount(none, stage, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | DATA, Some(ROOT_DATA))
        .map_err(|errno| Report::new("make the root read-only", errno))?;
    // The old root comes to lie on the new one, and "." is the old one there (pivot_root(2), NOTES).
    let entered = chdir(stage).and_then(|()| pivot_root(".", ".")).and_then(|()| umount2(".", MntFlags::MNT_DETACH));
    entered.and_then(|()| chdir("/")).map_err(|errno| Report::new("enter the root", errno))
}

/// Mounts one thing below `stage`.
fn place(stage: &Path, item: &Mount) -> Result<(), Report> {
    let target = within(stage, item.target());
    let failed = |what: &str| format!("{what} {}", item.target().display());
    match item {
        Mount::Bind { source, access, .. } => {
            let step = || format!("bind {} on {}", source.display(), item.target().display());
            let meta = fs::metadata(source).map_err(|error| Report::new(step(), error))?;
            mount_point(&target, meta.is_dir()).map_err(|error| Report::new(failed("make mount point"), error))?;
            mount(Some(source), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|errno| Report::new(step(), errno))?;
            // A new bind has the flags of where it is from, whatever is asked for.
            change(&target, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags(*access)).map_err(|errno| Report::new(failed("restrict"), errno))
        }
        Mount::Tmpfs { bytes, mode, .. } => {
            mount_point(&target, true).map_err(|error| Report::new(failed("make mount point"), error))?;
            let data = format!("mode={mode:o},size={bytes}");
            mount(Some("tmpfs"), &target, Some("tmpfs"), DATA, Some(data.as_str()))
                .map_err(|errno| Report::new(failed("mount tmpfs on"), errno))
        }
        Mount::Proc { .. } => {
            mount_point(&target, true).map_err(|error| Report::new(failed("make mount point"), error))?;
            let data = Some("hidepid=invisible,subset=pid");
            mount(Some("proc"), &target, Some("proc"), DATA, data).map_err(|errno| Report::new(failed("mount proc on"), errno))
        }
    }
}

/// Changes the flags of a mount.
fn change(target: impl AsRef<Path>, flags: MsFlags) -> nix::Result<()> {
    mount(None::<&str>, target.as_ref(), None::<&str>, flags, None::<&str>)
}

fn flags(access: Access) -> MsFlags {
    let mut flags = DATA | MsFlags::MS_RDONLY;
    flags.set(MsFlags::MS_RDONLY, !access.write);
    flags.set(MsFlags::MS_NOEXEC, !access.execute);
    flags.set(MsFlags::MS_NODEV, !access.devices);
    flags
}

/// Where a path of the root is while that is being built.
fn within(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

/// Makes a folder or an empty file, and the folders above it.
fn mount_point(target: &Path, folder: bool) -> io::Result<()> {
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o755).create(path);
    if folder {
        return make(target);
    }
    target.parent().map_or(Ok(()), make)?;
    File::create_new(target).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_allows_what_was_said() {
        let all = DATA | MsFlags::MS_RDONLY;
        let some = |write, execute, devices| flags(Access { write, execute, devices });
        assert_eq!(some(false, false, false), all);
        assert_eq!(some(true, false, false), all - MsFlags::MS_RDONLY);
        assert_eq!(some(false, true, false), all - MsFlags::MS_NOEXEC);
        assert_eq!(some(false, false, true), all - MsFlags::MS_NODEV);
        assert_eq!(some(true, true, true), MsFlags::MS_NOSUID);
    }
}
