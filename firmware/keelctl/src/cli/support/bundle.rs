//! The archive, and what may stand in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};
use serde_yaml::Value;
use tar::{Builder, Header};

use super::super::get::definition::Definition;

/// What stands in place of what a bundle must not tell.
const REDACTED: &str = "<REDACTED>";
/// Longest part of a name in the archive, bytes.
const MAX_NAME: usize = 200;

/// A tar.gz that is there whole or not at all, and that only its owner can read.
pub struct Bundle {
    path: PathBuf,
    archive: Builder<GzEncoder<tempfile::NamedTempFile>>,
    /// Seconds since 1970, for every entry.
    now: u64,
    pub files: usize,
}

impl Bundle {
    /// A new one; `now` in seconds since 1970.
    pub fn create(path: &Path, now: u64) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("make a file in {}", folder.display()))?;
        let archive = Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self { path: path.into(), archive, now, files: 0 })
    }

    /// Adds a file below a node's folder.
    pub fn add(&mut self, node: &str, name: &str, content: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.now);
        let parts = std::iter::once(node).chain(name.split('/').filter(|part| !part.is_empty()));
        let path = parts.map(part).collect::<Vec<_>>().join("/");
        self.archive.append_data(&mut header, &path, content).with_context(|| format!("write {path} to {}", self.path.display()))?;
        self.files += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        let failed = || format!("write {}", self.path.display());
        let file = self.archive.into_inner().and_then(GzEncoder::finish).with_context(failed)?;
        file.as_file().sync_all().with_context(failed)?;
        file.persist(&self.path).with_context(failed)?;
        Ok(())
    }
}

/// A part of a path from a name that a node chose.
fn part(name: &str) -> String {
    let mut clean: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() || "-_.@+".contains(letter) { letter } else { '_' }).collect();
    clean.truncate(MAX_NAME);
    if clean.trim_matches('.').is_empty() { "_".to_owned() } else { clean }
}

/// Whether what a type says stays with the node: what is marked so, all secrets, and marks that are not known here.
pub fn is_sensitive(definition: &Definition) -> bool {
    let open = ["", "non-sensitive", "nonsensitive"].contains(&definition.sensitivity.to_lowercase().as_str());
    !open || definition.namespace == "secrets" || definition.kind.ends_with(".secrets.talos.dev")
}

/// A resource without what it says.
pub fn redact(document: &mut Value) {
    if let Value::Mapping(parts) = document {
        parts.insert("spec".into(), REDACTED.into());
        // Annotations may quote what the resource was made from.
        if let Some(Value::Mapping(metadata)) = parts.get_mut("metadata") {
            metadata.remove("annotations");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use super::*;

    #[test]
    fn what_is_sensitive_stays() {
        let check = |yaml: &str, wanted: bool| assert_eq!(is_sensitive(&Definition::parse(yaml).expect("YAML")), wanted, "{yaml}");
        check("type: Links.net.talos.dev\ndefaultNamespace: network", false);
        check("type: Links.net.talos.dev\nsensitivity: non-sensitive", false);
        check("type: MachineConfigs.config.talos.dev\nsensitivity: sensitive", true);
        check("type: Others.net.talos.dev\nsensitivity: top-secret", true);
        check("type: Anything.secrets.talos.dev", true);
        check("type: Anything\ndefaultNamespace: secrets", true);
        let mut document: Value =
            serde_yaml::from_str("node: n\nmetadata: {id: x, annotations: {a: hidden}}\nspec: {key: hidden}").expect("YAML");
        redact(&mut document);
        let text = serde_yaml::to_string(&document).expect("text");
        assert!(text.contains("id: x") && text.contains(REDACTED) && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn names_stay_below_their_node() {
        for (name, wanted) in
            [("apid", "apid"), ("..", "_"), ("a/b", "a_b"), ("", "_"), ("kube-system/x:y", "kube-system_x_y"), ("ä\0", "__")]
        {
            assert_eq!(part(name), wanted, "{name:?}");
        }
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("b.tar.gz");
        let mut bundle = Bundle::create(&path, 7).expect("made");
        bundle.add("10.0.0.1", "../../etc/x", b"one").expect("added");
        assert!(!path.exists(), "it is there when it is whole");
        bundle.finish().expect("written");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(&path).expect("there")));
        let mut entry = archive.entries().expect("entries").next().expect("one").expect("read");
        assert_eq!(entry.path().expect("path").to_str(), Some("10.0.0.1/_/_/etc/x"));
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("read");
        assert_eq!(text, "one");
    }
}
