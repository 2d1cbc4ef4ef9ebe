//! Keeps the cache within its size: what nobody used for longest goes when it grew past its limit or the disk is short of space.
//!
//! Everything in the cache can be made or fetched again, so a wrong choice costs time and never a result. Compiler output is looked
//! at by its parts, because one checkout's alone outgrows everything else: incremental states, and files that newer ones of the
//! same crate have followed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;

use crate::request::Error;
use crate::step::file_error;

const STEP: &str = "cache";
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3600);
/// What a result must have lain unused for: longer than a build reads it. On a disk that is short of space the parts of a compiler's
/// output too; else those stay for longer, because nothing tells which of them a later build will want.
const REST: Duration = HOUR;
/// What they must have lain unused for otherwise.
const PARTS_REST: Duration = HOUR.saturating_mul(48);
/// The same for what a command holds from its start to its end: build roots, vendored crates, temporary files.
const LONG_REST: Duration = HOUR.saturating_mul(24);
/// The same for kernels: they are small, and each is a quarter of an hour's work.
const KERNEL_REST: Duration = HOUR.saturating_mul(24 * 14);
/// Measuring walks through some hundred thousand files, so it is done this often at most while there is space.
const PACE: Duration = HOUR;
/// How many outputs of one crate stay: a library is compiled for tests, lints, features and both architectures.
const KEPT_OUTPUTS: usize = 4;
/// Folders that are not looked into: mount points of the build root, and packages, which only a network brings back.
const LEFT_ALONE: &[&str] = &["apt", "cargo-home", "crates", "debs", "home", "target", "work"];

/// How large the cache may be, and how much of the disk is to be free afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Bytes that the cache may hold.
    pub limit: u64,
    /// Bytes that are to be free on its disk.
    pub free: u64,
}

impl Wish {
    /// GiB of the cache when `KEELSON_CACHE_LIMIT` says nothing: two checkouts with both boards' programs, and the build root.
    pub const DEFAULT_LIMIT_GIB: u64 = 24;

    /// The limit as the environment has it, and `free` bytes.
    ///
    /// # Errors
    /// [`Error::Refused`] when `KEELSON_CACHE_LIMIT` is not a number.
    pub fn from_environment(free: u64) -> Result<Self, Error> {
        let name = "KEELSON_CACHE_LIMIT";
        let Ok(text) = std::env::var(name) else { return Ok(Self { limit: Self::DEFAULT_LIMIT_GIB * GIB, free }) };
        let gib: u64 = text.trim().parse().map_err(|_| Error::Refused {
            step: STEP,
            what: format!("{name} is not a number of GiB"),
            problems: vec![format!("{text:?}")],
            help: format!("unset it for {} GiB", Self::DEFAULT_LIMIT_GIB),
        })?;
        Ok(Self { limit: gib.saturating_mul(GIB), free })
    }
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many things.
    pub things: usize,
    /// How many bytes they held.
    pub bytes: u64,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "removed {} things that nobody used lately from the cache, {} MiB", self.things, self.bytes >> 20)
    }
}

/// Removes what was used least recently until `wish` is fulfilled, or nothing is left that may go.
///
/// # Errors
/// [`Error::File`] when the cache cannot be measured. What cannot be removed is left.
pub fn make(cache: &Path, wish: Wish) -> Result<Freed, Error> {
    let stamp = cache.join(".measured");
    let short = wish.free.saturating_sub(free_bytes(cache).map_err(file_error(STEP, "measure", cache))?);
    if short == 0 && idle(&stamp).is_some_and(|idle| idle < PACE) {
        return Ok(Freed::default());
    }
    File::create(&stamp).map_err(file_error(STEP, "create", &stamp))?;
    let excess = weigh(cache).bytes.saturating_sub(wish.limit).max(short);
    if excess == 0 {
        return Ok(Freed::default());
    }
    let mut freed = Freed::default();
    let parts = if short > 0 { REST } else { PARTS_REST };
    for thing in choose(collect(cache, parts), excess) {
        if remove(&thing) {
            freed.things += 1;
            freed.bytes += thing.bytes;
        }
    }
    Ok(freed)
}

/// Marks a thing as used now. A file system that refuses costs an earlier removal, no more.
pub fn used(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Bytes that an ordinary user may still write.
///
/// # Errors
/// Whatever `statvfs` says.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = statvfs(folder).map_err(io::Error::from)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

/// How long it takes to have it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Seconds,
    Minutes,
}

/// What can be removed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    paths: Vec<PathBuf>,
    bytes: u64,
    idle: Duration,
    cost: Cost,
    /// The folder whose lock files cargo holds while it works there.
    guard: Option<PathBuf>,
}

/// What goes to get rid of `excess` bytes: cheap things first, among equals what has been idle for longest.
fn choose(mut things: Vec<Thing>, excess: u64) -> Vec<Thing> {
    things.sort_by(|one, other| (one.cost, other.idle).cmp(&(other.cost, one.idle)));
    let mut chosen = 0;
    things.retain(|thing| {
        let wanted = chosen < excess;
        if wanted {
            chosen += thing.bytes;
        }
        wanted
    });
    things
}

/// Everything that has rested long enough; `parts` is how long parts of a compiler's output must have.
fn collect(cache: &Path, parts: Duration) -> Vec<Thing> {
    let mut things = Vec::new();
    for shelf in entries(cache).into_iter().filter(|path| !LEFT_ALONE.contains(&name(path).as_str())) {
        let (cost, rest) = match name(&shelf).as_str() {
            "targets" => {
                entries(&shelf).iter().for_each(|target| collect_target(target, parts, &mut things));
                continue;
            }
            "kernel" => (Cost::Minutes, KERNEL_REST),
            "root" => (Cost::Minutes, LONG_REST),
            "vendor" | "tmp" => (Cost::Seconds, LONG_REST),
            _ => (Cost::Seconds, REST),
        };
        // What begins with a dot is a lock or being made.
        let whole = entries(&shelf).into_iter().filter(|path| !name(path).starts_with('.') && !is_root(path));
        things.extend(whole.map(|path| thing(vec![path], cost, None)).filter(|thing| thing.idle >= rest));
    }
    things
}

/// The compiler's output for one checkout: whole when it is not used any more, and by its parts.
fn collect_target(target: &Path, rest: Duration, things: &mut Vec<Thing>) {
    let whole = thing(vec![target.to_owned()], Cost::Minutes, None);
    if whole.idle >= LONG_REST {
        things.push(whole);
        return;
    }
    for folder in std::iter::once(target.to_owned()).chain(entries(target)).flat_map(|folder| entries(&folder)) {
        if !folder.join(".cargo-lock").is_file() {
            continue;
        }
        let states = entries(&folder.join("incremental")).into_iter().map(|path| vec![path]);
        let parts = states.chain(followed(&folder.join("deps"))).chain(followed(&folder.join("build")));
        things.extend(parts.map(|paths| thing(paths, Cost::Seconds, Some(folder.clone()))).filter(|thing| thing.idle >= rest));
    }
}

/// The outputs in a folder of cargo's, `[lib]<crate>-<hash>[.<ending>]`, that newer ones of the same crate have followed.
fn followed(folder: &Path) -> Vec<Vec<PathBuf>> {
    let mut crates: BTreeMap<String, BTreeMap<String, Vec<PathBuf>>> = BTreeMap::new();
    for path in entries(folder) {
        let file = name(&path);
        let Some((stem, rest)) = file.rsplit_once('-') else { continue };
        let hash = rest.split('.').next().unwrap_or_default();
        let stem = stem.strip_prefix("lib").unwrap_or(stem);
        crates.entry(stem.to_owned()).or_default().entry(hash.to_owned()).or_default().push(path);
    }
    crates
        .into_values()
        .flat_map(|outputs| {
            let mut outputs: Vec<_> = outputs.into_values().collect();
            outputs.sort_by_cached_key(|paths| paths.iter().filter_map(|path| weigh(path).newest.map(since)).min());
            outputs.into_iter().skip(KEPT_OUTPUTS)
        })
        .collect()
}

fn thing(paths: Vec<PathBuf>, cost: Cost, guard: Option<PathBuf>) -> Thing {
    let weight = paths.iter().map(|path| weigh(path)).fold(Weight::default(), Weight::and);
    let idle = weight.newest.map_or(Duration::ZERO, since);
    Thing { paths, bytes: weight.bytes, idle, cost, guard }
}

/// Whether all of it is gone. Something that cargo is working on stays.
fn remove(thing: &Thing) -> bool {
    let mut held = Vec::new();
    for lock in thing.guard.iter().flat_map(|folder| entries(folder)) {
        if name(&lock).starts_with(".cargo-") && name(&lock).ends_with("lock") {
            match File::open(&lock).map(|file| file.try_lock().map(|()| file)) {
                Ok(Ok(file)) => held.push(file),
                _ => return false,
            }
        }
    }
    let gone = |path: &PathBuf| if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.is_ok();
    thing.paths.iter().filter(|path| !gone(path)).count() == 0
}

/// How much space something takes and when anything of it was last changed or read. The kernel notes the first reading after a change
/// and then one a day (`relatime`).
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    bytes: u64,
    newest: Option<SystemTime>,
}

impl Weight {
    fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, newest: self.newest.max(other.newest) }
    }
}

/// What is unreadable, or gone meanwhile, weighs nothing; a file with several names weighs its share for each.
fn weigh(path: &Path) -> Weight {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Weight::default() };
    if !metadata.is_dir() {
        let newest = metadata.modified().ok().max(metadata.accessed().ok());
        return Weight { bytes: metadata.blocks() * 512 / metadata.nlink().max(1), newest };
    }
    // Folders are read by this very walk.
    let own = Weight { bytes: metadata.blocks() * 512, newest: metadata.modified().ok() };
    if is_root(path) {
        return own;
    }
    let below = entries(path).into_iter().filter(|path| !mounted_elsewhere(path));
    below.map(|path| weigh(&path)).fold(own, Weight::and)
}

/// The build root that this runs in lies in the cache too, with the cache and much else mounted on it.
fn is_root(path: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    path.parent().is_some_and(|parent| name(parent) == "root") && place(path) == place(Path::new("/"))
}

/// Whether a folder directly below the cache only shows what lies elsewhere in it.
fn mounted_elsewhere(path: &Path) -> bool {
    matches!(name(path).as_str(), "target" | "crates" | "cargo-home") && path.parent().is_some_and(|parent| parent.join("targets").is_dir())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn idle(path: &Path) -> Option<Duration> {
    fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok().map(since)
}

fn since(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_default()
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
