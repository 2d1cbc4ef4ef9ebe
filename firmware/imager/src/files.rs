//! Which files of which packages are in the image: `files.toml` beside the board files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::board::Arch;
use crate::request::Error;
use crate::step::read_text;
use crate::{digest, glob};

const STEP: &str = "rootfs";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    package: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    on: BTreeMap<Arch, Vec<String>>,
}

/// A pattern with the file that says so, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The pattern.
    pub text: String,
    /// The `files.toml` it stands in.
    pub source: PathBuf,
}

/// Reads all lists: package name -> patterns, in the order they were given.
///
/// # Errors
/// [`Error::Input`] for unknown keys and packages without patterns, [`Error::File`].
pub fn read(lists: &[PathBuf], arch: Arch) -> Result<BTreeMap<String, Vec<Pattern>>, Error> {
    let mut wanted: BTreeMap<String, Vec<Pattern>> = BTreeMap::new();
    for source in lists {
        let problem = |text: String| Error::Input { step: STEP, path: source.clone(), problem: text };
        let file: File = toml::from_str(&read_text(STEP, source)?).map_err(|error| problem(error.to_string().trim().to_owned()))?;
        for entry in file.package {
            let own = entry.on.get(&arch).into_iter().flatten();
            let patterns: Vec<Pattern> =
                entry.files.iter().chain(own).map(|text| Pattern { text: text.clone(), source: source.clone() }).collect();
            if entry.files.is_empty() && entry.on.is_empty() {
                return Err(problem(format!("`package.files`: {} names no files", entry.name)));
            }
            wanted.entry(entry.name).or_default().extend(patterns);
        }
    }
    wanted.retain(|_, patterns| !patterns.is_empty());
    Ok(wanted)
}

/// The files and links of an unpacked package that the patterns mean, by path relative to `unpacked`, sorted.
///
/// # Errors
/// [`Error::Input`] when a pattern matches nothing, [`Error::File`].
pub fn pick(package: &str, unpacked: &Path, patterns: &[Pattern]) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    for path in digest::walk(STEP, unpacked)? {
        if path.is_symlink() || !path.is_dir() {
            names.push(path.strip_prefix(unpacked).unwrap_or(&path).to_owned());
        }
    }
    let mut picked = std::collections::BTreeSet::new();
    for pattern in patterns {
        let before = picked.len();
        let mut known = false;
        for name in &names {
            if glob::matches(&pattern.text, &name.to_string_lossy()) {
                known = true;
                picked.insert(name.clone());
            }
        }
        if picked.len() == before && !known {
            return Err(Error::Input {
                step: STEP,
                path: pattern.source.clone(),
                problem: format!("package {package}: nothing matches \"{}\"", pattern.text),
            });
        }
    }
    Ok(picked.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::{Pattern, pick, read};
    use crate::board::Arch;
    use std::fs;
    use std::path::{Path, PathBuf};

    #[track_caller]
    fn check(patterns: &[&str], expected: Result<&[&str], &str>) {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["usr/lib/a/libx.so.1.2", "usr/bin/x", "usr/share/doc/x/copyright"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, "").expect("a file");
        }
        std::os::unix::fs::symlink("libx.so.1.2", folder.path().join("usr/lib/a/libx.so.1")).expect("a link");
        let patterns: Vec<Pattern> =
            patterns.iter().map(|text| Pattern { text: (*text).to_owned(), source: "files.toml".into() }).collect();
        match (pick("x", folder.path(), &patterns), expected) {
            (Ok(found), Ok(names)) => {
                assert_eq!(found, names.iter().map(PathBuf::from).collect::<Vec<_>>());
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn patterns_pick_files_and_links_and_must_match() {
        check(&["usr/lib/*/libx.so.*"], Ok(&["usr/lib/a/libx.so.1", "usr/lib/a/libx.so.1.2"]));
        check(&["usr/bin/x", "usr/**/x"], Ok(&["usr/bin/x"]));
        check(&["usr/bin/y"], Err("package x: nothing matches \"usr/bin/y\""));
        check(&["usr/share"], Err("nothing matches"));
    }

    #[test]
    fn lists_append_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| -> PathBuf {
            let path: &Path = &folder.path().join(name);
            fs::write(path, text).expect("a file");
            path.to_owned()
        };
        let one = write("1.toml", "[[package]]\nname = \"a\"\nfiles = [\"x\"]\n[package.on]\narm64 = [\"y\"]\n");
        let two = write("2.toml", "[[package]]\nname = \"a\"\nfiles = [\"z\"]\n");
        let texts = |arch| {
            let wanted = read(&[one.clone(), two.clone()], arch).expect("accepted");
            wanted["a"].iter().map(|pattern| pattern.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(texts(Arch::X86_64), ["x", "z"]);
        assert_eq!(texts(Arch::Arm64), ["x", "y", "z"]);
        let bad = write("3.toml", "[[package]]\nname = \"a\"\nfile = [\"x\"]\n");
        let error = read(&[bad], Arch::Arm64).expect_err("refused").to_string();
        assert!(error.contains("3.toml") && error.contains("file"), "{error}");
    }
}
