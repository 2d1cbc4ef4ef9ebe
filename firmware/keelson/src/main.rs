//! The one multi-call program of the image: the base name of `argv[0]` says which part of the node it is.
//!
//! `/sbin/init` and `machined` are PID 1, `launcher` puts services into their sandboxes, `apid` is the API's front, `dnsd` the node's
//! name server, `trustd` signs for joining nodes, the kernel calls `modprobe`. No options on purpose: what a part needs comes from the
//! kernel, the image, or a descriptor.
#![forbid(unsafe_code)]

mod modprobe;

use std::{env, path::Path, process::ExitCode};

/// Exit code for a name that is none of ours.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arg0 = env::args_os().next().unwrap_or_default();
    match Path::new(&arg0).file_name().and_then(|name| name.to_str()) {
        Some("init" | "machined") => first_process(),
        Some("launcher") => linux::sandbox::launch(),
        Some("apid") => concealed(apid::run),
        Some("dnsd") => concealed(dnsd::run),
        Some("trustd") => concealed(trustd::run),
        Some("modprobe") => modprobe::run(env::args_os().skip(1)),
        // The kernel may have been told init=/usr/bin/keelson.
        _ if std::process::id() == 1 => first_process(),
        _ => {
            eprintln!(
                "keelson {}: the program of a Keelson node; called as `init` it is PID 1, called as `apid` the API's front,\n\
                 as `dnsd` its name server.\n\
                 It is of no use by hand: talk to a node with keelctl.",
                env!("CARGO_PKG_VERSION")
            );
            ExitCode::from(USAGE)
        }
    }
}

/// The node's first process, not that of a sandbox: those have names.
fn first_process() -> ExitCode {
    // Before anything else: each page that is not there yet is waited for.
    if std::process::id() == 1 {
        machined::read_program_ahead();
    }
    machined::run()
}

/// A part of the node that is not root, and holds secrets or reads what strangers send.
fn concealed(run: fn() -> ExitCode) -> ExitCode {
    match linux::sandbox::conceal() {
        Ok(()) => run(),
        Err(error) => {
            eprintln!("keelson: keep the memory of this process from others: {error}");
            ExitCode::FAILURE
        }
    }
}
