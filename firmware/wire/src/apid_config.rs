//! What machined tells apid: JSON documents on its standard input, one a line. The first is what it starts with, each
//! later one takes the place of the one before it without cutting a connection.

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

/// Longest line, bytes.
pub const MAX_LINE: usize = 1024 * 1024;

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
    /// Accepted client CAs, PEM. Required when running.
    pub client_ca_pem: Option<String>,
    /// Addresses that mean this node in `node` metadata.
    pub local_addresses: Vec<IpAddr>,
    /// Host name that means this node in `node` metadata.
    pub hostname: String,
    /// machined's socket.
    pub socket: PathBuf,
}

impl ApidConfig {
    /// As the line that apid reads, line break included. Secret.
    ///
    /// # Errors
    /// When the socket's path is not UTF-8.
    pub fn to_line(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let mut line = Zeroizing::new(serde_json::to_vec(self)?);
        line.push(b'\n');
        Ok(line)
    }
}

impl fmt::Debug for ApidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApidConfig")
            .field("mode", &self.mode)
            .field("listen", &self.listen)
            .field("local_addresses", &self.local_addresses)
            .field("hostname", &self.hostname)
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
            local_addresses: vec!["10.0.2.15".parse().expect("address")],
            hostname: "node-1".into(),
            socket: crate::MACHINED_SOCKET.into(),
        };
        let line = config.to_line().expect("encode");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<ApidConfig>(&line).expect("decode"), config);
        assert!(!format!("{config:?}").contains("secret"));
    }
}
