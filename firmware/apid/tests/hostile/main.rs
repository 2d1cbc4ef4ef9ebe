//! What a hostile or broken client sends: apid says so or hangs up, keeps its memory, and serves everybody else.
//!
//! apid is a process of its own here, started by machined's supervisor, so that its memory can be looked at. One test, because a process
//! has one reaper; the cases come one after the other, and after each the node answers a client that was there before and a new one.

mod calls;
mod connections;

use std::{env, fs, path::Path, process::ExitCode, time::SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use pki::{Authority, AuthorityKind};
use test_support::{
    Host, LIMIT,
    certificates::{Flaw, client},
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;
use wire::machine::machine_service_client::MachineServiceClient;

/// What apid may ever have taken, KiB: half of what its control group has on a node (128 MiB).
const MEMORY: u64 = 64 << 10;

fn main() -> ExitCode {
    let arg0 = env::args().next().unwrap_or_default();
    if Path::new(&arg0).file_name().is_some_and(|name| name == "apid") {
        return apid::run();
    }
    let arguments = Arguments::from_args();
    let test = Trial::test("hostile_clients_harm_nobody", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run()).map_err(|error| format!("{error:#}").into())
    });
    libtest_mimic::run(&arguments, vec![test]).exit_code()
}

/// The node, and somebody who is connected to it all the time.
struct World {
    host: Host,
    authority: Authority,
    early: MachineServiceClient<Channel>,
    apid: u32,
}

async fn run() -> Result<()> {
    let (tasks, reaping) = (TaskTracker::new(), CancellationToken::new());
    test_support::reap(&tasks, reaping.clone())?;
    let authority = Authority::generate(AuthorityKind::Os, SystemTime::now())?;
    let host = Host::start(&env::current_exe()?).await?;
    host.configure(test_support::configuration(&authority, &[])?).await?;
    let early = MachineServiceClient::new(host.client(&authority, client(&authority, &["os:admin"], Flaw::None)?).await?);
    let mut world = World { apid: host.apid()?, host, authority, early };
    world.is_well("at first").await?;
    let found = [connections::run(&mut world).await, calls::run(&mut world).await];
    let wrong: Vec<String> = found.into_iter().filter_map(|found| found.err()).map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.host.stop().await?;
    reaping.cancel();
    Ok(())
}

impl World {
    /// A new connection of the administrator's.
    async fn admin(&self) -> Result<Channel> {
        self.host.client(&self.authority, client(&self.authority, &["os:admin"], Flaw::None)?).await
    }

    /// Both clients are served, by the same apid, which has not grown beyond [`MEMORY`].
    async fn is_well(&mut self, after: &str) -> Result<()> {
        let served = async {
            self.early.version(()).await.context("a client that was there before")?;
            MachineServiceClient::new(self.admin().await?).version(()).await.context("a new client")?;
            anyhow::Ok(())
        };
        timeout(LIMIT, served).await.context("no answer in time").flatten().with_context(|| format!("after {after}"))?;
        ensure!(self.host.apid()? == self.apid, "after {after}: apid was started anew");
        let path = format!("/proc/{}/status", self.apid);
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let peak = peak.with_context(|| format!("no VmHWM in {path}"))?;
        eprintln!("{after}: apid has taken {peak} KiB at most");
        ensure!(peak < MEMORY, "after {after}: apid took {peak} KiB");
        Ok(())
    }
}
