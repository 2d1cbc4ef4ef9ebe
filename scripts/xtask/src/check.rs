//! `check`, `test` and `vm-test`: what must pass before a change is taken.

use std::{env, process::Command};

use anyhow::{Result, ensure};
use imager::Profile;

use crate::{
    command::{Counts, as_test, run, run_tests},
    image, tidy,
};

/// The boards that the VM suites boot.
const BOARDS: [&str; 2] = ["qemu-x86_64", "qemu-arm64"];

/// The other architecture: the root holds its standard library, its C compiler and its libraries.
const CROSS: &str = "aarch64-unknown-linux-gnu";

/// Bytes of disk that the compiler's output for all tests takes.
const TESTS_NEED: u64 = 6 << 30;

/// Which tests.
#[derive(Debug, clap::Args)]
pub struct TestArguments {
    /// Only those that need no VM.
    #[arg(long, conflicts_with = "full")]
    pub host: bool,
    /// Every boot cell and the long runs (hours).
    #[arg(long)]
    pub full: bool,
}

/// Which VM suites.
#[derive(Debug, clap::Args)]
pub struct VmArguments {
    /// A part of the names of the wanted trials, as `node/x86_64` or `bad-input`.
    pub name: Option<String>,
    /// How much of each suite: `ci` is minutes, `full` is hours.
    #[arg(long, default_value = "ci", value_parser = ["ci", "full"])]
    pub tier: String,
    /// Boot what is in out/ as it is, instead of building it first.
    #[arg(long)]
    pub no_build: bool,
}

/// `cargo`, the one that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Formatting, lints, house rules and host tests.
fn host() -> Result<Counts> {
    image::make_room(TESTS_NEED)?;
    let mut counts = Counts::default();
    counts.add(as_test("formatting", run(cargo().args(["fmt", "--all", "--", "--check"]))));
    counts.add(as_test("house rules", tidy::run()));
    let lints = ["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    counts.add(as_test("lints", run(cargo().args(lints))));
    counts.add(run_tests(cargo().args(["test", "--locked", "--workspace", "--no-fail-fast"]))?);
    Ok(counts)
}

/// Whether keelson still compiles for the other architecture; the tests with VMs build its image instead.
fn other_architecture() -> Counts {
    let cross = ["check", "--quiet", "--locked", "--target", CROSS, "--package", "keelson"];
    as_test("the other architecture compiles", run(cargo().args(cross)))
}

/// `cargo xtask check`.
pub fn check() -> Result<()> {
    let mut counts = host()?;
    counts.add(other_architecture());
    verdict(counts)
}

/// `cargo xtask test`: what `scripts/test` and CI run.
pub fn test(arguments: &TestArguments) -> Result<()> {
    let mut counts = host()?;
    if arguments.host {
        counts.add(other_architecture());
    } else {
        let tier = if arguments.full { "full" } else { "ci" };
        counts.add(vms(&VmArguments { name: None, tier: tier.to_owned(), no_build: false })?);
    }
    verdict(counts)
}

/// `cargo xtask vm-test`.
pub fn vm_test(arguments: &VmArguments) -> Result<()> {
    let counts = vms(arguments)?;
    let (name, tier) = (arguments.name.as_deref().unwrap_or("anything"), &arguments.tier);
    ensure!(
        counts.passed + counts.failed > 0,
        "no trial of tier {tier} has {name:?} in its name; --tier full has every cell of the boot matrix"
    );
    verdict(counts)
}

fn vms(arguments: &VmArguments) -> Result<Counts> {
    if !arguments.no_build {
        for board in BOARDS {
            let built = as_test(&format!("image of {board}"), image::build(&image::Arguments::of(board, Profile::Fast)).map(drop));
            if built.failed > 0 {
                return Ok(built);
            }
        }
    }
    let mut command = cargo();
    command.args(["test", "--quiet", "--locked", "--package", "qemu", "--features", "vm", "--test", "vm", "--"]);
    // Two machines at a time: a boot keeps one processor busy most of the time, and the limits of all waits are generous.
    command.args(["--test-threads", "2"]).args(&arguments.name).env("KEELSON_TIER", &arguments.tier);
    run_tests(&mut command)
}

/// The last line, alone on its line: what CI reads.
fn verdict(counts: Counts) -> Result<()> {
    println!("{} passed, {} failed", counts.passed, counts.failed);
    ensure!(counts.failed == 0, "{} failed; the reasons are above", counts.failed);
    Ok(())
}
