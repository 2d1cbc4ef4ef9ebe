//! Measures what apid costs: `load APID REPETITIONS` prints one JSON array. `cargo xtask bench api` runs it, with the image's program.
//!
//! Each node is a process of its own (this program again, as `load node ADDRESS APID`): machined's API server under its supervisor,
//! which starts APID as on a node. Its floor is the same server on a socket that admits everybody, called without TLS. Floor and ours
//! take turns, so that a busy machine slows both. Processor time is what the kernel counted for machined's and apid's processes; that
//! of the client is not in it.

mod measure;
mod node;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["node", address, apid] => run(async { node::serve(address.parse()?, apid.as_ref()).await }),
        [apid, repetitions] => run(async {
            let repetitions = repetitions.parse().context("the number of repetitions")?;
            println!("{}", measure::all(&PathBuf::from(apid).canonicalize()?, repetitions).await?);
            Ok(())
        }),
        _ => Err(anyhow::anyhow!("usage: load APID REPETITIONS")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
