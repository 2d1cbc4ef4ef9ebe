//! Our end of a launch: the order goes to the launcher on a socket, and its word comes back on it.
//!
//! The launcher's end is closed when the service's program is executed: the end of the stream means success. A launcher
//! that is killed closes it, too; then the process has ended, and its owner is told so by its exit.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use super::{Image, Privileges, ProcessError, Spec};
use crate::sandbox::{LAUNCHER, Order, Report, Sandbox};

/// Longest wait for a launcher. It makes some forty system calls; a program on a slow disk is what takes time.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A launcher whose word is still to come.
pub(super) struct Launch {
    stream: UnixStream,
}

/// The launcher itself: it gets its order on [`ORDER_FD`](crate::sandbox::ORDER_FD) and nothing else from here.
pub(super) fn program(sandbox: &Sandbox) -> Spec {
    Spec { program: sandbox.launcher.clone(), arg0: Some(OsString::from(LAUNCHER)), ..Spec::default() }
}

/// Writes the order; the second descriptor is the launcher's end.
pub(super) fn prepare(spec: &Spec, sandbox: &Sandbox, image: Image) -> Result<(Launch, OwnedFd), ProcessError> {
    let order = Order::new(image, Privileges::of(spec), sandbox).encode();
    let order = order.map_err(|source| ProcessError::Order { program: spec.program.clone(), source })?;
    let send = || -> io::Result<_> {
        let (mut ours, theirs) = UnixStream::pair()?;
        // An order is far smaller than what a socket takes; if that were ever wrong, it is an error and not a wait for ever.
        ours.set_nonblocking(true)?;
        ours.write_all(&order)?;
        ours.set_nonblocking(false)?;
        ours.shutdown(Shutdown::Write)?;
        Ok((Launch { stream: ours }, OwnedFd::from(theirs)))
    };
    send().map_err(|source| ProcessError::Prepare { program: spec.program.clone(), what: "the launcher's order", source })
}

impl Launch {
    /// Waits until the service's program is executed, at most for `limit`.
    pub(super) fn wait(mut self, spec: &Spec, limit: Duration) -> Result<(), ProcessError> {
        let program = || spec.program.clone();
        let end = Instant::now() + limit;
        let mut said = Vec::new();
        while said.len() < Report::MAX {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let mut buffer = [0; Report::MAX];
            match self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut buffer)) {
                Ok(0) => break,
                Ok(count) => said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(ProcessError::Launcher { program: program(), seconds: limit.as_secs() });
                }
                // It ended and left the order where it was.
                Err(source) if source.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(ProcessError::Sandbox { program: program(), step: "hand the order to the launcher".to_owned(), source });
                }
                Err(source) => return Err(ProcessError::Prepare { program: program(), what: "the launcher's answer", source }),
            }
        }
        match Report::decode(&said) {
            None => Ok(()),
            Some(Report { step, source }) => Err(ProcessError::Sandbox { program: program(), step, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: impl FnOnce(UnixStream) -> Option<UnixStream>, expect: Result<(), &str>) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let _kept_open = answer(theirs);
        let got = Launch { stream: ours }.wait(&Spec::new("/x", [""; 0]), Duration::from_millis(20)).map_err(|error| error.to_string());
        assert_eq!(got, expect.map_err(str::to_owned));
    }

    #[test]
    fn the_word_of_a_launcher() {
        let says = |bytes: Vec<u8>| {
            move |mut stream: UnixStream| {
                stream.write_all(&bytes).expect("written");
                None
            }
        };
        check(|_| None, Ok(()));
        check(Some, Err("start /x: its launcher did not end within 0 s"));
        check(says(Report::new("bind /a", io::Error::from_raw_os_error(2)).encode()), Err("start /x: sandbox: bind /a"));
        check(says(vec![1]), Err("start /x: sandbox: understand the launcher's answer"));
        check(says(vec![b'x'; 4 * Report::MAX]), Err(&format!("start /x: sandbox: {}", "x".repeat(Report::MAX - 4))));
    }
}
