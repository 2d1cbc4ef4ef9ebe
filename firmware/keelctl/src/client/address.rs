//! `host[:port]` of endpoints and nodes.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use super::ClientError;

/// Where an API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address or name, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for Address {
    type Err = ClientError;

    /// `host`, `host:port`, `[v6]:port`, bare IPv6; `https://` in front means port 443.
    fn from_str(given: &str) -> Result<Self, ClientError> {
        let wrong = |why| ClientError::Address { given: given.into(), why };
        if given.starts_with("http://") {
            return Err(wrong("plain text connections are not offered; leave http:// out"));
        }
        let (rest, default) = match given.strip_prefix("https://") {
            Some(rest) => (rest.trim_end_matches('/'), 443),
            None => (given, wire::APID_PORT),
        };
        let (host, port) = if let Some(inside) = rest.strip_prefix('[') {
            let (host, after) = inside.split_once(']').ok_or_else(|| wrong("the bracket is not closed"))?;
            (host, after.strip_prefix(':').or((!after.is_empty()).then_some("?")))
        } else if rest.parse::<Ipv6Addr>().is_ok() {
            (rest, None)
        } else {
            rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
        };
        if host.is_empty() || host.contains(['/', ' ', '@']) {
            return Err(wrong("it must be host or host:port"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong("the port must be a number up to 65535"))?,
            None => default,
        };
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn every_usual_spelling() {
        for (given, wanted) in [
            ("10.0.0.1", Some("10.0.0.1:50000")),
            ("10.0.0.1:5001", Some("10.0.0.1:5001")),
            ("node.lan", Some("node.lan:50000")),
            ("fd00::1", Some("[fd00::1]:50000")),
            ("[fd00::1]", Some("[fd00::1]:50000")),
            ("[fd00::1]:7", Some("[fd00::1]:7")),
            ("https://node.lan", Some("node.lan:443")),
            ("https://node.lan:8443/", Some("node.lan:8443")),
            ("http://node.lan", None),
            ("[fd00::1", None),
            ("[fd00::1]7", None),
            ("node:x", None),
            ("node:70000", None),
            ("", None),
            ("a b", None),
        ] {
            let found = given.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), wanted, "{given}");
        }
    }
}
