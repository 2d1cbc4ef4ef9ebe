//! Sandboxes: what a service sees of the machine, and which system calls it has.
//!
//! A process of many threads cannot build namespaces in a forked child: too little is safe there. So
//! [`process::spawn`](crate::process::spawn) starts the launcher ([`launch`]) instead of the service, with an `Order` on a socket. It is a
//! program of one thread that does the steps of the order one by one, says which one failed, and executes the service.
//!
//! - [`Sandbox`]: the description. Data; the lists of each service are with the service;
//! - `order`: the description as bytes, with a limit on everything;
//! - [`launch`]: the launcher's program, with `root` (the private root) and `calls` (the filter of system calls).
//!
//! Absent on purpose: user namespaces (they give capabilities, which a service without any does not need) and network
//! namespaces (our services serve the node's addresses).

mod calls;
mod launcher;
mod order;
mod report;
mod root;

use std::path::PathBuf;

pub use launcher::{conceal, launch};
pub(crate) use order::Order;
pub use order::OrderError;
pub(crate) use report::Report;

/// An order as it was understood, written again; for fuzz targets.
pub(crate) fn reread(bytes: &[u8]) -> Result<Vec<u8>, OrderError> {
    Order::decode(bytes)?.encode()
}

/// What `argv[0]` of the launcher ends with.
pub const LAUNCHER: &str = "launcher";
/// The launcher's descriptor: it reads its order there, and says there what failed.
pub(crate) const ORDER_FD: i32 = 3;

/// What a service sees of the machine, and which system calls it has. Besides, it gets a session keyring of its own and no
/// descriptor but its standard ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// The program that calls [`launch`].
    pub launcher: PathBuf,
    /// Namespaces of its own, beside the one of mounts that every sandbox has.
    pub namespaces: Namespaces,
    /// What its root holds, in the order of mounting: nothing else. The root itself is empty, read-only, and nothing on it is executed.
    pub mounts: Vec<Mount>,
    /// Working directory in that root.
    pub directory: PathBuf,
    /// Bits that files it makes do not get.
    pub umask: u32,
    /// The system calls it has; `None` leaves it all of them.
    pub calls: Option<Calls>,
}

/// Namespaces of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Processes: it is the first one of its own, and no other's number means anything to it. The kernel does not deliver to a first
    /// process what it has no handler for, so it starts with SIGTERM held back and lets it through once it listens (`daemon::run`).
    pub pid: bool,
    /// System V and POSIX message queues, semaphores and shared memory.
    pub ipc: bool,
    /// Host and domain name: those of now, for ever.
    pub uts: bool,
}

/// Something in a private root. Targets are absolute, mount points are made; none lies below an earlier bind. Nothing honours
/// set-user-id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A file or folder of the node, without what is mounted below it.
    Bind {
        /// Path on the node.
        source: PathBuf,
        /// Path in the root.
        target: PathBuf,
        /// What is allowed on it.
        access: Access,
    },
    /// An empty file system in memory for data.
    Tmpfs {
        /// Path in the root.
        target: PathBuf,
        /// Most bytes it holds.
        bytes: u64,
        /// Mode of its top folder.
        mode: u32,
    },
    /// `/proc` with the processes of its own namespace, of these those of its own user, and nothing of the kernel.
    Proc {
        /// Path in the root.
        target: PathBuf,
    },
}

/// What is allowed on a bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Change it.
    pub write: bool,
    /// Execute files on it.
    pub execute: bool,
    /// Use device nodes on it.
    pub devices: bool,
}

/// System calls that are allowed, and what becomes of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Those that are allowed; one that is there more than once is allowed by each. The launcher adds the one that executes the program.
    pub allowed: Vec<Call>,
    /// What becomes of every other.
    pub otherwise: Otherwise,
}

/// A system call under conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The kernel's number on this architecture (`libc::SYS_*`).
    pub number: u32,
    /// All of them hold.
    pub conditions: Vec<Condition>,
}

/// `argument & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    /// Bits that are looked at. What the kernel takes as an `int` has 32.
    pub mask: u64,
    /// What they are.
    pub value: u64,
}

/// What becomes of a system call that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The process is killed (SIGSYS), and the kernel log tells the number.
    Kill,
    /// It fails with this error number.
    Refuse(u16),
}
