//! Who is let in, and for how long.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};
use tokio::{sync::watch, time::sleep};
use wire::{
    apid_config::Mode,
    tls::accept::{Doorman, Limits, Revoked},
};

use crate::{Current, peer::Peer};

/// At the same time.
pub(crate) const LIMITS: Limits = Limits { handshakes: 32, connections: 128 };
/// What a connection has to end what is under way once its certificate is not accepted any more: the call that brought the change about
/// is one of them.
pub(crate) const REVOKED_LIMIT: Duration = Duration::from_secs(10);

/// Lets in whom the newest configuration accepts.
pub(crate) struct Door {
    pub(crate) current: watch::Receiver<Current>,
    pub(crate) mode: Mode,
}

impl Doorman for Door {
    type Peer = Peer;

    fn settings(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow().tls)
    }

    fn admit(&self, address: SocketAddr, chain: Option<&[CertificateDer<'_>]>) -> (Peer, Revoked) {
        let owned = chain.map(|chain| chain.iter().map(|certificate| certificate.clone().into_owned()).collect());
        (Peer::new(address, self.mode, chain), Box::pin(revoked(self.current.clone(), owned, address)))
    }
}

/// Waits until the certificate that a connection was made with has not been accepted for [`REVOKED_LIMIT`]. It is looked at
/// with each change, so one that has run out is found when the node renews its own: within half a day.
async fn revoked(mut current: watch::Receiver<Current>, chain: Option<Vec<CertificateDer<'static>>>, address: SocketAddr) {
    let accepted = |current: &Current| match (&current.clients, chain.as_deref()) {
        (Some(clients), Some([leaf, issuers @ ..])) => clients.verify_client_cert(leaf, issuers, UnixTime::now()).is_ok(),
        (clients, _) => clients.is_none(),
    };
    if current.wait_for(|current| !accepted(current)).await.is_err() {
        // The gateway is gone, and its connections with it.
        return std::future::pending().await;
    }
    log::info!(target: "apid", "{address}: its certificate is not accepted any more; the connection ends in {} s", REVOKED_LIMIT.as_secs());
    sleep(REVOKED_LIMIT).await;
}
