//! Connections: a certificate is asked for and need not be shown. Who shows one shows a node's: a server's, of an accepted authority.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tokio::{sync::watch, time::sleep};
use wire::tls::accept::{Doorman, Limits, Revoked};

use crate::Current;

/// At the same time. Nodes come once in half a day, and all of them at once when a site's power comes back.
pub(crate) const LIMITS: Limits = Limits { handshakes: 32, connections: 64 };
/// Longest life of a connection: a node asks once and goes.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The node's certificate, if it showed one; the verifier has accepted it.
    pub(crate) certificate: Option<Arc<CertificateDer<'static>>>,
}

/// Lets in everybody: what they may do is decided with each call.
pub(crate) struct Door {
    pub(crate) current: watch::Receiver<Current>,
}

impl Doorman for Door {
    type Peer = Peer;

    fn settings(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow().tls)
    }

    fn admit(&self, address: SocketAddr, chain: Option<&[CertificateDer<'_>]>) -> (Peer, Revoked) {
        let certificate = chain.and_then(<[_]>::first).map(|leaf| Arc::new(leaf.clone().into_owned()));
        (Peer { address, certificate }, Box::pin(sleep(CONNECTION_LIFE)))
    }
}

/// The verifier for nodes' certificates of these authorities.
pub(crate) fn optional(authorities: Vec<CertificateDer<'static>>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Nodes { authorities, provider: wire::tls::provider() })
}

/// Accepts what a node serves with. The library's own verifier wants a client's certificate, which is what people have and what must not
/// be turned into a node's.
#[derive(Debug)]
struct Nodes {
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Nodes {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, leaf: &CertificateDer<'_>, _: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        match pki::signer_of_server(leaf, &self.authorities, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
