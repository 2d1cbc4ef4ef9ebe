//! The process above: starts the one that works, and keeps what kills it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::work;
use fuzz::{Target, corpus};

/// Most tries at making an input shorter; each is a process.
const TRIES: usize = 600;
/// Most bytes of a target's kept inputs. The replay is part of every build.
const KEPT: usize = 16 << 10;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    /// The kept inputs.
    pub corpus: PathBuf,
    /// What is made on the way and may go: inputs found earlier, the input being run.
    pub scratch: PathBuf,
}

impl Places {
    /// Kept inputs of a target.
    #[must_use]
    pub fn kept(&self, target: &Target) -> PathBuf {
        self.corpus.join(target.name).with_extension("txt")
    }

    /// What once broke a target.
    #[must_use]
    pub fn regressions(&self, target: &Target) -> PathBuf {
        self.corpus.join("regressions").join(target.name).with_extension("txt")
    }

    /// What was found and not kept.
    #[must_use]
    pub fn found(&self, target: &Target) -> PathBuf {
        self.scratch.join(target.name).with_extension("txt")
    }

    fn current(&self, target: &Target) -> PathBuf {
        self.scratch.join(target.name).with_extension("current")
    }

    /// Every input that is known of a target.
    ///
    /// # Errors
    /// A file is not readable.
    pub fn known(&self, target: &Target) -> Result<Vec<Vec<u8>>> {
        let files = [self.kept(target), self.regressions(target), self.found(target)];
        Ok(files.iter().map(|path| corpus::read(path)).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Lets a process work on a target. The input that killed it, if one did; what it is of is on this terminal already.
///
/// # Errors
/// The process could not be started, or died of something else.
pub fn hunt(target: &Target, time: Duration, places: &Places) -> Result<Option<Vec<u8>>> {
    fs::create_dir_all(&places.scratch).with_context(|| format!("create {}", places.scratch.display()))?;
    let current = places.current(target);
    let _ = fs::remove_file(&current);
    let mut worker = itself()?;
    worker.args(["work", target.name, "--time", &format!("{}s", time.as_secs())]).arg("--scratch").arg(&places.scratch);
    let status = worker.status().context("start the worker")?;
    if status.success() {
        return Ok(None);
    }
    let input = work::current(&current).with_context(|| format!("the worker ended with {status}"))?;
    ensure!(breaks(target, &input, true)?, "the worker ended with {status}, but not of {}", input.escape_ascii());
    shorten(target, input).map(Some)
}

fn itself() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("find this program")?))
}

/// Whether a process of its own dies of an input.
fn breaks(target: &Target, input: &[u8], aloud: bool) -> Result<bool> {
    let file = tempfile(input)?;
    let mut once = itself()?;
    once.args(["once", target.name]).arg(&file);
    if !aloud {
        once.stderr(Stdio::null());
    }
    let status = once.status().context("start a process for one input")?;
    fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    Ok(!status.success())
}

fn tempfile(input: &[u8]) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("fuzz-input-{}", std::process::id()));
    fs::write(&path, input).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// The shortest input found that still breaks it: pieces are taken out, large ones first.
fn shorten(target: &Target, mut input: Vec<u8>) -> Result<Vec<u8>> {
    let (mut tries, mut size) = (0, input.len().div_ceil(2));
    while size > 0 {
        let mut start = 0;
        while start < input.len() && tries < TRIES {
            let mut shorter = input.clone();
            shorter.drain(start..(start + size).min(input.len()));
            tries += 1;
            if breaks(target, &shorter, false)? {
                input = shorter;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    Ok(input)
}

/// Adds an input to those that once broke the target.
///
/// # Errors
/// The file cannot be written.
pub fn remember(target: &Target, input: &[u8], places: &Places) -> Result<PathBuf> {
    let path = places.regressions(target);
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("read {}", path.display()));
        }
        read => read.unwrap_or_default(),
    };
    let line = corpus::line(input);
    if !before.contains(&line) {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        fs::write(&path, format!("{before}# \n{line}")).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(path)
}

/// Makes what was found the kept inputs: those that do most for their length, as many as there is room for.
///
/// # Errors
/// A file cannot be read or written.
pub fn keep(target: &Target, places: &Places) -> Result<usize> {
    let found = corpus::read(&places.found(target))?;
    let mut room = KEPT;
    let within = |input: &&Vec<u8>| {
        let size = corpus::line(input).len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    let kept: Vec<&Vec<u8>> = found.iter().take_while(within).collect();
    corpus::write(&places.kept(target), kept.iter().map(|input| input.as_slice()))?;
    Ok(kept.len())
}
