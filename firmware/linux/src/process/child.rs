//! From a [`Spec`] to a running process: the part between fork and exec.

use std::{
    fs::{File, OpenOptions},
    io::{self, PipeReader, PipeWriter},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use super::{Input, PATH, ProcessError, Spec, User};

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
/// The caller holds the reaper's lock: `Command::spawn` itself waits for a child whose exec failed.
pub(super) fn start(spec: &Spec) -> Result<Started, ProcessError> {
    let failed = |what| move |source| ProcessError::Prepare { program: spec.program.clone(), what, source };
    let mut command = Command::new(&spec.program);
    if let Some(arg0) = &spec.arg0 {
        command.arg0(arg0);
    }
    command.args(&spec.args).env_clear().env("PATH", PATH).envs(spec.env.iter().map(|(key, value)| (key, value)));
    command.current_dir("/");
    let stdin = match spec.stdin {
        Input::Pipe => {
            let (reader, writer) = io::pipe().map_err(failed("the input pipe"))?;
            command.stdin(reader);
            Some(writer)
        }
        Input::Null => {
            command.stdin(Stdio::null());
            None
        }
    };
    let reader = if spec.output.is_some() {
        let (reader, writer) = io::pipe().map_err(failed("the output pipe"))?;
        command.stdout(writer.try_clone().map_err(failed("the output pipe"))?).stderr(writer);
        Some(reader)
    } else {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        None
    };
    let settings = Settings::new(spec).map_err(failed("the control group"))?;
    // SAFETY: `Settings::apply` runs in the forked child of a multi-threaded process, so it may only make
    // async-signal-safe calls. It makes raw system calls on plain numbers, on descriptors opened before the fork and on
    // memory that it only reads; it neither allocates, frees, locks nor panics (no indexing, no unwrap).
    unsafe { command.pre_exec(move || settings.apply()) };
    let child = command.spawn().map_err(|source| ProcessError::Spawn { program: spec.program.clone(), source })?;
    Ok(Started { pid: child.id(), stdin, output: reader })
}

/// Everything the child does to itself, prepared so that it needs no memory.
struct Settings {
    cgroup: Option<File>,
    oom_score: Option<String>,
    rlimits: Vec<(libc::c_long, libc::rlimit64)>,
    user: Option<User>,
    drop_capabilities: bool,
    no_new_privs: bool,
}

impl Settings {
    fn new(spec: &Spec) -> io::Result<Self> {
        let cgroup = match &spec.cgroup {
            Some(folder) => Some(OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?),
            None => None,
        };
        let limits = spec.rlimits.iter();
        Ok(Self {
            cgroup,
            oom_score: spec.oom_score_adj.map(|score| score.to_string()),
            rlimits: limits
                .map(|(resource, value)| (*resource as libc::c_long, libc::rlimit64 { rlim_cur: *value, rlim_max: *value }))
                .collect(),
            user: spec.user,
            drop_capabilities: spec.drop_capabilities,
            no_new_privs: spec.no_new_privs,
        })
    }

    /// In the child, after fork. What needs root comes first; privileges go last.
    fn apply(&self) -> io::Result<()> {
        // SAFETY: takes no arguments. A forked child is no group leader, so it cannot fail.
        unsafe { libc::setsid() };
        if let Some(procs) = &self.cgroup {
            // "0" stands for the writer itself.
            write_all(procs.as_raw_fd(), b"0")?;
        }
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
        Ok(())
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

/// Groups, group, user, in this order. The raw calls change this thread only, and a forked child has no other.
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
