//! The command line: arguments, and one module for each family of commands.

mod args;
mod certificates;
mod config;
mod events;
mod files;
mod generate;
mod get;
mod inspect;
mod machineconfig;
mod meminfo;
mod meta;
mod nodes;
mod patches;
mod power;
mod report;
mod show;
mod store;
mod streams;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Cli, Command};
use nodes::Fleet;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fleet = Fleet::new(cli.global);
    runtime.block_on(async {
        match cli.command {
            Command::Gen(command) => generate::run(command),
            Command::Config(command) => config::run(command, &fleet),
            Command::ApplyConfig(apply) => machineconfig::apply(&fleet, apply).await,
            Command::Patch(patch) => machineconfig::patch_nodes(&fleet, patch).await,
            Command::MachineConfig(args::MachineConfig::Patch(patch)) => machineconfig::patch_file(&patch),
            Command::MachineConfig(args::MachineConfig::Gen(config)) => generate::run(args::Gen::Config(config)),
            Command::Validate(validate) => machineconfig::validate(&validate),
            Command::Version(version) => show::version(&fleet, version).await,
            Command::Hostname => show::hostname(&fleet).await,
            Command::Services(services) => show::services(&fleet, services).await,
            Command::Mounts(output) => show::mounts(&fleet, output).await,
            Command::Memory(memory) => show::memory(&fleet, memory).await,
            Command::Processes(processes) => show::processes(&fleet, processes).await,
            Command::Disks(disks) => show::disks(&fleet, disks).await,
            Command::Dmesg(dmesg) => streams::dmesg(&fleet, dmesg).await,
            Command::Logs(logs) => streams::logs(&fleet, logs).await,
            Command::Events(events) => events::run(&fleet, events).await,
            Command::Get(get) => get::run(&fleet, get).await,
            Command::Inspect(args::Inspect::Dependencies(dependencies)) => inspect::dependencies(&fleet, dependencies).await,
            Command::Ls(ls) => files::list(&fleet, ls).await,
            Command::Read(read) => files::read(&fleet, &read).await,
            Command::Reboot(reboot) => power::reboot(&fleet, reboot).await,
            Command::Shutdown(shutdown) => power::shutdown(&fleet, shutdown).await,
            Command::Reset(reset) => power::reset(&fleet, reset).await,
            Command::Meta(command) => meta::run(&fleet, command).await,
        }
    })
}

/// An error with its causes on one line, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}
