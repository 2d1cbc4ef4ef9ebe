use super::*;

/// `wanted`: a part of each complaint, in order.
#[track_caller]
fn check(path: &str, text: &str, wanted: &[&str]) {
    let found = look_at(path, text);
    let right = found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| found.contains(wanted));
    assert!(right, "{path}: wanted {wanted:?}, found {found:?}");
}

const ROOT: &str = "//! A crate.\n#![forbid(unsafe_code)]\n";

#[test]
fn crate_roots_say_what_they_are() {
    check("firmware/pki/src/lib.rs", ROOT, &[]);
    check("firmware/pki/src/lib.rs", "//! A crate.\n", &["forbid(unsafe_code)"]);
    check("firmware/linux/src/lib.rs", "//! A crate.\n", &[]);
    check("scripts/xtask/src/main.rs", "#![forbid(unsafe_code)]\n", &["starts with a `//!`"]);
    check("firmware/pki/src/other.rs", "fn f() {}\n", &[]);
    check("scripts/fuzz/src/lib.rs", "//! A crate.\n#![deny(unsafe_code)]\n", &[]);
    check("scripts/fuzz/src/lib.rs", "//! A crate.\n", &["forbid(unsafe_code)"]);
    check("scripts/xtask/src/main.rs", "//! A crate.\n#![deny(unsafe_code)]\n", &["forbid(unsafe_code)"]);
}

#[test]
fn files_have_a_length() {
    let lines = |count: usize| "x\n".repeat(count);
    check("qemu/src/vm.rs", &lines(RUST_LINES), &[]);
    check("qemu/src/vm.rs", &lines(RUST_LINES + 1), &["701 lines"]);
    check("scripts/test", &lines(SHELL_LINES), &[]);
    check("scripts/lib.sh", &lines(SHELL_LINES + 1), &["51 lines"]);
    check(".ci/run", &lines(SHELL_LINES + 1), &["51 lines"]);
    check("docs/architecture.md", &lines(5000), &[]);
}

#[test]
fn every_crate_has_the_licence() {
    check("qemu/Cargo.toml", "[package]\nlicense.workspace = true\n", &[]);
    check("qemu/Cargo.toml", "[package]\n", &["license.workspace"]);
}

#[test]
fn nothing_names_a_mirror_or_a_machine() {
    let url = |host: &str| format!("see http{}{host}/x", "://");
    check("README.md", &url(concat!("deb.deb", "ian.org")), &["names the host"]);
    check("board/a.toml", &url(concat!("index.cra", "tes.io")), &["names the host"]);
    check("README.md", &url("127.0.0.1:6443"), &[]);
    check("README.md", concat!("cd /wo", "rk/main"), &["somebody's machine"]);
    check("README.md", concat!("the frame/wo", "rk/ shop"), &[]);
    check("board/packages.lock", &url(concat!("deb.deb", "ian.org")), &[]);
}

#[test]
fn nothing_is_left_unfinished() {
    check("qemu/src/vm.rs", concat!("fn f() { to", "do!() }"), &["unfinished"]);
    check("qemu/src/vm.rs", concat!("// FIX", "ME later"), &["unfinished"]);
}

#[test]
fn pid_1_does_not_panic() {
    let code = "fn f() {\n    x.unwrap();\n}\n#[cfg(test)]\nmod tests { fn g() { x.unwrap(); } }\n";
    check("firmware/machined/src/boot.rs", code, &["boot.rs:2: may panic"]);
    check("firmware/linux/src/mount.rs", "fn f() { x.expect(\"y\") }\n", &["may panic"]);
    check("firmware/machined/src/boot.rs", "fn f() { x.unwrap_or(1) } // .unwrap() is for tests\n", &[]);
    check("firmware/machined/src/boot.rs", "/// Like `x.unwrap()`.\nfn f() { x.unwrap_or(1) }\n", &[]);
    check("firmware/machined/src/boot_tests.rs", "fn f() { x.unwrap() }\n", &[]);
    check("firmware/pki/src/key.rs", "fn f() { x.unwrap() }\n", &[]);
}

#[test]
fn tasks_have_owners_and_children_one_reaper() {
    check("firmware/apid/src/serve.rs", "    tokio::spawn(async {});\n", &["nobody owns"]);
    check("firmware/apid/src/serve.rs", "    let _ = tokio::task::spawn(async {});\n", &["nobody owns"]);
    check("firmware/apid/src/serve.rs", "    tracker.spawn(async {});\n", &[]);
    check("firmware/machined/src/run.rs", "use tokio::process::Command;\n", &["reaper"]);
}
