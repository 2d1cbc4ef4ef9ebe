//! `build` and `legal-info`: hand a board to the image builder.

use std::{
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use anyhow::{Context, Result};
use imager::{BuildRequest, Built, LockState, PlainProgress, Profile, room::Wish};

use crate::sealed;

/// Where the cache is inside the root.
const CACHE: &str = "/cache";

/// What to build.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// A folder below board/ of the project or of an external folder, as `qemu-x86_64`.
    pub board: String,
    /// A folder of the project's shape that adds boards, packages, kernel fragments, overlay files and partitions; may be repeated.
    #[arg(long, value_name = "DIR")]
    pub external: Vec<PathBuf>,
    /// Fail when the mirror no longer has a locked package, instead of resolving all of them anew.
    #[arg(long)]
    pub locked: bool,
    /// How the programs are compiled: `release` is what is shipped, `fast` links in seconds.
    #[arg(long, value_parser = profile, default_value = "release")]
    pub profile: Profile,
}

impl Arguments {
    /// A board of this project with everything else at its default.
    pub fn of(board: &str, profile: Profile) -> Self {
        Self { board: board.to_owned(), external: Vec::new(), locked: false, profile }
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    [Profile::Release, Profile::Fast]
        .into_iter()
        .find(|profile| profile.name() == name)
        .ok_or_else(|| "may be `release` or `fast`".to_owned())
}

/// Builds the image.
pub fn build(arguments: &Arguments) -> Result<Built> {
    imager::build(&request(arguments)?, &PlainProgress::default()).with_context(|| format!("build {}", arguments.board))
}

/// Compiles the client for this machine, beside the boards' folders.
pub fn client(arguments: &Arguments) -> Result<()> {
    imager::client(&request(arguments)?, &PlainProgress::default()).context("build keelctl")?;
    Ok(())
}

/// Builds what the bench compares a built board with.
pub fn floor(arguments: &Arguments) -> Result<()> {
    imager::floor(&request(arguments)?, &PlainProgress::default()).with_context(|| format!("build the floor of {}", arguments.board))?;
    Ok(())
}

/// Collects licence texts and the list of sources of what is in the image, and says where.
pub fn legal_info(arguments: &Arguments) -> Result<()> {
    let folder = imager::legal_info(&request(arguments)?, &PlainProgress::default());
    let folder = folder.with_context(|| format!("collect the licences of {}", arguments.board))?;
    println!("{}", folder.display());
    Ok(())
}

/// Removes from the cache what was used least recently, when it outgrew its limit or the disk has less than `free` bytes.
pub fn make_room(free: u64) -> Result<()> {
    let freed = imager::room::make(Path::new(CACHE), Wish::from_environment(free)?).context("make room in the cache")?;
    if freed.things > 0 {
        println!("{freed}");
    }
    Ok(())
}

fn request(arguments: &Arguments) -> Result<BuildRequest> {
    let project = sealed::project().canonicalize().context("find the project's folder")?;
    let (lock, lock_state) = lock_in_force(&project);
    Ok(BuildRequest {
        cache: PathBuf::from(CACHE),
        out: project.join("out"),
        board: arguments.board.clone(),
        external: arguments.external.clone(),
        profile: arguments.profile,
        lock,
        lock_state,
        jobs: available_parallelism().map_or(1, usize::from),
        project,
    })
}

/// Lists what differs between two output folders; fails when anything does.
pub fn compare(left: &Path, right: &Path) -> Result<()> {
    let differences = imager::compare(left, right)?;
    for difference in &differences {
        println!("{difference}");
    }
    anyhow::ensure!(differences.is_empty(), "{} differences between {} and {}", differences.len(), left.display(), right.display());
    println!("{} and {} are the same bytes", left.display(), right.display());
    Ok(())
}

/// The lock that the root was made from; `scripts/enter` names it.
fn lock_in_force(project: &Path) -> (PathBuf, LockState) {
    let release = project.join("board/packages.lock");
    match std::env::var_os("KEELSON_PACKAGES_LOCK").map(PathBuf::from) {
        Some(lock) if lock != release => (lock, LockState::ResolvedAnew),
        _ => (release, LockState::Release),
    }
}
