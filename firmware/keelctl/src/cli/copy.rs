//! `copy`: a file or folder of a node, unpacked here or passed on as an archive.

use std::{
    io::{self, IsTerminal as _, Read, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use prost::bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tonic::Streaming;
use wire::common::Data;

use crate::client::{ClientError, next_data};

use super::{args, chain, extract, nodes::Fleet, progress::Transfer};

/// Pieces between the connection and the disk; the node waits while there are so many.
const QUEUE: usize = 64;

pub async fn run(fleet: &Fleet, args: &args::Copy) -> Result<ExitCode> {
    let to_stdout = args.target == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        bail!("an archive is nothing for a terminal: `keelctl copy {} - > copy.tar.gz`, or name a folder", args.source);
    }
    let (name, client) = fleet.one("copy").await?;
    let failed = || format!("copy {} of node {name}", args.source);
    let stream = client.copy(&args.source).await.with_context(failed)?;
    let progress = Transfer::start(format!("copy {} of {name}", args.source), None);
    if to_stdout {
        print(stream, &progress).await.with_context(failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (unpacked, end) = unpack(stream, &args.target, &progress).await;
    drop(progress);
    // What the node could not read it says at the end, after everything else.
    match (unpacked, end) {
        (Ok(made), None) => {
            for skipped in &made.skipped {
                eprintln!("{name}: left out {skipped}: neither file, folder nor symbolic link");
            }
            eprintln!("{} files, {} bytes in {}", made.files, made.bytes, args.target.display());
            Ok(ExitCode::SUCCESS)
        }
        (Ok(made), Some(error)) => {
            eprintln!("error from node {name}: {}", chain(&error.into()));
            eprintln!("the rest is there: {} files, {} bytes in {}", made.files, made.bytes, args.target.display());
            Ok(ExitCode::FAILURE)
        }
        (Err(_), Some(error)) => Err(error).with_context(failed),
        (Err(error), None) => Err(error).with_context(failed),
    }
}

/// Passes the stream on as it is.
async fn print(mut stream: Streaming<Data>, progress: &Transfer) -> Result<()> {
    let mut out = io::stdout().lock();
    while let Some(bytes) = next_data("Copy", &mut stream).await? {
        out.write_all(&bytes).context("write the archive")?;
        progress.add(bytes.len());
    }
    out.flush().context("write the archive")
}

/// Unpacks while it comes. What was unpacked, and with what error the node ended.
async fn unpack(mut stream: Streaming<Data>, folder: &Path, progress: &Transfer) -> (Result<extract::Unpacked>, Option<ClientError>) {
    let (sender, pieces) = mpsc::channel(QUEUE);
    let folder = folder.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut reader = Pieces { pieces, current: Bytes::new() };
        let made = extract::unpack(&mut reader, &folder)?;
        // What follows the archive is read too: the node's last words come after it.
        io::copy(&mut reader, &mut io::sink()).context("read the archive")?;
        Ok(made)
    });
    let mut end = None;
    loop {
        match next_data("Copy", &mut stream).await {
            Ok(Some(bytes)) => {
                progress.add(bytes.len());
                if sender.send(bytes).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                end = Some(error);
                break;
            }
        }
    }
    drop(sender);
    (unpacking.await.unwrap_or_else(|error| Err(error.into())), end)
}

/// The pieces as a reader.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
