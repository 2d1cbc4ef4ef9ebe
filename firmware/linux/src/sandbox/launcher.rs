//! The launcher: from an order on a socket to the service's program, one step after the other.

use std::{
    convert::Infallible,
    ffi::{CString, OsStr},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::OpenOptionsExt,
            net::{SocketAddr, UnixStream},
        },
    },
    path::Path,
    process::ExitCode,
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::chdir,
};

use super::{ORDER_FD, Order, OrderError, Report, Sandbox, calls, order, root};
use crate::process::{Image, Privileges, check, default_signals};

/// What the launcher ends with when a step failed, as shells do when they cannot execute.
const FAILED: u8 = 126;
/// What it ends with when nobody gave it an order.
const USAGE: u8 = 2;
/// `keyctl(2)`: a session keyring of its own.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

/// The program. Only [`spawn`](crate::process::spawn) starts it.
///
/// Needs a process of one thread: it comes here from `main` and starts none.
#[must_use]
pub fn launch() -> ExitCode {
    let Some(mut socket) = socket() else {
        eprintln!("keelson: the launcher is started by machined, with an order");
        return ExitCode::from(USAGE);
    };
    let Err(report) = carry_out(&mut socket);
    // Nobody who listens is nobody to tell.
    let _ = socket.write_all(&report.encode());
    ExitCode::from(FAILED)
}

/// Keeps the memory of this process from other processes of its user, and from a core dump. A program that is executed begins
/// without: each does it for itself.
///
/// # Errors
/// As `prctl(2)`.
pub fn conceal() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// What we were given, if it is a socket.
fn socket() -> Option<UnixStream> {
    // SAFETY: plain numbers only.
    check(libc::c_long::from(unsafe { libc::fcntl(ORDER_FD, libc::F_GETFD) })).ok()?;
    // SAFETY: it is open, and whoever gave it to this program gave it away; nothing else in here knows the number.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(ORDER_FD) });
    socket.local_addr().as_ref().is_ok_and(SocketAddr::is_unnamed).then_some(socket)
}

/// Does what is ordered; comes back only with what failed.
fn carry_out(socket: &mut UnixStream) -> Result<Infallible, Report> {
    close_on_exec().map_err(|error| Report::new("mark descriptors", error))?;
    let Order { image, privileges, sandbox } = read(socket)?;
    let Sandbox { launcher: _, namespaces, mounts, directory, umask: bits, calls } = sandbox;
    let filter = calls.as_ref().map(calls::compile).transpose()?;
    join_keyring().map_err(|error| Report::new("join a keyring", error))?;
    // From the node's tree: there need not be a program in the root.
    let (folder, image) = program(image)?;

    root::leave(namespaces)?;
    root::enter(&mounts)?;
    chdir(&directory).map_err(|errno| Report::new(format!("enter {}", directory.display()), errno))?;
    umask(Mode::from_bits_truncate(bits));
    give_up(&privileges)?;
    default_signals(namespaces.pid).map_err(|error| Report::new("set signals", error))?;
    let pointers = image.pointers();
    if let Some(filter) = &filter {
        calls::restrict(filter)?;
    }
    Err(Report::new("execute the program", pointers.execute(folder.as_raw_fd())))
}

/// What is open here is none of the service's business.
fn close_on_exec() -> io::Result<()> {
    // SAFETY: plain numbers only; nothing is closed before the next program.
    let code = unsafe { libc::syscall(libc::SYS_close_range, ORDER_FD, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(code)
}

/// The whole order: machined writes it before we are born, and ends it.
fn read(socket: &mut UnixStream) -> Result<Order, Report> {
    let mut bytes = Vec::new();
    socket.take(order::MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| Report::new("read the order", error))?;
    let refused = |error: OrderError| Report::new("understand the order", io::Error::other(error));
    Order::decode(&bytes).map_err(refused)
}

fn join_keyring() -> io::Result<()> {
    let unnamed = std::ptr::null::<libc::c_char>();
    // SAFETY: a keyring without a name is asked for, so there is no string to be read.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, unnamed) }) {
        // A kernel without keys has no keyrings that could be shared.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other,
    }
}

/// The folder of the program, open, and the image with the program's name in it. In this form the process is named after the program
/// and not after a descriptor.
fn program(image: Image) -> Result<(File, Image), Report> {
    let path = Path::new(OsStr::from_bytes(image.program.as_bytes()));
    let step = || format!("open the folder of {}", path.display());
    let parts = path.parent().zip(path.file_name().and_then(|name| CString::new(name.as_bytes()).ok()));
    let (parent, name) = parts.ok_or_else(|| Report::new(step(), io::ErrorKind::InvalidInput))?;
    let folder = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent);
    let folder = folder.map_err(|error| Report::new(step(), error))?;
    Ok((folder, Image { program: name, ..image }))
}

fn give_up(privileges: &Privileges) -> Result<(), Report> {
    privileges.apply().map_err(|(what, error)| Report::new(what, error))
}
