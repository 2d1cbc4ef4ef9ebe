//! Chains of the packet filter.

use ipnet::IpNet;

use crate::Code;

crate::choice! {
    /// Where a chain hooks in.
    pub enum Hook {
        /// Everything that comes in.
        Prerouting = 0 "prerouting",
        /// What is for this machine.
        Input = 1 "input",
    }

    /// What becomes of a packet.
    pub enum Verdict {
        /// It is dropped.
        Drop = 0 "drop",
        /// It goes on.
        Accept = 1 "accept",
    }

    /// How a match is meant.
    pub enum Operator {
        /// One of these.
        Equal = 0 "==",
        /// None of these.
        NotEqual = 1 "!=",
    }
}

/// Names of connection tracking's states (`NethelpersConntrackState`).
const STATES: &[(u32, &str)] = &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new")];
/// Names of protocols (`NethelpersProtocol`).
const PROTOCOLS: &[(u32, &str)] = &[(1, "icmp"), (6, "tcp"), (17, "udp"), (58, "icmpv6")];
/// Names of ICMP messages (`NethelpersICMPType`).
const ICMP_TYPES: &[(u32, &str)] =
    &[(13, "timestamp-request"), (14, "timestamp-reply"), (17, "address-mask-request"), (18, "address-mask-reply")];

/// A state of a connection.
#[must_use]
pub const fn state(number: u32) -> Code {
    Code { number, names: STATES, kind: "ConntrackState" }
}

/// A protocol.
#[must_use]
pub const fn protocol(number: u32) -> Code {
    Code { number, names: PROTOCOLS, kind: "Protocol" }
}

/// A type of ICMP messages.
#[must_use]
pub const fn icmp_type(number: u32) -> Code {
    Code { number, names: ICMP_TYPES, kind: "ICMPType" }
}

crate::message! {
    /// A chain.
    pub struct NfTablesChainSpec {
        /// What it is for.
        1 purpose: String = "type",
        /// Where it hooks in.
        2 hook: Hook = "hook",
        /// Chains with lower ones come first.
        3 priority: i64 = "priority",
        /// For packets that no rule decides on.
        5 policy: Verdict = "policy",
        /// In order.
        4 rules: Vec<NfTablesRule> = "rules",
    }

    /// A rule: every match that is there must fit.
    pub struct NfTablesRule {
        /// By which link it came.
        8 in_link: Option<NfTablesIfNameMatch> = "matchIIfName" omitempty,
        /// What its connection is.
        11 connection: Option<NfTablesConntrackStateMatch> = "matchConntrackState" omitempty,
        /// Where it is from.
        5 source: Option<NfTablesAddressMatch> = "matchSourceAddress" omitempty,
        /// Where it goes.
        6 destination: Option<NfTablesAddressMatch> = "matchDestinationAddress" omitempty,
        /// Its transport.
        7 transport: Option<NfTablesLayer4Match> = "matchLayer4" omitempty,
        /// How many may be.
        10 limit: Option<NfTablesLimitMatch> = "matchLimit" omitempty,
        /// Packets that fit are counted.
        12 counter: bool = "anonymousCounter" omitempty,
        /// What becomes of them.
        2 verdict: Verdict = "verdict",
    }

    /// Links by name.
    pub struct NfTablesIfNameMatch {
        /// Their names.
        3 names: Vec<String> = "interfaceName",
        /// One of them, or none.
        2 operator: Operator = "operator",
    }

    /// States of connections.
    pub struct NfTablesConntrackStateMatch {
        /// One of these.
        1 states: Vec<Code> = "states",
    }

    /// Addresses.
    pub struct NfTablesAddressMatch {
        /// In one of these.
        1 include: Vec<IpNet> = "includeSubnets" omitempty,
        /// In none of these.
        2 exclude: Vec<IpNet> = "excludeSubnets" omitempty,
        /// The other way round.
        3 invert: bool = "invert" omitempty,
    }

    /// Parts of the transport header.
    pub struct NfTablesLayer4Match {
        /// Protocol.
        1 protocol: Code = "protocol",
        /// Ports that it comes from.
        2 source: Option<NfTablesPortMatch> = "matchSourcePort" omitempty,
        /// Ports that it goes to.
        3 destination: Option<NfTablesPortMatch> = "matchDestinationPort" omitempty,
        /// Types of ICMP messages.
        4 icmp: Option<NfTablesIcmpTypeMatch> = "matchICMPType" omitempty,
    }

    /// Ports.
    pub struct NfTablesPortMatch {
        /// In one of these.
        1 ranges: Vec<PortRange> = "ranges" omitempty,
    }

    /// Ports from the first to the last.
    pub struct PortRange {
        /// The first.
        1 low: u32 = "lo",
        /// The last.
        2 high: u32 = "hi",
    }

    /// Types of ICMP messages.
    pub struct NfTablesIcmpTypeMatch {
        /// One of these.
        1 types: Vec<Code> = "types",
    }

    /// How many packets fit.
    pub struct NfTablesLimitMatch {
        /// In a second.
        1 per_second: u64 = "packetRatePerSecond",
    }
}

kinds! {
    NfTablesChainSpec: "NfTablesChains.net.talos.dev" in "network", ["chain", "chains"],
        ["Type" = "{.type}", "Hook" = "{.hook}", "Priority" = "{.priority}", "Policy" = "{.policy}"];
}
