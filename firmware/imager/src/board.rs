//! Board files: what a board is made of, how boards inherit, what an external folder adds.
//!
//! A board is a folder `board/<name>/` with `board.toml` and, where it needs them, `files.toml` ([`crate::files`]), `rootfs-overlay/`
//! and `partitions/`. It names the board it inherits from; the files are merged from the root of that chain down to the board, and at
//! each link first the project's file, then each external folder's. Scalars replace, lists append, maps merge by key.
//! Unknown keys are errors: a misspelt key would otherwise be a setting that silently is not there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::request::Error;
use crate::step::read_text;

const STEP: &str = "board";
/// A chain longer than this is a mistake.
const CHAIN_LIMIT: usize = 8;

/// A processor architecture we build for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Arch {
    /// 64-bit x86, from the v2 level on.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM, v8.0 on.
    #[serde(rename = "arm64")]
    Arm64,
}

impl Arch {
    /// As in board files, fragments and the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
    /// As Debian names it.
    #[must_use]
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
    /// The compiler's target.
    #[must_use]
    pub fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
    /// As in EFI file names (`BOOTX64.EFI`), lower case.
    #[must_use]
    pub fn efi(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Arm64 => "aa64",
        }
    }
    /// What the bootable kernel is called in the output folder: what QEMU's `-kernel` takes.
    #[must_use]
    pub fn kernel_file(self) -> &'static str {
        match self {
            Self::X86_64 => "vmlinuz",
            Self::Arm64 => "Image",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to do when an output is larger than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Say so and go on.
    Warn,
    /// Fail the build.
    Fail,
}

/// One `board.toml` as it is written.
#[derive(Debug, Default)]
struct BoardFile {
    inherits: Option<String>,
    arch: Option<Arch>,
    part: Part,
    on: BTreeMap<Arch, Part>,
}

/// What may be said for every architecture, or for one of them below `[on.<arch>]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    description: Option<String>,
    consoles: Option<Vec<String>>,
    #[serde(default)]
    cmdline: Vec<String>,
    #[serde(default)]
    kernel: KernelPart,
    #[serde(default)]
    rootfs: RootfsPart,
    #[serde(default)]
    limits: LimitsPart,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelPart {
    #[serde(default)]
    fragments: Vec<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootfsPart {
    compression: Option<String>,
    #[serde(default)]
    plain: Vec<String>,
    #[serde(default)]
    directories: BTreeMap<String, String>,
    #[serde(default)]
    links: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsPart {
    uki_kib: Option<u64>,
    rootfs_kib: Option<u64>,
    over: Option<Over>,
}

/// A board with everything it inherits, ready to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The folder's name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// What its processor is.
    pub arch: Arch,
    /// Serial consoles, the one that becomes `/dev/console` last.
    pub consoles: Vec<String>,
    /// Words for the kernel's command line, beside those for root and consoles.
    pub cmdline: Vec<String>,
    /// Kernel fragments in the order they are merged.
    pub fragments: Vec<PathBuf>,
    /// `mkfs.erofs -z` argument.
    pub compression: String,
    /// Patterns of files that are stored as they are.
    pub plain: Vec<String>,
    /// Folders that must exist in the root -> mode.
    pub directories: BTreeMap<String, u32>,
    /// Links in the root -> target.
    pub links: BTreeMap<String, String>,
    /// Upper limit of the UKI.
    pub uki_bytes: u64,
    /// Upper limit of the root file system with its verity tree.
    pub rootfs_bytes: u64,
    /// What happens beyond the limits.
    pub over: Over,
    /// `files.toml` files, in merge order.
    pub file_lists: Vec<PathBuf>,
    /// Overlay folders, in the order they are copied.
    pub overlays: Vec<PathBuf>,
    /// Folders with partition files; a later file of the same name replaces an earlier one.
    pub partition_folders: Vec<PathBuf>,
    /// Folders with kernel patches.
    pub patch_folders: Vec<PathBuf>,
    /// Every board file read, for the manifest.
    pub sources: Vec<PathBuf>,
}

/// Reads the board `name` from `roots`: the project first, then the external folders.
///
/// # Errors
/// [`Error::Input`] with file and key for whatever cannot be accepted, [`Error::File`] for what cannot be read.
pub fn load(name: &str, roots: &[PathBuf]) -> Result<Board, Error> {
    let chain = chain(name, roots)?;
    let arch = chain.iter().filter_map(|link| link.file.arch).next_back().ok_or_else(|| {
        problem(&chain_file(&chain, name, roots), "`arch` is missing (\"x86_64\" or \"arm64\") here and in all it inherits from")
    })?;
    let mut sum = Part::default();
    let mut fragments = Vec::new();
    for link in &chain {
        // General first, then what is for this architecture: the narrower statement wins.
        for part in std::iter::once(&link.file.part).chain(link.file.on.get(&arch)) {
            fragments.extend(find_fragments(part, link, roots, arch)?);
            merge(&mut sum, part);
        }
    }
    let top = chain_file(&chain, name, roots);
    let missing = |key: &str| problem(&top, &format!("`{key}` is missing here and in all it inherits from"));
    let shape = |folder: &str| {
        let shared = roots.iter().map(|root| root.join(folder));
        let own = chain.iter().map(|link| link.folder.join(folder));
        shared.chain(own).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    Ok(Board {
        name: name.to_owned(),
        arch,
        consoles: sum.consoles.ok_or_else(|| missing("consoles"))?,
        cmdline: sum.cmdline,
        fragments: last_mention(fragments),
        compression: sum.rootfs.compression.ok_or_else(|| missing("rootfs.compression"))?,
        plain: sum.rootfs.plain,
        directories: modes(&top, sum.rootfs.directories)?,
        links: sum.rootfs.links,
        uki_bytes: sum.limits.uki_kib.ok_or_else(|| missing("limits.uki_kib"))? * 1024,
        rootfs_bytes: sum.limits.rootfs_kib.ok_or_else(|| missing("limits.rootfs_kib"))? * 1024,
        over: sum.limits.over.ok_or_else(|| missing("limits.over"))?,
        file_lists: chain.iter().map(|link| link.folder.join("files.toml")).filter(|path| path.is_file()).collect(),
        overlays: shape("rootfs-overlay"),
        partition_folders: shape("partitions"),
        patch_folders: roots.iter().map(|root| root.join("kernel-config/patches")).filter(|path| path.is_dir()).collect(),
        sources: chain.iter().map(|link| link.folder.join("board.toml")).collect(),
        description: sum.description.ok_or_else(|| missing("description"))?,
    })
}

/// Names of the boards that can be built, in order.
///
/// # Errors
/// [`Error::File`].
pub fn list(roots: &[PathBuf]) -> Result<Vec<String>, Error> {
    let mut names = std::collections::BTreeSet::new();
    for root in roots {
        let folder = root.join("board");
        if !folder.is_dir() {
            continue;
        }
        let fail = |source| Error::File { step: STEP, action: "list", path: folder.clone(), source };
        for entry in folder.read_dir().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "common" && entry.path().join("board.toml").is_file() {
                names.insert(name);
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// One board file with where it lies.
struct Link {
    folder: PathBuf,
    file: BoardFile,
}

/// The files of `name` and all it inherits from, the root of the chain first.
fn chain(name: &str, roots: &[PathBuf]) -> Result<Vec<Link>, Error> {
    let mut levels: Vec<Vec<Link>> = Vec::new();
    let mut next = Some(name.to_owned());
    while let Some(current) = next.take() {
        let mut level = Vec::new();
        for root in roots {
            let folder = root.join("board").join(&current);
            let path = folder.join("board.toml");
            if path.is_file() {
                let file = parse(&path, &read_text(STEP, &path)?)?;
                next = file.inherits.clone().or(next);
                level.push(Link { folder, file });
            }
        }
        if level.is_empty() {
            let known = list(roots)?.join(", ");
            let path = roots.first().map(|root| root.join("board").join(&current)).unwrap_or_default();
            return Err(problem(&path, &format!("no board of this name; there are: {known}")));
        }
        levels.push(level);
        if levels.len() > CHAIN_LIMIT {
            return Err(problem(&roots[0].join("board").join(name), "`inherits` goes in a circle"));
        }
    }
    Ok(levels.into_iter().rev().flatten().collect())
}

/// Reads one board file. The parser's message carries line, column and key.
fn parse(path: &Path, text: &str) -> Result<BoardFile, Error> {
    // Each half refuses unknown keys only when it does not share its table with the other, so the table is split by hand.
    let mut table: toml::Table = text.parse().map_err(|error| problem(path, &format!("{error}")))?;
    let mut file = BoardFile::default();
    let mut own = |key: &str| table.remove(key);
    let (inherits, arch, on) = (own("inherits"), own("arch"), own("on"));
    let take = |key: &str, error: toml::de::Error| problem(path, &format!("`{key}`: {}", error.message()));
    if let Some(value) = inherits {
        file.inherits = Some(value.try_into().map_err(|error| take("inherits", error))?);
    }
    if let Some(value) = arch {
        file.arch = Some(value.try_into().map_err(|error| take("arch", error))?);
    }
    if let Some(value) = on {
        file.on = value.try_into().map_err(|error| take("on", error))?;
    }
    file.part = table.try_into().map_err(|error: toml::de::Error| problem(path, error.to_string().trim()))?;
    Ok(file)
}

fn merge(sum: &mut Part, part: &Part) {
    let part = part.clone();
    sum.description = part.description.or(sum.description.take());
    sum.consoles = part.consoles.or(sum.consoles.take());
    sum.cmdline.extend(part.cmdline);
    sum.rootfs.compression = part.rootfs.compression.or(sum.rootfs.compression.take());
    sum.rootfs.plain.extend(part.rootfs.plain);
    sum.rootfs.directories.extend(part.rootfs.directories);
    sum.rootfs.links.extend(part.rootfs.links);
    sum.limits.uki_kib = part.limits.uki_kib.or(sum.limits.uki_kib);
    sum.limits.rootfs_kib = part.limits.rootfs_kib.or(sum.limits.rootfs_kib);
    sum.limits.over = part.limits.over.or(sum.limits.over);
}

/// The files that a part's fragment patterns mean: `./x` beside the board file, anything else below every root's `kernel-config/`;
/// `{arch}` stands for the board's architecture.
fn find_fragments(part: &Part, link: &Link, roots: &[PathBuf], arch: Arch) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for pattern in &part.kernel.fragments {
        let pattern = &pattern.replace("{arch}", arch.name());
        let before = found.len();
        let folders: Vec<(PathBuf, &str)> = match pattern.strip_prefix("./") {
            Some(rest) => vec![(link.folder.clone(), rest)],
            None => roots.iter().map(|root| (root.join("kernel-config"), pattern.as_str())).collect(),
        };
        for (folder, pattern) in folders {
            for path in crate::digest::walk(STEP, &folder)? {
                let name = path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy();
                if path.is_file() && crate::glob::matches(pattern, &name) {
                    found.push(path);
                }
            }
        }
        if found.len() == before {
            return Err(problem(&link.folder.join("board.toml"), &format!("`kernel.fragments`: nothing matches \"{pattern}\"")));
        }
    }
    Ok(found)
}

/// Keeps each path once, where it is mentioned last: later fragments override.
fn last_mention(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        kept.retain(|other| *other != path);
        kept.push(path);
    }
    kept
}

fn modes(file: &Path, given: BTreeMap<String, String>) -> Result<BTreeMap<String, u32>, Error> {
    given
        .into_iter()
        .map(|(path, mode)| match u32::from_str_radix(&mode, 8) {
            Ok(value) if value <= 0o1777 => Ok((path, value)),
            _ => Err(problem(file, &format!("`rootfs.directories`: \"{path}\" has the mode \"{mode}\"; octal up to 1777 is meant"))),
        })
        .collect()
}

/// The file that errors about the whole board name.
fn chain_file(chain: &[Link], name: &str, roots: &[PathBuf]) -> PathBuf {
    chain.last().map_or_else(|| roots[0].join("board").join(name), |link| link.folder.clone()).join("board.toml")
}

fn problem(path: &Path, text: &str) -> Error {
    Error::Input { step: STEP, path: path.to_owned(), problem: text.to_owned() }
}
