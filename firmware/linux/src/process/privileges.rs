//! What a process may do: limits, capabilities, user. Given up by the process itself, just before its program.
//!
//! Raw system calls on plain numbers only: a child that still borrows its parent's memory does this, too (see `clone`).

use std::io;

use super::{Capabilities, Spec, User};

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// What a process gives up and becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// Numbers of limits with their values, soft and hard alike.
    pub(crate) rlimits: Vec<(u32, u64)>,
    pub(crate) user: Option<User>,
    pub(crate) groups: Vec<u32>,
    /// Those that are kept; `None` leaves all sets alone.
    pub(crate) capabilities: Option<Capabilities>,
    pub(crate) no_new_privs: bool,
}

impl Privileges {
    pub(crate) fn of(spec: &Spec) -> Self {
        Self {
            rlimits: spec.rlimits.iter().map(|(resource, value)| (*resource as u32, *value)).collect(),
            user: spec.user,
            groups: spec.groups.clone(),
            capabilities: spec.capabilities,
            no_new_privs: spec.no_new_privs,
        }
    }

    /// In the process that is meant. What needs root comes first; privileges go last.
    ///
    /// # Errors
    /// What failed, and the kernel's answer.
    pub(crate) fn apply(&self) -> Result<(), (&'static str, io::Error)> {
        let failed = |what| move |source| (what, source);
        for (resource, value) in &self.rlimits {
            set_limit(*resource, *value).map_err(failed("set a resource limit"))?;
        }
        if let Some(kept) = self.capabilities {
            drop_bounding_set(kept).map_err(failed("drop the bounding set"))?;
        }
        if let Some(user) = self.user {
            if self.capabilities.is_some_and(|kept| kept != Capabilities::NONE) {
                prctl(libc::PR_SET_KEEPCAPS, 1, 0).map_err(failed("keep capabilities"))?;
            }
            become_user(user, &self.groups).map_err(failed("become the user"))?;
        }
        if let Some(kept) = self.capabilities {
            set_capabilities(kept).map_err(failed("set the capabilities"))?;
        }
        if self.no_new_privs {
            prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(failed("give up new privileges"))?;
        }
        Ok(())
    }
}

/// Signals as a program expects them: none ignored (ours ignores SIGPIPE; others' handlers go with the clone), and none
/// blocked but SIGTERM if `hold_term`.
pub(crate) fn default_signals(hold_term: bool) -> io::Result<()> {
    // SAFETY: SIG_DFL is no handler; the process has a table of handlers of its own.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: a set of signals is plain bits, and all zero is the empty one.
    let mut blocked: libc::sigset_t = unsafe { std::mem::zeroed() };
    if hold_term {
        // SAFETY: a live set and a signal that exists.
        unsafe { libc::sigaddset(&raw mut blocked, libc::SIGTERM) };
    }
    // SAFETY: `blocked` is only read, no old mask is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The error of a raw system call, without allocating.
pub(crate) fn check(code: libc::c_long) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A `prctl` with up to two numbers.
fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<()> {
    // SAFETY: every option used in here takes plain numbers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, first, second, 0, 0) })
}

fn set_limit(resource: u32, value: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: pid 0 is this process; `limit` outlives the call, which only reads it; no old value is asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none) })
}

/// Takes every capability but the `kept` out of the bounding set; the kernel's highest one is where it says EINVAL.
fn drop_bounding_set(kept: Capabilities) -> io::Result<()> {
    for number in 0..64 {
        if kept.has(number) {
            continue;
        }
        if let Err(error) = prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0) {
            return if error.raw_os_error() == Some(libc::EINVAL) && number > 0 { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Groups, group, user, in this order. The raw calls change this thread only; the C library's would have every thread of a
/// parent do the same.
fn become_user(user: User, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the list is valid for reads of its length, in numbers as the kernel has them; of length 0 it is not read.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: plain numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) })?;
    // SAFETY: plain numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) })
}

/// Makes the effective, permitted, inheritable and ambient sets the `kept` ones: only the last survives a program of another user
/// than root.
fn set_capabilities(kept: Capabilities) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)?;
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let (low, high) = (kept.0 as u32, (kept.0 >> 32) as u32);
    // Effective, permitted, inheritable: first the low halves of all three, then the high ones.
    let sets = [low, low, low, high, high, high];
    // SAFETY: both pointers are to live values of the layout that version 3 has: a header of two words and two
    // triples of words; the kernel writes the header only when it does not know the version, and it is ours alone.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), sets.as_ptr()) })?;
    for number in (0..64).filter(|number| kept.has(*number)) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(number))?;
    }
    Ok(())
}
