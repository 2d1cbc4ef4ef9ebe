//! The client's side.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{ALPN_H2, Identity, SpkiFingerprint, TlsError, provider};

/// Flow-control windows that the API's clients use: stream, then connection, bytes.
const WINDOWS: (u32, u32) = (65535 * 32, 65535 * 16);
/// How long TCP and TLS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Settings that trust `roots` only.
///
/// # Errors
/// When the client's key does not fit its certificate.
pub fn client_config(roots: RootCertStore, identity: Option<Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = builder()?.with_root_certificates(roots);
    finish(match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain, key).map_err(|source| TlsError::Use { what: "the client certificate", source })?
        }
        None => builder.with_no_client_auth(),
    })
}

/// Settings that accept any server, or, with a pin, only the one that holds that key. For maintenance mode.
///
/// # Errors
/// Never in practice: when the provider has no TLS 1.3.
pub fn insecure_client_config(pin: Option<SpkiFingerprint>) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(AnyServer { pin, provider: provider() });
    finish(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Use { what: "TLS 1.3", source })
}

fn finish(mut config: ClientConfig) -> Result<Arc<ClientConfig>, TlsError> {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Accepts any certificate, or those with the pinned key; the handshake's signature is still checked,
/// so the server must own the key of the certificate that it shows.
#[derive(Debug)]
struct AnyServer {
    pin: Option<SpkiFingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.pin {
            Some(pin) if SpkiFingerprint::of(end_entity).as_ref() != Some(pin) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A host that is neither an address nor a name.
    #[error("{host:?} is neither an address nor a host name")]
    Host {
        /// The text.
        host: String,
    },
    /// TCP, TLS or HTTP/2 failed.
    #[error("connect to {host} port {port}")]
    Transport {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Cause.
        source: tonic::transport::Error,
    },
}

/// An endpoint with the limits of the API's clients, for callers that want to change some of them.
///
/// # Errors
/// When the host is not one.
pub fn endpoint(host: &str, port: u16) -> Result<Endpoint, ConnectError> {
    let authority = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    let uri = |scheme: &str| format!("{scheme}://{authority}").parse::<Uri>().map_err(|_| ConnectError::Host { host: host.to_owned() });
    Ok(Endpoint::from(uri("http")?)
        .origin(uri("https")?)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .tcp_nodelay(true))
}

/// Connects `endpoint` (from [`endpoint`] with the same host and port) over TLS.
///
/// # Errors
/// When the host is unknown, does not answer, or its certificate is refused. A server that refuses ours says so only
/// after the handshake: then the first call fails.
pub async fn connect(endpoint: Endpoint, host: &str, port: u16, config: Arc<ClientConfig>) -> Result<Channel, ConnectError> {
    connect_over(None, endpoint, host, port, config).await
}

/// The same over a connection that is there already; the channel makes others when that one is gone.
///
/// # Errors
/// As [`connect`].
pub async fn connect_over(
    first: Option<TcpStream>,
    endpoint: Endpoint,
    host: &str,
    port: u16,
    config: Arc<ClientConfig>,
) -> Result<Channel, ConnectError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Host { host: host.to_owned() })?;
    let target = host.to_owned();
    let first = Mutex::new(first);
    let connector = tower::service_fn(move |_: Uri| {
        let (target, name) = (target.clone(), name.clone());
        let tls = TlsConnector::from(Arc::clone(&config));
        let there = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            let tcp = match there {
                Some(tcp) => tcp,
                None => TcpStream::connect((target.as_str(), port)).await?,
            };
            tcp.set_nodelay(true)?;
            tls.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    endpoint.connect_with_connector(connector).await.map_err(|source| ConnectError::Transport { host: host.to_owned(), port, source })
}
