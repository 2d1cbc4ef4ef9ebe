//! `flash`: writes a built image to a disk or stick, with a progress bar.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use install::{FlashRequest, Phase};

use crate::sealed;

/// What goes where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A board whose image is in out/.
    pub board: String,
    /// The whole disk, as /dev/sdb. Everything on it is lost.
    pub device: PathBuf,
    /// Write to a disk that is not removable, too.
    #[arg(long)]
    pub force: bool,
}

/// `cargo xtask flash`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let images = sealed::project().canonicalize().context("find the project's folder")?.join("out").join(&arguments.board);
    let request = FlashRequest { images, device: arguments.device.clone(), force: arguments.force };
    let report = install::flash(&request, &Bar::new()?).with_context(|| format!("flash {}", arguments.device.display()))?;
    let model = if report.model.is_empty() { "disk" } else { &report.model };
    println!(
        "{} is on {} ({model}, {} MiB), read back and compared",
        report.image.display(),
        arguments.device.display(),
        report.disk_size >> 20
    );
    Ok(())
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Result<Self> {
        let style = ProgressStyle::with_template("{msg:<10} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")?;
        Ok(Self(ProgressBar::new(0).with_style(style)))
    }
}

impl install::Progress for Bar {
    fn begin(&self, phase: Phase, bytes: u64) {
        self.0.reset();
        self.0.set_length(bytes);
        self.0.set_message(match phase {
            Phase::Clear => "clearing",
            Phase::Write => "writing",
            Phase::Verify => "verifying",
        });
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish();
    }
}
