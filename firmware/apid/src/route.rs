//! Where a call goes, by its metadata.

use std::{collections::HashSet, net::IpAddr};

use http::HeaderMap;
use tonic::Status;

/// Names that always mean this node.
const ALWAYS_LOCAL: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// What means this node.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// In maintenance the metadata is not looked at: a client may name the node as it likes.
    enabled: bool,
    local: HashSet<String>,
}

impl Route {
    pub(crate) fn new(enabled: bool, addresses: &[IpAddr], hostname: &str) -> Self {
        let mut local: HashSet<String> = addresses.iter().map(IpAddr::to_string).collect();
        local.extend(ALWAYS_LOCAL.map(str::to_owned));
        if !hostname.is_empty() {
            local.insert(hostname.to_ascii_lowercase());
        }
        Self { enabled, local }
    }

    /// Whether the call is for this node; if not, why it goes nowhere.
    ///
    /// `node` names one target, `nodes` (older clients) several; without either the call is for this node.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Status> {
        if !self.enabled {
            return Ok(());
        }
        let mut node = headers.get_all("node").iter();
        if let Some(target) = node.next() {
            if node.next().is_some() {
                return Err(Status::invalid_argument("node metadata must be single-valued"));
            }
            return self.local(target.as_bytes());
        }
        // `nodes` asks for merged replies with a host name each: not for us to fake with a plain one.
        if headers.contains_key("nodes") {
            return Err(Status::unimplemented("metadata \"nodes\" is not in this version; send one call with \"node\" to each"));
        }
        Ok(())
    }

    fn local(&self, target: &[u8]) -> Result<(), Status> {
        let target = std::str::from_utf8(target).unwrap_or_default().to_ascii_lowercase();
        // An address may be written in more than one way.
        let target = target.parse::<IpAddr>().map_or(target, |address| address.to_string());
        if self.local.contains(&target) { Ok(()) } else { Err(Status::unimplemented("forwarding to other nodes is not in this version")) }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[track_caller]
    fn check(metadata: &[(&'static str, &str)], wanted: Option<Code>) {
        let mut headers = HeaderMap::new();
        for (key, value) in metadata {
            headers.append(*key, value.parse().expect("value"));
        }
        let addresses = ["10.0.2.15".parse().expect("address"), "fd00::15".parse().expect("address")];
        let route = Route::new(true, &addresses, "Node-1");
        assert_eq!(route.check(&headers).err().map(|status| status.code()), wanted, "{metadata:?}");
        assert!(Route::new(false, &[], "").check(&headers).is_ok(), "maintenance: {metadata:?}");
    }

    #[test]
    fn only_this_node_is_served() {
        check(&[], None);
        check(&[("node", "10.0.2.15")], None);
        check(&[("node", "fd00:0::15")], None);
        check(&[("node", "node-1")], None);
        check(&[("node", "localhost")], None);
        check(&[("node", "127.0.0.1")], None);
        check(&[("node", "10.0.2.16")], Some(Code::Unimplemented));
        check(&[("node", "10.0.2.15:50000")], Some(Code::Unimplemented));
        check(&[("node", "")], Some(Code::Unimplemented));
        check(&[("node", "10.0.2.15"), ("node", "10.0.2.15")], Some(Code::InvalidArgument));
        check(&[("nodes", "10.0.2.15")], Some(Code::Unimplemented));
    }
}
