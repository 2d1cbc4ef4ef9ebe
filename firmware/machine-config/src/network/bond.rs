//! Bonds. Names are those of the configuration, numbers those of `linux/if_bonding.h`.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    take::{Taker, flag, number},
    tree::Node,
};

/// Words of the configuration with the kernel's numbers; the first one is the kernel's default.
macro_rules! words {
    ($($(#[$about:meta])* $name:ident [$(#[$first_note:meta])* $first:ident = $first_number:literal $first_word:literal
        $(, $(#[$note:meta])* $member:ident = $number:literal $word:literal)* $(,)?];)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_note])* #[default] $first = $first_number,
            $($(#[$note])* $member = $number,)*
        }

        impl $name {
            /// The kernel's number.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// From its name in the configuration, which is the kernel's.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $first_word => Some(Self::$first),
                    $($word => Some(Self::$member),)*
                    _ => None,
                }
            }

            const WORDS: &'static [&'static str] = &[$first_word $(, $word)*];
        }
    )*};
}

words! {
    /// How packets are spread.
    BondMode [
        /// In turns.
        RoundRobin = 0 "balance-rr",
        /// One link at a time.
        ActiveBackup = 1 "active-backup",
        /// By a hash.
        Xor = 2 "balance-xor",
        /// On all.
        Broadcast = 3 "broadcast",
        /// As agreed with the switch (LACP).
        Lacp = 4 "802.3ad",
        /// By load, outgoing.
        Tlb = 5 "balance-tlb",
        /// By load, both ways.
        Alb = 6 "balance-alb",
    ];
    /// What the hash is made of.
    XmitHashPolicy [
        /// Hardware addresses.
        Layer2 = 0 "layer2",
        /// Addresses and ports.
        Layer34 = 1 "layer3+4",
        /// Hardware and network addresses.
        Layer23 = 2 "layer2+3",
        /// As `layer2+3`, of what is in a tunnel.
        Encap23 = 3 "encap2+3",
        /// As `layer3+4`, of what is in a tunnel.
        Encap34 = 4 "encap3+4",
        /// VLAN and hardware address of the sender.
        VlanSource = 5 "vlan+srcmac",
    ];
    /// How often the partner is asked to speak (LACP).
    LacpRate [
        /// Every 30 s.
        Slow = 0 "slow",
        /// Every second.
        Fast = 1 "fast",
    ];
    /// Whose ARP answers are looked at.
    ArpValidate [
        /// Nobody's.
        None = 0 "none",
        /// The active link's.
        Active = 1 "active",
        /// The other links'.
        Backup = 2 "backup",
        /// All.
        All = 3 "all",
        /// Others are not counted.
        Filter = 4 "filter",
        /// Others are not counted; the active link's are looked at.
        FilterActive = 5 "filter-active",
        /// Others are not counted; the other links' are looked at.
        FilterBackup = 6 "filter-backup",
    ];
    /// How many ARP targets must answer.
    ArpAllTargets [
        /// One.
        Any = 0 "any",
        /// Each.
        All = 1 "all",
    ];
    /// When the primary link takes over again.
    PrimaryReselect [
        /// Whenever it is up.
        Always = 0 "always",
        /// When it is faster.
        Better = 1 "better",
        /// When the active one fails.
        Failure = 2 "failure",
    ];
    /// Whose hardware address is used.
    FailOverMac [
        /// The bond's, on all.
        None = 0 "none",
        /// The active link's.
        Active = 1 "active",
        /// The bond's, on the active link.
        Follow = 2 "follow",
    ];
    /// How one of several partners is chosen (LACP).
    AdSelect [
        /// Keep it.
        Stable = 0 "stable",
        /// The most bandwidth.
        Bandwidth = 1 "bandwidth",
        /// The most links.
        Count = 2 "count",
    ];
}

/// Settings of a bond; what is not given is `None` and stays as the kernel has it by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the kernel's Documentation/networking/bonding.rst, which says what each does")]
pub struct Bond {
    pub mode: BondMode,
    pub miimon_ms: Option<u32>,
    pub updelay_ms: Option<u32>,
    pub downdelay_ms: Option<u32>,
    pub use_carrier: Option<bool>,
    pub xmit_hash_policy: Option<XmitHashPolicy>,
    pub arp_interval_ms: Option<u32>,
    pub arp_ip_targets: Vec<Ipv4Addr>,
    pub ns_ip6_targets: Vec<Ipv6Addr>,
    pub arp_validate: Option<ArpValidate>,
    pub arp_all_targets: Option<ArpAllTargets>,
    pub lacp_rate: Option<LacpRate>,
    pub fail_over_mac: Option<FailOverMac>,
    pub ad_select: Option<AdSelect>,
    pub ad_actor_sys_prio: Option<u16>,
    pub ad_user_port_key: Option<u16>,
    pub ad_lacp_active: Option<bool>,
    /// Name of the link that is used when it works.
    pub primary: Option<String>,
    pub primary_reselect: Option<PrimaryReselect>,
    pub resend_igmp: Option<u32>,
    pub min_links: Option<u32>,
    pub lp_interval_s: Option<u32>,
    pub packets_per_port: Option<u32>,
    pub num_peer_notif: Option<u8>,
    pub tlb_dynamic_lb: Option<bool>,
    pub all_ports_active: Option<bool>,
    pub peer_notif_delay_ms: Option<u32>,
    pub missed_max: Option<u8>,
}

/// Which names the fields have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Those of `BondConfig`.
    Document,
    /// Those of the main document.
    Section,
}

/// Reads the settings.
pub(super) fn bond(taker: &mut Taker, node: &Node, path: &str, spelling: Spelling) -> Bond {
    let document = spelling == Spelling::Document;
    let named = |document_name: &'static str, section_name: &'static str| if document { document_name } else { section_name };
    let count = |key: &str| number(node.get(key));
    let switch = |taker: &mut Taker, key: &str| taker.bounded(node.get(key), &format!("{path}.{key}"), 0, 1).map(|value| value == 1);
    let byte = |taker: &mut Taker, key: &str| {
        taker.bounded(node.get(key), &format!("{path}.{key}"), 0, 255).and_then(|value| u8::try_from(value).ok())
    };
    let short = |taker: &mut Taker, key: &str, most: u32| {
        taker.bounded(node.get(key), &format!("{path}.{key}"), 0, most).and_then(|value| u16::try_from(value).ok())
    };
    let targets = named("arpIpTargets", "arpIPTarget");
    let bond = Bond {
        mode: word(taker, node, path, named("bondMode", "mode"), BondMode::parse, BondMode::WORDS).unwrap_or_default(),
        miimon_ms: count("miimon"),
        updelay_ms: count("updelay"),
        downdelay_ms: count("downdelay"),
        use_carrier: flag(node.get("useCarrier")),
        xmit_hash_policy: word(taker, node, path, "xmitHashPolicy", XmitHashPolicy::parse, XmitHashPolicy::WORDS),
        arp_interval_ms: count("arpInterval"),
        arp_ip_targets: taker.parsed(node.get(targets), &format!("{path}.{targets}"), "an IPv4 address"),
        ns_ip6_targets: taker.parsed(node.get("nsIp6Targets"), &format!("{path}.nsIp6Targets"), "an IPv6 address"),
        arp_validate: word(taker, node, path, "arpValidate", ArpValidate::parse, ArpValidate::WORDS),
        arp_all_targets: word(taker, node, path, "arpAllTargets", ArpAllTargets::parse, ArpAllTargets::WORDS),
        lacp_rate: word(taker, node, path, "lacpRate", LacpRate::parse, LacpRate::WORDS),
        fail_over_mac: word(taker, node, path, "failOverMac", FailOverMac::parse, FailOverMac::WORDS),
        ad_select: word(taker, node, path, "adSelect", AdSelect::parse, AdSelect::WORDS),
        ad_actor_sys_prio: short(taker, "adActorSysPrio", 65_535),
        ad_user_port_key: short(taker, "adUserPortKey", 1023),
        ad_lacp_active: node.get("adLACPActive").and_then(Node::text).map(|word| word == "on"),
        primary: node.get("primary").and_then(Node::text).filter(|name| !name.is_empty()).map(str::to_owned),
        primary_reselect: word(taker, node, path, "primaryReselect", PrimaryReselect::parse, PrimaryReselect::WORDS),
        resend_igmp: count(named("resendIGMP", "resendIgmp")),
        min_links: count("minLinks"),
        lp_interval_s: count("lpInterval"),
        packets_per_port: count("packetsPerSlave"),
        num_peer_notif: byte(taker, "numPeerNotif"),
        tlb_dynamic_lb: switch(taker, named("tlbLogicalLb", "tlbDynamicLb")),
        all_ports_active: switch(taker, "allSlavesActive"),
        peer_notif_delay_ms: count(named("peerNotifDelay", "peerNotifyDelay")),
        missed_max: byte(taker, "missedMax"),
    };
    check(taker, &bond, node, path);
    bond
}

/// What the kernel would refuse.
fn check(taker: &mut Taker, bond: &Bond, node: &Node, path: &str) {
    if bond.miimon_ms.is_some_and(|time| time > 0) && bond.arp_interval_ms.is_some_and(|time| time > 0) {
        taker.problems.add(node.line, format!("{path}.arpInterval"), "this and miimon exclude each other");
    }
    if bond.miimon_ms.is_none_or(|time| time == 0) && (bond.updelay_ms.is_some() || bond.downdelay_ms.is_some()) {
        taker.problems.add(node.line, format!("{path}.updelay"), "updelay and downdelay need miimon");
    }
    if bond.arp_interval_ms.is_some_and(|time| time > 0) && matches!(bond.mode, BondMode::Lacp | BondMode::Tlb | BondMode::Alb) {
        taker.problems.add(node.line, format!("{path}.arpInterval"), "this mode cannot watch its links by ARP: use miimon");
    }
    if bond.arp_ip_targets.len() > MOST_TARGETS || bond.ns_ip6_targets.len() > MOST_TARGETS {
        taker.problems.add(node.line, path, format!("at most {MOST_TARGETS} targets are asked"));
    }
}

/// `BOND_MAX_ARP_TARGETS`, `BOND_MAX_NS_TARGETS`.
const MOST_TARGETS: usize = 16;

fn word<T>(taker: &mut Taker, node: &Node, path: &str, key: &str, parse: fn(&str) -> Option<T>, words: &[&str]) -> Option<T> {
    let node = node.get(key)?;
    let given = node.text().filter(|given| !given.is_empty())?;
    let found = parse(given);
    if found.is_none() {
        taker.problems.add(node.line, format!("{path}.{key}"), format!("this must be {}", words.join(" or ")));
    }
    found
}
