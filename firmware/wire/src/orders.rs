//! What machined tells a daemon: JSON documents on its standard input, one a line. The first is what it starts with, each later one
//! takes the place of the one before it.

use std::{io, marker::PhantomData, os::fd::AsFd};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
};
use zeroize::Zeroizing;

/// Longest line, bytes.
pub const MAX_LINE: usize = 1024 * 1024;

/// A value as the line that a daemon reads, line break included. Secret.
///
/// # Errors
/// When it is no JSON, such as a path that is not UTF-8.
pub fn to_line(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut line = Zeroizing::new(serde_json::to_vec(value)?);
    line.push(b'\n');
    Ok(line)
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Standard input is not readable.
    #[error("read the configuration from standard input")]
    Input {
        /// Cause.
        source: io::Error,
    },
    /// Standard input ended before it held a configuration.
    #[error("standard input holds no configuration: this program is started by machined")]
    NoInput,
    /// Something on standard input never ends.
    #[error("a line of standard input is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Standard input is no configuration.
    #[error("understand the configuration on standard input")]
    Unknown {
        /// Cause; tells a place, never a value.
        source: serde_json::Error,
    },
}

/// The lines still to come.
#[derive(Debug)]
pub struct Orders<T> {
    lines: BufReader<pipe::Receiver>,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Orders<T> {
    /// Those on standard input, and the first of them.
    ///
    /// # Errors
    /// When there is none.
    pub async fn from_stdin() -> Result<(T, Self), OrderError> {
        let open = || -> io::Result<_> { pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?) };
        let lines = BufReader::new(open().map_err(|source| OrderError::Input { source })?);
        let mut orders = Self { lines, kind: PhantomData };
        let first = orders.next().await?.ok_or(OrderError::NoInput)?;
        Ok((first, orders))
    }

    /// The next one; `None` when machined will write no more. The text holds secrets and is wiped after use.
    async fn next(&mut self) -> Result<Option<T>, OrderError> {
        let mut line = Zeroizing::new(Vec::new());
        let mut limited = (&mut self.lines).take(MAX_LINE as u64 + 1);
        limited.read_until(b'\n', &mut line).await.map_err(|source| OrderError::Input { source })?;
        match line.last() {
            None => Ok(None),
            Some(_) if line.len() > MAX_LINE => Err(OrderError::TooLong),
            Some(_) => serde_json::from_slice(&line).map(Some).map_err(|source| OrderError::Unknown { source }),
        }
    }

    /// Hands on each one. One that cannot be used is told to `refused` and the former one stays; machined, which made it, is the one
    /// who knows better. Ends with the input, and with an error of it.
    ///
    /// # Errors
    /// When nothing more can be read.
    pub async fn obey(mut self, mut change: impl FnMut(Result<T, OrderError>)) -> Result<(), OrderError> {
        loop {
            match self.next().await {
                Ok(Some(order)) => change(Ok(order)),
                Ok(None) => return Ok(()),
                Err(error @ OrderError::Unknown { .. }) => change(Err(error)),
                Err(error) => return Err(error),
            }
        }
    }
}
