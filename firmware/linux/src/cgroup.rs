//! Control groups, version 2: plain files below one folder.
//!
//! The rule behind the order of calls: controllers are enabled from the top down, and a group that has some enabled for
//! its children holds no processes itself. The root group is exempt (`Documentation/admin-guide/cgroup-v2.rst`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where the hierarchy is mounted on a node.
pub const ROOT: &str = "/sys/fs/cgroup";

/// A control group could not be changed or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum CgroupError {
    /// The group's folder could not be made.
    #[error("create control group {path}")]
    Create { path: PathBuf, source: io::Error },
    /// The group's folder could not be removed: processes or groups are in it.
    #[error("remove control group {path}")]
    Remove { path: PathBuf, source: io::Error },
    /// A control file did not take its value.
    #[error("write {value:?} to {path}")]
    Write { path: PathBuf, value: String, source: io::Error },
    /// A control file could not be read.
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
}

/// A control group, by its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The group `name` (such as `system/apid`) below [`ROOT`]; nothing is made.
    #[must_use]
    pub fn at(name: &str) -> Self {
        Self::below(Path::new(ROOT), name)
    }

    /// The group `name` below another folder.
    #[must_use]
    pub fn below(root: &Path, name: &str) -> Self {
        Self { path: root.join(name.trim_matches('/')) }
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the group; one that exists is fine.
    ///
    /// # Errors
    /// [`CgroupError::Create`].
    pub fn create(&self) -> Result<(), CgroupError> {
        match fs::create_dir(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(CgroupError::Create { path: self.path.clone(), source }),
            _ => Ok(()),
        }
    }

    /// Removes the group; one that does not exist is fine.
    ///
    /// # Errors
    /// [`CgroupError::Remove`].
    pub fn remove(&self) -> Result<(), CgroupError> {
        match fs::remove_dir(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CgroupError::Remove { path: self.path.clone(), source }),
            _ => Ok(()),
        }
    }

    /// Writes a control file, such as `memory.min`.
    ///
    /// # Errors
    /// [`CgroupError::Write`].
    pub fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        let path = self.path.join(file);
        // No O_CREAT: a missing control file is an error, not a new file.
        let result = fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| {
            use io::Write;
            file.write_all(value.as_bytes())
        });
        result.map_err(|source| CgroupError::Write { path, value: value.to_owned(), source })
    }

    /// Reads a control file.
    ///
    /// # Errors
    /// [`CgroupError::Read`].
    pub fn read(&self, file: &str) -> Result<String, CgroupError> {
        let path = self.path.join(file);
        fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })
    }

    /// Moves a process into the group; pid 0 is the caller.
    ///
    /// # Errors
    /// [`CgroupError::Write`].
    pub fn enter(&self, pid: u32) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Enables for the children of this group those of `wanted` that the kernel offers here; gives those it does not.
    ///
    /// # Errors
    /// [`CgroupError::Read`], [`CgroupError::Write`].
    pub fn enable<'a>(&self, wanted: &[&'a str]) -> Result<Vec<&'a str>, CgroupError> {
        let offered = self.read("cgroup.controllers")?;
        let (enabled, missing): (Vec<&str>, Vec<&str>) =
            wanted.iter().partition(|name| offered.split_whitespace().any(|offer| offer == **name));
        if !enabled.is_empty() {
            let value: Vec<String> = enabled.iter().map(|name| format!("+{name}")).collect();
            self.write("cgroup.subtree_control", &value.join(" "))?;
        }
        Ok(missing)
    }

    /// Kills every process in the group and below it.
    ///
    /// # Errors
    /// [`CgroupError::Write`].
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.write("cgroup.kill", "1")
    }

    /// Whether any process is in the group or below it.
    ///
    /// # Errors
    /// [`CgroupError::Read`].
    pub fn populated(&self) -> Result<bool, CgroupError> {
        Ok(flag(&self.read("cgroup.events")?, "populated"))
    }
}

/// The value of `name` in lines of `name 0|1`.
fn flag(text: &str, name: &str) -> bool {
    text.lines().filter_map(|line| line.split_once(' ')).any(|(key, value)| key == name && value.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        assert!(flag("populated 1\nfrozen 0\n", "populated"));
        assert!(!flag("populated 0\nfrozen 1\n", "populated"));
        assert!(!flag("", "populated"));
    }

    #[test]
    fn controllers_are_enabled_as_far_as_offered() {
        let folder = std::env::temp_dir().join(format!("keelson-cgroup-{}", std::process::id()));
        let group = Cgroup::below(&folder, "/");
        group.create().expect("made");
        group.create().expect("made twice");
        fs::write(folder.join("cgroup.controllers"), "cpu memory pids\n").expect("written");
        fs::write(folder.join("cgroup.subtree_control"), "").expect("written");
        assert_eq!(group.enable(&["memory", "io", "pids"]).expect("enabled"), ["io"]);
        assert_eq!(group.read("cgroup.subtree_control").expect("read"), "+memory +pids");
        assert!(matches!(group.write("memory.min", "1"), Err(CgroupError::Write { .. })));
        fs::remove_dir_all(&folder).expect("removed");
        group.remove().expect("gone is fine");
    }
}
