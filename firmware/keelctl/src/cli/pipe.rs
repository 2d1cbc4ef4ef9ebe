//! `keelctl ... | head`: when nobody reads any more what is printed, there is nothing more to do and nothing to complain about.

use std::{io, os::fd::AsFd, panic, process};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a program ends with that SIGPIPE has ended, as shells tell it. Programs in Rust do not get that signal.
pub const GONE: u8 = 141;

/// `println!` panics when it cannot print: from now on the program ends instead, if that is because the reader is gone.
pub fn end_quietly() {
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if reader_is_gone() {
            process::exit(GONE.into());
        }
        otherwise(info);
    }));
}

/// Whether standard output is a pipe or socket that nobody reads.
pub fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut looked = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    // What cannot be looked at is no reason to be quiet.
    poll(&mut looked, PollTimeout::ZERO).is_ok() && looked[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))
}
