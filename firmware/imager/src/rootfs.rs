//! The root file system: chosen files of locked packages, overlays, our program, modules; checked, packed as EROFS and sealed with
//! a dm-verity tree in the same file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use layout::spec::PartitionSet;
use layout::verity::{BLOCK, VerityTable};

use crate::context::{Context, tool_versions};
use crate::files::{self, Pattern};
use crate::kernel::Kernel;
use crate::lock::{self, Package};
use crate::partitions::Partitions;
use crate::programs::Programs;
use crate::request::Error;
use crate::step::{Step, copy_file, make_folder, read_text, write_file};
use crate::{cache, checks, digest, elf, plain, room};

const STEP: &str = "rootfs";
/// Packages of the build root whose versions decide the file system's bytes.
const TOOLS: &[&str] = &["erofs-utils", "cryptsetup-bin", "dpkg"];

/// A sealed root file system in the cache.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// EROFS data followed by its verity tree.
    pub image: PathBuf,
    /// How it is verified.
    pub verity: VerityTable,
    /// The packages that gave files.
    pub packages: Vec<Package>,
    /// Overlay and partition files with their hashes, for the manifest.
    pub inputs: BTreeMap<String, BTreeMap<String, String>>,
    /// The key of all inputs.
    pub key: String,
}

/// Makes the board's root file system, or takes it from the cache.
///
/// # Errors
/// [`Error::Refused`] when something is in it that must not be, or misses what it needs; [`Error::Input`] when a pattern of a
/// package's files matches nothing.
pub fn build(context: &Context<'_>, kernel: &Kernel, programs: &Programs, partitions: &Partitions) -> Result<Rootfs, Error> {
    let step = context.step(STEP)?;
    let board = &context.board;
    let wanted = files::read(&board.file_lists, board.arch)?;
    let packages = wanted_packages(context, &wanted)?;
    let mut inputs: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut add = |kind: &str, name: String, hash: String| inputs.entry(kind.to_owned()).or_default().insert(name, hash);
    for package in &packages {
        add("package", format!("{} {} {}", package.name, package.version, package.arch), package.sha256.clone());
    }
    for folder in &board.overlays {
        for (name, hash) in digest::tree(STEP, folder)? {
            add("overlay", format!("{}/{name}", context.display(folder)), hash);
        }
    }
    for (name, hash) in &partitions.files {
        add("partition", name.clone(), hash.clone());
    }
    for path in &board.file_lists {
        add("file-list", context.display(path), digest::file(STEP, path)?.1);
    }
    add("program", "keelson".to_owned(), programs.keelson_sha256.clone());
    let mut key = context.key(STEP, 2);
    for (kind, entries) in &inputs {
        key.add_all(kind, entries);
    }
    key.add_all("tool", &tool_versions(STEP, TOOLS)?).add("kernel", &kernel.key).add("release", &release_file(context));
    key.add("shape", &format!("{:?} {:?} {} {:?}", board.directories, board.links, board.compression, board.plain));
    let key = key.finish();
    let unpacked = unpack_all(context, &step, &packages)?;
    let folder = cache::get_or_make(&step, &context.request.cache, &key, |draft| {
        let tree = draft.join("tree");
        let sources = Sources { wanted: &wanted, packages: &packages, unpacked: &unpacked, partitions: &partitions.set };
        stage(context, kernel, programs, &sources, &tree)?;
        examine(context, &tree, &partitions.set)?;
        pack(context, &step, &tree, draft, 0, &board.plain)?;
        cache::remove(STEP, &tree)
    })?;
    let image = folder.join("rootfs.erofs");
    let verity = VerityTable::from_table(read_text(STEP, &folder.join("verity"))?.trim())
        .map_err(|error| step.input_error(&folder.join("verity"), format!("{error}; remove that folder")))?;
    check_size(context, &step, &image)?;
    Ok(Rootfs { image, verity, packages, inputs, key })
}

fn check_size(context: &Context<'_>, step: &Step<'_>, image: &Path) -> Result<(), Error> {
    let size = image.metadata().map_err(step.file_error("measure", image))?.len();
    crate::limit(step, &context.board, "the root file system", size, context.board.rootfs_bytes)
}

/// The locked packages that files are wanted from.
///
/// # Errors
/// [`Error::Input`] for a package that the lock does not have.
pub fn wanted_packages(context: &Context<'_>, wanted: &BTreeMap<String, Vec<Pattern>>) -> Result<Vec<Package>, Error> {
    let mut locked = lock::image_packages(&context.locks(), context.board.arch)?;
    wanted
        .iter()
        .map(|(name, patterns)| {
            locked.remove(name).ok_or_else(|| Error::Input {
                step: STEP,
                path: patterns[0].source.clone(),
                problem: format!(
                    "package {name} is not in the lock's image set for {}; add it to board/packages/image.list and refresh the lock",
                    context.board.arch.debian()
                ),
            })
        })
        .collect()
}

/// Unpacks each package into the cache, by the hash of its archive; the folders in the same order.
///
/// # Errors
/// [`Error::Input`] for an archive that is not the locked one, [`Error::Command`].
pub fn unpack_all(context: &Context<'_>, step: &Step<'_>, packages: &[Package]) -> Result<Vec<PathBuf>, Error> {
    let shelf = context.request.cache.join("unpacked");
    let _busy = cache::lock(step, &shelf)?;
    packages
        .iter()
        .map(|package| {
            let place = shelf.join(&package.sha256);
            if place.is_dir() {
                room::used(&place);
                return Ok(place);
            }
            let deb = package.deb(&context.request.cache);
            let (_, found) = digest::file(STEP, &deb)?;
            if found != package.sha256 {
                return Err(step.input_error(
                    &deb,
                    format!("has sha256 {found}, the lock says {}; remove it and enter the root again", package.sha256),
                ));
            }
            step.note(&format!("unpacking {} {}", package.name, package.version));
            let draft = shelf.join(format!(".{}", package.sha256));
            cache::remove(STEP, &draft)?;
            make_folder(STEP, &draft)?;
            step.run(step.command("dpkg-deb").arg("--extract").args([&deb, &draft]))?;
            fs::rename(&draft, &place).map_err(step.file_error("publish", &place))?;
            Ok(place)
        })
        .collect()
}

struct Sources<'a> {
    wanted: &'a BTreeMap<String, Vec<Pattern>>,
    packages: &'a [Package],
    unpacked: &'a [PathBuf],
    partitions: &'a PartitionSet,
}

/// Puts everything in its place below `tree`. Later sources replace earlier ones, so that an overlay has the last word.
fn stage(context: &Context<'_>, kernel: &Kernel, programs: &Programs, sources: &Sources<'_>, tree: &Path) -> Result<(), Error> {
    make_folder(STEP, tree)?;
    for (package, unpacked) in sources.packages.iter().zip(sources.unpacked) {
        let patterns = sources.wanted.get(&package.name).map(Vec::as_slice).unwrap_or_default();
        for name in files::pick(&package.name, unpacked, patterns)? {
            place(&unpacked.join(&name), &tree.join(package_place(&name)))?;
        }
    }
    place_tree(&kernel.modules(), tree)?;
    place(&programs.keelson, &tree.join("usr/bin/keelson"))?;
    let share = tree.join("usr/share/keelson");
    make_folder(STEP, &share)?;
    write_file(STEP, &share.join("partitions.json"), crate::partitions::json(sources.partitions))?;
    write_file(STEP, &share.join("release"), release_file(context))?;
    make_folder(STEP, &tree.join("etc"))?;
    write_file(STEP, &tree.join("etc/os-release"), os_release(context))?;
    for folder in &context.board.overlays {
        place_tree(folder, tree)?;
    }
    for (name, target) in &context.board.links {
        let link = tree.join(name);
        make_folder(STEP, link.parent().unwrap_or(tree))?;
        remove_file(&link)?;
        symlink(target, &link).map_err(|source| Error::File { step: STEP, action: "link", path: link.clone(), source })?;
    }
    for name in context.board.directories.keys() {
        make_folder(STEP, &tree.join(name))?;
    }
    normalise(context, tree)
}

/// Debian's packages may still name the folders that are links into `usr` since the merge.
fn package_place(name: &Path) -> PathBuf {
    let first = name.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    match first.as_deref() {
        Some("bin" | "sbin" | "lib" | "lib64") => Path::new("usr").join(name),
        _ => name.to_owned(),
    }
}

fn place_tree(from: &Path, tree: &Path) -> Result<(), Error> {
    for path in digest::walk(STEP, from)? {
        let name = path.strip_prefix(from).unwrap_or(&path);
        if path.is_symlink() || !path.is_dir() {
            // A readme explains the folder it lies in; it is not for the node.
            if name.parent() == Some(Path::new("")) && name.extension().is_some_and(|end| end == "md") {
                continue;
            }
            place(&path, &tree.join(name))?;
        } else {
            make_folder(STEP, &tree.join(name))?;
        }
    }
    Ok(())
}

/// Copies a file with its mode, or a link as it is.
fn place(from: &Path, to: &Path) -> Result<(), Error> {
    make_folder(STEP, to.parent().unwrap_or(to))?;
    remove_file(to)?;
    if from.is_symlink() {
        let target = from.read_link().map_err(|source| Error::File { step: STEP, action: "read", path: from.to_owned(), source })?;
        return symlink(target, to).map_err(|source| Error::File { step: STEP, action: "link", path: to.to_owned(), source });
    }
    copy_file(STEP, from, to)
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { step: STEP, action: "replace", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Modes follow from the executable bit alone; what else a checkout or umask left is forgotten. Bits that must not be are kept, so
/// that the check sees them.
fn normalise(context: &Context<'_>, tree: &Path) -> Result<(), Error> {
    let set = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|source| Error::File {
            step: STEP,
            action: "set the mode of",
            path: path.to_owned(),
            source,
        })
    };
    set(tree, 0o755)?;
    for path in digest::walk(STEP, tree)? {
        if path.is_symlink() {
            continue;
        }
        let meta = path.metadata().map_err(|source| Error::File { step: STEP, action: "read", path: path.clone(), source })?;
        let mode = meta.permissions().mode();
        let name = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy();
        let plain = if meta.is_dir() || mode & 0o111 != 0 { 0o755 } else { 0o644 };
        let own = context.board.directories.get(&*name).copied();
        set(&path, own.unwrap_or(plain | if meta.is_dir() { 0 } else { mode & 0o6000 }))?;
    }
    Ok(())
}

fn examine(context: &Context<'_>, tree: &Path, partitions: &PartitionSet) -> Result<(), Error> {
    let mut problems = checks::refuse(tree)?;
    problems.extend(elf::check(tree, context.board.arch)?);
    problems.extend(checks::mount_points(tree, partitions));
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Refused {
        step: STEP,
        what: "the root file system is not fit to be sealed".to_owned(),
        problems,
        help: "amend files.toml or board.toml of the board or what it inherits from, or the overlay".to_owned(),
    })
}

/// Packs `tree` into `draft/rootfs.erofs`, at least `blocks` blocks long, and seals it into `draft/verity`. Files that a
/// pattern of `plain` means are stored as they are. The file system's UUID and the salt follow from the content.
///
/// # Errors
/// [`Error::Command`], [`Error::File`], [`Error::Refused`] for patterns that mean no file.
pub fn pack(context: &Context<'_>, step: &Step<'_>, tree: &Path, draft: &Path, blocks: u64, plain: &[String]) -> Result<(), Error> {
    let image = draft.join("rootfs.erofs");
    step.say(&format!("packing with {}", context.board.compression));
    let listing = listing(tree)?;
    write_file(STEP, &draft.join("files.txt"), &listing)?;
    let uuid = uuid::Uuid::new_v5(&crate::NAMESPACE, listing.as_bytes());
    let hints = draft.join("hints");
    write_file(STEP, &hints, hints_for(tree, plain)?)?;
    step.run(
        step.command("mkfs.erofs")
            .args([
                "--quiet",
                "--all-root",
                "-x-1",
                "-b4096",
                &format!("-T{}", context.epoch),
                &format!("-U{uuid}"),
                &format!("-z{}", context.board.compression),
                &format!("--compress-hints={}", hints.display()),
            ])
            .args([&image, tree]),
    )?;
    let data_bytes = image.metadata().map_err(step.file_error("measure", &image))?.len().next_multiple_of(BLOCK).max(blocks * BLOCK);
    let file = File::options().write(true).open(&image).map_err(step.file_error("open", &image))?;
    file.set_len(data_bytes).map_err(step.file_error("extend", &image))?;
    drop(file);
    let (_, salt) = digest::file(STEP, &image)?;
    step.say("sealing with dm-verity");
    let blocks = data_bytes / BLOCK;
    let text = step.output(
        step.command("veritysetup")
            .args(["format", "--no-superblock", "--format=1", "--hash=sha256", "--data-block-size=4096", "--hash-block-size=4096"])
            .args([format!("--data-blocks={blocks}"), format!("--hash-offset={data_bytes}"), format!("--salt={salt}")])
            .args([&image, &image]),
    )?;
    let root = text.lines().find_map(|line| line.strip_prefix("Root hash:")).map(str::trim);
    let root_hash = root.and_then(layout::verity::unhex).and_then(|bytes| bytes.try_into().ok());
    let salt = layout::verity::unhex(&salt).unwrap_or_default();
    let Some(root_hash) = root_hash else {
        return Err(step.input_error(&image, format!("veritysetup printed no root hash: {text}")));
    };
    let table = VerityTable { root_hash, salt, data_blocks: blocks, hash_start: blocks, panic_on_corruption: true };
    let device = format!("PARTUUID={}", table.part_uuid());
    write_file(STEP, &draft.join("verity"), format!("0 {} verity {}\n", table.sectors(), table.params(device)))
}

fn hints_for(tree: &Path, patterns: &[String]) -> Result<String, Error> {
    let files: Vec<String> = digest::walk(STEP, tree)?
        .iter()
        .filter(|path| !path.is_dir() && !path.is_symlink())
        .map(|path| path.strip_prefix(tree).unwrap_or(path).display().to_string())
        .collect();
    plain::hints(&files, patterns).map_err(|idle| Error::Refused {
        step: STEP,
        what: "rootfs.plain names files that are not in the root".to_owned(),
        problems: idle,
        help: "amend board.toml of the board or what it inherits from".to_owned(),
    })
}

/// Every file of the tree with mode and hash: what the file system's identity is derived from, and a help in comparing two images.
fn listing(tree: &Path) -> Result<String, Error> {
    let hashes = digest::tree(STEP, tree)?;
    let mut text = String::new();
    for path in digest::walk(STEP, tree)? {
        let name = path.strip_prefix(tree).unwrap_or(&path).display().to_string();
        let meta = path.symlink_metadata().map_err(|source| Error::File { step: STEP, action: "read", path: path.clone(), source })?;
        let hash = hashes.get(&name).map_or("folder", String::as_str);
        text.push_str(&format!("{:06o} {hash} /{name}\n", meta.permissions().mode()));
    }
    Ok(text)
}

/// What the node knows about itself: `/usr/share/keelson/release`.
fn release_file(context: &Context<'_>) -> String {
    format!("VERSION={}\nBOARD={}\nARCH={}\nBUILD_EPOCH={}\n", context.version, context.board.name, context.board.arch, context.epoch)
}

/// `/etc/os-release`, which is also in the UKI.
#[must_use]
pub fn os_release(context: &Context<'_>) -> String {
    let version = &context.version;
    format!(
        "NAME=\"Keelson\"\nID=keelson\nPRETTY_NAME=\"Keelson {version}\"\nVERSION_ID={version}\nIMAGE_ID=keelson\nIMAGE_VERSION={version}\nVARIANT_ID={}\n",
        context.board.name
    )
}
