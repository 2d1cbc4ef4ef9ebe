//! The configurations that machined writes to our standard input, one a line.

use std::{io, os::fd::AsFd};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
};
use wire::apid_config::{ApidConfig, MAX_LINE};
use zeroize::Zeroizing;

use crate::{ApidError, Changer};

/// The lines still to come.
#[derive(Debug)]
pub(crate) struct Orders {
    lines: BufReader<pipe::Receiver>,
}

impl Orders {
    pub(crate) fn from_stdin() -> Result<Self, ApidError> {
        let open = || -> io::Result<_> { pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?) };
        Ok(Self { lines: BufReader::new(open().map_err(|source| ApidError::Input { source })?) })
    }

    /// The next configuration; `None` when machined will write no more. The text holds secrets and is wiped after use.
    pub(crate) async fn next(&mut self) -> Result<Option<ApidConfig>, ApidError> {
        let mut line = Zeroizing::new(Vec::new());
        let mut limited = (&mut self.lines).take(MAX_LINE as u64 + 1);
        limited.read_until(b'\n', &mut line).await.map_err(|source| ApidError::Input { source })?;
        match line.last() {
            None => Ok(None),
            Some(_) if line.len() > MAX_LINE => Err(ApidError::TooLong),
            Some(_) => serde_json::from_slice(&line).map(Some).map_err(|source| ApidError::Config { source }),
        }
    }

    /// Hands on each configuration. One that cannot be used is logged and the former one stays; machined, which made
    /// it, is the one who knows better. Ends with the input.
    pub(crate) async fn obey(mut self, changer: Changer) {
        loop {
            let changed = match self.next().await {
                Ok(Some(config)) => changer.change(&config),
                Ok(None) => return,
                Err(error @ (ApidError::Input { .. } | ApidError::TooLong)) => {
                    log::error!(target: "apid", "no more configurations are read: {}", daemon::report(&error));
                    return;
                }
                Err(error) => Err(error),
            };
            match changed {
                Ok(()) => log::info!(target: "apid", "new certificate and names in force"),
                Err(error) => log::error!(target: "apid", "the former configuration stays: {}", daemon::report(&error)),
            }
        }
    }
}
