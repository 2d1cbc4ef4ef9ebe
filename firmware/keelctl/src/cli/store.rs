//! The client configuration on disk: where it is, reading it, writing it.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use pki::{Secret, Talosconfig};

/// Read-only fallback inside pods.
const IN_POD: &str = "/var/run/secrets/talos.dev/config";

/// Where the client configuration is: the argument, $TALOSCONFIG, $TALOS_HOME/config, ~/.talos/config, the pod's.
pub fn path(argument: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = argument {
        return Ok(path.into());
    }
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("TALOSCONFIG") {
        return Ok(path);
    }
    let folder = match set("TALOS_HOME") {
        Some(folder) => folder,
        None => set("HOME").context("find the client configuration: neither --talosconfig, $TALOSCONFIG nor $HOME is set")?.join(".talos"),
    };
    let path = folder.join("config");
    let in_pod = Path::new(IN_POD);
    Ok(if !path.exists() && in_pod.exists() { in_pod.into() } else { path })
}

/// The client configuration; one without contexts when there is no file.
pub fn load(path: &Path) -> Result<Talosconfig> {
    match fs::read_to_string(path) {
        Ok(text) => Talosconfig::from_yaml(&text).with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Talosconfig::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Writes it back whole or not at all.
pub fn save(path: &Path, config: &Talosconfig) -> Result<()> {
    if path == Path::new(IN_POD) {
        bail!("{IN_POD} is read-only; name another file with --talosconfig");
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    write_secret(path, &config.to_yaml()?)
}

/// Writes a file that only its owner can read: a temporary one beside it, then renamed over it.
pub fn write_secret(path: &Path, text: &Secret) -> Result<()> {
    let mut name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.expose().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written.with_context(|| format!("write {}", path.display()))
}
