//! `docs/fuzzing.md` is made from the targets and from what was found: this compares them, and writes the page with
//! `KEELSON_WRITE=1`.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use fuzz::{corpus, targets};

const HEAD: &str = "# Fuzzing\n\n\
    Every parser of bytes from outside has a target that says what must hold whatever the bytes are; beside what is in the table,\n\
    that it neither panics nor takes more than its limits of processor time (two seconds) and memory. Made from the targets:\n\
    `KEELSON_WRITE=1 cargo test -p fuzz --test docs` writes it anew.\n\n\
    `cargo xtask fuzz [TARGET...] [--time 5m]` looks for inputs that break one; `--list` shows the targets, `--keep` makes the inputs\n\
    that reach something new the kept ones. They are text, one a line, in `scripts/fuzz/corpus`, and every `cargo test` replays them\n\
    within the limits, with those in `corpus/regressions` that once broke something. Decision\n\
    [0031](decisions/0031-own-fuzzer.md) says why the engine is our own.\n\n\
    An input that breaks a target is made as short as it goes and added to its regressions: say in the line above it what it broke,\n\
    mend it, and commit both. A new parser gets a target in `scripts/fuzz/src/targets`; where it is private to its crate, the crate's\n\
    hidden module `fuzz` reaches it.\n";

const TAIL: &str = "\n## What they do not reach\n\n\
    - The DHCP clients' own reading of packets is the `mozim` crate's and not to be called from outside; `lease` begins behind it.\n\
    - HTTP/2 and TLS records are read by `hyper`, `h2` and `rustls`, which are fuzzed where they are made.\n\
    - Faults of memory are seen only when they kill the process: there is no sanitizer. All but `linux` is safe code.\n\
    - What the builder reads (board files, package lists) is the project's own.\n";

/// How many inputs each target was given in the hunts so far, and what they found; `corpus/regressions` has what broke something.
const RUNS: &str = include_str!("../runs.txt");

#[test]
fn the_page_is_what_the_targets_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fuzzing.md");
    let page = page();
    if std::env::var_os("KEELSON_WRITE").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/fuzzing.md is not what the targets say: KEELSON_WRITE=1 cargo test -p fuzz --test docs");
}

/// `target: how many inputs; what was found`, a line each.
fn runs() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let lines = RUNS.lines().filter(|line| !line.starts_with('#'));
    let parts = |line: &'static str| line.split_once(": ").and_then(|(target, rest)| Some((target, rest.split_once("; ")?)));
    lines.map(|line| parts(line).unwrap_or_else(|| panic!("runs.txt: {line:?} is not `target: inputs; found`"))).collect()
}

fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n| target | what | from whom | what must hold |\n|---|---|---|---|\n");
    for target in targets::ALL {
        writeln!(out, "| `{}` | {} | {} | {} |", target.name, target.bytes, target.from, target.property).expect("a String");
    }
    out.push_str("\n## What was found\n\n| target | inputs run | kept | found and mended |\n|---|---|---|---|\n");
    let runs = runs();
    assert_eq!(runs.len(), targets::ALL.len(), "runs.txt has a line for each target");
    for target in targets::ALL {
        let (inputs, found) = runs.get(target.name).unwrap_or_else(|| panic!("runs.txt has no line for {}", target.name));
        let kept = corpus::read(&corpus::folder().join(target.name).with_extension("txt")).expect("readable").len();
        writeln!(out, "| `{}` | {inputs} | {kept} | {found} |", target.name).expect("a String");
    }
    out.push_str(TAIL);
    out
}
