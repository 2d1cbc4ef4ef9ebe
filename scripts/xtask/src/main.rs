//! The project commands: what a developer and CI type.
//!
//! - [`sealed`]: everything runs inside the sealed build root; outside of it a command starts itself again inside
//! - [`image`]: `build` and `legal-info`, on the image builder
//! - [`check`]: `check` and `test`: formatting, lints, house rules, host tests, VM suites, and one line that sums them up
//! - [`console`], [`quickstart`], [`bench`]: a node to type at, one to look at, and measured ones; all on the harness in `qemu/`
//! - [`fuzz`]: looks for bytes that break what reads them
//! - [`flash`]: onto a disk or stick
//! - [`tidy`]: the house rules that no compiler knows
//!
//! Absent on purpose: making the root itself and its package lock; that has to work before any Rust does, so it is in the
//! shells beside this crate (`scripts/root`, `scripts/lock`, `scripts/enter`).
#![forbid(unsafe_code)]

mod bench;
mod check;
mod command;
mod console;
mod flash;
mod fuzz;
mod image;
mod quickstart;
mod sealed;
mod tidy;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// The project commands. Results are in out/<board>/, caches in ~/.cache/keelson (KEELSON_CACHE).
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the image of a board into out/<board>/, and the client into out/keelctl.
    Build(image::Arguments),
    /// Formatting, lints, house rules and host tests.
    Check,
    /// Looks for breaches of the house rules only.
    Tidy,
    /// Runs the tests of a tier and ends with `N passed, N failed`.
    Test(check::TestArguments),
    /// Builds both images for tests and runs the VM suites.
    VmTest(check::VmArguments),
    /// Measured figures: `bench boot --json`.
    Bench(bench::Arguments),
    /// Looks for inputs that break a parser: `fuzz config --time 5m`.
    Fuzz(fuzz::Arguments),
    /// Collects the licence texts and the source list of all that is in a board's image.
    LegalInfo(image::Arguments),
    /// Lists what differs between the results of two builds; see scripts/reproducible.
    Compare {
        /// An output folder with a manifest.
        left: PathBuf,
        /// Another one.
        right: PathBuf,
    },
    /// Writes an image to a disk or stick and reads it back.
    Flash(flash::Arguments),
    /// Boots a board's image with its serial console on this terminal.
    Qemu(console::Arguments),
    /// Builds an image, boots it, configures it and shows the running node.
    Quickstart(quickstart::Arguments),
    /// Resolves the wanted packages anew and writes the lock (runs on the host).
    Lock {
        /// Where to write it [default: board/packages.lock].
        file: Option<PathBuf>,
        /// Only what this external folder adds, into its own packages.lock.
        #[arg(long, value_name = "DIR", conflicts_with = "file")]
        external: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        // The lock is made with the host's apt, everything else with what is in the root.
        Command::Lock { .. } => Err(sealed::run_inside()),
        _ if !sealed::inside() => Err(sealed::run_inside()),
        Command::Build(arguments) => image::build(&arguments).and_then(|_| image::client(&arguments)),
        Command::Check => check::check(),
        Command::Tidy => tidy::run(),
        Command::Test(arguments) => check::test(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::LegalInfo(arguments) => image::legal_info(&arguments),
        Command::Compare { left, right } => image::compare(&left, &right),
        Command::Flash(arguments) => flash::run(&arguments),
        Command::Qemu(arguments) => console::run(&arguments),
        Command::Quickstart(arguments) => quickstart::run(&arguments),
        Command::VmTest(arguments) => check::vm_test(&arguments),
    }
}
