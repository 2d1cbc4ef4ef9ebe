//! `fuzz`: builds the crates that read outside bytes with counters at their branches, and lets `scripts/fuzz` look for inputs that
//! break them. The kept inputs are replayed by the ordinary tests.

use std::env::consts::ARCH;

use anyhow::{Context, Result};

use crate::{check::cargo, command::run as run_command, image, sealed};

/// Bytes of disk that the instrumented build takes.
const NEED: u64 = 3 << 30;

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names of targets [default: all, one after the other].
    pub targets: Vec<String>,
    /// Shows the targets and what their bytes are.
    #[arg(long, conflicts_with_all = ["targets", "keep"])]
    pub list: bool,
    /// How long on each: `90s`, `5m`, `1h`.
    #[arg(long, default_value = "60s")]
    pub time: String,
    /// Makes what was found the inputs that are kept in scripts/fuzz/corpus.
    #[arg(long)]
    pub keep: bool,
}

/// `cargo xtask fuzz`. An input that breaks a target is in scripts/fuzz/corpus/regressions afterwards, and this has failed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut program = cargo();
    program.args(["run", "--quiet", "--locked", "--package", "fuzz"]);
    if arguments.list {
        return run_command(program.args(["--", "list"]));
    }
    image::make_room(NEED)?;
    let project = sealed::project().canonicalize().context("find the project's folder")?;
    // A target is named although it is this machine's own, so that what runs at build time is compiled apart, without counters.
    program.args(["--profile", "fuzz", "--target", &format!("{ARCH}-unknown-linux-gnu")]);
    program.env("RUSTC_WRAPPER", project.join("scripts/fuzz/rustc"));
    program.args(["--", "run", "--time", &arguments.time, "--scratch"]).arg(project.join("out/fuzz"));
    if arguments.keep {
        program.arg("--keep");
    }
    run_command(program.args(&arguments.targets))
}
