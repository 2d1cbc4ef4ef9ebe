//! `List`: what is in a directory.

use std::{
    fs::Metadata,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tonic::Status;
use wire::machine::{FileInfo, ListRequest, Xattr, list_request::Type};

use super::{
    super::{Context, Replies, streams::until_stop},
    absolute, plain,
    walk::{Found, Walk},
};

/// Entries looked at in one go on a thread that may block.
const BATCH: usize = 64;
/// Extended attributes of one file, and bytes of one of them, that are shown.
const MAX_XATTRS: usize = 32;

pub(in super::super) async fn list(context: &Context, request: ListRequest) -> Result<Replies<FileInfo>, Status> {
    let root = absolute(&request.root);
    let depth = depth(request.recurse, request.recursion_depth);
    let types: Vec<Type> = request.types().collect();
    let xattrs = request.report_xattrs;
    let start = move || Walk::new(&root, depth).map_err(|error| Status::unknown(plain("lstat", &root, &error)));
    let walk = context.blocking.run(start).await??;
    let blocking = context.blocking.clone();
    let batches = stream::try_unfold(Some(walk), move |walk| {
        let (blocking, types) = (blocking.clone(), types.clone());
        async move {
            let Some(mut walk) = walk else { return Ok(None) };
            let job = move || {
                let seen: Vec<Found> = walk.by_ref().take(BATCH).collect();
                let more = seen.len() == BATCH;
                let shown = seen.iter().filter(|found| wanted(found, &types)).map(|found| convert(found, xattrs)).collect();
                (shown, more.then_some(walk))
            };
            let (shown, walk): (Vec<FileInfo>, _) = blocking.run(job).await?;
            Ok::<_, Status>(Some((stream::iter(shown).map(Ok), walk)))
        }
    });
    Ok(until_stop(context, batches.try_flatten()))
}

/// Levels below the root to show.
fn depth(recurse: bool, asked: i32) -> usize {
    match usize::try_from(asked) {
        _ if !recurse => 1,
        Ok(0) | Err(_) => usize::MAX,
        Ok(levels) => levels,
    }
}

/// Whether the types asked for include this one; what could not be looked at is always shown.
fn wanted(found: &Found, types: &[Type]) -> bool {
    let Ok(meta) = &found.state else { return true };
    types.is_empty()
        || types.iter().any(|kind| match kind {
            Type::Regular => meta.is_file(),
            Type::Directory => meta.is_dir(),
            Type::Symlink => meta.is_symlink(),
        })
}

fn convert(found: &Found, xattrs: bool) -> FileInfo {
    let mut info = FileInfo {
        name: found.path.to_string_lossy().into_owned(),
        relative_name: found.relative.to_string_lossy().into_owned(),
        ..FileInfo::default()
    };
    match &found.state {
        Err((what, error)) => info.error = plain(what, &found.path, error),
        Ok(meta) => {
            info.size = i64::try_from(meta.size()).unwrap_or(i64::MAX);
            info.mode = mode(meta);
            info.modified = meta.mtime();
            info.is_dir = meta.is_dir();
            info.uid = meta.uid();
            info.gid = meta.gid();
            if meta.is_symlink() {
                match found.path.read_link() {
                    Ok(target) => info.link = target.to_string_lossy().into_owned(),
                    Err(error) => info.error = plain("readlink", &found.path, &error),
                }
            }
            if xattrs {
                info.xattrs = attributes(&found.path);
            }
        }
    }
    info
}

/// Extended attributes; file systems without them have none.
fn attributes(path: &Path) -> Vec<Xattr> {
    let Ok(names) = xattr::list(path) else { return Vec::new() };
    let attribute = |name: std::ffi::OsString| {
        let data = xattr::get(path, &name).ok().flatten()?;
        Some(Xattr { name: String::from_utf8_lossy(name.as_bytes()).into_owned(), data })
    };
    names.filter_map(attribute).take(MAX_XATTRS).collect()
}

/// File type and permissions in the bits that the clients' language uses.
fn mode(meta: &Metadata) -> u32 {
    const MODE: [(u32, u32); 7] = [
        (0o040_000, 1 << 31),           // directory
        (0o120_000, 1 << 27),           // symbolic link
        (0o060_000, 1 << 26),           // block device
        (0o010_000, 1 << 25),           // named pipe
        (0o140_000, 1 << 24),           // socket
        (0o020_000, 1 << 26 | 1 << 21), // character device
        (0o100_000, 0),                 // regular file
    ];
    const EXTRA: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let raw = meta.mode();
    let kind = MODE.iter().find(|(bits, _)| raw & 0o170_000 == *bits).map_or(1 << 19, |(_, bit)| *bit);
    EXTRA.iter().filter(|(bits, _)| raw & bits != 0).fold(kind | (raw & 0o777), |mode, (_, bit)| mode | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths() {
        for (recurse, asked, wanted) in [(false, 0, 1), (false, 7, 1), (true, 0, usize::MAX), (true, -1, usize::MAX), (true, 3, 3)] {
            assert_eq!(depth(recurse, asked), wanted, "{recurse} {asked}");
        }
    }

    #[test]
    fn modes_are_the_clients() {
        for (path, wanted) in [("/proc", 1 << 31 | 0o555), ("/dev/null", 1 << 26 | 1 << 21 | 0o666), ("/proc/self/exe", 1 << 27 | 0o777)] {
            assert_eq!(mode(&Path::new(path).symlink_metadata().expect("exists")), wanted, "{path}");
        }
    }
}
