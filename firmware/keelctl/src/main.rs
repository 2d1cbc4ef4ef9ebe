//! The command line of the client: everything is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    keelctl::cli::main()
}
