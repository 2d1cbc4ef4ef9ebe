//! From a [`Spec`] to a running process: what the child does to itself between its birth and its program.

use std::{
    ffi::{CString, OsStr, c_char},
    fs::File,
    io::{self, PipeReader, PipeWriter},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use super::{Input, PATH, ProcessError, Spec, User, clone};

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// A process that was started.
pub(super) struct Started {
    pub(super) pid: u32,
    /// The end of its input pipe, when one was asked for.
    pub(super) stdin: Option<PipeWriter>,
    /// The end of its output pipe, when `spec.output` is set.
    pub(super) output: Option<PipeReader>,
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
    let image = Image::new(spec).map_err(failed("the arguments"))?;
    let settings = Settings::new(spec, [&input, &output, &output].map(AsRawFd::as_raw_fd));
    let child = Becoming { pointers: image.pointers(), settings };
    let pid = clone::start(&child, cgroup.as_ref().map(AsFd::as_fd));
    let pid = pid.map_err(|source| ProcessError::Spawn { program: spec.program.clone(), source })?;
    Ok(Started { pid, stdin, output: reader })
}

fn null(read: bool) -> io::Result<OwnedFd> {
    File::options().read(read).write(!read).open("/dev/null").map(OwnedFd::from)
}

/// What is executed, as the kernel wants it.
struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// # Errors
    /// For a zero byte within a string.
    fn new(spec: &Spec) -> io::Result<Self> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
        let program = text(spec.program.as_os_str())?;
        let arg0 = spec.arg0.as_deref().map_or_else(|| Ok(program.clone()), text)?;
        let own = spec.env.iter().any(|(key, _)| key == "PATH");
        let path = Some((OsStr::new("PATH"), OsStr::new(PATH))).filter(|_| !own);
        let environment = path.into_iter().chain(spec.env.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str())));
        Ok(Self {
            program,
            arguments: std::iter::once(Ok(arg0)).chain(spec.args.iter().map(|word| text(word))).collect::<io::Result<_>>()?,
            environment: environment.map(|(key, value)| text(&[key, value].join(OsStr::new("=")))).collect::<io::Result<_>>()?,
        })
    }

    fn pointers(&self) -> Pointers<'_> {
        let list = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Pointers { image: self, arguments: list(&self.arguments), environment: list(&self.environment) }
    }
}

/// The lists that execve takes, each ended by a null pointer; they point into the image.
struct Pointers<'a> {
    image: &'a Image,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
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
        let Pointers { image, arguments, environment } = &self.pointers;
        // SAFETY: a string and two lists of strings with their ends, all alive in the suspended parent.
        unsafe { libc::execve(image.program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Everything the child does to itself, prepared so that it needs no memory.
struct Settings {
    stdio: [libc::c_int; 3],
    oom_score: Option<String>,
    rlimits: Vec<(libc::c_long, libc::rlimit64)>,
    user: Option<User>,
    drop_capabilities: bool,
    no_new_privs: bool,
}

impl Settings {
    fn new(spec: &Spec, stdio: [libc::c_int; 3]) -> Self {
        let limits = spec.rlimits.iter();
        Self {
            stdio,
            oom_score: spec.oom_score_adj.map(|score| score.to_string()),
            rlimits: limits
                .map(|(resource, value)| (*resource as libc::c_long, libc::rlimit64 { rlim_cur: *value, rlim_max: *value }))
                .collect(),
            user: spec.user,
            drop_capabilities: spec.drop_capabilities,
            no_new_privs: spec.no_new_privs,
        }
    }

    /// In the child. What needs root comes first; privileges go last.
    fn apply(&self) -> io::Result<()> {
        // SAFETY: takes no arguments. A new child is no group leader, so it cannot fail.
        unsafe { libc::setsid() };
        for (number, descriptor) in (0..).zip(self.stdio) {
            // SAFETY: plain numbers only; the child has a table of descriptors of its own. Ours are never 0 to 2: those are open
            // from the start (Rust's runtime sees to it), so each copy loses its close-on-exec mark.
            check(libc::c_long::from(unsafe { libc::dup2(descriptor, number) }))?;
        }
        // SAFETY: the path is a constant with its terminating zero; the child has a working directory of its own.
        check(libc::c_long::from(unsafe { libc::chdir(c"/".as_ptr()) }))?;
        if let Some(score) = &self.oom_score {
            write_oom_score(score.as_bytes())?;
        }
        for (resource, limit) in &self.rlimits {
            // SAFETY: pid 0 is this process; `limit` outlives the call, which only reads it; no old value is asked for.
            let code = unsafe {
                libc::syscall(libc::SYS_prlimit64, 0, *resource, std::ptr::from_ref(limit), std::ptr::null_mut::<libc::rlimit64>())
            };
            check(code)?;
        }
        if self.drop_capabilities {
            drop_bounding_set()?;
        }
        if let Some(user) = self.user {
            become_user(user)?;
        }
        if self.drop_capabilities {
            clear_capabilities()?;
        }
        if self.no_new_privs {
            // SAFETY: plain numbers only.
            check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
        }
        default_signals()
    }
}

/// As a program expects them: none ignored (ours ignores SIGPIPE; the others' handlers went with the clone), none blocked.
fn default_signals() -> io::Result<()> {
    // SAFETY: SIG_DFL is no handler; the child has a table of handlers of its own.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: a set of signals is plain bits, and all zero is the empty one.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is only read, no old mask is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The error of a raw system call, without allocating.
fn check(code: libc::c_long) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

/// Takes every capability out of the bounding set; the kernel's highest one is where it says EINVAL.
fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: plain numbers only.
        let code = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if let Err(error) = check(code) {
            return if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Groups, group, user, in this order. The raw calls change this thread only; the C library's would have every thread of the
/// parent do the same.
fn become_user(user: User) -> io::Result<()> {
    // SAFETY: length 0: the list is not read.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) })?;
    // SAFETY: plain numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) })?;
    // SAFETY: plain numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) })
}

/// Empties the ambient, effective, permitted and inheritable sets.
fn clear_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    // SAFETY: plain numbers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) })?;
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let sets = [0_u32; 6];
    // SAFETY: both pointers are to live values of the layout that version 3 has: a header of two words and two
    // triples of words; the kernel writes the header only when it does not know the version, and it is ours alone.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), sets.as_ptr()) })
}
