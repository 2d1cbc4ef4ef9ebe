//! Which client certificates are let in: those signed by an accepted authority whose only extended usage is client
//! authentication. The library alone would also accept a certificate made for servers and clients.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ApidError;

/// The verifier for these authorities.
pub(crate) fn client_verifier(roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, ApidError> {
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), wire::tls::provider())
        .build()
        .map_err(|source| ApidError::Verifier { source })?;
    Ok(Arc::new(OnlyClients(inner)))
}

#[derive(Debug)]
struct OnlyClients(Arc<dyn ClientCertVerifier>);

/// Whether client authentication is the one and only extended usage.
fn is_for_clients_only(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(usage)) = parsed.extended_key_usage() else { return false };
    let usage = usage.value;
    let others = usage.any
        || usage.server_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    usage.client_auth && !others
}

impl ClientCertVerifier for OnlyClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        if is_for_clients_only(end_entity) { Ok(verified) } else { Err(CertificateError::InvalidPurpose.into()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
