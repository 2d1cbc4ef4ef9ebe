//! Every method of the API, by path.

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The path on the wire (`/machine.MachineService/Version`).
    pub path: &'static str,
    /// The client sends a stream.
    pub client_stream: bool,
    /// The server sends a stream.
    pub server_stream: bool,
    /// machined has a handler for it.
    pub served: bool,
}

impl Method {
    /// The full service name (`machine.MachineService`).
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.path.trim_start_matches('/').split('/').next().unwrap_or_default()
    }

    /// The method name alone (`Version`).
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The method with this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|method| method.path.cmp(path)).ok().and_then(|at| METHODS.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, streams: Option<(bool, bool, bool)>) {
        assert_eq!(find(path).map(|m| (m.client_stream, m.server_stream, m.served)), streams, "{path}");
    }

    #[test]
    fn methods_are_found_with_their_streams() {
        check("/machine.MachineService/Version", Some((false, false, true)));
        check("/machine.MachineService/Logs", Some((false, true, true)));
        check("/machine.MachineService/EtcdRecover", Some((true, false, false)));
        check("/machine.DebugService/ContainerRun", Some((true, true, false)));
        check("/storage.StorageService/Disks", Some((false, false, true)));
        check("/securityapi.SecurityService/Certificate", Some((false, false, false)));
        check("/machine.MachineService/Nothing", None);
        check("", None);
    }

    #[test]
    fn names_split() {
        let method = find("/time.TimeService/Time").expect("known");
        assert_eq!((method.service(), method.name()), ("time.TimeService", "Time"));
    }
}
