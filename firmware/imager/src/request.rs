//! What to build, who hears about it, and what can go wrong.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::manifest::Manifest;

/// One image to be built.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The project's folder (`/src` inside the sealed root).
    pub project: PathBuf,
    /// The cache folder (`/cache` inside the sealed root).
    pub cache: PathBuf,
    /// Where results go; the image lands in `<out>/<board>/`.
    pub out: PathBuf,
    /// A folder name below `board/` of the project or of an external folder.
    pub board: String,
    /// Folders of the same shape as the project's (`board/ rootfs-overlay/ kernel-config/ partitions/ packages.lock`), merged
    /// after ours in this order.
    pub external: Vec<PathBuf>,
    /// How the programs are compiled.
    pub profile: Profile,
    /// The package lock to take the image's packages from: `board/packages.lock`, or the one that was resolved anew.
    pub lock: PathBuf,
    /// Whether `lock` is the release's.
    pub lock_state: LockState,
    /// How many jobs may run at once.
    pub jobs: usize,
}

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What is shipped: small, whole-program optimised.
    Release,
    /// For tests and daily work: quick to link.
    Fast,
}

impl Profile {
    /// The name cargo knows it by, which is also its folder below the target folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Fast => "fast",
        }
    }
}

/// Where the versions of the packages come from; it is written into the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockState {
    /// The lock in the tree.
    Release,
    /// A pinned version was gone from the archive, so the whole set was resolved again: not the release's bytes.
    ResolvedAnew,
}

/// What was built and where it lies.
#[derive(Debug)]
pub struct Built {
    /// `<out>/<board>`.
    pub folder: PathBuf,
    /// Every input and output with its hash; also written as `manifest.json`.
    pub manifest: Manifest,
}

/// Something worth a line on the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Since the build began.
    pub elapsed: Duration,
    /// The step that speaks.
    pub step: &'a str,
    /// What it does, or still does.
    pub text: &'a str,
    /// The step is silent but alive; a terminal may overwrite such a line.
    pub heartbeat: bool,
}

/// Hears what the builder does.
pub trait Progress: Sync {
    /// Called for each event, possibly from more than one thread, never at once.
    fn event(&self, event: &Event<'_>);
}

/// Plain lines on standard error, for terminals and logs alike.
#[derive(Debug, Default)]
pub struct PlainProgress(Mutex<()>);

impl Progress for PlainProgress {
    fn event(&self, event: &Event<'_>) {
        let _guard = self.0.lock();
        let seconds = event.elapsed.as_secs();
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        // A closed terminal is no reason to stop a build.
        let _ = writeln!(std::io::stderr(), "[{minutes:02}:{seconds:02}] {:<10} {}", event.step, event.text);
    }
}

/// A build that could not be finished: which step, on what, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read, written, linked or listed.
    #[error("{step}: cannot {action} {}", path.display())]
    File {
        /// The step.
        step: &'static str,
        /// What was tried: "read", "write", ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An input file says something that cannot be accepted.
    #[error("{step}: {}: {problem}", path.display())]
    Input {
        /// The step.
        step: &'static str,
        /// The file that has to be changed.
        path: PathBuf,
        /// What is wrong and, where it is known, what would be right.
        problem: String,
    },
    /// A command could not be started.
    #[error("{step}: cannot run {command}; is it in the build root's package list (board/packages/root.list)?")]
    Start {
        /// The step.
        step: &'static str,
        /// The command line.
        command: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("{step}: {command} ended with {status}; whole log: {}\n{tail}", log.display())]
    Command {
        /// The step.
        step: &'static str,
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The step's log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A check refused the result of a step.
    #[error("{step}: {what}:\n  {}\n{help}", problems.join("\n  "))]
    Refused {
        /// The step.
        step: &'static str,
        /// What was checked.
        what: String,
        /// Every problem found, one a line.
        problems: Vec<String>,
        /// What to do.
        help: String,
    },
}
