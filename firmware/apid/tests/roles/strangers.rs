//! Certificates that let nobody in: the handshake ends with the alert that says why, and no method is answered, whatever role they carry.

use std::{
    io,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use hyper_util::rt::TokioIo;
use pki::{Authority, AuthorityKind, KeyKind};
use qemu::coverage::{Asked, ask};
use rustls::{AlertDescription, ClientConfig, pki_types::ServerName};
use test_support::{
    Host, LIMIT,
    certificates::{Flaw, authority_itself, client},
    trusting,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Uri};
use wire::tls::{self, Identity};

use crate::table::SINGLE;

/// What every HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How a client looks that is let in by nobody.
#[derive(Clone, Copy, Debug)]
enum Kind {
    None,
    Flawed(Flaw),
    /// From an authority that is called as the node's is.
    Foreign,
    /// From one that is called otherwise.
    Unknown,
    AuthorityItself,
}

/// What each is told. Alerts: RFC 8446, section 6.2.
const KINDS: [(Kind, AlertDescription); 9] = [
    (Kind::None, AlertDescription::CertificateRequired),
    (Kind::Flawed(Flaw::Expired), AlertDescription::CertificateExpired),
    (Kind::Flawed(Flaw::NotYetValid), AlertDescription::CertificateExpired),
    (Kind::Flawed(Flaw::ForServers), AlertDescription::UnsupportedCertificate),
    (Kind::Flawed(Flaw::ForBoth), AlertDescription::UnsupportedCertificate),
    (Kind::Flawed(Flaw::ForNobodyKnows), AlertDescription::UnsupportedCertificate),
    (Kind::Foreign, AlertDescription::DecryptError),
    (Kind::Unknown, AlertDescription::UnknownCA),
    (Kind::AuthorityItself, AlertDescription::CertificateUnknown),
];

pub async fn are_refused(host: &Host, authority: &Authority, all: &[Asked]) -> Result<()> {
    let foreign = Authority::generate(AuthorityKind::Os, SystemTime::now())?;
    let unknown = Authority::generate_for("others", KeyKind::Ed25519, pki::YEAR, SystemTime::now())?;
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for (kind, alert) in KINDS {
        for (role, _) in SINGLE {
            let identity = || -> Result<Option<Identity>> {
                Ok(match kind {
                    Kind::None => None,
                    Kind::Flawed(flaw) => Some(client(authority, &[role], flaw)?),
                    Kind::Foreign => Some(client(&foreign, &[role], Flaw::None)?),
                    Kind::Unknown => Some(client(&unknown, &[role], Flaw::None)?),
                    Kind::AuthorityItself => Some(authority_itself(authority)?),
                })
            };
            let config = trusting(authority, identity()?)?;
            let refused = async {
                says(host, Arc::clone(&config), alert).await?;
                answers_nothing(host, config, all).await
            };
            let refused = timeout(LIMIT, refused).await.context("not refused in time").flatten();
            match refused {
                Ok(was_asked) => asked += usize::from(was_asked),
                Err(error) => wrong.push(format!("{kind:?} as {role}: {error:#}")),
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(asked > KINDS.len(), "{asked} connections lived long enough for a call");
    Ok(())
}

async fn open(host: &Host, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(host.address).await?;
    TlsConnector::from(config).connect(ServerName::from(host.address.ip()), tcp).await
}

/// The client's half of the handshake is done before the node has looked at its certificate: the alert comes after it.
async fn says(host: &Host, config: Arc<ClientConfig>, alert: AlertDescription) -> Result<()> {
    let mut stream = open(host, config).await.context("TLS")?;
    // Whether it is still taken is a matter of time.
    let _ = stream.write_all(PREFACE).await;
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said).await;
    ensure!(said.is_empty(), "the node said {said:?}");
    let error = ended.err().context("the connection was closed without a reason")?;
    let told = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    ensure!(matches!(told, Some(rustls::Error::AlertReceived(given)) if *given == alert), "{error} instead of {alert:?}");
    Ok(())
}

/// All methods at once over one such connection: there is no answer of the node's to any. Whether it lived long enough to be asked.
async fn answers_nothing(host: &Host, config: Arc<ClientConfig>, all: &[Asked]) -> Result<bool> {
    let Ok(channel) = only(open(host, config).await?).await else { return Ok(false) };
    let calls = all.iter().map(|asked| async {
        let answer = ask(channel.clone(), asked.method.path, &asked.message, &[]).await;
        let lost = answer.as_ref().err().is_some_and(|status| std::error::Error::source(status).is_some());
        ensure!(lost, "{} is answered: {answer:?}", asked.method.path);
        Ok(())
    });
    join_all(calls).await.into_iter().collect::<Result<()>>()?;
    ensure!(host.orders().is_empty(), "something was ordered");
    Ok(true)
}

/// A channel that lives as long as this connection.
async fn only(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let stream = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let first = stream.lock().ok().and_then(|mut stream| stream.take());
        async move { first.map(TokioIo::new).ok_or_else(|| io::Error::other("there is one connection")) }
    });
    let endpoint = tls::endpoint("127.0.0.1", 1).unwrap_or_else(|_| Channel::from_static("http://localhost"));
    endpoint.connect_with_connector(connector).await
}
