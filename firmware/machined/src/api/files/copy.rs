//! `Copy`: a file or a tree as a packed archive (tar in gzip).
//!
//! It is made as it is asked for: each step reads a bounded piece away from the reactor, and only while the client takes what
//! there is. A client that goes takes the rest of the work with it.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read, Write, empty},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use nix::{
    fcntl::OFlag,
    sys::stat::{major, minor},
};
use tar::{Builder, EntryType, Header};
use tonic::Status;
use wire::common::{Data, Metadata as Told};

use super::{
    super::{
        Context, Replies,
        streams::{data, until_stop},
    },
    is_kernel_memory, plain,
    walk::{Found, Walk},
};

/// Packed bytes that are sent in one message, about.
const CHUNK: usize = 32 * 1024;
/// Most bytes read in one step, and entries looked at, however few packed ones they make.
const STEP: usize = 1 << 20;
const ENTRIES: usize = 256;
/// Bytes read of a file at once.
const PIECE: usize = 64 * 1024;
/// A file that claims to be no longer than this is read before its length is written: those of procfs, sysfs and cgroupfs claim
/// 0 or a page, whatever they hold.
const UNSURE: u64 = 64 * 1024;
/// Most bytes read of such a file. The reference stops at 4 KiB and says nothing.
const UNSURE_MOST: u64 = 1 << 20;
/// Problems told in full.
const TOLD: usize = 100;

/// Rules: reference, behaviour (c) "Details of file, process and container calls", and its client.
pub(in super::super) async fn copy(context: &Context, path: String) -> Result<Replies<Data>, Status> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(Status::unknown(format!("path is not absolute: {}", path.display())));
    }
    let turn = Arc::clone(&context.copies).try_acquire_owned();
    let turn = turn.map_err(|_| Status::resource_exhausted("too many copies are under way; try again when one has ended"))?;
    let start = move || Archive::of(&path).map_err(|error| Status::unknown(plain("lstat", &path, &error)));
    let archive = context.blocking.run(start).await??;
    let blocking = context.blocking.clone();
    let chunks = stream::try_unfold((Stage::Packing(Box::new(archive)), turn), move |(mut stage, turn)| {
        let blocking = blocking.clone();
        async move {
            loop {
                let bytes = match stage {
                    Stage::Packing(archive) => {
                        let (bytes, next) = blocking.run(move || archive.step()).await?.map_err(|error| packing(&error))?;
                        stage = next;
                        bytes
                    }
                    Stage::Packed(problems) if problems.is_empty() => return Ok(None),
                    Stage::Packed(problems) => {
                        let told = Told { error: problems, ..Told::default() };
                        let last = Data { metadata: Some(told), bytes: bytes::Bytes::new() };
                        return Ok(Some((last, (Stage::Packed(String::new()), turn))));
                    }
                };
                if !bytes.is_empty() {
                    return Ok(Some((data(bytes), (stage, turn))));
                }
            }
        }
    });
    Ok(until_stop(context, chunks))
}

fn packing(error: &io::Error) -> Status {
    Status::internal(format!("pack the archive: {error}"))
}

/// How far an archive has come.
enum Stage {
    Packing(Box<Archive>),
    /// What was left out is still to be told.
    Packed(String),
}

/// An archive in the making.
struct Archive {
    walk: Walk,
    /// The file whose contents follow.
    body: Option<Body>,
    out: Builder<GzEncoder<Vec<u8>>>,
    problems: Problems,
}

/// Contents that were promised.
struct Body {
    /// `None` when it can be read no further: zeros stand for the rest.
    file: Option<File>,
    path: PathBuf,
    /// Bytes still to come.
    left: u64,
    /// Zeros that follow, up to a whole block.
    padding: usize,
}

impl Archive {
    fn of(root: &Path) -> io::Result<Self> {
        let walk = Walk::new(root, usize::MAX)?;
        let out = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        Ok(Self { walk, body: None, out, problems: Problems::default() })
    }

    /// Goes on until there is something to send, or a bound of one step is reached.
    fn step(mut self: Box<Self>) -> io::Result<(Vec<u8>, Stage)> {
        let (mut read, mut entries) = (0, 0);
        while self.out.get_ref().get_ref().len() < CHUNK && read < STEP && entries < ENTRIES {
            if let Some(body) = self.body.take() {
                read += self.go_on(body)?;
                continue;
            }
            entries += 1;
            match self.walk.next() {
                Some(found) => read += self.add(found)?,
                None => return Ok((self.out.into_inner()?.finish()?, Stage::Packed(self.problems.text()))),
            }
        }
        let bytes = std::mem::take(self.out.get_mut().get_mut());
        Ok((bytes, Stage::Packing(self)))
    }

    /// Adds what was found; gives the bytes read.
    fn add(&mut self, found: Found) -> io::Result<usize> {
        let Found { path, relative, state, .. } = found;
        let meta = match state {
            Ok(meta) => meta,
            Err((what, error)) => return Ok(self.problems.add(&path, &plain(what, &path, &error))),
        };
        let kind = meta.file_type();
        match () {
            () if kind.is_file() => self.file(path, &relative, &meta),
            () if kind.is_dir() => self.plain_entry(&path, &relative.join(""), header(&meta, EntryType::Directory)),
            () if kind.is_symlink() => self.link(&path, &relative, &meta),
            () if kind.is_fifo() => self.plain_entry(&path, &relative, header(&meta, EntryType::Fifo)),
            () if kind.is_char_device() => self.plain_entry(&path, &relative, device(&meta, EntryType::Char)),
            () if kind.is_block_device() => self.plain_entry(&path, &relative, device(&meta, EntryType::Block)),
            () => Ok(self.problems.add(&path, "an archive cannot hold a socket")),
        }
    }

    /// An entry without contents.
    fn plain_entry(&mut self, path: &Path, name: &Path, mut header: Header) -> io::Result<usize> {
        // A name that fits in no header is left out before anything of it is written.
        if let Err(error) = self.out.append_data(&mut header, name, empty()) {
            self.problems.add(path, &error.to_string());
        }
        Ok(0)
    }

    /// The target is kept as it is written; one too long for a header precedes it.
    fn link(&mut self, path: &Path, name: &Path, meta: &Metadata) -> io::Result<usize> {
        let target = match path.read_link() {
            Ok(target) => target,
            Err(error) => return Ok(self.problems.add(path, &plain("readlink", path, &error))),
        };
        let mut header = header(meta, EntryType::Symlink);
        if header.set_link_name_literal(target.as_os_str().as_encoded_bytes()).is_ok() {
            return self.plain_entry(path, name, header);
        }
        if let Err(error) = self.out.append_link(&mut header, name, &target) {
            self.problems.add(path, &error.to_string());
        }
        Ok(0)
    }

    fn file(&mut self, path: PathBuf, name: &Path, seen: &Metadata) -> io::Result<usize> {
        if is_kernel_memory(&path) {
            return Ok(self.problems.add(&path, "this is the kernel's memory and no file"));
        }
        let (mut file, meta) = match open(&path, seen) {
            Ok(opened) => opened,
            Err(reason) => return Ok(self.problems.add(&path, &reason)),
        };
        let mut header = header(&meta, EntryType::Regular);
        if meta.len() > UNSURE {
            header.set_size(meta.len());
            if let Err(error) = self.out.append_data(&mut header, name, empty()) {
                return Ok(self.problems.add(&path, &error.to_string()));
            }
            self.body = Some(Body { file: Some(file), path, left: meta.len(), padding: padding(meta.len()) });
            return Ok(0);
        }
        let mut bytes = Vec::new();
        if let Err(error) = (&mut file).take(UNSURE_MOST).read_to_end(&mut bytes) {
            return Ok(self.problems.add(&path, &plain("read", &path, &error)));
        }
        // Whether there is more is only seen by asking for it.
        if bytes.len() as u64 == UNSURE_MOST && file.read(&mut [0]).is_ok_and(|more| more > 0) {
            self.problems.add(&path, &format!("all after its first {UNSURE_MOST} bytes"));
        }
        header.set_size(bytes.len() as u64);
        if let Err(error) = self.out.append_data(&mut header, name, bytes.as_slice()) {
            self.problems.add(&path, &error.to_string());
        }
        Ok(bytes.len())
    }

    /// The next piece of a file's contents; exactly as much as was promised in the end.
    fn go_on(&mut self, mut body: Body) -> io::Result<usize> {
        let mut bytes = vec![0; usize::try_from(body.left).unwrap_or(PIECE).min(PIECE)];
        if let Some(file) = &mut body.file {
            let problem = match file.read(&mut bytes) {
                Ok(0) => Some("it became shorter while it was copied; the rest of its copy is zeros".to_owned()),
                Ok(count) => {
                    bytes.truncate(count);
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.body = Some(body);
                    return Ok(0);
                }
                Err(error) => Some(format!("{}; the rest of its copy is zeros", plain("read", &body.path, &error))),
            };
            if let Some(problem) = problem {
                body.file = None;
                self.problems.add(&body.path, &problem);
            }
        }
        let packer = self.out.get_mut();
        packer.write_all(&bytes)?;
        body.left = body.left.saturating_sub(bytes.len() as u64);
        if body.left > 0 {
            self.body = Some(body);
        } else {
            packer.write_all(vec![0; body.padding].as_slice())?;
        }
        Ok(bytes.len())
    }
}

/// Opens what was seen: no link, no other file that took its place, and never waiting for somebody at the other end.
fn open(path: &Path, seen: &Metadata) -> Result<(File, Metadata), String> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| plain("open", path, &error))?;
    let meta = file.metadata().map_err(|error| plain("stat", path, &error))?;
    if (meta.dev(), meta.ino()) != (seen.dev(), seen.ino()) || !meta.is_file() {
        return Err("it was replaced while it was looked at".to_owned());
    }
    Ok((file, meta))
}

fn header(meta: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(meta.uid().into());
    header.set_gid(meta.gid().into());
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

fn device(meta: &Metadata, kind: EntryType) -> Header {
    let mut header = header(meta, kind);
    let numbers = (u32::try_from(major(meta.rdev())).unwrap_or(0), u32::try_from(minor(meta.rdev())).unwrap_or(0));
    // This form of header has a place for them.
    let _ = header.set_device_major(numbers.0).and_then(|()| header.set_device_minor(numbers.1));
    header
}

/// Zeros behind contents of this length, up to a whole block of 512 bytes.
const fn padding(length: u64) -> usize {
    (length.next_multiple_of(512) - length) as usize
}

/// What was left out, for the end of the stream.
#[derive(Default)]
struct Problems {
    told: Vec<String>,
    more: usize,
}

impl Problems {
    /// Gives the bytes read of it, which is none.
    fn add(&mut self, path: &Path, reason: &str) -> usize {
        if self.told.len() < TOLD {
            self.told.push(format!("skipping {}: {reason}", path.display()));
        } else {
            self.more = self.more.saturating_add(1);
        }
        0
    }

    fn text(mut self) -> String {
        if self.more > 0 {
            self.told.push(format!("skipping {} more", self.more));
        }
        self.told.join("\n")
    }
}

#[cfg(test)]
mod tests;
