//! The command line: arguments, and one module for each family of commands.

mod advice;
mod args;
mod certificates;
mod clock;
mod completion;
mod config;
mod containers;
mod copy;
mod dashboard;
mod disks;
mod edit;
mod etcd;
mod events;
mod extract;
mod files;
mod generate;
mod get;
mod health;
mod help;
mod image;
mod inspect;
mod jsonpath;
mod kubeconfig;
mod machineconfig;
mod meminfo;
mod meta;
mod netstat;
mod nodes;
mod patches;
mod pcap;
mod pipe;
mod power;
mod progress;
mod report;
mod show;
mod store;
mod streams;
mod support;
mod usage;

use std::process::ExitCode;

use anyhow::Result;
use clap::FromArgMatches as _;

use args::{Cli, Command};
use nodes::Fleet;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    pipe::end_quietly();
    let cli = Cli::from_arg_matches(&help::command().get_matches()).unwrap_or_else(|error| error.exit());
    match run(cli) {
        Ok(code) => code,
        Err(_) if pipe::reader_is_gone() => ExitCode::from(pipe::GONE),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            if let Some(way) = advice::advice(&error) {
                eprintln!("hint: {way}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fleet = std::sync::Arc::new(Fleet::new(cli.global));
    runtime.block_on(async {
        match cli.command {
            Command::Gen(command) => generate::run(command),
            Command::Config(command) => config::run(command, &fleet).await,
            Command::ApplyConfig(apply) => machineconfig::apply(&fleet, apply).await,
            Command::Patch(patch) => machineconfig::patch_nodes(&fleet, patch).await,
            Command::Edit(edit) => edit::run(&fleet, edit).await,
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
            Command::Copy(copy) => copy::run(&fleet, &copy).await,
            Command::Usage(usage) => usage::usage(&fleet, usage).await,
            Command::Df(df) => usage::df(&fleet, df).await,
            Command::Wipe(args::Wipe::Disk(wipe)) => disks::wipe(&fleet, wipe).await,
            Command::Netstat(netstat) => netstat::run(&fleet, netstat).await,
            Command::Pcap(pcap) => pcap::run(&fleet, &pcap).await,
            Command::Containers(containers) => containers::list(&fleet, containers).await,
            Command::Stats(containers) => containers::stats(&fleet, containers).await,
            Command::Restart(restart) => containers::restart(&fleet, &restart).await,
            Command::Time(time) => clock::run(&fleet, time).await,
            Command::Rollback => disks::rollback(&fleet).await,
            Command::Dashboard(dashboard) => dashboard::run(&fleet, dashboard).await,
            Command::Bootstrap(bootstrap) => etcd::bootstrap(&fleet, &bootstrap).await,
            Command::Kubeconfig(kubeconfig) => kubeconfig::run(&fleet, kubeconfig).await,
            Command::Health(health) => health::run(&fleet, health).await,
            Command::Support(support) => support::run(&fleet, support).await,
            Command::Etcd(command) => etcd::run(&fleet, command).await,
            Command::Image(command) => image::run(&fleet, command).await,
            Command::Completion(completion) => completion::run(&completion),
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
