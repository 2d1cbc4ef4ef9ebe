//! Fetches documents over HTTP and HTTPS, with a limit on everything: time, redirects, bytes, and bytes once unpacked.
//!
//! - [`Url`]: what can be asked for; shown without what may be a secret;
//! - [`Client::get`]: one attempt. When to try again is for whoever asks;
//! - [`web_roots`]: the authorities of the public web, compiled in.
//!
//! A connection is made for each question and closed after it: what is fetched here is fetched once. **Absent so far:** proxies,
//! client certificates, ranges.
#![forbid(unsafe_code)]

mod body;
mod connect;
mod url;

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use url::{Url, UrlError};

/// How the node calls itself.
const AGENT: &str = concat!("keelson/", env!("CARGO_PKG_VERSION"));

/// What an attempt may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the document, as sent and unpacked.
    pub bytes: usize,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Time for one address to take the connection, and for the handshake after it.
    pub connect: Duration,
    /// Time for all of it.
    pub attempt: Duration,
}

/// An attempt failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum FetchError {
    #[error("prepare TLS")]
    Prepare { source: rustls::Error },
    #[error("resolve {host}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("connect to {host} ({address})")]
    Connect { host: String, address: SocketAddr, source: io::Error },
    #[error("agree with {host} on a key")]
    Tls { host: String, source: io::Error },
    #[error("ask for {url}")]
    Ask { url: Url, source: hyper::Error },
    #[error("{url} was answered with {status}")]
    Status { url: Url, status: StatusCode },
    #[error("{url} leads to a place that is none")]
    Redirect { url: Url, source: UrlError },
    #[error("{url} leads back to where it was come from: redirects go in a circle")]
    Circle { url: Url },
    #[error("{url} is the end of more than {most} redirects")]
    TooFar { url: Url, most: usize },
    #[error("{url} leads from https to http, which is not followed")]
    Downgrade { url: Url },
    #[error("{url} has more than {most} bytes")]
    TooLarge { url: Url, most: usize },
    #[error("{url} is packed in a way that was not asked for ({encoding})")]
    Encoding { url: Url, encoding: String },
    #[error("unpack {url}")]
    Unpack { url: Url, source: io::Error },
    #[error("no answer to {url} within {} s", after.as_secs())]
    TimedOut { url: Url, after: Duration },
}

/// The certificate authorities of the public web.
#[must_use]
pub fn web_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Asks servers for documents.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    limits: Limits,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What one question brought.
enum Answer {
    Document(Vec<u8>),
    Elsewhere(HeaderValue),
}

impl Client {
    /// One that believes servers with certificates of `roots`.
    ///
    /// # Errors
    /// [`FetchError::Prepare`].
    pub fn new(roots: RootCertStore, limits: Limits) -> Result<Self, FetchError> {
        Ok(Self { tls: connect::tls(roots).map_err(|source| FetchError::Prepare { source })?, limits })
    }

    /// The document at `url`, or where that leads; unpacked when it is gzip.
    ///
    /// # Errors
    /// [`FetchError`]: why there is none this time.
    pub async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let after = self.limits.attempt;
        timeout(after, self.follow(url)).await.unwrap_or_else(|_| Err(FetchError::TimedOut { url: url.clone(), after }))
    }

    async fn follow(&self, first: &Url) -> Result<Vec<u8>, FetchError> {
        let mut seen = vec![first.clone()];
        let mut url = first.clone();
        loop {
            let location = match self.ask(&url).await? {
                Answer::Document(document) => return Ok(document),
                Answer::Elsewhere(location) => location,
            };
            let next = location.to_str().map_err(|_| UrlError::NotAscii).and_then(|location| url.join(location));
            let next = next.map_err(|source| FetchError::Redirect { url: url.clone(), source })?;
            if url.is_https() && !next.is_https() {
                return Err(FetchError::Downgrade { url });
            }
            if seen.contains(&next) {
                return Err(FetchError::Circle { url });
            }
            if seen.len() > self.limits.redirects {
                return Err(FetchError::TooFar { url, most: self.limits.redirects });
            }
            seen.push(next.clone());
            url = next;
        }
    }

    /// One question over a connection of its own.
    async fn ask(&self, url: &Url) -> Result<Answer, FetchError> {
        let failed = |source| FetchError::Ask { url: url.clone(), source };
        let stream = connect::connect(&self.tls, url, self.limits.connect).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let mut work = pin!(async {
            let response = sender.send_request(request(url)).await.map_err(failed)?;
            self.read(url, response).await
        });
        let mut connection = pin!(connection);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                answer = &mut work => return answer,
                // Its errors come to the question, too; what was read before its end still has to be taken.
                _ = &mut connection, if open => open = false,
            }
        }
    }

    async fn read(&self, url: &Url, response: Response<Incoming>) -> Result<Answer, FetchError> {
        let (head, incoming) = response.into_parts();
        match (head.status, head.headers.get(header::LOCATION)) {
            (StatusCode::OK, _) => {
                let document = body::collect(url, incoming, self.limits.bytes).await?;
                body::unpack(url, head.headers.get(header::CONTENT_ENCODING), document, self.limits.bytes).map(Answer::Document)
            }
            (
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT,
                Some(location),
            ) => Ok(Answer::Elsewhere(location.clone())),
            (status, _) => Err(FetchError::Status { url: url.clone(), status }),
        }
    }
}

fn request(url: &Url) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = url.target();
    let headers = request.headers_mut();
    headers.insert(header::HOST, url.host_header());
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(credentials) = url.authorization() {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    request
}
