//! trustd's sandbox: what it sees of the node, and which system calls it has.
//!
//! It serves a port and reads its standard input. So its root is empty: no file, no device, no socket. It has the system
//! calls of a server of TCP. Whoever takes it over has a TCP port and the memory of this process, with the key of the authority in it.

use std::path::Path;

use linux::{process::Resource, sandbox::Sandbox};

use super::{settings::empty_sandbox, system_calls};

/// Open files, twice what its limit of connections needs; no core dump, as its memory holds the key of the authority; no file grows.
pub(super) const LIMITS: [(Resource, u64); 3] = [(Resource::RLIMIT_NOFILE, 256), (Resource::RLIMIT_CORE, 0), (Resource::RLIMIT_FSIZE, 0)];

/// The sandbox.
pub(super) fn sandbox(launcher: &Path) -> Sandbox {
    let sockets = [libc::AF_INET, libc::AF_INET6].map(|family| (family, libc::SOCK_STREAM));
    let allowed = system_calls::of_a_server(&sockets, &[libc::SOL_SOCKET, libc::IPPROTO_TCP, libc::IPPROTO_IPV6]);
    empty_sandbox(launcher, allowed)
}
