//! How a worker gets the certificate of its API: it makes a key and asks the control planes, in turn, to sign for it.
//!
//! The first time it says the token. Later it shows the certificate that it has, and says the token only where that is not enough:
//! its names have changed, or the control plane is one that knows tokens only. Figures: behaviour (e).

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use machine_config::Config;
use pki::{Identity, Secret};
use tokio::{
    net::lookup_host,
    time::{sleep, timeout},
};
use tonic::{Request, Status, metadata::MetadataValue};
use wire::{
    security::{CertificateRequest, CertificateResponse, security_service_client::SecurityServiceClient},
    tls,
};

use super::apid_plan::{CERTIFICATE_LIFE, Subject, is_stale};
use crate::node::Node;

/// One control plane's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a round in which nobody signed; doubled each time, up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Control planes that are asked in a round.
const ENDPOINTS: usize = 16;
/// Longest certificate that is looked at, bytes of PEM.
const LONGEST: usize = 64 * 1024;

/// A certificate that a control plane signed.
#[derive(Clone)]
pub(super) struct Signed {
    pub(super) identity: Identity,
    pub(super) made: SystemTime,
    /// An authority signed it that is accepted, but is not the one that is to sign: control planes are about to change over.
    pub(super) provisional: bool,
    /// What it was asked for with; with anything else it is of no use.
    of: Terms,
}

/// What a certificate depends on.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Terms {
    subject: Subject,
    accepted: String,
    time_epoch: u64,
}

impl Terms {
    pub(super) fn of(subject: Subject, config: &Config, time_epoch: u64) -> Self {
        Self { subject, accepted: config.client_cas_pem(), time_epoch }
    }
}

impl Signed {
    /// Whether it is what these terms ask for, and young enough.
    pub(super) fn serves(&self, terms: &Terms, now: SystemTime) -> bool {
        self.of == *terms && !self.provisional && !is_stale(self.made, now)
    }

    /// Whether clients still take it. After a clock was set back they do: it reaches back a year.
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).map_or(true, |age| age < CERTIFICATE_LIFE)
    }
}

#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("find out the address of {host}")]
    Name { host: String, source: std::io::Error },
    #[error("the name {host} has no address")]
    NoAddress { host: String },
    #[error("the cluster's endpoint names no host")]
    NoHost,
    #[error("no answer from {address} within {} s", ANSWER_LIMIT.as_secs())]
    Silent { address: SocketAddr },
    #[error("reach {address}")]
    Connect { address: SocketAddr, source: tls::ConnectError },
    #[error("{address} refuses to sign: {}", source.message())]
    Refused { address: SocketAddr, source: Box<Status> },
    #[error("make a request")]
    Request { source: pki::Error },
    #[error("set up TLS")]
    Tls { source: tls::TlsError },
    #[error("use what {address} signed")]
    Unusable { address: SocketAddr, source: pki::Error },
    #[error("the token cannot be said to a control plane")]
    Token,
    #[error("making a key failed unexpectedly")]
    Lost,
}

/// The certificate that `terms` ask for: tried until somebody signs it. What goes wrong is told to people once, until something else does.
pub(super) async fn certificate(node: &Node, config: &Config, terms: &Terms, former: Option<&Signed>, port: u16) -> Signed {
    let (mut pause, mut said) = (PAUSE.0, String::new());
    loop {
        let problem = match round(config, terms, former, port).await {
            Ok(signed) => return signed,
            Err(error) => daemon::report(&error).to_string(),
        };
        if problem != said {
            log::warn!(target: "services", "no certificate for this node's API yet: {problem}");
            node.warnings.push(format!("no certificate for this node's API from the control planes yet: {problem}"));
            said = problem;
        }
        // Nodes that start together do not ask together for ever.
        let spread = pause / 256 * u32::from(uuid::Uuid::new_v4().as_bytes()[0]) / 4;
        sleep(pause + spread).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Asks each control plane once, until one signs; the last one's error.
async fn round(config: &Config, terms: &Terms, former: Option<&Signed>, port: u16) -> Result<Signed, JoinError> {
    let mut problem = JoinError::NoHost;
    for address in endpoints(config, port).await? {
        let asked = Asking { config, terms, address };
        match timeout(ANSWER_LIMIT, asked.certificate(former)).await {
            Ok(Ok(signed)) => return Ok(signed),
            Ok(Err(error)) => problem = error,
            Err(_) => problem = JoinError::Silent { address },
        }
    }
    Err(problem)
}

/// Where control planes are: all addresses of the cluster's endpoint.
async fn endpoints(config: &Config, port: u16) -> Result<Vec<SocketAddr>, JoinError> {
    let host = config.cluster().endpoint_host().ok_or(JoinError::NoHost)?;
    let name = |source| JoinError::Name { host: host.to_owned(), source };
    let late = |_| name(std::io::ErrorKind::TimedOut.into());
    let found: BTreeSet<SocketAddr> = timeout(ANSWER_LIMIT, lookup_host((host, port))).await.map_err(late)?.map_err(name)?.collect();
    if found.is_empty() {
        return Err(JoinError::NoAddress { host: host.to_owned() });
    }
    Ok(found.into_iter().take(ENDPOINTS).collect())
}

/// One control plane, asked for one certificate.
struct Asking<'a> {
    config: &'a Config,
    terms: &'a Terms,
    address: SocketAddr,
}

impl Asking<'_> {
    async fn certificate(&self, former: Option<&Signed>) -> Result<Signed, JoinError> {
        let (subject, accepted) = (self.terms.subject.clone(), self.terms.accepted.clone());
        // Not in the reactor: keys take time. The authority that is to sign decides their kind.
        let authority = self.config.machine_ca().cert_pem.clone();
        let made = tokio::task::spawn_blocking(move || pki::request_server(&subject.request(), &authority)).await;
        let (request, key) = made.map_err(|_| JoinError::Lost)?.map_err(|source| JoinError::Request { source })?;
        let reply = match self.renewal(former, &request).await {
            Some(reply) => reply,
            None => self.ask(&request, None, Some(self.config.token())).await?,
        };
        let now = SystemTime::now();
        let unusable = |source| JoinError::Unusable { address: self.address, source };
        let text = String::from_utf8(reply.crt).ok().filter(|text| text.len() <= LONGEST).unwrap_or_default();
        let signer = pki::check_server(&text, &key, &accepted, now).map_err(unusable)?;
        let identity = Identity { cert_pem: text, key_pem: key };
        Ok(Signed { identity, made: now, provisional: signer != 0, of: self.terms.clone() })
    }

    /// Shows the certificate that there is, unless the new one is to say more. `None` when that does not help.
    async fn renewal(&self, former: Option<&Signed>, request: &str) -> Option<CertificateResponse> {
        let former = former.filter(|former| former.of.subject == self.terms.subject && former.of.time_epoch == self.terms.time_epoch)?;
        match self.ask(request, Some(&former.identity), None).await {
            Ok(reply) => Some(reply),
            Err(error) => {
                log::info!(target: "services", "the certificate is not renewed by itself ({}); trying with the token", daemon::report(&error));
                None
            }
        }
    }

    async fn ask(&self, request: &str, identity: Option<&Identity>, token: Option<&Secret>) -> Result<CertificateResponse, JoinError> {
        let address = self.address;
        let failed = |source| JoinError::Tls { source };
        let roots = tls::roots("the accepted authorities", &self.terms.accepted).map_err(failed)?;
        let own = identity.map(|own| tls::Identity::from_pem(&own.cert_pem, own.key_pem.expose())).transpose().map_err(failed)?;
        let settings = tls::client_config(roots, own).map_err(failed)?;
        let host = address.ip().to_string();
        let unreachable = |source| JoinError::Connect { address, source };
        let endpoint = tls::endpoint(&host, address.port()).map_err(unreachable)?;
        let channel = tls::connect(endpoint, &host, address.port(), settings).await.map_err(unreachable)?;
        let mut message = Request::new(CertificateRequest { csr: request.as_bytes().to_vec() });
        if let Some(token) = token {
            let mut value: MetadataValue<_> = token.expose().parse().map_err(|_| JoinError::Token)?;
            value.set_sensitive(true);
            message.metadata_mut().insert(wire::TOKEN_KEY, value);
        }
        let refused = |source| JoinError::Refused { address, source: Box::new(source) };
        Ok(SecurityServiceClient::new(channel).certificate(message).await.map_err(refused)?.into_inner())
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("made", &self.made).field("provisional", &self.provisional).finish_non_exhaustive()
    }
}
