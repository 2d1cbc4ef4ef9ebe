//! Terminals and serial ports that may have nobody at the other end.
//!
//! Everything here is non-blocking: a port that does not drain answers [`Written::WouldBlock`], and closing
//! one first throws its queue away (the kernel would otherwise wait up to 30 s for it to drain). The line
//! speed is left as the kernel's `console=` argument set it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{
        stat::Mode,
        termios::{FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, tcflush, tcgetattr, tcsetattr},
    },
    unistd,
};
use tokio::io::unix::AsyncFd;

/// A terminal operation failed.
#[derive(Debug, thiserror::Error)]
pub enum TtyError {
    /// The device node could not be opened.
    #[error("open terminal {path}")]
    Open {
        /// Device node.
        path: PathBuf,
        /// Kernel's answer.
        source: io::Error,
    },
    /// The device is not a terminal, or its settings were refused.
    #[error("set up terminal {path}")]
    Setup {
        /// Device node.
        path: PathBuf,
        /// Kernel's answer.
        source: io::Error,
    },
    /// Reading failed; the terminal is gone.
    #[error("read from terminal {path}")]
    Read {
        /// Device node.
        path: PathBuf,
        /// Kernel's answer.
        source: io::Error,
    },
    /// Writing failed; the terminal is gone.
    #[error("write to terminal {path}")]
    Write {
        /// Device node.
        path: PathBuf,
        /// Kernel's answer.
        source: io::Error,
    },
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken by the driver (at least one).
    Bytes(usize),
    /// The driver's queue is full: try again when the descriptor is writable.
    WouldBlock,
}

/// An open terminal.
#[derive(Debug)]
pub struct Tty {
    fd: OwnedFd,
    path: PathBuf,
}

impl Tty {
    /// Opens a terminal for both directions without becoming its session leader and without waiting for a carrier.
    ///
    /// # Errors
    /// [`TtyError::Open`] when there is no such device or it has no driver behind it (`console=` names a port that does not exist).
    pub fn open(path: &Path) -> Result<Self, TtyError> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| TtyError::Open { path: path.to_owned(), source: errno.into() })?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The device node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keys arrive one by one, unechoed; no flow control by characters, no signals. A newline that is written still
    /// becomes carriage return and newline, because others (the kernel, a panicking program) write here too.
    ///
    /// # Errors
    /// [`TtyError::Setup`] when the device is not a terminal.
    pub fn raw(&self) -> Result<(), TtyError> {
        let setup = |errno: Errno| TtyError::Setup { path: self.path.clone(), source: errno.into() };
        let mut modes = tcgetattr(&self.fd).map_err(setup)?;
        modes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ISIG | LocalFlags::IEXTEN);
        modes.input_flags.remove(
            InputFlags::IXON
                | InputFlags::IXOFF
                | InputFlags::ICRNL
                | InputFlags::INLCR
                | InputFlags::BRKINT
                | InputFlags::PARMRK
                | InputFlags::ISTRIP,
        );
        modes.input_flags.insert(InputFlags::IGNBRK);
        modes.output_flags.insert(OutputFlags::OPOST | OutputFlags::ONLCR);
        if let Some(minimum) = modes.control_chars.get_mut(SpecialCharacterIndices::VMIN as usize) {
            *minimum = 1;
        }
        if let Some(time) = modes.control_chars.get_mut(SpecialCharacterIndices::VTIME as usize) {
            *time = 0;
        }
        // At once: the draining variants wait for a port that nobody reads.
        tcsetattr(&self.fd, SetArg::TCSANOW, &modes).map_err(setup)
    }

    /// Writes what the driver takes without waiting.
    ///
    /// # Errors
    /// [`TtyError::Write`] when the device is gone.
    pub fn write(&self, bytes: &[u8]) -> Result<Written, TtyError> {
        loop {
            return match unistd::write(&self.fd, bytes) {
                Ok(0) | Err(Errno::EAGAIN) => Ok(Written::WouldBlock),
                Ok(count) => Ok(Written::Bytes(count)),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(TtyError::Write { path: self.path.clone(), source: errno.into() }),
            };
        }
    }

    /// Reads what has arrived; 0 when nothing has.
    ///
    /// # Errors
    /// [`TtyError::Read`] when the device is gone or hung up.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, TtyError> {
        loop {
            return match unistd::read(&self.fd, buffer) {
                Ok(0) => Err(TtyError::Read { path: self.path.clone(), source: io::ErrorKind::UnexpectedEof.into() }),
                Ok(count) => Ok(count),
                Err(Errno::EAGAIN) => Ok(0),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(TtyError::Read { path: self.path.clone(), source: errno.into() }),
            };
        }
    }

    /// Columns and rows as the kernel knows them; `None` on a serial port, where only the far end knows.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCGWINSZ fills the `winsize` that the pointer names; it lives across the call, the descriptor is ours.
        let answer = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
        (answer == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Bytes that the driver holds and the port has not sent; `None` when the driver does not say.
    #[must_use]
    pub fn unsent(&self) -> Option<usize> {
        let mut count: libc::c_int = 0;
        // SAFETY: TIOCOUTQ stores one int through the pointer; it lives across the call, the descriptor is ours.
        let answer = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        (answer == 0).then(|| usize::try_from(count).unwrap_or_default())
    }
}

/// Registers a terminal with the reactor of the current runtime, to wait until it can be read or written.
///
/// # Errors
/// The reactor's, when the descriptor cannot be polled.
pub fn watch(tty: Arc<Tty>) -> io::Result<AsyncFd<Arc<Tty>>> {
    // SAFETY: the descriptor is owned by the `Tty`, which the returned value keeps alive through its `Arc`; it is never replaced.
    Ok(unsafe { AsyncFd::register(tty) }?)
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Tty {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // A close waits for the queue to drain; whoever wanted it sent has waited before. Failing is fine: not a terminal.
        let _ = tcflush(&self.fd, FlushArg::TCOFLUSH);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::pty::openpty;

    use super::*;

    /// A pseudo terminal: our end opened by path, the far end kept open.
    fn pty() -> (Tty, nix::pty::OpenptyResult) {
        let pair = openpty(None, None).unwrap();
        let path = unistd::ttyname(&pair.slave).unwrap();
        (Tty::open(&path).unwrap(), pair)
    }

    #[test]
    fn a_port_that_nobody_reads_answers_would_block() {
        let (tty, _far) = pty();
        tty.raw().unwrap();
        let mut taken = 0;
        while let Written::Bytes(count) = tty.write(&[b'x'; 4096]).unwrap() {
            taken += count;
            assert!(taken < 16 << 20, "the pseudo terminal never fills");
        }
        assert!(taken > 0);
    }

    #[test]
    fn keys_arrive_singly_and_unechoed() {
        let (tty, far) = pty();
        tty.raw().unwrap();
        assert_eq!(tty.read(&mut [0; 8]).unwrap(), 0, "nothing typed yet");
        unistd::write(&far.master, b"k\x13").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(tty.read(&mut buffer).unwrap(), 2);
        assert_eq!(&buffer[..2], b"k\x13");
        assert_eq!(tty.write(b"a\n").unwrap(), Written::Bytes(2));
        let mut seen = [0; 8];
        let count = unistd::read(&far.master, &mut seen).unwrap();
        assert_eq!(&seen[..count], b"a\r\n", "no echo, newline translated");
    }

    #[test]
    fn size_is_known_when_the_kernel_knows_it() {
        let (tty, far) = pty();
        assert_eq!(tty.size(), None);
        let size = libc::winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads the `winsize` that the pointer names; both outlive the call.
        assert_eq!(unsafe { libc::ioctl(far.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
        assert_eq!(tty.size(), Some((120, 40)));
    }

    #[test]
    fn what_is_not_a_terminal_is_refused() {
        let error = Tty::open(Path::new("/nonexistent/tty")).unwrap_err();
        assert!(matches!(error, TtyError::Open { .. }));
        let tty = Tty::open(Path::new("/dev/null")).unwrap();
        assert!(matches!(tty.raw().unwrap_err(), TtyError::Setup { .. }));
    }
}
