//! What may come from outside: any bytes, and texts made to hurt. All of it is answered, and soon.

use machine_config::{Config, Patch, PatchError, Problems, patch, redact, redact_pair};
use proptest::prelude::*;

const BASE: &str = "machine:\n  type: worker\n  nodeLabels: {a: b}\n  network:\n    interfaces:\n      - interface: eth0\n";

/// Puts a text everywhere where texts from outside come in.
fn everywhere(text: &str) {
    drop(Config::parse(text));
    drop(redact(text, "x"));
    drop(redact_pair(text, BASE));
    drop(redact_pair(BASE, text));
    if let Ok(change) = Patch::parse(text) {
        drop(patch(BASE, std::slice::from_ref(&change)));
        drop(patch(text, &[change]));
    }
}

fn refused(text: &str, wanted: &str) {
    let problems = |result: Result<(), Problems>| result.expect_err("refused").to_string();
    for error in [problems(Config::parse(text).map(drop)), problems(Patch::parse(text).map(drop)), problems(redact(text, "x").map(drop))] {
        assert!(error.contains(wanted), "{wanted}: {}", error.chars().take(300).collect::<String>());
    }
}

#[test]
fn aliases_of_aliases() {
    let levels: String = (1..30).map(|n| format!("b{n}: &b{n} [{}]\n", vec![format!("*b{}", n - 1); 10].join(", "))).collect();
    refused(&format!("b0: &b0 [x]\n{levels}"), "unfolds to too many");
    let merged: String = (1..2000).map(|n| format!("m{n}: &m{n} {{<<: *m{}, k{n}: x}}\n", n - 1)).collect();
    refused(&format!("m0: &m0 {{a: b}}\n{merged}"), "unfolds to too many");
    let wide: String = (0..4000).map(|n| format!("k{n}: x, ")).collect();
    refused(&format!("a: &a {{{wide}}}\nb: {{<<: [{}]}}\n", vec!["*a"; 2000].join(", ")), "unfolds to too many");
}

#[test]
fn nesting() {
    refused(&"[".repeat(200_000), "not valid YAML");
    refused(&"{a: ".repeat(200_000), "not valid YAML");
    refused(&"- ".repeat(200_000), "nested deeper than 100");
    refused(&(0..150).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>(), "nested deeper than 100");
}

#[test]
fn size() {
    refused(&format!("a: {}\n", "x".repeat(10 << 20)), "at most 4194304");
    refused(&format!("{}\n", "x".repeat(10 << 20)), "at most 4194304");
    everywhere(&format!("a: {}\n", "x".repeat(4 << 20)));
    everywhere(&format!("a: \"{}\"\n", "\\t".repeat(1 << 20)));
    everywhere(&format!("{}: b\n", "k".repeat(1 << 20)));
}

#[test]
fn number() {
    refused(&(0..60_000).map(|n| format!("key{n}: a\n")).collect::<String>(), "more than 4096 keys");
    refused(&"---\na: b\n".repeat(1001), "more than 1000 documents");
    refused(&"- a\n".repeat(600_000), "unfolds to too many");
    let interfaces: String = (0..50_000).map(|n| format!("      - {{interface: e{n}, mtu: 9000}}\n")).collect();
    everywhere(&format!("machine:\n  network:\n    interfaces:\n{interfaces}"));
    let deletes: String = (0..1001).map(|n| format!("      - {{interface: e{n}, $patch: delete}}\n")).collect();
    let error = Patch::parse(&format!("machine:\n  network:\n    interfaces:\n{deletes}")).expect_err("refused");
    assert!(error.to_string().contains("at most 1000 may be"), "{error}");
}

/// Patches that are small each must not add up.
#[test]
fn growth() {
    let half = format!("machine: {{sysctls: {{a: {}}}}}\n", "x".repeat(3 << 20));
    let other = half.replace("a: x", "b: x");
    let patches: Vec<Patch> = [&half, &other].map(|text| Patch::parse(text).expect("a patch")).into();
    let error = patch(BASE, &patches).expect_err("too large");
    assert!(matches!(&error, PatchError::Result(problems) if problems.to_string().contains("at most 4194304")), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        everywhere(&String::from_utf8_lossy(&bytes));
    }

    /// Letters that mean something to the reader, in lines.
    #[test]
    fn any_yaml(lines in prop::collection::vec("[ ]{0,6}(- ){0,2}(machine|network|interfaces|\\$patch|kind|apiVersion|[a-z<&*!]{0,3}): ?(delete|v1alpha1|HostnameConfig|[\\[\\]{}|>\"',#%@`~?!&*a-z0-9 -]{0,8})", 0..12)) {
        everywhere(&lines.join("\n"));
    }
}
