//! The kernel's packet filter (nf_tables): rules as values, and a table replaced by them in one step.
//!
//! - [`Table`], [`Chain`], [`Rule`]: what is wanted, in terms of matches and a verdict;
//! - `compile`, `message`: from there to netlink messages, byte for byte (pure);
//! - [`replace`], [`read`]: one batch to the kernel, which takes all of it or nothing; what the kernel has.
//!
//! Numbers are those of `linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h` and `linux/netlink.h`.
//! Absent on purpose: address translation, forwarding, named sets, everything else that the node does not use.

mod compile;
mod kernel;
mod message;

use std::net::IpAddr;

pub(crate) use kernel::understood;
pub use kernel::{FilterError, Seen, SeenChain, read, replace};

/// A table of the family `inet`, which sees IPv4 and IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its chains; without any there is to be no such table.
    pub chains: Vec<Chain>,
}

/// Where a chain hooks in (`NF_INET_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Everything that comes in.
    Prerouting = 0,
    /// What is for this machine.
    Input = 1,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is dropped.
    Drop = 0,
    /// It goes on.
    Accept = 1,
}

/// A chain of type `filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it hooks in.
    pub hook: Hook,
    /// Chains with lower ones come first.
    pub priority: i32,
    /// For packets that no rule decides on.
    pub policy: Verdict,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Addresses from the first to the last, of one family.
pub type AddressRange = (IpAddr, IpAddr);

/// Addresses that a packet's is, or is not, among.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Sorted and apart from each other.
    pub ranges: Vec<AddressRange>,
    /// None of them.
    pub invert: bool,
}

/// `IPPROTO_*`.
pub type Protocol = u8;

/// Parts of the transport header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Protocol number.
    pub protocol: Protocol,
    /// Source ports, each range from the first to the last; empty for any.
    pub source: Vec<(u16, u16)>,
    /// Destination ports, the same way.
    pub destination: Vec<(u16, u16)>,
    /// Types of ICMP messages; empty for any.
    pub types: Vec<u8>,
}

/// Connection tracking's `invalid`.
pub const INVALID: u32 = 1;
/// Connection tracking's `established`.
pub const ESTABLISHED: u32 = 2;
/// Connection tracking's `related`.
pub const RELATED: u32 = 4;
/// Connection tracking's `new`.
pub const NEW: u32 = 8;

/// A rule: every match that is there must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Came in by one of these links.
    pub links: Vec<String>,
    /// The connection is in one of these states (a sum of [`INVALID`] and so on); 0 for any.
    pub states: u32,
    /// Where it is from.
    pub source: Option<Addresses>,
    /// Where it goes.
    pub destination: Option<Addresses>,
    /// Its transport.
    pub transport: Option<Transport>,
    /// As long as there are no more than this many a second; 0 for no limit.
    pub per_second: u64,
    /// Count the packets that fit.
    pub count: bool,
    /// What becomes of them; `None` goes on to the next rule.
    pub verdict: Option<Verdict>,
}
