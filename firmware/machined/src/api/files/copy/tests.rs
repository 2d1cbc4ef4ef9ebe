use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use flate2::read::GzDecoder;

use super::*;

/// Kind, permissions, link target and contents of an entry.
type Entry = (EntryType, u32, String, Vec<u8>);

/// Packs, unpacks with the other half of the crates; the entries by name, and what was left out.
fn pack(root: &Path) -> (BTreeMap<String, Entry>, String) {
    let mut stage = Stage::Packing(Box::new(Archive::of(root).expect("exists")));
    let mut packed = Vec::new();
    let problems = loop {
        match stage {
            Stage::Packing(archive) => {
                let (bytes, next) = archive.step().expect("packed");
                assert!(bytes.len() < CHUNK + STEP, "{} bytes at once", bytes.len());
                packed.extend(bytes);
                stage = next;
            }
            Stage::Packed(problems) => break problems,
        }
    };
    let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
    let mut entries = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let link = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
        let (kind, mode) = (entry.header().entry_type(), entry.header().mode().expect("a mode"));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("whole");
        assert!(entries.insert(name.clone(), (kind, mode, link, bytes)).is_none(), "{name} comes twice");
    }
    (entries, problems)
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let root = tempfile::tempdir().expect("folder");
    let at = |name: &str| root.path().join(name);
    let (long, far) = ("n".repeat(200), format!("./{}//x", "t".repeat(300)));
    let big: Vec<u8> = (0..3 * STEP + 77).map(|index| (index % 251) as u8 ^ (index >> 11) as u8).collect();
    fs::create_dir_all(at("b/empty")).expect("folders");
    fs::write(at("b/big"), &big).expect("written");
    fs::write(at(&long), "long").expect("written");
    fs::write(at("none"), "").expect("written");
    fs::set_permissions(at("none"), fs::Permissions::from_mode(0o4640)).expect("set");
    for (name, target) in [("l", "b//big"), ("gone", "../nowhere"), ("far", far.as_str())] {
        std::os::unix::fs::symlink(target, at(name)).expect("linked");
    }
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).expect("made");
    let _listening = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");

    let (entries, problems) = pack(root.path());
    let names: Vec<&str> = entries.keys().map(String::as_str).collect();
    assert_eq!(names, ["./", "b/", "b/big", "b/empty/", "far", "gone", "l", &long, "none", "pipe"]);
    assert!(entries["b/big"].3 == big, "the contents differ");
    assert_eq!(entries[&long].3, b"long");
    assert_eq!((entries["none"].0, entries["none"].1, entries["none"].3.len()), (EntryType::Regular, 0o4640, 0));
    assert_eq!(["l", "gone", "far"].map(|name| entries[name].2.as_str()), ["b//big", "../nowhere", &far]);
    assert_eq!((entries["pipe"].0, entries["b/empty/"].0), (EntryType::Fifo, EntryType::Directory));
    assert_eq!(problems, format!("skipping {}: an archive cannot hold a socket", at("socket").display()));
}

#[test]
fn one_file_has_its_base_name_and_its_real_length() {
    let root = tempfile::tempdir().expect("folder");
    std::os::unix::fs::symlink("/proc/self/mountinfo", root.path().join("link")).expect("linked");
    let (entries, problems) = pack(&root.path().join("link"));
    assert_eq!((entries.len(), problems.as_str()), (1, ""));
    let (kind, _, _, bytes) = &entries["mountinfo"];
    assert!(*kind == EntryType::Regular && bytes.len() > 10 && bytes.ends_with(b"\n"), "{bytes:?}");
    // It claims to be a page long.
    let (entries, _) = pack(Path::new("/sys/kernel/mm/transparent_hugepage/enabled"));
    assert_eq!(entries["enabled"].3, fs::read("/sys/kernel/mm/transparent_hugepage/enabled").expect("read"));
    let (entries, _) = pack(Path::new("/dev/null"));
    assert_eq!(entries["null"].0, EntryType::Char);
    assert!(Archive::of(Path::new("/nowhere")).is_err());
}

#[test]
fn a_file_that_shrinks_is_filled_up_and_told() {
    let root = tempfile::tempdir().expect("folder");
    let path = root.path().join("log");
    fs::write(&path, vec![b'x'; 2 * STEP]).expect("written");
    let mut archive = Archive::of(root.path()).expect("exists");
    while archive.body.is_none() {
        let found = archive.walk.next().expect("the file is still to come");
        archive.add(found).expect("packed");
    }
    fs::write(&path, "short").expect("written");
    while let Some(body) = archive.body.take() {
        archive.go_on(body).expect("packed");
    }
    let packed = archive.out.into_inner().and_then(GzEncoder::finish).expect("packed");
    let mut unpacked = tar::Archive::new(GzDecoder::new(packed.as_slice()));
    let last = unpacked.entries().expect("an archive").last().expect("an entry").expect("whole");
    assert_eq!(last.size(), 2 * STEP as u64);
    assert!(archive.problems.text().contains("log: it became shorter"));
}

#[test]
fn problems_are_bounded() {
    let mut problems = Problems::default();
    for number in 0..TOLD + 5 {
        problems.add(Path::new("/a"), &number.to_string());
    }
    let text = problems.text();
    assert_eq!((text.lines().count(), text.lines().last()), (TOLD + 1, Some("skipping 5 more")));
    assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
}
