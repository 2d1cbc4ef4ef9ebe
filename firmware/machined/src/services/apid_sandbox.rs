//! apid's sandbox: what it sees of the node, and which system calls it has.
//!
//! It serves a port, reads its standard input and calls one socket. So its root holds the folder of that socket and nothing
//! else: no program, no device, no `/proc`. It is one thread that starts nothing, so it may make neither threads nor processes,
//! nor memory that is executed. Whoever takes it over has a TCP port, machined's socket and the memory of this process.

use std::path::Path;

use linux::{
    process::Resource,
    sandbox::{Access, Call, Calls, Mount, Namespaces, Otherwise, Sandbox},
};

use super::system_calls;

/// Open files, four times what its limit of connections needs; no core dump, as its memory holds keys; no file grows.
pub(super) const LIMITS: [(Resource, u64); 3] = [(Resource::RLIMIT_NOFILE, 1024), (Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_FSIZE, 0)];

/// The sandbox; `socket` is machined's.
pub(super) fn sandbox(launcher: &Path, socket: &Path) -> Sandbox {
    let folder = socket.parent().unwrap_or(socket);
    Sandbox {
        launcher: launcher.to_owned(),
        namespaces: Namespaces { pid: true, ipc: true, uts: true },
        // The folder and not the socket: machined that is started anew makes another.
        mounts: vec![Mount::Bind { source: folder.to_owned(), target: folder.to_owned(), access: Access::default() }],
        directory: "/".into(),
        umask: 0o077,
        calls: Some(Calls { allowed: calls(), otherwise: Otherwise::Kill }),
    }
}

/// Others kill it; the suite `sandbox` looks for that in the kernel log.
pub(super) fn calls() -> Vec<Call> {
    let sockets = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX].map(|family| (family, libc::SOCK_STREAM));
    system_calls::of_a_server(&sockets, &[libc::SOL_SOCKET, libc::IPPROTO_TCP, libc::IPPROTO_IPV6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sees_one_folder() {
        let sandbox = sandbox("/launcher".as_ref(), "/run/machined/machine.sock".as_ref());
        let folder = || "/run/machined".into();
        assert_eq!(sandbox.mounts, [Mount::Bind { source: folder(), target: folder(), access: Access::default() }]);
    }
}
