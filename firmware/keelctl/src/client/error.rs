//! What can go wrong on the way to a node and back.

use std::fmt;

use wire::tls::{ConnectError, TlsError};

/// An error of the client. The chain of causes is in `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An endpoint or node that is no address.
    #[error("{given:?} is not usable as an address: {why}")]
    Address {
        /// As given.
        given: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The context's certificates cannot be read.
    #[error("read the certificates of context {name:?}")]
    Context {
        /// The context.
        name: String,
        /// Cause.
        source: pki::Error,
    },
    /// The TLS settings cannot be made.
    #[error("prepare the connection for {name:?}")]
    Tls {
        /// Context or node.
        name: String,
        /// Cause.
        source: TlsError,
    },
    /// No endpoint is known.
    #[error("no endpoint is known: give one with --endpoints, or store it with `keelctl config endpoint ADDRESS`")]
    NoEndpoint,
    /// None of the endpoints answers.
    #[error("{0}")]
    Unreachable(Failures),
    /// A call failed.
    #[error("{method}: {}", Shown(status))]
    Call {
        /// Method name.
        method: &'static str,
        /// The answer.
        status: Box<tonic::Status>,
    },
    /// A reply without the message it must have.
    #[error("{method}: the reply is empty")]
    Empty {
        /// Method name.
        method: &'static str,
    },
}

impl ClientError {
    /// The gRPC code of a failed call.
    #[must_use]
    pub fn code(&self) -> Option<tonic::Code> {
        if let Self::Call { status, .. } = self { Some(status.code()) } else { None }
    }
}

/// One line for each endpoint tried, each with its causes.
#[derive(Debug)]
pub struct Failures(Vec<ConnectError>);

impl From<Vec<ConnectError>> for Failures {
    fn from(list: Vec<ConnectError>) -> Self {
        Self(list)
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failure) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{failure}")?;
            let mut cause = std::error::Error::source(failure);
            let mut last = failure.to_string();
            while let Some(error) = cause {
                let text = error.to_string();
                if !last.contains(&text) {
                    write!(f, ": {text}")?;
                }
                last = text;
                cause = error.source();
            }
        }
        Ok(())
    }
}

/// A status as `Code: message`.
struct Shown<'a>(&'a tonic::Status);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.code())?;
        if !self.0.message().is_empty() {
            write!(f, ": {}", self.0.message().trim_end())?;
        }
        Ok(())
    }
}
