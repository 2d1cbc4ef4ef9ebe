//! From a URL to a stream of bytes: names, TCP, TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{FetchError, Url};

/// Addresses of a name that are tried.
const ADDRESSES: usize = 6;

/// TLS 1.3 as everywhere in the system; HTTP/1.1 is the one protocol spoken.
pub fn tls(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(wire::tls::provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, plain or not.
pub enum Stream {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

/// Tries the addresses of the URL's host one after another; `limit` is for each of them, and for the handshake.
pub async fn connect(tls: &TlsConnector, url: &Url, limit: Duration) -> Result<Stream, FetchError> {
    let host = || url.host().to_owned();
    let resolved = bounded(limit, lookup_host((url.host(), url.port()))).await;
    let addresses: Vec<SocketAddr> = resolved.map_err(|source| FetchError::Resolve { host: host(), source })?.take(ADDRESSES).collect();
    let mut last = FetchError::NoAddress { host: host() };
    for address in addresses {
        match bounded(limit, TcpStream::connect(address)).await {
            Ok(stream) if url.is_https() => {
                let name = ServerName::try_from(host()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error));
                let secured = match name {
                    Ok(name) => bounded(limit, tls.connect(name, stream)).await,
                    Err(error) => Err(error),
                };
                return secured.map(|stream| Stream::Secured(Box::new(stream))).map_err(|source| FetchError::Tls { host: host(), source });
            }
            Ok(stream) => return Ok(Stream::Plain(stream)),
            Err(source) => last = FetchError::Connect { host: host(), address, source },
        }
    }
    Err(last)
}

async fn bounded<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {} s", limit.as_secs()));
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secured(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
