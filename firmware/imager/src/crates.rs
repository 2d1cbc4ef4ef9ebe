//! The crates that are compiled into `keelson`, from `cargo metadata` and `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::context::Context;
use crate::programs::cargo;
use crate::request::Error;
use crate::step::{Step, read_text};

/// A crate in the node's program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression, as its manifest says.
    pub licence: Option<String>,
    /// Of its archive, as the lock pins it; `None` for our own.
    pub sha256: Option<String>,
    /// Where its sources lie.
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Every crate that `keelson` is linked from, sorted. Crates that only run while compiling are left out.
///
/// # Errors
/// [`Error::Command`] from cargo, [`Error::Input`] when its answer cannot be read.
pub fn of_keelson(context: &Context<'_>, step: &Step<'_>) -> Result<Vec<Crate>, Error> {
    let mut command = cargo(context, step);
    command.args(["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", context.board.arch.triple()]);
    let text = step.output_quietly(&mut command)?;
    let lock = context.request.project.join("Cargo.lock");
    let problem = |error: &dyn std::fmt::Display| step.input_error(&lock, error.to_string());
    let metadata: Metadata = serde_json::from_str(&text).map_err(|error| problem(&error))?;
    let locked: Lock = toml::from_str(&read_text(step.name, &lock)?).map_err(|error| problem(&error.message()))?;
    let sums: BTreeMap<(String, String), String> =
        locked.package.into_iter().filter_map(|one| Some(((one.name, one.version), one.checksum?))).collect();
    select(&metadata, &sums).ok_or_else(|| problem(&"no crate keelson"))
}

fn select(metadata: &Metadata, sums: &BTreeMap<(String, String), String>) -> Option<Vec<Crate>> {
    let edges: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let root = metadata.packages.iter().find(|package| package.name == "keelson")?;
    let mut seen = BTreeSet::new();
    let mut waiting = vec![root.id.as_str()];
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let linked = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let node = edges.get(id);
        waiting.extend(node.iter().flat_map(|node| &node.deps).filter(linked).map(|dependency| dependency.pkg.as_str()));
    }
    let mut crates: Vec<Crate> = metadata
        .packages
        .iter()
        .filter(|package| seen.contains(package.id.as_str()))
        .map(|package| Crate {
            name: package.name.clone(),
            version: package.version.clone(),
            licence: package.license.clone(),
            sha256: sums.get(&(package.name.clone(), package.version.clone())).cloned(),
            folder: package.manifest_path.parent().map(PathBuf::from).unwrap_or_default(),
        })
        .collect();
    crates.sort();
    Some(crates)
}

#[cfg(test)]
mod tests {
    use super::{Metadata, select};
    use std::collections::BTreeMap;

    #[test]
    fn only_linked_crates_are_selected() {
        let text = r#"{
          "packages": [
            {"id": "k", "name": "keelson", "version": "1", "license": "MIT", "manifest_path": "/src/k/Cargo.toml"},
            {"id": "a", "name": "a", "version": "2", "license": null, "manifest_path": "/v/a/Cargo.toml"},
            {"id": "b", "name": "b", "version": "3", "license": null, "manifest_path": "/v/b/Cargo.toml"},
            {"id": "c", "name": "c", "version": "4", "license": null, "manifest_path": "/v/c/Cargo.toml"}],
          "resolve": {"nodes": [
            {"id": "k", "deps": [{"pkg": "a", "dep_kinds": [{"kind": null}]}, {"pkg": "b", "dep_kinds": [{"kind": "build"}]}]},
            {"id": "a", "deps": [{"pkg": "c", "dep_kinds": [{"kind": "dev"}, {"kind": null}]}]}]}}"#;
        let metadata: Metadata = serde_json::from_str(text).expect("metadata");
        let sums = BTreeMap::from([(("a".to_owned(), "2".to_owned()), "aa".to_owned())]);
        let crates = select(&metadata, &sums).expect("keelson");
        let names: Vec<_> = crates.iter().map(|one| (one.name.as_str(), one.sha256.as_deref())).collect();
        assert_eq!(names, [("a", Some("aa")), ("c", None), ("keelson", None)]);
    }
}
