//! Board files as data: how they merge, and what is said about those that cannot be accepted.

use std::fs;
use std::path::{Path, PathBuf};

use imager::board::{Arch, Over, list, load};

const COMMON: &str = r#"
description = "all"
consoles = ["ttyS9"]
cmdline = ["panic=10"]
[kernel]
fragments = ["common.config", "arch/{arch}.config", "features/*.config"]
[on.x86_64]
cmdline = ["pti=on"]
rootfs.links = { "lib64" = "usr/lib64" }
[rootfs]
compression = "lz4hc"
[rootfs.links]
"bin" = "usr/bin"
[rootfs.directories]
"tmp" = "1777"
[limits]
uki_kib = 8192
rootfs_kib = 71680
over = "fail"
"#;
const PC: &str = "inherits = \"common\"\ndescription = \"a PC\"\narch = \"x86_64\"\nconsoles = [\"ttyS0\"]\n";

/// A project with the board files given as (path, text), and kernel fragments.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = [
        ("board/common/board.toml", COMMON),
        ("kernel-config/common.config", ""),
        ("kernel-config/arch/x86_64.config", ""),
        ("kernel-config/arch/arm64.config", ""),
        ("kernel-config/features/b.config", ""),
        ("kernel-config/features/a.config", ""),
        ("kernel-config/README.md", ""),
    ];
    for (name, text) in shared.iter().chain(files) {
        write(folder.path(), name, text);
    }
    folder
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, text).expect("a file");
}

fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string()).collect()
}

#[test]
fn a_board_is_what_it_inherits_and_what_it_says() {
    let folder = project(&[
        ("board/pc/board.toml", PC),
        ("board/pc/files.toml", ""),
        ("board/pc/rootfs-overlay/etc/x", ""),
        ("rootfs-overlay/etc/x", ""),
        ("partitions/10-efi.toml", ""),
    ]);
    let board = load("pc", &[folder.path().to_owned()]).expect("accepted");
    assert_eq!((board.arch, board.description.as_str()), (Arch::X86_64, "a PC"));
    assert_eq!(board.consoles, ["ttyS0"]);
    assert_eq!(board.cmdline, ["panic=10", "pti=on"]);
    assert_eq!(board.links.keys().collect::<Vec<_>>(), ["bin", "lib64"]);
    assert_eq!(board.directories["tmp"], 0o1777);
    assert_eq!((board.uki_bytes, board.over), (8 << 20, Over::Fail));
    let fragments = names(folder.path(), &board.fragments);
    assert_eq!(
        fragments,
        ["common.config", "arch/x86_64.config", "features/a.config", "features/b.config"].map(|name| format!("kernel-config/{name}"))
    );
    assert_eq!(names(folder.path(), &board.file_lists), ["board/pc/files.toml"]);
    assert_eq!(names(folder.path(), &board.overlays), ["rootfs-overlay", "board/pc/rootfs-overlay"]);
    assert_eq!(names(folder.path(), &board.partition_folders), ["partitions"]);
    assert_eq!(list(&[folder.path().to_owned()]).expect("readable"), ["pc"]);
}

#[test]
fn an_external_folder_adds_boards_and_amends_ours() {
    let folder = project(&[("board/pc/board.toml", PC)]);
    let other = tempfile::tempdir().expect("a folder");
    let roots = [folder.path().to_owned(), other.path().to_owned()];
    write(other.path(), "board/pc/board.toml", "cmdline = [\"quiet\"]\n[limits]\nover = \"warn\"\n");
    write(other.path(), "board/box/board.toml", "inherits = \"pc\"\ndescription = \"a box\"\nkernel.fragments = [\"./box.config\"]\n");
    write(other.path(), "board/box/box.config", "CONFIG_BOX=y\n");
    write(other.path(), "kernel-config/features/z.config", "");
    write(other.path(), "rootfs-overlay/etc/y", "");
    let pc = load("pc", &roots).expect("accepted");
    assert_eq!(pc.cmdline, ["panic=10", "pti=on", "quiet"]);
    assert_eq!(pc.over, Over::Warn);
    let board = load("box", &roots).expect("accepted");
    assert_eq!(board.description, "a box");
    let fragments = names(other.path(), &board.fragments);
    assert_eq!(fragments[fragments.len() - 2..], ["kernel-config/features/z.config", "board/box/box.config"]);
    assert_eq!(names(other.path(), &board.overlays), ["rootfs-overlay"]);
    assert_eq!(list(&roots).expect("readable"), ["box", "pc"]);
}

#[track_caller]
fn check_refused(text: &str, parts: &[&str]) {
    let folder = project(&[("board/pc/board.toml", text)]);
    let error = load("pc", &[folder.path().to_owned()]).expect_err("refused").to_string();
    for part in parts {
        assert!(error.contains(part), "{error} does not name {part}");
    }
}

#[test]
fn what_cannot_be_accepted_is_named_with_its_file() {
    check_refused(&format!("{PC}colour = \"red\"\n"), &["board/pc/board.toml", "colour"]);
    check_refused(&format!("{PC}[kernel]\nfragment = []\n"), &["board/pc/board.toml", "fragment"]);
    check_refused(&format!("{PC}[on.arm64]\ncolour = 1\n"), &["board/pc/board.toml", "`on`", "colour"]);
    check_refused(&format!("{PC}[on.riscv]\ncmdline = []\n"), &["`on`", "riscv"]);
    check_refused(&format!("{PC}[limits]\nuki_kib = \"8M\"\n"), &["uki_kib"]);
    check_refused(&format!("{PC}[kernel]\nfragments = [\"nowhere/*.config\"]\n"), &["kernel.fragments", "nowhere/*.config"]);
    check_refused(&format!("{PC}[rootfs.directories]\n\"x\" = \"4755\"\n"), &["rootfs.directories", "4755"]);
    check_refused("inherits = \"common\"\n", &["`arch` is missing"]);
    check_refused("inherits = \"pc\"\n", &["circle"]);
    check_refused("inherits = \"nothing\"\n", &["board/nothing", "there are: pc"]);
    check_refused("arch = \"x86_64\"\n", &["is missing here"]);
    check_refused("arch = \"arm\"\n", &["`arch`", "arm"]);
    check_refused("arch = \"x86_64\n", &["board/pc/board.toml", "TOML parse error"]);
}

#[test]
fn the_boards_of_the_tree_are_accepted() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let roots = [project];
    for name in list(&roots).expect("readable") {
        let board = load(&name, &roots).expect("accepted");
        assert!(!board.fragments.is_empty() && !board.file_lists.is_empty(), "{name}");
    }
}
