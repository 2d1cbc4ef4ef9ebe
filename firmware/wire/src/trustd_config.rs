//! What machined tells trustd, as [`orders`](crate::orders).

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// trustd's whole configuration. trustd reads no file. `listen` holds for the life of the process; everything else can be changed
/// by a later one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustdConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The server's certificate, then its issuers, PEM.
    pub server_chain_pem: String,
    /// The server's private key, PEM with any of the usual labels. Secret.
    pub server_key_pem: Zeroizing<String>,
    /// The authority that signs, PEM.
    pub authority_pem: String,
    /// Its private key, PEM with any of the usual labels. The most secret of all.
    pub authority_key_pem: Zeroizing<String>,
    /// All accepted authorities, PEM: told to joining nodes, and who renews has a certificate of one of them.
    pub accepted_pem: String,
    /// What a joining node must know. Secret.
    pub token: Zeroizing<String>,
}

impl fmt::Debug for TrustdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustdConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_json_and_hides_its_secrets() {
        let secret = || Zeroizing::new("very secret".to_owned());
        let config = TrustdConfig {
            listen: "0.0.0.0:50001".parse().expect("address"),
            server_chain_pem: "chain".into(),
            server_key_pem: secret(),
            authority_pem: "authority".into(),
            authority_key_pem: secret(),
            accepted_pem: "authorities".into(),
            token: secret(),
        };
        let line = crate::orders::to_line(&config).expect("encode");
        assert_eq!(serde_json::from_slice::<TrustdConfig>(&line).expect("decode"), config);
        assert!(!format!("{config:?}").contains("secret"));
    }
}
