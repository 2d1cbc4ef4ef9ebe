//! A child that borrows its parent's memory until it executes its program.
//!
//! fork copies the page tables of a PID 1 that is busy with other things, and makes every page of it fault afterwards;
//! entering a control group later makes the kernel wait for a grace period. `clone3` does neither: the child runs on a
//! stack of its own in the parent's memory ([vfork]), is born in its group, and what goes wrong in it is simply there for
//! the parent to read.
//!
//! [vfork]: https://man7.org/linux/man-pages/man2/vfork.2.html

use std::{
    arch::asm,
    ffi::c_void,
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::atomic::{AtomicI32, Ordering},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, SigmaskHow},
        wait::waitpid,
    },
    unistd::Pid,
};

/// `linux/sched.h`: handlers back to their defaults, because none of ours may run in the child.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// `linux/sched.h`: born in the group whose folder is `clone_args.cgroup`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The child makes a few dozen system calls, each from a small frame.
const STACK: usize = 32 * 1024;
/// What the child ends with when it could not execute the program; nobody sees it.
const FAILED: libc::c_int = 127;

/// What a child does between its birth and its program.
pub(super) trait Becomes {
    /// Runs in the child, in the memory of a parent with many threads: async-signal-safe calls only, and nothing that
    /// allocates, frees, locks, panics, or changes memory that others read. Comes back only with what failed.
    fn become_program(&self) -> io::Error;
}

/// A part of memory for the child's stack; the processor wants it aligned to 16 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Line([u8; 16]);

struct Task<'a, T> {
    work: &'a T,
    /// What failed, as the kernel's number; 0 as long as nothing has.
    error: AtomicI32,
}

/// Starts a child that does `work`, in `cgroup` if there is one, as the first process of a process namespace if it is to have
/// `own_pids`; it is this process's child all the same. Returns when its program is executed; this thread waits until then.
///
/// # Errors
/// What kept the kernel from making the child, or the child from executing its program; that child is collected.
pub(super) fn start<T: Becomes>(work: &T, cgroup: Option<BorrowedFd<'_>>, own_pids: bool) -> io::Result<u32> {
    let mut stack = vec![Line([0; 16]); STACK / size_of::<Line>()];
    let task = Task { work, error: AtomicI32::new(0) };
    // SAFETY: all fields are plain numbers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_VM as u64 | libc::CLONE_VFORK as u64 | CLONE_CLEAR_SIGHAND;
    if own_pids {
        args.flags |= libc::CLONE_NEWPID as u64;
    }
    args.exit_signal = libc::SIGCHLD as u64;
    args.stack = stack.as_mut_ptr() as u64;
    args.stack_size = STACK as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // A signal that came to the child with this thread's mask could find a handler in the making; it unblocks them itself.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: `args` asks for a child on `stack`, which nobody else uses and which lives until the child has left it:
    // with CLONE_VFORK the kernel resumes this thread only then. `enter::<T>` is the function for a pointer to `task`.
    let code = unsafe { clone3(&args, enter::<T>, std::ptr::from_ref(&task).cast()) };
    // The mask is one that this thread had; it cannot be refused.
    let _ = mask.thread_set_mask();
    drop(stack);
    // A negative number is the kernel's for the error.
    let Ok(pid) = u32::try_from(code) else { return Err(io::Error::from_raw_os_error((-code) as i32)) };
    match task.error.load(Ordering::Acquire) {
        0 => Ok(pid),
        error => {
            collect(Pid::from_raw(pid.cast_signed()));
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// Waits for a child that is about to end.
fn collect(pid: Pid) {
    while let Err(Errno::EINTR) = waitpid(pid, None) {}
}

/// The first function of the child, and the last.
extern "C" fn enter<T: Becomes>(task: *const c_void) -> ! {
    // SAFETY: `start` passed a pointer to such a task, and its thread is suspended while the child uses it.
    let task = unsafe { &*task.cast::<Task<'_, T>>() };
    let error = task.work.become_program().raw_os_error().unwrap_or(libc::EIO);
    task.error.store(error, Ordering::Release);
    // SAFETY: ends the child without running anything of the parent's.
    unsafe { libc::_exit(FAILED) }
}

/// The system call; in the child, `enter(task)` on the stack of `args`. Returns the child's id or a negative error number.
///
/// # Safety
/// `args` names a stack that only the child uses, aligned to 16 bytes, and asks for CLONE_VFORK; `task` is what `enter` expects.
unsafe fn clone3(args: &libc::clone_args, enter: extern "C" fn(*const c_void) -> !, task: *const c_void) -> libc::c_long {
    let code: libc::c_long;
    // SAFETY: only registers that are declared change in the parent. The child never leaves `enter`, so the code behind
    // the call is not reached by it and nothing of this function's frame is.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => code,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") enter,
            in("r13") task,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: the same.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x10",
            "blr x9",
            "brk #1",
            "2:",
            inlateout("x0") std::ptr::from_ref(args) => code,
            in("x1") size_of::<libc::clone_args>(),
            in("x8") libc::SYS_clone3,
            in("x9") enter,
            in("x10") task,
        );
    }
    code
}
