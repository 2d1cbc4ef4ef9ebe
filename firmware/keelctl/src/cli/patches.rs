//! Patches of machine configurations, as they are given on command lines.

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};
use machine_config::Patch;
use pki::Secret;

/// Largest configuration or patch read, bytes; nodes take no larger configuration either.
const MAX_BYTES: u64 = 4 << 20;

/// Reads patches: `@FILE`, or the patch itself. What holds neither space nor line break and is no list or section in
/// JSON can be no patch, so it is the name of a file too.
pub fn load(given: &[String]) -> Result<Vec<Patch>> {
    given.iter().map(|given| one(given)).collect()
}

fn one(given: &str) -> Result<Patch> {
    let is_name = !given.contains(['\n', ' ']) && !given.starts_with(['[', '{']);
    let file = given.strip_prefix('@').or_else(|| is_name.then_some(given));
    match file {
        Some(name) => {
            let text = read(Path::new(name))?;
            Patch::parse(text.expose()).with_context(|| format!("read the patch {name}"))
        }
        None => Patch::parse(given).context("read the patch given"),
    }
}

/// A configuration or patch from a file; `-` is standard input.
pub fn read(path: &Path) -> Result<Secret> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("read {}", path.display()))?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{} is larger than {MAX_BYTES} bytes: this is no machine configuration", path.display());
    }
    Ok(Secret::new(text))
}
