//! dnsd's sandbox: what it sees of the node, and which system calls it has.
//!
//! It serves a port, asks others, reads its standard input and writes its standard output. So its root is empty. Whoever takes it
//! over has sockets of UDP and TCP on the node's network, ports below 1024 among them, and the questions and answers that pass.

use std::path::Path;

use linux::{
    process::{Capabilities, Resource},
    sandbox::{Call, Sandbox},
};

use super::{settings::empty_sandbox, system_calls};

/// Open files: a port for each question that is under way and each connection, and as many again. No core dump, no file grows.
pub(super) const LIMITS: [(Resource, u64); 3] = [(Resource::RLIMIT_NOFILE, 1024), (Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_FSIZE, 0)];
/// `CAP_NET_BIND_SERVICE`: it opens port 53 whenever it is told of another address.
pub(super) const CAPABILITIES: Capabilities = Capabilities(1 << 10);

/// The sandbox.
pub(super) fn sandbox(launcher: &Path) -> Sandbox {
    empty_sandbox(launcher, calls())
}

/// Others kill it; the suite `dns` looks for that in the kernel log.
pub(super) fn calls() -> Vec<Call> {
    let kinds = |family| [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(|kind| (family, kind));
    let sockets = [libc::AF_INET, libc::AF_INET6].map(kinds).concat();
    system_calls::of_a_server(&sockets, &[libc::SOL_SOCKET, libc::IPPROTO_IP])
}
