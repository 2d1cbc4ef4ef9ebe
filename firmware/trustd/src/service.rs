//! The one method.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use pki::CertificateRequest;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use wire::{
    security::{CertificateRequest as AskedFor, CertificateResponse},
    server::security::security_service_server::SecurityService,
};

use crate::{
    Current,
    admission::{self, Claim},
    door::Peer,
    guesses::Guesses,
};

/// How long a certificate is valid. Nodes renew theirs at half of it.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// The service behind every connection.
#[derive(Debug)]
pub(crate) struct Security {
    current: watch::Receiver<Current>,
    guesses: Mutex<Guesses>,
}

impl Security {
    pub(crate) fn new(current: watch::Receiver<Current>) -> Self {
        Self { current, guesses: Mutex::default() }
    }

    /// The certificate that the peer asks for, and on what grounds it got it.
    fn sign(&self, peer: &Peer, request: &Request<AskedFor>) -> Result<CertificateResponse, Status> {
        let current = self.current.borrow().clone();
        let said = request.metadata().get(wire::TOKEN_KEY).map(|value| value.as_bytes());
        let grounds = admission::admit(&current.token, said, peer.certificate.is_some())?;
        let invalid = |error: pki::Error| Status::invalid_argument(daemon::report(&error).to_string());
        let text = std::str::from_utf8(&request.get_ref().csr).map_err(|_| Status::invalid_argument("the request is not PEM"))?;
        let asked = CertificateRequest::from_pem(text).map_err(invalid)?;
        let claim = Claim { common_name: asked.common_name().map(str::to_owned), names: asked.names() };
        let has = peer.certificate.as_ref().map(|certificate| claimed(certificate)).transpose().map_err(invalid)?;
        admission::within(grounds, &claim, has.as_ref())?;
        let certificate = current.authority.certify(&asked, LIFE, SystemTime::now()).map_err(|error| {
            log::error!(target: "trustd", "sign for {}: {}", peer.address, daemon::report(&error));
            Status::internal("the certificate could not be signed")
        })?;
        let name = claim.common_name.as_deref().unwrap_or("a node without a name");
        log::info!(target: "trustd", "{name} ({}): certificate signed ({grounds:?}) for {:?}", peer.address, claim.names);
        Ok(CertificateResponse { ca: current.accepted.as_bytes().to_vec(), crt: certificate.into_bytes() })
    }
}

/// Whom a certificate says that a node is.
fn claimed(certificate: &[u8]) -> Result<Claim, pki::Error> {
    Ok(Claim { common_name: pki::common_name(certificate)?, names: pki::server_names(certificate)? })
}

#[tonic::async_trait]
impl SecurityService for Security {
    async fn certificate(&self, request: Request<AskedFor>) -> Result<Response<CertificateResponse>, Status> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("a call without a connection"));
        };
        let (address, now) = (peer.address.ip(), Instant::now());
        if self.guesses.lock().unwrap_or_else(PoisonError::into_inner).refuses(address, now) {
            return Err(Status::resource_exhausted("too many wrong tokens from this address; wait a minute"));
        }
        let signed = self.sign(&peer, &request);
        if let Err(status) = &signed {
            log::warn!(target: "trustd", "{}: refused: {}", peer.address, status.message());
            if status.code() == Code::Unauthenticated {
                self.guesses.lock().unwrap_or_else(PoisonError::into_inner).wrong(address, now);
            }
        }
        signed.map(Response::new)
    }
}
