//! `modprobe` for the kernel: it calls `/sbin/modprobe -q -- NAME` when something asks for code that is a module.
//!
//! Loads the module and what it needs from the verified root. Options are for people and there are none here, so every
//! word that begins with a dash is passed over. Absent on purpose: parameters and deny lists; the device manager knows
//! those.

use std::{ffi::OsString, process::ExitCode};

use linux::{
    kmsg::{Level, Writer},
    modules::{ModuleError, Modules},
};

/// Longest name taken, bytes; the kernel's own limit is shorter.
const LONGEST: usize = 256;

pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let names: Vec<String> = arguments.filter_map(|word| word.into_string().ok()).filter(|word| !word.starts_with('-')).collect();
    let [name] = names.as_slice() else { return ExitCode::FAILURE };
    if name.len() > LONGEST {
        return ExitCode::FAILURE;
    }
    match Modules::of_this_kernel().and_then(|modules| modules.load(name)) {
        Ok(_) => ExitCode::SUCCESS,
        // The kernel asks for much that nobody has; silence is what -q means.
        Err(ModuleError::Unknown { .. }) => ExitCode::FAILURE,
        Err(error) => {
            if let Ok(log) = Writer::open() {
                // Nobody is left to tell.
                let _ = log.write(Level::Warning, "modprobe", &format!("{name}: {}", daemon::report(&error)));
            }
            ExitCode::FAILURE
        }
    }
}
