//! Whether two builds gave the same bytes.

use std::path::Path;

use crate::manifest::Manifest;
use crate::request::Error;
use crate::step::read_text;

const STEP: &str = "compare";

/// Lists every difference between the results in two output folders (`<out>/<board>`): inputs first, since a different input
/// explains a different output. Empty when they are the same.
///
/// # Errors
/// [`Error::File`] or [`Error::Input`] when a manifest cannot be read.
pub fn compare(left: &Path, right: &Path) -> Result<Vec<String>, Error> {
    let mut found = differences(&read(left)?, &read(right)?);
    for name in ["manifest.json", "sbom.spdx.json"] {
        let text = |folder: &Path| read_text(STEP, &folder.join(name));
        if text(left)? != text(right)? {
            found.push(format!("output {name} differs"));
        }
    }
    Ok(found)
}

fn read(folder: &Path) -> Result<Manifest, Error> {
    let path = folder.join("manifest.json");
    serde_json::from_str(&read_text(STEP, &path)?).map_err(|error| Error::Input {
        step: STEP,
        path,
        problem: format!("not a manifest: {error}"),
    })
}

fn differences(left: &Manifest, right: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    let kinds: std::collections::BTreeSet<_> = left.inputs.keys().chain(right.inputs.keys()).collect();
    for kind in kinds {
        let empty = std::collections::BTreeMap::new();
        let (one, two) = (left.inputs.get(kind).unwrap_or(&empty), right.inputs.get(kind).unwrap_or(&empty));
        let names: std::collections::BTreeSet<_> = one.keys().chain(two.keys()).collect();
        for name in names {
            if one.get(name) != two.get(name) {
                found.push(format!("input {kind} {name}: {} / {}", word(one.get(name)), word(two.get(name))));
            }
        }
    }
    let names: std::collections::BTreeSet<_> = left.outputs.keys().chain(right.outputs.keys()).collect();
    for name in names {
        let (one, two) = (left.outputs.get(name), right.outputs.get(name));
        if one != two {
            let shown = |output: Option<&crate::manifest::Output>| word(output.map(|output| &output.sha256));
            found.push(format!("output {name}: {} / {}", shown(one), shown(two)));
        }
    }
    if left.root_hash != right.root_hash {
        found.push(format!("root hash: {} / {}", left.root_hash, right.root_hash));
    }
    found
}

fn word(hash: Option<&String>) -> String {
    hash.map_or_else(|| "absent".to_owned(), |hash| hash.chars().take(16).collect())
}

#[cfg(test)]
mod tests {
    use super::differences;
    use crate::manifest::{Manifest, Output};
    use crate::request::LockState;
    use std::collections::BTreeMap;

    fn manifest() -> Manifest {
        let mut manifest = Manifest {
            format: 1,
            version: "1".to_owned(),
            board: "b".to_owned(),
            arch: "x86_64".to_owned(),
            profile: "release".to_owned(),
            lock: LockState::Release,
            epoch: 1,
            root_hash: "aa".to_owned(),
            root_partuuid: "u".to_owned(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
        };
        manifest.input("overlay", "etc/passwd", "11");
        manifest.outputs.insert("disk.img".to_owned(), Output { size: 1, sha256: "22".to_owned() });
        manifest
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Manifest), expected: &[&str]) {
        let mut other = manifest();
        change(&mut other);
        assert_eq!(differences(&manifest(), &other), expected);
    }

    #[test]
    fn every_difference_is_named() {
        check(|_| {}, &[]);
        check(|other| other.input("overlay", "etc/passwd", "12"), &["input overlay etc/passwd: 11 / 12"]);
        check(|other| other.input("overlay", "etc/group", "12"), &["input overlay etc/group: absent / 12"]);
        check(|other| other.outputs.clear(), &["output disk.img: 22 / absent"]);
        check(|other| other.root_hash = "bb".to_owned(), &["root hash: aa / bb"]);
    }

    #[test]
    fn a_manifest_survives_its_text() {
        let text = manifest().to_json();
        let again: Manifest = serde_json::from_str(&text).expect("JSON");
        assert_eq!(again, manifest());
        assert!(text.contains("\"lock\": \"release\""), "{text}");
    }
}
