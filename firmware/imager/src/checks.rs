//! What must not be in a root file system, and what must be: looked for in the tree that is about to be sealed.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use layout::spec::PartitionSet;

use crate::digest;
use crate::request::Error;

const STEP: &str = "rootfs";
/// Programs that would give somebody a prompt.
const SHELLS: &[&str] = &[
    "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "login", "mksh", "nologin", "sh", "sulogin", "su", "sudo", "tcsh", "toybox",
    "yash", "zsh", "sshd", "dropbear",
];
/// Programs that would change what is installed.
const PACKAGE_MANAGERS: &[&str] =
    &["apk", "apt", "apt-get", "aptitude", "dpkg", "dnf", "flatpak", "opkg", "pacman", "rpm", "snap", "yum", "zypper"];
/// Where links may point although nothing is there yet: the node fills these at run time.
const RUN_TIME: &[&str] = &["dev", "proc", "run", "sys", "system", "tmp", "var"];

/// Mount points that machined makes on a file system of its own (`boot::setup` there).
const MADE_AT_BOOT: &[&str] = &["/system/state"];

/// Looks through `tree`; every problem found, sorted.
///
/// # Errors
/// [`Error::File`] when something cannot be read.
pub fn refuse(tree: &Path) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for path in digest::walk(STEP, tree)? {
        let name = path.strip_prefix(tree).unwrap_or(&path);
        if let Some(problem) = judge(tree, &path, name)? {
            problems.push(format!("/{}: {problem}", name.display()));
        }
    }
    Ok(problems)
}

/// Where the node could not mount a partition of `set`: the root is read-only, so the folder must be there.
pub fn mount_points(tree: &Path, set: &PartitionSet) -> Vec<String> {
    let mounted = set.all().iter().filter_map(|partition| Some((&partition.label, partition.mount.as_deref()?)));
    let missing = mounted.filter(|(_, mount)| !MADE_AT_BOOT.contains(mount) && !tree.join(mount.trim_start_matches('/')).is_dir());
    missing.map(|(label, mount)| format!("{mount}: no folder to mount {label} on; rootfs.directories makes one")).collect()
}

fn judge(tree: &Path, path: &Path, name: &Path) -> Result<Option<String>, Error> {
    let fail = |source| Error::File { step: STEP, action: "read", path: path.to_owned(), source };
    let meta = path.symlink_metadata().map_err(fail)?;
    let base = name.file_name().unwrap_or_default().to_string_lossy();
    if SHELLS.contains(&&*base) && !meta.is_dir() && is_program_folder(name) {
        return Ok(Some("a shell or login program".to_owned()));
    }
    if PACKAGE_MANAGERS.contains(&&*base) && !meta.is_dir() && is_program_folder(name) {
        return Ok(Some("a package manager".to_owned()));
    }
    if meta.is_symlink() {
        let target = path.read_link().map_err(fail)?;
        return Ok(resolve(tree, name).is_none().then(|| format!("a link to {}, which is not there", target.display())));
    }
    let kind = meta.file_type();
    if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket() {
        return Ok(Some("a device, pipe or socket".to_owned()));
    }
    let mode = meta.permissions().mode();
    if mode & 0o6000 != 0 {
        return Ok(Some(format!("setuid or setgid ({:04o})", mode & 0o7777)));
    }
    // A folder that everybody may write to is fine where only the owner may delete.
    if mode & 0o002 != 0 && !(meta.is_dir() && mode & 0o1000 != 0) {
        return Ok(Some(format!("writable for everybody ({:04o})", mode & 0o7777)));
    }
    if meta.is_file() && mode & 0o111 != 0 {
        let head = fs::read(path).map_err(fail)?;
        if head.starts_with(b"#!") {
            return Ok(Some("a script: there is nothing that could run it".to_owned()));
        }
    }
    Ok(None)
}

fn is_program_folder(name: &Path) -> bool {
    let folder = name.parent().unwrap_or(Path::new(""));
    folder.components().any(|part| matches!(part.as_os_str().to_str(), Some("bin" | "sbin" | "libexec")))
}

/// Follows `name` inside `tree` as a node with that root would; where it ends, relative to the tree, or `None` when there is nothing
/// or links go in a circle. Names below folders that are filled at run time are taken as they are.
#[must_use]
pub fn resolve(tree: &Path, name: &Path) -> Option<PathBuf> {
    let mut left: Vec<std::ffi::OsString> = Vec::new();
    let push = |left: &mut Vec<std::ffi::OsString>, path: &Path| {
        left.extend(path.components().rev().filter(|part| *part != Component::RootDir).map(|part| part.as_os_str().to_owned()));
    };
    push(&mut left, name);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let first = next.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let inside = next.components().count() > 1;
        if inside && first.is_some_and(|first| RUN_TIME.contains(&first.as_str())) {
            at = next;
            continue;
        }
        let place = tree.join(&next);
        if let Ok(target) = place.read_link() {
            links += 1;
            if links > 40 {
                return None;
            }
            if target.is_absolute() {
                at = PathBuf::new();
            }
            push(&mut left, &target);
        } else if place.exists() {
            at = next;
        } else {
            return None;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::{PartitionSet, mount_points, refuse, resolve};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    #[track_caller]
    fn check(make: impl FnOnce(&Path), expected: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("usr/bin")).expect("folders");
        make(folder.path());
        let found = refuse(folder.path()).expect("readable");
        assert_eq!(found, expected);
    }

    fn file(root: &Path, name: &str, mode: u32) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, "\x7fELF").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn partitions_need_a_folder_to_be_mounted_on() {
        let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../partitions")).expect("ours");
        let files = files.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some_and(|end| end == "toml"));
        let text = |path: std::path::PathBuf| (path.display().to_string(), fs::read_to_string(&path).expect("a file"));
        let set = PartitionSet::parse(files.map(text)).expect("a set");
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(mount_points(folder.path(), &set), ["/var: no folder to mount EPHEMERAL on; rootfs.directories makes one"]);
        fs::create_dir(folder.path().join("var")).expect("a folder");
        assert!(mount_points(folder.path(), &set).is_empty());
    }

    #[test]
    fn what_must_not_be_there_is_named() {
        check(|root| file(root, "usr/bin/keelson", 0o755), &[]);
        check(|root| file(root, "usr/bin/bash", 0o755), &["/usr/bin/bash: a shell or login program"]);
        check(|root| file(root, "usr/share/bash", 0o644), &[]);
        check(|root| file(root, "usr/bin/apt-get", 0o755), &["/usr/bin/apt-get: a package manager"]);
        check(|root| file(root, "usr/bin/mount", 0o4755), &["/usr/bin/mount: setuid or setgid (4755)"]);
        check(|root| file(root, "etc/x", 0o666), &["/etc/x: writable for everybody (0666)"]);
        check(
            |root| {
                fs::create_dir(root.join("tmp")).expect("a folder");
                fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("a mode");
            },
            &[],
        );
        check(
            |root| {
                file(root, "usr/bin/x", 0o755);
                fs::write(root.join("usr/bin/x"), "#!/bin/sh\n").expect("a script");
            },
            &["/usr/bin/x: a script: there is nothing that could run it"],
        );
    }

    #[test]
    fn links_are_followed_as_the_node_would() {
        check(
            |root| symlink("../run/etc/hosts", root.join("usr/hosts")).expect("a link"),
            &["/usr/hosts: a link to ../run/etc/hosts, which is not there"],
        );
        check(
            |root| {
                fs::create_dir(root.join("run")).expect("a folder");
                symlink("/run/etc/hosts", root.join("usr/hosts")).expect("a link");
            },
            &[],
        );
        check(|root| symlink("usr/lib64", root.join("lib64")).expect("a link"), &["/lib64: a link to usr/lib64, which is not there"]);
        check(|root| symlink("b", root.join("b")).expect("a link"), &["/b: a link to b, which is not there"]);
        let folder = tempfile::tempdir().expect("a folder");
        file(folder.path(), "usr/bin/keelson", 0o755);
        symlink("usr/bin", folder.path().join("bin")).expect("a link");
        assert_eq!(resolve(folder.path(), Path::new("/bin/keelson")), Some("usr/bin/keelson".into()));
    }
}
