//! Where a call goes, by its path and its metadata. A function of values; rules: behaviour (d).

use std::{collections::HashSet, net::IpAddr};

use http::HeaderMap;
use tonic::Status;

/// Names that always mean this node.
const ALWAYS_LOCAL: [&str; 3] = ["127.0.0.1", "::1", "localhost"];
/// Nodes that one call may be for. A client with more of them calls more than once.
const MAX_TARGETS: usize = 128;
/// Longest name of a node, bytes (RFC 1035).
const MAX_NAME: usize = 253;
/// Services whose replies have the shape that merging needs.
const MERGEABLE: [&str; 5] =
    ["machine.MachineService", "cluster.ClusterService", "inspect.InspectService", "storage.StorageService", "time.TimeService"];
/// Methods whose replies are merged message by message, beside those whose name ends in `Stream`. The reference's list.
const STREAMS: [&str; 16] = [
    "/machine.MachineService/Copy",
    "/machine.MachineService/DiskUsage",
    "/machine.MachineService/Dmesg",
    "/machine.MachineService/EtcdSnapshot",
    "/machine.MachineService/Events",
    "/machine.MachineService/ImageList",
    "/machine.MachineService/Kubeconfig",
    "/machine.MachineService/List",
    "/machine.MachineService/DebugContainer",
    "/machine.MachineService/Logs",
    "/machine.MachineService/PacketCapture",
    "/machine.MachineService/Read",
    "/machine.LifecycleService/Install",
    "/machine.LifecycleService/Upgrade",
    "/cluster.ClusterService/HealthCheck",
    "/os.OSService/Dmesg",
];

/// What decides beside the call itself.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    reach: Reach,
    local: HashSet<String>,
}

/// How far a call may go from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Maintenance: the metadata is not looked at, as a client may name the node as it likes.
    Unrouted,
    /// This node has no client certificate of its own.
    ThisNode,
    /// All nodes of the cluster.
    Cluster,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To machined.
    Local,
    /// To one other node; the payload stays as it is.
    One(String),
    /// To several, whose replies are merged.
    Many { targets: Vec<Target>, merge: Merge },
}

/// One of several nodes, as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) local: bool,
}

/// How replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// All of them in one message.
    Unary,
    /// Each message as it comes.
    Stream,
}

impl Route {
    pub(crate) fn new(reach: Reach, addresses: &[IpAddr], names: &[&str]) -> Self {
        let mut local: HashSet<String> = addresses.iter().map(IpAddr::to_string).collect();
        local.extend(ALWAYS_LOCAL.map(str::to_owned));
        local.extend(names.iter().filter(|name| !name.is_empty()).map(|name| name.to_ascii_lowercase()));
        Self { reach, local }
    }

    /// Where a call with this path and metadata goes, or why it goes nowhere.
    pub(crate) fn decide(&self, path: &str, headers: &HeaderMap) -> Result<Decision, Status> {
        if self.reach == Reach::Unrouted || headers.contains_key("proxyfrom") {
            return Ok(Decision::Local);
        }
        if headers.contains_key("nodes") {
            return self.many(path, headers);
        }
        let mut node = headers.get_all("node").iter();
        let Some(target) = node.next() else { return Ok(Decision::Local) };
        if node.next().is_some() {
            return Err(Status::invalid_argument("node metadata must be single-valued"));
        }
        let Target { name, local } = self.target(target.as_bytes())?;
        if local {
            return Ok(Decision::Local);
        }
        self.allow_forwarding()?;
        Ok(Decision::One(name))
    }

    fn many(&self, path: &str, headers: &HeaderMap) -> Result<Decision, Status> {
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        // One request message is sent to all: there is no telling which of several streams answers what.
        let uploads = wire::methods::find(path).is_some_and(|method| method.client_stream);
        if !MERGEABLE.contains(&service) || uploads {
            return Err(Status::invalid_argument(format!("one-2-many proxying is not supported for method {path}")));
        }
        let named = headers.get_all("nodes");
        if named.iter().count() > MAX_TARGETS {
            return Err(Status::invalid_argument(format!("a call is for at most {MAX_TARGETS} nodes; make several")));
        }
        let targets: Vec<Target> = named.iter().map(|target| self.target(target.as_bytes())).collect::<Result<_, _>>()?;
        if targets.iter().any(|target| !target.local) {
            self.allow_forwarding()?;
        }
        let merge = if STREAMS.contains(&path) || path.ends_with("Stream") { Merge::Stream } else { Merge::Unary };
        Ok(Decision::Many { targets, merge })
    }

    fn allow_forwarding(&self) -> Result<(), Status> {
        match self.reach {
            Reach::Cluster => Ok(()),
            Reach::ThisNode | Reach::Unrouted => Err(Status::permission_denied("no request forwarding")),
        }
    }

    /// A bare address or name, without a port.
    fn target(&self, bytes: &[u8]) -> Result<Target, Status> {
        let name = std::str::from_utf8(bytes).unwrap_or_default();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_name = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(letter);
        // An address may be written in more than one way.
        let plain = match name.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) if is_name => name.to_ascii_lowercase(),
            Err(_) => return Err(Status::internal(format!("invalid target {name:?}: give an address or a name without a port"))),
        };
        Ok(Target { local: self.local.contains(&plain), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    const VERSION: &str = "/machine.MachineService/Version";
    const GET: &str = "/cosi.resource.State/Get";

    fn route(reach: Reach) -> Route {
        let addresses = ["10.0.2.15".parse().expect("address"), "fd00::15".parse().expect("address")];
        Route::new(reach, &addresses, &["Node-1", "node-1.lan", ""])
    }

    fn headers(metadata: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (key, value) in metadata {
            headers.append(*key, value.parse().expect("value"));
        }
        headers
    }

    /// What a control plane and what a worker decides.
    #[track_caller]
    fn check(path: &str, metadata: &[(&'static str, &str)], cluster: Result<Decision, Code>, this_node: Result<Decision, Code>) {
        let headers = headers(metadata);
        for (reach, wanted) in [(Reach::Cluster, cluster), (Reach::ThisNode, this_node), (Reach::Unrouted, Ok(Decision::Local))] {
            let decided = route(reach).decide(path, &headers).map_err(|status| status.code());
            assert_eq!(decided, wanted, "{reach:?} {path} {metadata:?}");
        }
    }

    fn one(name: &str) -> Result<Decision, Code> {
        Ok(Decision::One(name.to_owned()))
    }

    fn many(targets: &[(&str, bool)], merge: Merge) -> Result<Decision, Code> {
        let targets = targets.iter().map(|(name, local)| Target { name: (*name).to_owned(), local: *local }).collect();
        Ok(Decision::Many { targets, merge })
    }

    const LOCAL: Result<Decision, Code> = Ok(Decision::Local);
    const NO_FORWARDING: Result<Decision, Code> = Err(Code::PermissionDenied);

    #[test]
    fn this_node_is_known_by_all_its_names() {
        for name in ["10.0.2.15", "fd00:0::15", "node-1", "NODE-1", "node-1.lan", "localhost", "127.0.0.1", "::1"] {
            check(GET, &[("node", name)], LOCAL, LOCAL);
        }
        check(VERSION, &[], LOCAL, LOCAL);
    }

    #[test]
    fn one_node_is_reached_by_control_planes_only() {
        check(GET, &[("node", "10.0.2.16")], one("10.0.2.16"), NO_FORWARDING);
        check(VERSION, &[("node", "node-2")], one("node-2"), NO_FORWARDING);
        check(VERSION, &[("node", "10.0.2.15"), ("node", "10.0.2.15")], Err(Code::InvalidArgument), Err(Code::InvalidArgument));
        for name in ["10.0.2.16:50000", "", "[fd00::16]", "https://node", "a b", "node/2", &"x".repeat(254)] {
            check(VERSION, &[("node", name)], Err(Code::Internal), Err(Code::Internal));
        }
    }

    #[test]
    fn what_was_forwarded_goes_no_further() {
        check(GET, &[("proxyfrom", "unknown"), ("node", "10.0.2.16")], LOCAL, LOCAL);
        check(GET, &[("proxyfrom", ""), ("nodes", "10.0.2.16"), ("node", "1"), ("node", "2")], LOCAL, LOCAL);
    }

    #[test]
    fn several_nodes_are_asked_at_once() {
        let both = [("nodes", "10.0.2.15"), ("nodes", "node-2"), ("node", "passed over")];
        check(VERSION, &both, many(&[("10.0.2.15", true), ("node-2", false)], Merge::Unary), NO_FORWARDING);
        let own = many(&[("node-1", true)], Merge::Stream);
        check("/machine.MachineService/Logs", &[("nodes", "node-1")], own.clone(), own);
        check("/storage.StorageService/NewStream", &[("nodes", "n")], many(&[("n", false)], Merge::Stream), NO_FORWARDING);
        for path in [GET, "/machine.ImageService/List", "/machine.StorageService/Statfs", "/machine.MachineService/EtcdRecover", "/", ""] {
            check(path, &[("nodes", "10.0.2.15")], Err(Code::InvalidArgument), Err(Code::InvalidArgument));
        }
        check(VERSION, &[("nodes", "10.0.2.16:50000")], Err(Code::Internal), Err(Code::Internal));
        let crowd: Vec<_> = (0..=MAX_TARGETS).map(|_| ("nodes", "10.0.2.15")).collect();
        check(VERSION, &crowd, Err(Code::InvalidArgument), Err(Code::InvalidArgument));
    }

    #[test]
    fn every_method_that_streams_is_in_the_list() {
        for method in wire::methods::METHODS.iter().filter(|method| MERGEABLE.contains(&method.service()) && !method.client_stream) {
            let listed = STREAMS.contains(&method.path) || method.path.ends_with("Stream");
            assert_eq!(listed, method.server_stream, "{}", method.path);
        }
    }

    proptest! {
        #[test]
        fn a_worker_never_forwards(path in "(/[a-zA-Z.]{0,24}){0,3}", key in "node|nodes", value in "[ -~]{0,40}") {
            let mut map = HeaderMap::new();
            map.append(http::HeaderName::try_from(key).unwrap(), value.parse().unwrap());
            match route(Reach::ThisNode).decide(&path, &map) {
                Ok(Decision::One(target)) => prop_assert!(false, "forwards to {target}"),
                Ok(Decision::Many { targets, .. }) => prop_assert!(targets.iter().all(|target| target.local)),
                Ok(Decision::Local) | Err(_) => {}
            }
        }
    }
}
