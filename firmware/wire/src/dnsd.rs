//! What machined and dnsd tell each other: JSON documents, one a line. machined writes [`DnsdConfig`]s to dnsd's standard input, each
//! in the place of the one before it; dnsd writes [`DnsdStatus`]es to its standard output, between lines of its log.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What a line with a status begins with; no line of the log does.
pub const STATUS_MARK: &str = "@";

/// dnsd's whole configuration. It reads no file. All of it can be changed by a later line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsdConfig {
    /// Where to listen, over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Whom to ask, in this order.
    pub upstreams: Vec<SocketAddr>,
    /// Addresses with the names that are answered without asking; the first one leads back.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
    /// Names of one label are asked for, too.
    pub single_labels: bool,
    /// Most answers that are kept.
    pub cache_entries: usize,
    /// Most bytes that they take.
    pub cache_bytes: usize,
}

/// How dnsd is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsdStatus {
    /// Where it listens.
    pub listening: Vec<Listening>,
    /// Whom it asks, in the order of its configuration.
    pub upstreams: Vec<UpstreamStatus>,
}

/// A place where dnsd listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// Over what.
    pub protocol: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// What questions come over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A packet each.
    Udp,
    /// Several a connection.
    Tcp,
}

impl Transport {
    /// `udp`, `tcp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A name server that dnsd asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamStatus {
    /// Where.
    pub address: SocketAddr,
    /// It answers.
    pub healthy: bool,
}

impl DnsdStatus {
    /// As the line that machined reads, mark and line break included.
    ///
    /// # Errors
    /// None that is known; the encoder's.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{STATUS_MARK}{}\n", serde_json::to_string(self)?))
    }

    /// From a line without its break; `None` for one of the log.
    #[must_use]
    pub fn from_line(line: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        line.strip_prefix(STATUS_MARK.as_bytes()).map(serde_json::from_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_survive_their_lines() {
        let address = "127.0.0.53:53".parse().expect("address");
        let hosts = vec![("fd00::9".parse().expect("address"), vec!["db.lan".to_owned()])];
        let config = DnsdConfig { listen: vec![address], hosts, single_labels: true, cache_bytes: 1, ..DnsdConfig::default() };
        let line = crate::orders::to_line(&config).expect("encoded");
        assert_eq!(
            (line.iter().filter(|byte| **byte == b'\n').count(), serde_json::from_slice::<DnsdConfig>(&line).ok()),
            (1, Some(config))
        );
        let status = DnsdStatus {
            listening: vec![Listening { protocol: Transport::Udp, address }],
            upstreams: vec![UpstreamStatus { address, healthy: false }],
        };
        let line = status.to_line().expect("encoded");
        assert_eq!(
            line,
            "@{\"listening\":[{\"protocol\":\"udp\",\"address\":\"127.0.0.53:53\"}],\
             \"upstreams\":[{\"address\":\"127.0.0.53:53\",\"healthy\":false}]}\n"
        );
        assert_eq!(DnsdStatus::from_line(line.trim_end().as_bytes()).and_then(Result::ok), Some(status));
        assert!(DnsdStatus::from_line(b"info dnsd: @").is_none());
        assert!(DnsdStatus::from_line(b"@{}").is_some_and(|read| read.is_err()));
    }
}
