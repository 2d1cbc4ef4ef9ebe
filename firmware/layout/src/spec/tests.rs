use super::*;

const FILES: [(&str, &str); 6] = [
    ("10-efi.toml", "label = \"EFI\"\ntype = \"esp\"\nsize = \"512M\"\ncreated = \"image\"\ncontent = \"esp\"\n"),
    ("20-root-a.toml", "label = \"ROOT-A\"\ntype = \"root\"\nsize = \"512M\"\ncreated = \"image\"\ncontent = \"verity-root\"\n"),
    ("30-meta.toml", "label = \"META\"\ntype = \"meta\"\nsize = \"1M\"\ncreated = \"image\"\ncontent = \"meta\"\n"),
    ("40-root-b.toml", "label = \"ROOT-B\"\ntype = \"root\"\nsize = \"512M\"\ncreated = \"first-boot\"\ncontent = \"empty\"\n"),
    (
        "50-state.toml",
        "label = \"STATE\"\ntype = \"linux\"\nsize = \"512M\"\ncreated = \"first-boot\"\ncontent = \"xfs\"\nmount = \"/system/state\"\n",
    ),
    (
        "60-ephemeral.toml",
        "label = \"EPHEMERAL\"\ntype = \"linux\"\nsize = \"rest\"\nmin-size = \"1G\"\ncreated = \"first-boot\"\ncontent = \"xfs\"\nmount = \"/var\"\n",
    ),
];

/// The set of the design, for tests of other modules too.
pub(crate) fn sample() -> PartitionSet {
    PartitionSet::parse(FILES).unwrap()
}

/// The same in small, so that whole disks fit into a test's memory: mebibytes instead of hundreds of them.
pub(crate) fn small() -> PartitionSet {
    PartitionSet::parse(FILES.map(|(name, text)| (name, text.replace("512M", "4M").replace("1G", "4M")))).unwrap()
}

#[test]
fn places_follow_each_other_in_mebibytes() {
    let set = sample();
    assert_eq!(set.image_size(), 1027 * MIB);
    assert_eq!(set.least_disk(), (1 + 512 + 512 + 1 + 512 + 512 + 1024 + 1) * MIB);
    let places = |size: u64| {
        set.place(size * MIB + 12_345)
            .map(|places| places.iter().map(|p| (p.partition.label.clone(), p.range.start / MIB, p.range.length / MIB)).collect::<Vec<_>>())
    };
    assert_eq!(places(3074), None);
    let three = places(3 * 1027).unwrap();
    let expect =
        [("EFI", 1, 512), ("ROOT-A", 513, 512), ("META", 1025, 1), ("ROOT-B", 1026, 512), ("STATE", 1538, 512), ("EPHEMERAL", 2050, 1030)];
    assert_eq!(three, expect.map(|(label, start, length)| (label.to_owned(), start, length)));
    assert_eq!(set.place_image().len(), 3);
    assert!(set.place_image().iter().zip(set.place(u64::MAX / 2).unwrap()).all(|(a, b)| a.range == b.range));
}

#[test]
fn the_projects_own_files_parse() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../partitions");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
    let read =
        |path: std::path::PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap());
    let set = PartitionSet::parse(files.map(read)).unwrap();
    assert_eq!(set, sample());
}

#[test]
fn partitions_that_mkfs_refuses_are_told() {
    let labels = |from: &str, to: &str| -> Vec<String> {
        let set = PartitionSet::parse(FILES.map(|(name, text)| (name, text.replace(from, to)))).unwrap();
        set.too_small().into_iter().map(|partition| partition.label.clone()).collect()
    };
    assert!(labels("512M", "300M").is_empty());
    assert_eq!(labels("512M", "299M"), ["STATE"]);
    assert_eq!(labels("1G", "128M"), ["EPHEMERAL"]);
}

#[track_caller]
fn check_bad(change: (&str, &str), file: usize, expect: &str) {
    let mut files = FILES.map(|(name, text)| (name, text.to_owned()));
    files[file].1 = files[file].1.replace(change.0, change.1);
    let err = PartitionSet::parse(files).unwrap_err();
    let text = format!("{err}: {:?}", std::error::Error::source(&err).map(ToString::to_string));
    assert!(text.contains(expect) && text.contains(FILES[file].0), "{text}");
}

#[test]
fn broken_rules_are_named_with_their_file() {
    check_bad(("\"EFI\"", "\"efi\""), 0, "not 1 to 12");
    check_bad(("\"STATE\"", "\"META\""), 4, "used twice");
    check_bad(("512M", "512"), 0, "not a size");
    check_bad(("512M", "rest"), 1, "fixed size");
    check_bad(("\"image\"", "\"first-boot\""), 1, "can be made at first boot");
    check_bad(("\"first-boot\"", "\"image\""), 4, "comes after one made at first boot");
    check_bad(("/var", "var"), 5, "absolute");
    check_bad(("mount", "mnt"), 5, "unknown field");
    check_bad(("\"xfs\"", "\"ext4\""), 4, "unknown variant");
    check_bad(("/var", "/system/state"), 5, "lie within each other");
    check_bad(("/var", "/system/state/more"), 5, "lie within each other");
    check_bad(("/var", "/system"), 5, "lie within each other");
    check_bad(("rest", "512M"), 5, "belongs to size");
    let none = PartitionSet::parse(Vec::<(&str, &str)>::new());
    assert!(matches!(none, Err(files::FileError::Rule { source: SpecError::Empty })));
}

#[test]
fn the_image_s_set_is_the_files_and_keeps_the_rules() {
    let text = serde_json::to_string(&sample()).unwrap();
    assert_eq!(serde_json::from_str::<PartitionSet>(&text).unwrap(), sample());
    for (from, to, expect) in [
        ("\"STATE\"", "\"META\"", "partition META: label META is used twice"),
        ("\"/var\"", "\"/system\"", "partition EPHEMERAL: mount"),
        ("\"label\"", "\"name\"", "unknown field"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text);
        let err = serde_json::from_str::<PartitionSet>(&broken).unwrap_err().to_string();
        assert!(err.contains(expect), "{err}");
    }
    assert!(serde_json::from_str::<PartitionSet>("[]").is_err());
}
