//! Unpacking what a node sent: a gzip-compressed tar archive, below one folder and nowhere else.
//!
//! Nothing that is there is overwritten, no path leads out of the folder (neither by `..` nor through a link), and no
//! device, set-uid or set-gid bit is made: the archive is bytes of another machine. Long names are read here and not by
//! the library, which would keep one of any length in memory.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    },
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType, PaxExtensions};

/// Longest path inside an archive, bytes: that of the kernel.
const MAX_PATH: usize = 4096;
/// Largest record of long names, bytes.
const MAX_EXTENSION: u64 = 64 << 10;
/// How many skipped entries are named.
const MAX_SKIPPED: usize = 20;

/// What was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Entries of kinds that are not made here (devices, pipes): the first of them.
    pub skipped: Vec<String>,
}

/// Names for the next entry that do not fit into its header.
#[derive(Default)]
struct Long {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Unpacks `archive` into `folder`, which is made when it is not there. Stops at the first thing that cannot be done;
/// what was made before stays.
pub fn unpack(archive: impl Read, folder: &Path) -> Result<Unpacked> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut target = Target { folder, made: Unpacked::default(), modes: Vec::new() };
    let mut archive = Archive::new(MultiGzDecoder::new(archive));
    let mut long = Long::default();
    for entry in archive.entries().context("read the archive")?.raw(true) {
        let mut entry = entry.context("read the archive")?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long.name = Some(extension(&mut entry)?),
            EntryType::GNULongLink => long.link = Some(extension(&mut entry)?),
            EntryType::XHeader => pax(&extension(&mut entry)?, &mut long)?,
            EntryType::XGlobalHeader => drop(extension(&mut entry)?),
            _ => target.entry(&mut entry, std::mem::take(&mut long))?,
        }
    }
    target.finish()
}

/// A record of long names, without the zero at its end.
fn extension(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION + 1).read_to_end(&mut bytes).context("read the archive")?;
    ensure!(bytes.len() as u64 <= MAX_EXTENSION, "the archive has a name of more than {MAX_EXTENSION} bytes");
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn pax(record: &[u8], long: &mut Long) -> Result<()> {
    for pair in PaxExtensions::new(record) {
        let pair = pair.context("read the archive")?;
        match pair.key_bytes() {
            b"path" => long.name = Some(pair.value_bytes().to_vec()),
            b"linkpath" => long.link = Some(pair.value_bytes().to_vec()),
            b"size" => long.size = pair.value().ok().and_then(|size| size.parse().ok()),
            _ => {}
        }
    }
    Ok(())
}

/// The folder that is filled.
struct Target<'a> {
    folder: &'a Path,
    made: Unpacked,
    /// Modes of folders. A closed folder would take no files, so they come last.
    modes: Vec<(PathBuf, u32)>,
}

impl Target<'_> {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, long: Long) -> Result<()> {
        let header = entry.header();
        let kind = header.entry_type();
        let size = header.size().context("read the archive")?;
        ensure!(long.size.is_none_or(|other| other == size), "the archive has a file larger than this client can read");
        let mode = header.mode().context("read the archive")? & 0o777;
        let name = long.name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&name).into_owned();
        let link = long.link.or_else(|| entry.link_name_bytes().map(|name| name.into_owned()));
        let relative = inside(&name)?;
        let Some(relative) = relative else {
            // The folder itself.
            return Ok(());
        };
        let path = self.folder.join(&relative);
        self.parents(&relative)?;
        let failed = || format!("unpack {shown:?} to {}", path.display());
        match kind {
            EntryType::Directory => {
                make_folder(&path).with_context(failed)?;
                self.modes.push((path, mode));
            }
            EntryType::Regular | EntryType::Continuous => {
                self.made.bytes += make_file(&path, entry, mode).with_context(failed)?;
                self.made.files += 1;
            }
            EntryType::Symlink => {
                let target = link.context("a link without a target").with_context(failed)?;
                symlink(Path::new(std::ffi::OsStr::from_bytes(&target)), &path).with_context(failed)?;
            }
            other => {
                if self.made.skipped.len() < MAX_SKIPPED {
                    self.made.skipped.push(format!("{shown} ({other:?})"));
                }
            }
        }
        Ok(())
    }

    /// Makes the folders above an entry. A link among them would lead elsewhere.
    fn parents(&self, relative: &Path) -> Result<()> {
        let mut path = self.folder.to_owned();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            path.push(part);
            make_folder(&path).with_context(|| format!("unpack {} below {}", relative.display(), path.display()))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked> {
        // The deepest first: a closed folder would hide those in it.
        while let Some((path, mode)) = self.modes.pop() {
            // Its owner may always look into it and clear it away.
            fs::set_permissions(&path, Permissions::from_mode(mode | 0o700))
                .with_context(|| format!("set the mode of {}", path.display()))?;
        }
        Ok(self.made)
    }
}

/// The path of an entry below the folder; `None` for the folder itself.
fn inside(name: &[u8]) -> Result<Option<PathBuf>> {
    let shown = String::from_utf8_lossy(name);
    ensure!(name.len() <= MAX_PATH && !name.contains(&0), "the archive has an entry with a name that cannot be: {shown:.80?}");
    let mut path = PathBuf::new();
    for part in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                bail!("the archive has an entry that leads out of the folder: {shown:?}; nothing more is unpacked")
            }
        }
    }
    Ok(if path.as_os_str().is_empty() { None } else { Some(path) })
}

/// A folder, unless it is there. A link to one is none.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                Ok(())
            } else {
                Err(error)
            }
        }
        other => other,
    }
}

/// A file that was not there.
fn make_file(path: &Path, content: &mut impl Read, mode: u32) -> io::Result<u64> {
    // `create_new` follows no link.
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = io::copy(content, &mut file)?;
    file.set_permissions(Permissions::from_mode(mode | 0o400))?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use tar::{Builder, Header};

    use super::*;

    fn header(name: &str, kind: EntryType, size: usize) -> Header {
        let mut header = Header::new_gnu();
        // Set as bytes: the library's own setter would refuse what is tested here.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o4755);
        header.set_cksum();
        header
    }

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = header(name, *kind, if *kind == EntryType::Regular { content.len() } else { 0 });
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name_literal(content).expect("short");
                header.set_cksum();
                builder.append(&header, io::empty()).expect("written");
            } else {
                builder.append(&header, if *kind == EntryType::Regular { content.as_bytes() } else { b"" }).expect("written");
            }
        }
        builder.into_inner().expect("written").finish().expect("written")
    }

    /// Unpacks into `out` inside a folder of its own; the files that are then there, and the error.
    fn check(entries: &[(&str, EntryType, &str)], files: &[(&str, &str)], error: Option<&str>) {
        let outer = tempfile::tempdir().expect("folder");
        fs::write(outer.path().join("victim"), "old").expect("written");
        let out = outer.path().join("out");
        let result = unpack(archive(entries).as_slice(), &out);
        match (&result, error) {
            (Ok(_), None) => {}
            (Err(found), Some(wanted)) => assert!(format!("{found:#}").contains(wanted), "{found:#}"),
            _ => panic!("{entries:?}: {result:?}"),
        }
        for (name, content) in files {
            assert_eq!(fs::read_to_string(out.join(name)).expect(name), *content);
        }
        assert_eq!(fs::read_to_string(outer.path().join("victim")).expect("there"), "old");
        assert_eq!(fs::read_dir(outer.path()).expect("folder").count(), 2, "something was made beside the folder");
    }

    const FILE: EntryType = EntryType::Regular;
    const FOLDER: EntryType = EntryType::Directory;

    #[test]
    fn a_folder_as_it_was() {
        check(
            &[("./", FOLDER, ""), ("a/", FOLDER, ""), ("a/b", FILE, "one"), ("c/d/e", FILE, ""), ("a/l", EntryType::Symlink, "b")],
            &[("a/b", "one"), ("c/d/e", ""), ("a/l", "one")],
            None,
        );
        let long = format!("{}/{}", "x".repeat(120), "y".repeat(120));
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut plain = Header::new_gnu();
        plain.set_size(1);
        plain.set_mode(0o600);
        builder.append_data(&mut plain, &long, b"z".as_slice()).expect("written");
        let bytes = builder.into_inner().expect("written").finish().expect("written");
        let folder = tempfile::tempdir().expect("folder");
        let made = unpack(bytes.as_slice(), folder.path()).expect("unpacked");
        assert_eq!((made.files, made.bytes), (1, 1));
        assert_eq!(fs::read(folder.path().join(long)).expect("there"), b"z");
    }

    #[test]
    fn nothing_leaves_the_folder() {
        check(&[("../victim", FILE, "new")], &[], Some("leads out of the folder"));
        check(&[("a/../../victim", FILE, "new")], &[], Some("leads out of the folder"));
        check(&[("/etc/victim", FILE, "new")], &[], Some("leads out of the folder"));
        check(&[("l", EntryType::Symlink, ".."), ("l/victim", FILE, "new")], &[], Some("unpack l/victim"));
        check(&[("l", EntryType::Symlink, "../victim"), ("l", FILE, "new")], &[], Some("File exists"));
        check(&[("l", EntryType::Symlink, ".."), ("l/", FOLDER, "")], &[], Some("File exists"));
    }

    #[test]
    fn nothing_is_overwritten_and_no_mode_is_dangerous() {
        check(&[("a", FILE, "one"), ("a", FILE, "two")], &[("a", "one")], Some("File exists"));
        let folder = tempfile::tempdir().expect("folder");
        unpack(archive(&[("a", FILE, "one"), ("d/", FOLDER, "")]).as_slice(), folder.path()).expect("unpacked");
        for name in ["a", "d"] {
            assert_eq!(fs::metadata(folder.path().join(name)).expect(name).permissions().mode() & 0o7777, 0o755);
        }
    }

    #[test]
    fn devices_are_named_and_left_out() {
        let bytes =
            archive(&[("null", EntryType::Char, ""), ("pipe", EntryType::Fifo, ""), ("hard", EntryType::Link, "x"), ("a", FILE, "1")]);
        let folder = tempfile::tempdir().expect("folder");
        let made = unpack(bytes.as_slice(), folder.path()).expect("unpacked");
        assert_eq!(made.skipped, ["null (Char)", "pipe (Fifo)", "hard (Link)"]);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn an_endless_name_is_not_kept() {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let size = 10 << 20;
        builder.append(&header("long", EntryType::GNULongName, size), io::repeat(b'x').take(size as u64)).expect("written");
        let bytes = builder.into_inner().expect("written").finish().expect("written");
        let folder = tempfile::tempdir().expect("folder");
        let error = unpack(bytes.as_slice(), folder.path()).expect_err("too long");
        assert!(error.to_string().contains("name of more than"), "{error:#}");
    }

    #[test]
    fn an_archive_that_breaks_off_is_an_error() {
        let bytes = archive(&[("a", FILE, &"x".repeat(100_000))]);
        let folder = tempfile::tempdir().expect("folder");
        unpack(&bytes[..bytes.len() / 2], folder.path()).expect_err("half an archive");
        unpack(b"no archive".as_slice(), folder.path()).expect_err("no archive");
    }

    proptest! {
        /// Whatever comes, nothing is made outside and nothing panics.
        #[test]
        fn any_bytes(blocks in proptest::collection::vec(any::<u8>(), 0..2000), gzip in any::<bool>()) {
            let outer = tempfile::tempdir().expect("folder");
            let mut bytes = archive(&[("a", FILE, "one")]);
            if gzip {
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(&blocks).expect("written");
                bytes = packed.finish().expect("written");
            } else {
                bytes.extend_from_slice(&blocks);
            }
            let _ = unpack(bytes.as_slice(), &outer.path().join("out"));
            prop_assert!(fs::read_dir(outer.path()).expect("folder").count() <= 1);
        }

        /// Names of any shape, links among them.
        #[test]
        fn any_names(names in proptest::collection::vec(("[a./]{1,8}", 0_u8..3), 1..6)) {
            let outer = tempfile::tempdir().expect("folder");
            let kinds = [FILE, FOLDER, EntryType::Symlink];
            let entries: Vec<_> = names.iter().map(|(name, kind)| (name.as_str(), kinds[usize::from(*kind)], "..")).collect();
            let _ = unpack(archive(&entries).as_slice(), &outer.path().join("out"));
            prop_assert!(fs::read_dir(outer.path()).expect("folder").count() <= 1);
        }
    }
}
