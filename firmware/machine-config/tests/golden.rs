//! A configuration for each kind of document and both machine types, each right, with exactly the warnings written down
//! in `golden/warnings.txt`. `KEELSON_WRITE=1 cargo test -p machine-config --test golden` writes that file anew, which
//! is what a change that makes this version act on more settings has to do.
//!
//! The files were put to the reference's own validator too (`talosctl validate -m metal`, commit 7a84d742b3d5): it takes
//! every one of them.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf};

use machine_config::{Config, Patch, RunMode, patch, redact, reference, same};

/// Kinds that need a control plane, beside those that say so themselves by being refused on a worker.
const CONTROL_PLANE: [&str; 3] = ["KubeAPIServerCAConfig", "Layer2VIPConfig", "HCloudVIPConfig"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every kind with a whole configuration.
fn configurations() -> BTreeMap<String, String> {
    let (control_plane, worker) = (file("controlplane.yaml"), file("worker.yaml"));
    let mut all = BTreeMap::from([("controlplane".to_owned(), control_plane.clone()), ("worker".to_owned(), worker.clone())]);
    for document in reference().iter().filter(|document| !document.kind.is_empty()) {
        let kind = document.kind;
        let text = file(&format!("{kind}.yaml"));
        // The one that is asked for must be in its file.
        assert!(text.contains(&format!("kind: {kind}\n")), "{kind}");
        let whole = |base: &str| format!("{}---\n{text}", without(kind, base));
        let refused = Config::parse(&whole(&worker)).is_err_and(|problems| problems.to_string().contains("for control-plane nodes only"));
        let base = if refused || CONTROL_PLANE.contains(&kind) { &control_plane } else { &worker };
        all.insert(kind.to_owned(), whole(base));
    }
    all
}

/// The main document without what a document of that kind says instead.
fn without(kind: &str, base: &str) -> String {
    let dropped: &[&str] = match kind {
        "KubeClusterConfig" => &["  controlPlane:", "    endpoint:"],
        "DiscoveryIdentityConfig" => &["  id:", "  secret:"],
        _ => &[],
    };
    base.lines().filter(|line| !dropped.iter().any(|start| line.starts_with(start))).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_kind_is_taken_with_the_warnings_written_down() {
    let mut found = String::new();
    for (name, text) in configurations() {
        let parsed = Config::parse(&text).unwrap_or_else(|problems| panic!("{name}: {problems}\n{text}"));
        let paths: Vec<&str> = parsed.warnings.iter().map(|warning| warning.path.as_str()).collect();
        writeln!(found, "{name}: {}", paths.join(", ")).expect("a String");
    }
    let path = folder().join("warnings.txt");
    if std::env::var_os("KEELSON_WRITE").is_some() {
        fs::write(&path, &found).expect("written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    for (found, written) in found.lines().zip(written.lines()) {
        assert_eq!(found, written, "KEELSON_WRITE=1 cargo test -p machine-config --test golden");
    }
    assert_eq!(found.lines().count(), written.lines().count());
}

#[test]
fn every_mode_takes_them() {
    for (name, text) in configurations() {
        // These say themselves what a container must have; a resolver's document without it hides the older setting.
        for mode in [RunMode::Cloud, RunMode::Container] {
            Config::parse_for(&text, mode).unwrap_or_else(|problems| panic!("{name}: {mode:?}: {problems}"));
        }
    }
}

/// A patch of nothing keeps the meaning; every document can be added, and added again, by a patch; and deleted.
#[test]
fn documents_survive_patches() {
    let nothing = Patch::parse("machine: {}").expect("a patch");
    let base = file("controlplane.yaml");
    for (kind, whole) in configurations() {
        let kept = patch(&whole, std::slice::from_ref(&nothing)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(same(kept.expose(), &whole), "{kind}:\n{}", kept.expose());
        if ["controlplane", "worker"].contains(&kind.as_str()) {
            continue;
        }
        let text = file(&format!("{kind}.yaml"));
        let added = patch(&base, &[Patch::parse(&text).unwrap_or_else(|problems| panic!("{kind}: {problems}"))]).expect("added");
        assert!(same(added.expose(), &format!("{base}---\n{text}")), "{kind}:\n{}", added.expose());
        let heads = text.split("\n---\n").map(|document| {
            let keep = |line: &&str| ["apiVersion:", "kind:", "name:"].iter().any(|start| line.starts_with(start));
            format!("{}\n$patch: delete\n", document.lines().filter(keep).collect::<Vec<_>>().join("\n"))
        });
        let delete = heads.collect::<Vec<_>>().join("---\n");
        let gone =
            patch(added.expose(), &[Patch::parse(&delete).unwrap_or_else(|problems| panic!("{kind}: {problems}"))]).expect("deleted");
        assert!(same(gone.expose(), &base), "{kind}:\n{}", gone.expose());
    }
}

/// What is redacted is still a configuration of the same shape, and no private key is in it.
#[test]
fn documents_are_redacted() {
    for (kind, whole) in configurations() {
        let shown = redact(&whole, "******").unwrap_or_else(|problems| panic!("{kind}: {problems}"));
        for secret in [
            "PRIVATE KEY",
            "LS0tLS1CRUdJTiBFRDI1NTE5",
            "passphrase: secret",
            "QCyM9yDoPK2jsFqnBqKxAW5tDPVtR2FgUjNLVCh7xZQ=",
            "jointoken",
            "yenrdj",
        ] {
            assert!(!shown.contains(secret), "{kind}: {secret}\n{shown}");
        }
    }
}
