//! A node in a process of its own, and whoever started it.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use machined::node::Unmet;
use pki::Authority;
use serde::{Deserialize, Serialize};
use test_support::{Host, configuration};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where a node is, as it says itself on its first line.
#[derive(Debug, Deserialize, Serialize)]
struct Place {
    socket: PathBuf,
    apid: u32,
}

/// Serves until standard input ends. Its first line is the configuration, each later one a word that the node's status is to say.
pub async fn serve(address: SocketAddr, apid: &Path) -> Result<()> {
    let (tasks, reaping) = (TaskTracker::new(), CancellationToken::new());
    test_support::reap(&tasks, reaping.clone())?;
    let (sender, mut lines) = mpsc::unbounded_channel();
    // Ends with the input; nobody waits for it.
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let config: String = serde_json::from_str(&lines.recv().await.context("no configuration")?)?;
    let host = Host::start_at(apid, address).await?;
    host.configure(config).await?;
    let place = Place { socket: host.open_socket()?, apid: host.apid()? };
    println!("{}", serde_json::to_string(&place)?);
    while let Some(word) = lines.recv().await {
        host.node.machine.send_modify(|machine| machine.unmet = vec![Unmet { name: "load".to_owned(), reason: word }]);
    }
    host.stop().await?;
    reaping.cancel();
    Ok(())
}

/// A node that was started.
#[derive(Debug)]
pub struct Node {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where its apid listens.
    pub address: SocketAddr,
    /// The socket that admits everybody.
    pub socket: PathBuf,
    apid: u32,
}

/// Processor time in ticks of the kernel's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks {
    /// Of the process that has machined's server.
    pub machined: u64,
    /// Of apid.
    pub apid: u64,
}

impl Node {
    /// Starts one, and waits until it serves.
    pub fn start(apid: &Path, address: SocketAddr, authority: &Authority, names: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("node").arg(address.to_string()).arg(apid).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start a node")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let config = configuration(authority, names)?;
        writeln!(stdin, "{}", serde_json::to_string(&config)?)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        ensure!(!line.is_empty(), "a node did not start: {:?}", child.wait()?);
        let Place { socket, apid } = serde_json::from_str(&line)?;
        Ok(Self { child, stdin: Some(stdin), address, socket, apid })
    }

    /// Makes the node's status say a word.
    pub fn says(&mut self, word: &str) -> Result<()> {
        Ok(writeln!(self.stdin.as_mut().context("it has ended")?, "{word}")?)
    }

    /// What its processes took so far.
    pub fn ticks(&self) -> Result<Ticks> {
        Ok(Ticks { machined: ticks(self.child.id())?, apid: ticks(self.apid)? })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// User and system time of all threads, from `/proc/PID/stat` (proc(5), fields 14 and 15).
fn ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    qemu::bench::ticks(&text).with_context(|| format!("{path}: {text:?}"))
}
