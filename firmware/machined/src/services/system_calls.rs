//! The system calls of services that serve a port and nothing else.
//!
//! Such a service is one thread that starts nothing, so it may make neither threads nor processes, nor memory that is executed.

use linux::sandbox::{Call, Condition};

/// An `int` of the kernel's.
const INT: u64 = u32::MAX as u64;
/// The type of a socket without its flags.
const SOCKET_TYPE: u64 = 0xf;

/// The system calls that it makes, and those that the libraries below it make in rare moments (no memory left, an ordered end).
/// `sockets`: families and types of those that it opens; `levels`: where it sets their options.
pub(super) fn of_a_server(sockets: &[(libc::c_int, libc::c_int)], levels: &[libc::c_int]) -> Vec<Call> {
    let mut calls: Vec<Call> = EVER.iter().map(|number| when(*number, &[])).collect();
    calls.extend(OF_THE_ARCHITECTURE.iter().map(|number| when(*number, &[])));
    // Memory that is executed comes from the program's file only.
    let not_executed = (2, libc::PROT_EXEC as u64, 0);
    calls.extend([libc::SYS_mmap, libc::SYS_mprotect].map(|number| when(number, &[not_executed])));
    for (family, kind) in sockets {
        calls.push(when(libc::SYS_socket, &[(0, INT, *family as u64), (1, SOCKET_TYPE, *kind as u64)]));
    }
    // The self-pipe of the signal handler.
    calls.push(when(libc::SYS_socketpair, &[(0, INT, libc::AF_UNIX as u64), (1, SOCKET_TYPE, libc::SOCK_STREAM as u64)]));
    for level in levels {
        calls.push(when(libc::SYS_setsockopt, &[(1, INT, *level as u64)]));
    }
    // Non-blocking, closed on exec, and whether it is a terminal.
    for request in [libc::FIONBIO, libc::FIOCLEX, libc::TCGETS] {
        calls.push(when(libc::SYS_ioctl, &[(1, INT, request)]));
    }
    for option in [libc::PR_SET_DUMPABLE, libc::PR_SET_NAME] {
        calls.push(when(libc::SYS_prctl, &[(0, INT, option as u64)]));
    }
    // Limits are read, and only its own.
    calls.push(when(libc::SYS_prlimit64, &[(0, INT, 0), (2, u64::MAX, 0)]));
    // A signal to itself is how a program aborts.
    calls.push(when(libc::SYS_tgkill, &[(0, INT, 1)]));
    calls
}

/// The call `number`, when its arguments have these values behind these masks.
fn when(number: libc::c_long, conditions: &[(u8, u64, u64)]) -> Call {
    let conditions = conditions.iter().map(|&(argument, mask, value)| Condition { argument, mask, value });
    Call { number: number as u32, conditions: conditions.collect() }
}

/// Whatever the arguments.
const EVER: &[libc::c_long] = &[
    // Start and end of a program.
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_uname,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Waiting, time, randomness.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_restart_syscall,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_lseek,
    // Sockets.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    // Questions about itself, and files that libraries look for and do not find.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_getaffinity,
    libc::SYS_sysinfo,
    libc::SYS_getcwd,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
];

/// Older forms, which the C library prefers where they exist.
#[cfg(target_arch = "x86_64")]
const OF_THE_ARCHITECTURE: &[libc::c_long] =
    &[libc::SYS_arch_prctl, libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_access, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const OF_THE_ARCHITECTURE: &[libc::c_long] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{apid_sandbox, dnsd_sandbox};

    /// Of all services.
    fn allowed(number: libc::c_long) -> Vec<Call> {
        let all = [apid_sandbox::calls(), dnsd_sandbox::calls()].concat();
        all.into_iter().filter(|call| i64::from(call.number) == number).collect()
    }

    /// Nothing that makes a process, changes who it is, or reaches into the kernel or into others; these are what an attacker wants first.
    #[test]
    fn servers_start_and_change_nothing() {
        for number in [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_execve,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_kill,
            libc::SYS_setuid,
            libc::SYS_capset,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_memfd_create,
            libc::SYS_keyctl,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_seccomp,
            libc::SYS_mknodat,
            libc::SYS_pkey_mprotect,
            libc::SYS_shmat,
            libc::SYS_personality,
        ] {
            assert_eq!(allowed(number), [], "{number}");
        }
    }

    #[test]
    fn what_has_conditions_has_no_way_round_them() {
        let conditional = [
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_setsockopt,
            libc::SYS_ioctl,
            libc::SYS_prctl,
            libc::SYS_prlimit64,
            libc::SYS_tgkill,
        ];
        for number in conditional {
            let calls = allowed(number);
            assert!(!calls.is_empty() && calls.iter().all(|call| !call.conditions.is_empty()), "{number}: {calls:?}");
        }
        assert_eq!(allowed(libc::SYS_read), [when(libc::SYS_read, &[]), when(libc::SYS_read, &[])]);
    }
}
