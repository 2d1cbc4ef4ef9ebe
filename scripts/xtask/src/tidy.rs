//! The house rules that no compiler knows. Each is a row of [`RULES`]: which files it looks at and what it finds in one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::sealed;

/// Longest Rust file, in lines: beyond it there is a seam somewhere.
const RUST_LINES: usize = 700;
/// Longest shell, in lines: what is longer belongs into xtask.
const SHELL_LINES: usize = 50;
/// Longest file that is looked into, in bytes; lock files and the like are no text for people.
const LOOK_INTO: u64 = 1 << 20;

/// Crates that run as PID 1 or inside it: a panic there takes the node down.
const PID1: [&str; 6] = ["daemon", "install", "layout", "linux", "machined", "supervise"];

/// What a rule finds in a file: line (0: the file as a whole) and complaint.
type Findings = Vec<(usize, String)>;

struct Rule {
    applies: fn(&str) -> bool,
    look: fn(&str, &str) -> Findings,
}

const RULES: [Rule; 7] = [
    Rule { applies: is_rust, look: |_, text| too_long(text, RUST_LINES, "is there a seam?") },
    Rule { applies: is_shell, look: |_, text| too_long(text, SHELL_LINES, "logic belongs into xtask") },
    Rule { applies: is_crate_root, look: crate_root },
    Rule { applies: |path| path.ends_with("/Cargo.toml"), look: licence },
    Rule { applies: is_text, look: |_, text| foreign_names(text) },
    Rule { applies: |path| is_rust(path) && !path.starts_with("scripts/xtask/src/tidy"), look: |_, text| unfinished(text) },
    Rule { applies: |path| is_rust(path) && path.starts_with("firmware/") && path.contains("/src/"), look: running_code },
];

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_shell(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    (path.starts_with("scripts/") && !path.starts_with("scripts/xtask/") && (!name.contains('.') || name.ends_with(".sh")))
        || path == ".ci/run"
}

fn is_crate_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")
}

fn is_text(path: &str) -> bool {
    !path.ends_with(".lock") && !path.starts_with("LICENSE") && !path.starts_with("scripts/fuzz/corpus/")
}

fn too_long(text: &str, limit: usize, why: &str) -> Findings {
    let lines = text.lines().count();
    if lines > limit { vec![(0, format!("{lines} lines, at most {limit}: {why}"))] } else { Vec::new() }
}

/// A crate says what it is in its first line, and only `linux` may hold unsafe code; the fuzzer's engine, which is on no node, reads
/// what the compiler counts (decision 0031).
fn crate_root(path: &str, text: &str) -> Findings {
    let mut found = Findings::new();
    if !text.starts_with("//!") {
        found.push((1, "a crate root starts with a `//!` line that says what the crate is".to_owned()));
    }
    let own_rule = path.starts_with("firmware/linux/") || path.starts_with("scripts/fuzz/src/") && text.contains("#![deny(unsafe_code)]");
    if !own_rule && !text.contains("#![forbid(unsafe_code)]") {
        found.push((1, "no #![forbid(unsafe_code)]; unsafe code belongs into firmware/linux".to_owned()));
    }
    found
}

fn licence(_: &str, text: &str) -> Findings {
    let one = text.contains("license.workspace = true") || text.contains("[workspace.package]");
    if one { Vec::new() } else { vec![(0, "no `license.workspace = true`".to_owned())] }
}

/// Hosts of mirrors and registries belong to the machine that builds, paths to the machine that somebody works on.
fn foreign_names(text: &str) -> Findings {
    let owners = ["debian", "crates", "npmjs", "pypi", "golang"];
    let paths = [concat!("/wo", "rk/"), concat!("/tmp/scr", "atch"), concat!("/ho", "me/")];
    let mut found = Findings::new();
    for (number, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("://") {
            let host: String = line[at + 3..].chars().take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
            if owners.iter().any(|owner| host.contains(owner)) {
                found.push((number + 1, format!("names the host {host}: mirrors come from the machine's own apt and cargo")));
            }
        }
        for path in paths {
            let own = |at: usize| line[..at].chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric() && !"._-/".contains(c));
            if line.match_indices(path).any(|(at, _)| own(at)) {
                found.push((number + 1, format!("names {path}, a path of somebody's machine")));
            }
        }
    }
    found
}

fn unfinished(text: &str) -> Findings {
    let marks = ["todo!(", "unimplemented!(", "FIXME", "XXX"];
    let marked = |line: &str| marks.into_iter().find(|mark| line.contains(mark));
    text.lines().enumerate().filter_map(|(n, line)| Some((n + 1, format!("unfinished: {}", marked(line)?)))).collect()
}

/// What runs on the node: no panics on the PID 1 path, no task without an owner, no second reaper in machined.
fn running_code(path: &str, text: &str) -> Findings {
    let crate_name = path.split('/').nth(1).unwrap_or_default();
    let is_test = path.rsplit('/').next().is_some_and(|name| name.contains("test")) || path.contains("/tests/");
    let mut found = Findings::new();
    if is_test {
        return found;
    }
    // Unit tests stand at the end of a file.
    let code = text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]")).enumerate();
    for (number, line) in code {
        let line = line.split("//").next().unwrap_or_default();
        let mut complain = |what: &str| found.push((number + 1, what.to_owned()));
        let panics = [".unwrap()", ".expect(", "panic!(", "unreachable!("];
        if PID1.contains(&crate_name) && panics.iter().any(|call| line.contains(call)) {
            complain("may panic on the PID 1 path: return an error");
        }
        let statement = line.trim_start().trim_start_matches("let _ = ");
        if statement.starts_with("tokio::spawn(") || statement.starts_with("tokio::task::spawn(") {
            complain("a task that nobody owns: spawn it on a TaskTracker");
        }
        if crate_name == "machined" && line.contains("tokio::process") {
            complain("tokio::process beside the reaper loses exit statuses: use linux::process");
        }
    }
    found
}

/// Every complaint about one file, as `path:line: complaint`.
fn look_at(path: &str, text: &str) -> Vec<String> {
    let found = RULES.iter().filter(|rule| (rule.applies)(path)).flat_map(|rule| (rule.look)(path, text));
    found.map(|(line, what)| if line == 0 { format!("{path}: {what}") } else { format!("{path}:{line}: {what}") }).collect()
}

/// Files of the project that people write, relative to it.
fn files(project: &Path, below: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(below).with_context(|| format!("list {}", below.display()))? {
        let entry = entry.with_context(|| format!("list {}", below.display()))?;
        let (path, kind) = (entry.path(), entry.file_type().with_context(|| format!("look at {}", entry.path().display()))?);
        let name = entry.file_name();
        let made = below == project && ["target", "out", ".git"].iter().any(|made| name == *made);
        if kind.is_dir() && !made {
            files(project, &path, into)?;
        } else if kind.is_file() && path.extension().is_none_or(|kind| kind != "log") {
            into.push(path);
        }
    }
    Ok(())
}

/// Looks at the whole project.
pub fn run() -> Result<()> {
    let project = sealed::project().canonicalize().context("find the project's folder")?;
    let (mut paths, mut complaints) = (Vec::new(), Vec::new());
    files(&project, &project, &mut paths)?;
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(&project).unwrap_or(&path).to_string_lossy().into_owned();
        let size = fs::metadata(&path).with_context(|| format!("look at {name}"))?.len();
        if size > LOOK_INTO {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("read {name}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            complaints.extend(look_at(&name, &text));
        }
    }
    if complaints.is_empty() { Ok(()) } else { bail!("{} breaches of the house rules:\n  {}", complaints.len(), complaints.join("\n  ")) }
}

#[cfg(test)]
#[path = "tidy_tests.rs"]
mod tests;
