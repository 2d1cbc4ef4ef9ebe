//! What every step of one build shares.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::board::Board;
use crate::digest::Key;
use crate::request::{BuildRequest, Error, Progress};
use crate::step::{Step, read_text};

/// One build, from its start.
pub struct Context<'a> {
    /// What was asked for.
    pub request: &'a BuildRequest,
    /// The board, merged.
    pub board: Board,
    /// The project's version.
    pub version: String,
    /// Seconds since 1970 that every timestamp is set to.
    pub epoch: u64,
    /// `<out>/<board>`.
    pub out: PathBuf,
    progress: &'a dyn Progress,
    began: Instant,
}

impl<'a> Context<'a> {
    /// Reads the board and the project's version.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::File`].
    pub fn new(request: &'a BuildRequest, progress: &'a dyn Progress) -> Result<Self, Error> {
        let (version, epoch) = read_release(&request.project)?;
        Ok(Self {
            board: crate::board::load(&request.board, &roots(request))?,
            version,
            epoch,
            out: request.out.join(&request.board),
            request,
            progress,
            began: Instant::now(),
        })
    }

    /// Begins a step; its log is `<out>/<board>/logs/<name>.log`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn step(&self, name: &'static str) -> Result<Step<'a>, Error> {
        Step::begin(name, &self.out.join("logs"), self.progress, self.began, self.epoch)
    }

    /// A key that already holds what every step depends on: its own format and the timestamp.
    #[must_use]
    pub fn key(&self, step: &str, format: u32) -> Key {
        let mut key = Key::new(step, format);
        key.add("epoch", &self.epoch.to_string());
        key
    }

    /// The locks to take packages from: the project's, then those of external folders.
    #[must_use]
    pub fn locks(&self) -> Vec<PathBuf> {
        let external = self.request.external.iter().map(|folder| folder.join("packages.lock"));
        std::iter::once(self.request.lock.clone()).chain(external.filter(|path| path.is_file())).collect()
    }

    /// `path` as it is named in manifests: relative to the folder it comes from.
    #[must_use]
    pub fn display(&self, path: &Path) -> String {
        let roots = roots(self.request);
        let inside = roots.iter().find_map(|root| path.strip_prefix(root).ok());
        inside.unwrap_or(path).display().to_string()
    }
}

/// The folders that board files are looked for in: the project, then the external ones.
#[must_use]
pub fn roots(request: &BuildRequest) -> Vec<PathBuf> {
    std::iter::once(request.project.clone()).chain(request.external.iter().cloned()).collect()
}

/// Version and timestamp of the project, from its manifest: `workspace.package.version` and `workspace.metadata.keelson.epoch`.
fn read_release(project: &Path) -> Result<(String, u64), Error> {
    let path = project.join("Cargo.toml");
    let problem = |text: &str| Error::Input { step: "project", path: path.clone(), problem: text.to_owned() };
    let table: toml::Table = read_text("project", &path)?.parse().map_err(|error: toml::de::Error| problem(error.message()))?;
    let find = |keys: &[&str]| {
        let mut value = table.get("workspace")?;
        for key in keys {
            value = value.get(key)?;
        }
        Some(value)
    };
    let version = find(&["package", "version"]).and_then(toml::Value::as_str);
    let epoch = find(&["metadata", "keelson", "epoch"]).and_then(toml::Value::as_integer);
    Ok((
        version.ok_or_else(|| problem("`workspace.package.version` is missing"))?.to_owned(),
        epoch
            .and_then(|value| u64::try_from(value).ok())
            .ok_or_else(|| problem("`workspace.metadata.keelson.epoch` (seconds since 1970) is missing"))?,
    ))
}

/// Versions of Debian packages installed in the build root, by name, so that a changed tool changes the key of what it makes.
///
/// # Errors
/// [`Error::Refused`] naming those that are not installed, [`Error::File`].
pub fn tool_versions(step: &'static str, names: &[&str]) -> Result<std::collections::BTreeMap<String, String>, Error> {
    let status = read_text(step, Path::new("/var/lib/dpkg/status"))?;
    let mut found = std::collections::BTreeMap::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (Some(name), Some(version), Some(arch)) = (field("Package"), field("Version"), field("Architecture")) else {
            continue;
        };
        if names.contains(&name) && field("Status") == Some("install ok installed") {
            found.insert(format!("{name}:{arch}"), version.to_owned());
        }
    }
    let missing: Vec<String> =
        names.iter().filter(|name| !found.keys().any(|key| key.split(':').next() == Some(name))).map(|name| (*name).to_owned()).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    Err(Error::Refused {
        step,
        what: "packages missing from the build root".to_owned(),
        problems: missing,
        help:
            "the builder runs inside the sealed root (scripts/enter); if it did, add them to board/packages/root.list and refresh the lock"
                .to_owned(),
    })
}
