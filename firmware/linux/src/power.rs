//! The end: write everything out, then restart or stop the machine.

use std::{io, sync::mpsc, thread, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// The machine could not be told to go down.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum PowerError {
    /// `reboot(2)` was refused.
    #[error("{what} the machine")]
    Refused { what: &'static str, source: io::Error },
    /// The setting of Ctrl-Alt-Del was refused.
    #[error("take Ctrl-Alt-Del over from the kernel")]
    CtrlAltDel { source: io::Error },
    /// Writing out did not end in time.
    #[error("sync did not end within {seconds} s")]
    SyncTimedOut { seconds: u64 },
    /// Only PID 1 may signal everybody.
    #[error("signal every process: this is not PID 1")]
    NotInit,
    /// The kernel refused a signal to everybody.
    #[error("send {signal} to every process")]
    Kill { signal: Signal, source: io::Error },
    /// No thread for writing out.
    #[error("start a thread for sync")]
    Thread { source: io::Error },
}

/// Writes all file systems out, waiting at most `limit`: a dead disk must not keep the machine from restarting.
///
/// # Errors
/// [`PowerError::SyncTimedOut`] (the write goes on in the background), [`PowerError::Thread`].
pub fn sync(limit: Duration) -> Result<(), PowerError> {
    let (done, end) = mpsc::channel();
    thread::Builder::new()
        .name("sync".into())
        .spawn(move || {
            nix::unistd::sync();
            // The receiver may have given up.
            let _ = done.send(());
        })
        .map_err(|source| PowerError::Thread { source })?;
    end.recv_timeout(limit).map_err(|_| PowerError::SyncTimedOut { seconds: limit.as_secs() })
}

/// Restarts the machine. Does not write anything out. Returns only when the kernel refuses.
#[must_use]
pub fn restart() -> PowerError {
    act("restart", RebootMode::RB_AUTOBOOT)
}

/// Switches the machine off. Does not write anything out. Returns only when the kernel refuses.
#[must_use]
pub fn power_off() -> PowerError {
    act("power off", RebootMode::RB_POWER_OFF)
}

/// Makes Ctrl-Alt-Del a SIGINT to PID 1 instead of an immediate restart.
///
/// # Errors
/// [`PowerError::CtrlAltDel`].
pub fn own_ctrl_alt_del() -> Result<(), PowerError> {
    nix::sys::reboot::set_cad_enabled(false).map_err(|errno| PowerError::CtrlAltDel { source: errno.into() })
}

/// Sends `signal` to every process but this one; gives whether there was any. For PID 1 only: nobody else may.
///
/// # Errors
/// [`PowerError::NotInit`], [`PowerError::Kill`].
pub fn signal_everybody(signal: Signal) -> Result<bool, PowerError> {
    if std::process::id() != 1 {
        return Err(PowerError::NotInit);
    }
    match kill(Pid::from_raw(-1), signal) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(PowerError::Kill { signal, source: errno.into() }),
    }
}

fn act(what: &'static str, mode: RebootMode) -> PowerError {
    match reboot(mode) {
        Ok(never) => match never {},
        Err(errno) => PowerError::Refused { what, source: errno.into() },
    }
}
