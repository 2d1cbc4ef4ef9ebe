//! The configurations that machined writes to our standard input, one a line.

use std::{io, os::fd::AsFd};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
};
use wire::dnsd::{DnsdConfig, MAX_LINE};

use crate::DnsdError;

/// The lines still to come.
#[derive(Debug)]
pub(crate) struct Orders(BufReader<pipe::Receiver>);

impl Orders {
    pub(crate) fn from_stdin() -> Result<Self, DnsdError> {
        let open = || -> io::Result<_> { pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?) };
        Ok(Self(BufReader::new(open().map_err(|source| DnsdError::Input { source })?)))
    }

    /// The next configuration; `None` when machined will write no more.
    pub(crate) async fn next(&mut self) -> Result<Option<DnsdConfig>, DnsdError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(MAX_LINE as u64 + 1);
        limited.read_until(b'\n', &mut line).await.map_err(|source| DnsdError::Input { source })?;
        match line.last() {
            None => Ok(None),
            Some(_) if line.len() > MAX_LINE => Err(DnsdError::TooLong),
            Some(_) => serde_json::from_slice(&line).map(Some).map_err(|source| DnsdError::Config { source }),
        }
    }
}
