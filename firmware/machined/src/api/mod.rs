//! The machine API on its unix socket.
//!
//! - [`Server`]: binds the socket, admits callers by their credentials, serves until told to stop;
//! - [`gate`]: roles before anything else, by the table in [`roles`];
//! - [`machine`], [`storage`], [`statfs`], [`mod@time`], [`inspect`], [`health`]: the handlers, thin: conversion and a call;
//! - `system`, `services`, `power`, `reset`, `rollback`, `meta`, `config`, `client`, `capture`, `streams`, `files`, `metrics`, `netstat`,
//!   `containers`, `disks`, `wipe`: what they call.
//!
//! Methods without a handler say what of the node is missing, by the table in `unserved`. Absent on purpose: TLS and routing (apid's).

mod admission;
mod blocking;
mod capture;
mod client;
mod config;
mod containers;
mod disks;
mod dmesg;
mod files;
mod gate;
mod health;
mod inspect;
mod machine;
mod meta;
pub(crate) mod metrics;
pub(crate) mod netstat;
mod power;
mod reset;
mod roles;
mod rollback;
mod services;
mod statfs;
mod storage;
mod streams;
mod system;
mod time;
mod unserved;
mod wipe;

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use linux::process::User;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(crate) use self::system::TAG;
use self::{admission::Admission, blocking::Blocking, capture::Captures, gate::Gate, health::Checks};
use crate::{events::Events, logs::Logs, node::Node, services::Handle};

/// Flow-control windows, bytes: what a client may send ahead on a stream and on a connection.
const WINDOWS: (u32, u32) = (65535 * 32, 65535 * 16);
/// How long open calls may go on after the word to stop.
const DRAIN: Duration = Duration::from_secs(1);
/// Callers whose credentials are being looked at at the same time.
const ADMITTING: usize = 32;

/// Copies of files under way at the same time.
const COPIES: usize = 4;

/// A stream of reply messages.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the handlers read and write.
#[derive(Clone, Debug)]
pub struct Sources {
    /// State and commands.
    pub node: Arc<Node>,
    /// Logs.
    pub logs: Arc<Logs>,
    /// Events.
    pub events: Arc<Events>,
    /// What may be asked about services.
    pub services: Handle,
}

/// The handlers' context.
#[derive(Clone, Debug)]
struct Context {
    sources: Sources,
    blocking: Blocking,
    /// Ends every open stream.
    stop: CancellationToken,
    /// Held while a configuration is being applied.
    applying: Arc<tokio::sync::Mutex<()>>,
    /// Held while META is being changed.
    meta: Arc<tokio::sync::Mutex<()>>,
    /// Turns of those who copy files, which takes memory for as long as they take what they get.
    copies: Arc<tokio::sync::Semaphore>,
    /// Turns for captures of packets.
    captures: Captures,
    /// Turns for health checks.
    checks: Checks,
}

/// The socket could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its folder.
    #[error("make the folder {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The socket itself.
    #[error("bind {path}")]
    Bind {
        /// Which.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Owner or mode of either.
    #[error("set owner and mode of {path}")]
    Access {
        /// Which.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// The server with its bound socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    admission: Admission,
    sources: Sources,
}

impl Server {
    /// Binds the socket: folder 0750, socket 0660, both root's with the group of `peer`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn bind(path: &Path, peer: User, sources: Sources) -> Result<Self, BindError> {
        let listener = listen(path, peer.gid)?;
        let admission = Admission::new(peer, Arc::clone(&sources.node));
        Ok(Self { listener, admission, sources })
    }

    /// Like [`Self::bind`], for callers in this very process (tests): the supervised process is not asked for.
    ///
    /// # Errors
    /// As [`Self::bind`].
    #[doc(hidden)]
    pub fn bind_for_tests(path: &Path, sources: Sources) -> Result<Self, BindError> {
        let listener = UnixListener::bind(path).map_err(|source| BindError::Bind { path: path.to_owned(), source })?;
        Ok(Self { listener, admission: Admission::open(Arc::clone(&sources.node)), sources })
    }

    /// Serves until `stop`; open calls have [`DRAIN`] to end.
    pub async fn serve(self, stop: CancellationToken) {
        let admission = self.admission;
        let incoming = UnixListenerStream::new(self.listener)
            .map(move |stream| {
                let admission = admission.clone();
                async move { admission.admit(stream?).await }
            })
            .buffer_unordered(ADMITTING)
            .filter_map(|admitted| std::future::ready(admitted.transpose()));
        let (blocking, stopping) = (Blocking::default(), stop.child_token());
        let copies = Arc::new(tokio::sync::Semaphore::new(COPIES));
        let context = Context {
            sources: self.sources,
            blocking,
            stop: stopping,
            applying: Arc::default(),
            meta: Arc::default(),
            copies,
            captures: Captures::default(),
            checks: Checks::default(),
        };
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .serve_with_incoming_shutdown(Gate::new(context), incoming, stop.clone().cancelled_owned());
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = serving => {
                if let Err(error) = ended {
                    log::error!(target: "api", "machine API: {}", daemon::report(&error));
                }
            }
            () = limit => log::info!(target: "api", "machine API: open calls were cut off"),
        }
    }
}

fn listen(path: &Path, gid: u32) -> Result<UnixListener, BindError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(|source| BindError::Folder { path: folder.to_owned(), source })?;
    access(folder, 0o750, gid)?;
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(BindError::Bind { path: path.to_owned(), source });
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(|source| BindError::Bind { path: path.to_owned(), source })?;
    access(path, 0o660, gid)?;
    Ok(listener)
}

fn access(path: &Path, mode: u32, gid: u32) -> Result<(), BindError> {
    std::os::unix::fs::chown(path, Some(0), Some(gid))
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|source| BindError::Access { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
