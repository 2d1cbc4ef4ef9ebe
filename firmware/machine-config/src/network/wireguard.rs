//! WireGuard tunnels.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use pki::Secret;

use super::values::span;
use crate::{
    take::{Taker, number, secret, text},
    tree::Node,
};

/// Length of a key in base64.
const KEY: usize = 44;

/// Settings of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wireguard {
    /// The node's key, base64 of 32 bytes.
    pub private_key: Secret,
    /// UDP port, if given.
    pub listen_port: Option<u16>,
    /// Mark of the tunnel's own packets; 0 is none.
    pub firewall_mark: u32,
    /// The other ends.
    pub peers: Vec<WireguardPeer>,
}

/// The other end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardPeer {
    /// Its key, base64 of 32 bytes.
    pub public_key: String,
    /// A key that both ends have; empty when there is none.
    pub preshared_key: Secret,
    /// Where it is; `None` waits for its first packet.
    pub endpoint: Option<SocketAddr>,
    /// How often it is sent something; zero is never.
    pub keepalive: Duration,
    /// Addresses that it may use.
    pub allowed_ips: Vec<IpNet>,
}

impl Taker {
    pub(super) fn wireguard(&mut self, node: &Node, path: &str) -> Wireguard {
        let peers = self.each(node.get("peers"), &format!("{path}.peers"), |taker, node, path| {
            let peer = WireguardPeer {
                public_key: text(node.get("publicKey")),
                preshared_key: secret(node.get("presharedKey")),
                endpoint: taker.one(node.get("endpoint"), &format!("{path}.endpoint"), "an address with port (10.0.0.1:51820)"),
                keepalive: span(node.get("persistentKeepaliveInterval")).unwrap_or_default(),
                allowed_ips: taker.parsed(node.get("allowedIPs"), &format!("{path}.allowedIPs"), "a network (10.0.0.0/24)"),
            };
            taker.key(&peer.public_key, node, &format!("{path}.publicKey"));
            if !peer.preshared_key.is_empty() {
                taker.key(peer.preshared_key.expose(), node, &format!("{path}.presharedKey"));
            }
            if peer.keepalive > Duration::from_secs(65_535) {
                taker.problems.add(node.line, format!("{path}.persistentKeepaliveInterval"), "at most 65535s");
            }
            Some(peer)
        });
        let mut known: Vec<&str> = peers.iter().map(|peer| peer.public_key.as_str()).collect();
        known.sort_unstable();
        if known.windows(2).any(|pair| pair.first() == pair.last()) {
            self.problems.add(node.line, format!("{path}.peers"), "two peers have the same publicKey");
        }
        let private_key = secret(node.get("privateKey"));
        self.key(private_key.expose(), node, &format!("{path}.privateKey"));
        let listen_port = self.bounded(node.get("listenPort"), &format!("{path}.listenPort"), 0, 65_535);
        Wireguard {
            private_key,
            listen_port: listen_port.and_then(|port| port.try_into().ok()).filter(|port| *port > 0),
            firewall_mark: number(node.get("firewallMark")).unwrap_or(0),
            peers,
        }
    }

    fn key(&mut self, key: &str, node: &Node, path: &str) {
        if key.len() != KEY || !key.ends_with('=') || !pki::is_base64(key) {
            self.problems.add(node.line, path, "this must be a key: base64 of 32 bytes");
        }
    }
}
