//! What machined tells apid, as [`orders`](crate::orders). A later one takes effect without cutting a connection.

use std::{fmt, net::IpAddr, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Whom apid lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No configuration yet: no client certificate is asked for and every caller is a reader.
    #[default]
    Maintenance,
    /// Client certificates signed by the client CA, roles from their organisations.
    Running,
}

/// apid's whole configuration. apid reads no file. `mode`, `listen` and `socket` hold for the life of the process;
/// everything else can be changed by a later line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApidConfig {
    /// Whom to let in.
    pub mode: Mode,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The server's certificate, then its issuers, PEM.
    pub server_chain_pem: String,
    /// The server's private key, PEM with any of the usual labels. Secret.
    pub server_key_pem: Zeroizing<String>,
    /// Accepted CAs, PEM: of clients, and of other nodes. Required when running.
    pub client_ca_pem: Option<String>,
    /// What this node shows to other nodes; without it no call is forwarded.
    pub impersonator: Option<Impersonator>,
    /// Addresses that mean this node in `node` metadata.
    pub local_addresses: Vec<IpAddr>,
    /// Host names that mean this node in `node` metadata.
    pub local_names: Vec<String>,
    /// Name servers that know the names of other nodes.
    pub resolvers: Vec<IpAddr>,
    /// machined's socket.
    pub socket: PathBuf,
}

/// A client certificate of role `os:impersonator`: other nodes believe whom it says it speaks for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impersonator {
    /// The certificate, then its issuers, PEM.
    pub chain_pem: String,
    /// Its private key, PEM with any of the usual labels. Secret.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Impersonator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Impersonator").finish_non_exhaustive()
    }
}

impl fmt::Debug for ApidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApidConfig")
            .field("mode", &self.mode)
            .field("listen", &self.listen)
            .field("local_addresses", &self.local_addresses)
            .field("local_names", &self.local_names)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_json_and_hides_its_key() {
        let config = ApidConfig {
            mode: Mode::Running,
            listen: "0.0.0.0:50000".parse().expect("address"),
            server_chain_pem: "chain".into(),
            server_key_pem: Zeroizing::new("very secret".into()),
            client_ca_pem: Some("ca".into()),
            impersonator: Some(Impersonator { chain_pem: "chain".into(), key_pem: Zeroizing::new("no less secret".into()) }),
            local_addresses: vec!["10.0.2.15".parse().expect("address")],
            local_names: vec!["node-1".into()],
            resolvers: vec!["10.0.2.3".parse().expect("address")],
            socket: crate::MACHINED_SOCKET.into(),
        };
        let line = crate::orders::to_line(&config).expect("encode");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<ApidConfig>(&line).expect("decode"), config);
        assert!(!format!("{config:?}").contains("secret"));
    }
}
