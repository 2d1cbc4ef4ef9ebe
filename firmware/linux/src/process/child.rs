//! From a [`Spec`] to a running process: what the child does to itself between its birth and its program.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use super::{
    Input, ProcessError, Spec, clone,
    image::{Image, Pointers},
    launch::{self, Launch},
    privileges::{Privileges, check, default_signals},
};
use crate::sandbox::ORDER_FD;

/// A process that was started.
pub(super) struct Started {
    pub(super) pid: u32,
    /// The end of its input pipe, when one was asked for.
    pub(super) stdin: Option<PipeWriter>,
    /// The end of its output pipe, when `spec.output` is set.
    pub(super) output: Option<PipeReader>,
    /// The launcher's word is still to come, when `spec.sandbox` is set.
    pub(super) launch: Option<Launch>,
}

/// Starts the process.
///
/// The caller holds the reaper's lock: a child that could not execute its program is waited for here.
pub(super) fn start(spec: &Spec) -> Result<Started, ProcessError> {
    let failed = |what| move |source| ProcessError::Prepare { program: spec.program.clone(), what, source };
    let (input, stdin) = match spec.stdin {
        Input::Pipe => {
            let (reader, writer) = io::pipe().map_err(failed("the input pipe"))?;
            (OwnedFd::from(reader), Some(writer))
        }
        Input::Null => (null(true).map_err(failed("/dev/null"))?, None),
    };
    let (output, reader) = if spec.output.is_some() {
        let (reader, writer) = io::pipe().map_err(failed("the output pipe"))?;
        (OwnedFd::from(writer), Some(reader))
    } else {
        (null(false).map_err(failed("/dev/null"))?, None)
    };
    let cgroup = spec.cgroup.as_ref().map(File::open).transpose().map_err(failed("the control group"))?;
    let own_image = Image::new(spec).map_err(failed("the arguments"))?;
    let (image, launch) = match &spec.sandbox {
        Some(sandbox) => {
            let (launch, order) = launch::prepare(spec, sandbox, own_image)?;
            (Image::new(&launch::program(sandbox)).map_err(failed("the launcher"))?, Some((launch, order)))
        }
        None => (own_image, None),
    };
    let settings = Settings {
        stdio: [&input, &output, &output].map(AsRawFd::as_raw_fd),
        order: launch.as_ref().map(|(_, order)| order.as_raw_fd()),
        oom_score: spec.oom_score_adj.map(|score| score.to_string()),
        privileges: launch.is_none().then(|| Privileges::of(spec)),
    };
    let child = Becoming { pointers: image.pointers(), settings };
    let own_pids = spec.sandbox.as_ref().is_some_and(|sandbox| sandbox.namespaces.pid);
    let pid = clone::start(&child, cgroup.as_ref().map(AsFd::as_fd), own_pids);
    let pid = pid.map_err(|source| ProcessError::Spawn { program: spec.program.clone(), source })?;
    Ok(Started { pid, stdin, output: reader, launch: launch.map(|(launch, _)| launch) })
}

fn null(read: bool) -> io::Result<OwnedFd> {
    File::options().read(read).write(!read).open("/dev/null").map(OwnedFd::from)
}

struct Becoming<'a> {
    pointers: Pointers<'a>,
    settings: Settings,
}

impl clone::Becomes for Becoming<'_> {
    /// Raw system calls on plain numbers, on descriptors opened before, and on memory that is only read.
    fn become_program(&self) -> io::Error {
        if let Err(error) = self.settings.apply() {
            return error;
        }
        self.pointers.execute(libc::AT_FDCWD)
    }
}

/// Everything the child does to itself, prepared so that it needs no memory.
struct Settings {
    stdio: [libc::c_int; 3],
    /// Descriptor of the launcher's order.
    order: Option<libc::c_int>,
    oom_score: Option<String>,
    /// Left to the launcher when there is one: what it has to do needs them.
    privileges: Option<Privileges>,
}

impl Settings {
    /// In the child. What needs root comes first; privileges go last.
    fn apply(&self) -> io::Result<()> {
        // SAFETY: takes no arguments. A new child is no group leader, so it cannot fail.
        unsafe { libc::setsid() };
        for (number, descriptor) in (0..).zip(self.stdio) {
            // SAFETY: plain numbers only; the child has a table of descriptors of its own. Ours are never 0 to 2: those are open
            // from the start (Rust's runtime sees to it), so each copy loses its close-on-exec mark.
            check(libc::c_long::from(unsafe { libc::dup2(descriptor, number) }))?;
        }
        if let Some(order) = self.order {
            hand_over(order, ORDER_FD)?;
        }
        // SAFETY: the path is a constant with its terminating zero; the child has a working directory of its own.
        check(libc::c_long::from(unsafe { libc::chdir(c"/".as_ptr()) }))?;
        if let Some(score) = &self.oom_score {
            write_oom_score(score.as_bytes())?;
        }
        if let Some(privileges) = &self.privileges {
            // Which of them it was would take memory to say.
            privileges.apply().map_err(|(_, source)| source)?;
        }
        default_signals(false)
    }
}

/// Makes `descriptor` the child's descriptor `number`, without the mark to be closed.
fn hand_over(descriptor: libc::c_int, number: libc::c_int) -> io::Result<()> {
    if descriptor == number {
        // SAFETY: plain numbers only. A copy onto itself would keep the mark.
        return check(libc::c_long::from(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) }));
    }
    // SAFETY: plain numbers only; what else had the number is the parent's, and closed in the child anyway.
    check(libc::c_long::from(unsafe { libc::dup2(descriptor, number) }))
}

/// One write; the kernel's control files take their value whole or refuse it.
fn write_all(fd: libc::c_int, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: `bytes` is valid for reads of its length; `fd` is open in the caller.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    check(written as libc::c_long)
}

fn write_oom_score(text: &[u8]) -> io::Result<()> {
    // SAFETY: the path is a constant with its terminating zero; open is async-signal-safe.
    let fd = unsafe { libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    check(libc::c_long::from(fd))?;
    let result = write_all(fd, text);
    // SAFETY: `fd` was opened above and is used nowhere else.
    unsafe { libc::close(fd) };
    result
}
