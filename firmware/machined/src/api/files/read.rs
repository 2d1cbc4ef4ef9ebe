//! `Read`: the contents of one regular file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use futures_util::stream;
use nix::fcntl::OFlag;
use tonic::Status;
use wire::common::Data;

use super::{
    super::{
        Context, Replies,
        streams::{data, until_stop},
    },
    plain,
};

/// Bytes of one message.
const CHUNK: usize = 32 * 1024;

pub(in super::super) async fn read(context: &Context, path: String) -> Result<Replies<Data>, Status> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(Status::invalid_argument(format!("{}: an absolute path is needed", path.display())));
    }
    let file = context.blocking.run(move || open(&path)).await??;
    let blocking = context.blocking.clone();
    let chunks = stream::try_unfold(Some(file), move |file| {
        let blocking = blocking.clone();
        async move {
            let Some(file) = file else { return Ok(None) };
            blocking.run(move || chunk(file)).await?.map_err(|error| Status::unknown(format!("read: {error}")))
        }
    });
    Ok(until_stop(context, chunks))
}

/// Opens a regular file, links followed. Never waits for the other end of a pipe, nor for kernel messages to come.
fn open(path: &Path) -> Result<File, Status> {
    let failed = |what: &str, error: &io::Error| {
        let text = plain(what, path, error);
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Status::not_found(text),
            _ => Status::unknown(text),
        }
    };
    if !path.metadata().map_err(|error| failed("stat", &error))?.is_file() {
        return Err(Status::unknown("path must be a regular file"));
    }
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = file.map_err(|error| failed("open", &error))?;
    // Again on what was opened: it may have been exchanged in between.
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(Status::unknown("path must be a regular file")),
    }
}

/// The next piece; `None` at the end.
fn chunk(mut file: File) -> io::Result<Option<(Data, Option<File>)>> {
    let mut bytes = vec![0; CHUNK];
    let count = loop {
        match file.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    bytes.truncate(count);
    Ok((count > 0).then(|| (data(bytes), Some(file))))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[track_caller]
    fn check(path: &str, wanted: Option<Code>) {
        assert_eq!(open(Path::new(path)).err().map(|status| status.code()), wanted, "{path}");
    }

    #[test]
    fn only_regular_files_open() {
        check("/proc/sys/kernel/random/boot_id", None);
        check("/sys/kernel/mm/transparent_hugepage/enabled", None);
        check("/nowhere", Some(Code::NotFound));
        check("/proc/version/x", Some(Code::NotFound));
        check("/proc", Some(Code::Unknown));
        check("/dev/null", Some(Code::Unknown));
    }
}
