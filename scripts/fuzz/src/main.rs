//! Looks for inputs that break a target: `cargo xtask fuzz` builds it with instrumented crates and runs it.
//!
//! - [`engine`]: runs a target with changed inputs and goes on from those that make instrumented code do something new; decision
//!   0031 says why it is our own.
#![deny(unsafe_code)] // but for the engine's ear

mod engine;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use fuzz::{Meter, Target, corpus, targets};

use engine::{
    hunt::{self, Places},
    work::{self, Work},
};

#[global_allocator]
static METER: Meter = Meter;

/// How long the engine may take to find what is planted for it. It takes a second or two.
const PLANTED: Duration = Duration::from_secs(60);

/// Looks for inputs that break a parser.
#[derive(Parser)]
#[command(disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the targets.
    List,
    /// Works on targets, one after the other; all of them when none is named.
    Run {
        /// Names of targets.
        targets: Vec<String>,
        /// How long on each: `90s`, `5m`.
        #[arg(long, default_value = "60s", value_parser = time)]
        time: Duration,
        /// Where found inputs lie between runs.
        #[arg(long)]
        scratch: PathBuf,
        /// Makes the found inputs the kept ones.
        #[arg(long)]
        keep: bool,
    },
    /// The process that runs the inputs.
    #[command(hide = true)]
    Work {
        target: String,
        #[arg(long, value_parser = time)]
        time: Duration,
        #[arg(long)]
        scratch: PathBuf,
    },
    /// Runs the input in a file; dies of it if it breaks something.
    Once {
        /// Name of the target.
        target: String,
        /// The input as it is, not as a line of the corpus.
        file: PathBuf,
    },
}

/// `90s`, `5m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, unit)) => (&text[..at], unit),
        None => ("", ' '),
    };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err("a time is a number and s, m or h".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{digits:?} is no number"))?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
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

fn run(command: Command) -> Result<()> {
    match command {
        Command::List => {
            for target in targets::ALL {
                println!("{:18} {}, from {}", target.name, target.bytes, target.from);
            }
            Ok(())
        }
        Command::Run { targets, time, scratch, keep } => hunt_all(&targets, time, scratch, keep),
        Command::Work { target, time, scratch } => {
            let places = Places { corpus: corpus::folder(), scratch };
            let target = find(&target)?;
            let current = places.scratch.join(target.name).with_extension("current");
            let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos().into();
            let known = places.known(target)?;
            let done = work::work(target, &Work { known, time, seed, current: &current, pool: &places.found(target) })?;
            println!("{}: {} runs, {} features, {} inputs", target.name, done.runs, done.features, done.inputs);
            Ok(())
        }
        Command::Once { target, file } => {
            find(&target)?.run(&fs::read(&file).with_context(|| format!("read {}", file.display()))?);
            Ok(())
        }
    }
}

fn find(name: &str) -> Result<&'static Target> {
    let mut all = targets::ALL.iter().chain([&targets::PLANTED]);
    all.find(|target| target.name == name).with_context(|| format!("there is no target {name:?}; see --list"))
}

fn hunt_all(names: &[String], time: Duration, scratch: PathBuf, keep: bool) -> Result<()> {
    let chosen = match names {
        [] => targets::ALL.iter().collect(),
        names => names.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?,
    };
    let places = Places { corpus: corpus::folder(), scratch };
    sharp(&places)?;
    let mut broken = Vec::new();
    for target in chosen {
        match hunt::hunt(target, time, &places)? {
            Some(input) => {
                let path = hunt::remember(target, &input, &places)?;
                eprintln!("{} is broken by: {}\n  kept in {}", target.name, input.escape_ascii(), path.display());
                broken.push(target.name);
            }
            None if keep => println!("{}: {} inputs kept", target.name, hunt::keep(target, &places)?),
            None => {}
        }
    }
    ensure!(broken.is_empty(), "broken: {}", broken.join(", "));
    Ok(())
}

/// That nothing is found means something only if what is there would be: first, something is planted.
fn sharp(places: &Places) -> Result<()> {
    let planted = &targets::PLANTED;
    let _ = fs::remove_file(places.found(planted));
    eprintln!("first something that is planted, which has to be found:");
    let found = hunt::hunt(planted, PLANTED, places)?;
    ensure!(found.as_deref() == Some(targets::PLANTED_INPUT), "the engine did not find what is planted for it in {PLANTED:?}: {found:?}");
    Ok(())
}
