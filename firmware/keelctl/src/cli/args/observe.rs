//! Arguments of what looks at a node at work.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Output;
use crate::client::Containerd;

/// Whose containers.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Whose {
    /// Kubernetes' containers instead of the system's
    #[arg(short, long)]
    pub kubernetes: bool,
}

impl From<Whose> for Containerd {
    fn from(whose: Whose) -> Self {
        if whose.kubernetes { Self::Kubernetes } else { Self::System }
    }
}

#[derive(Debug, Args)]
pub struct Containers {
    #[command(flatten)]
    pub whose: Whose,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Restart {
    /// Container, as `keelctl containers` names it
    pub id: String,
    #[command(flatten)]
    pub whose: Whose,
}

#[derive(Debug, Args)]
pub struct Netstat {
    /// Listening sockets and connections
    #[arg(short, long)]
    pub all: bool,
    /// Listening sockets only. Default: connections
    #[arg(short, long, conflicts_with = "all")]
    pub listening: bool,
    /// The processes they belong to
    #[arg(short, long)]
    pub programs: bool,
    /// Owner and inode
    #[arg(short = 'x', long)]
    pub extend: bool,
    /// Timers of retransmission and keepalive
    #[arg(short = 'o', long)]
    pub timers: bool,
    /// Those of every pod's network too
    #[arg(short = 'k', long)]
    pub pods: bool,
    /// TCP. Default: every protocol
    #[arg(short, long)]
    pub tcp: bool,
    /// UDP
    #[arg(short, long)]
    pub udp: bool,
    /// UDP-Lite
    #[arg(short = 'U', long)]
    pub udplite: bool,
    /// Raw sockets
    #[arg(short = 'w', long)]
    pub raw: bool,
    /// IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// How to show the result
    #[arg(long, value_enum, default_value_t = super::Format::Table)]
    pub output: super::Format,
}

#[derive(Debug, Args)]
pub struct Pcap {
    /// Link
    #[arg(short, long, value_name = "LINK", default_value = "eth0")]
    pub interface: String,
    /// File to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// End after this time. Default: a key press (Ctrl-C)
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<jiff::SignedDuration>,
    /// Packets for others too
    #[arg(long)]
    pub promiscuous: bool,
    /// How much of each packet to keep, bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 4096)]
    pub snaplen: u32,
    /// Compiled filter, as `tcpdump -ddd FILTER` prints it: the count, then `op jt jf k` a line
    #[arg(long, value_name = "PROGRAM")]
    pub bpf_filter: Option<String>,
}

#[derive(Debug, Args)]
pub struct Time {
    /// Ask this time server instead of the configured one
    #[arg(short, long, value_name = "SERVER")]
    pub check: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Dashboard {
    /// How often nodes are asked
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "3s")]
    pub update_interval: jiff::SignedDuration,
}

#[derive(Debug, Args)]
pub struct Completion {
    /// Shell
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}
