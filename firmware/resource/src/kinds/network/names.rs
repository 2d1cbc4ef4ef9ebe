//! The names that clients give to the kernel's numbers (wire facts; numbers: `linux/if.h`, `if_arp.h`, `rtnetlink.h`,
//! `if_addr.h`, `ethtool.h`).

use crate::{Bits, Code};

macro_rules! codes {
    ($($(#[$about:meta])* $name:ident $kind:literal [$($number:literal $word:literal),* $(,)?];)*) => {$(
        $(#[$about])*
        #[must_use]
        pub fn $name(number: impl Into<u32>) -> Code {
            Code { number: number.into(), names: &[$(($number, $word)),*], kind: $kind }
        }
    )*};
}

codes! {
    /// Family of an address.
    family "Family" [2 "inet4", 10 "inet6"];
    /// How far an address or a route reaches.
    scope "Scope" [0 "global", 200 "site", 253 "link", 254 "host", 255 "nowhere"];
    /// What works of a link.
    operational_state "OperationalState"
        [0 "unknown", 1 "notPresent", 2 "down", 3 "lowerLayerDown", 4 "testing", 5 "dormant", 6 "up"];
    /// What is plugged into a link.
    port "Port" [0 "TwistedPair", 1 "AUI", 2 "MII", 3 "Fibre", 4 "BNC", 5 "DirectAttach", 239 "None", 255 "Other"];
    /// Whether both ends may speak at once.
    duplex "Duplex" [0 "Half", 1 "Full", 255 "Unknown"];
    /// A table of routes.
    routing_table "" [0 "unspec", 253 "default", 254 "main", 255 "local"];
    /// What a rule does with packets.
    routing_rule_action "RoutingRuleAction" [0 "unspec", 1 "unicast", 6 "blackhole", 7 "unreachable", 8 "prohibit"];
    /// How a VLAN's number is carried.
    vlan_protocol "VLANProtocol" [0x8100 "802.1q", 0x88a8 "802.1ad"];
    /// How a bond spreads packets.
    bond_mode "BondMode" [
        0 "balance-rr", 1 "active-backup", 2 "balance-xor", 3 "broadcast", 4 "802.3ad", 5 "balance-tlb", 6 "balance-alb",
    ];
    /// What a bond's hash is made of.
    xmit_hash_policy "BondXmitHashPolicy" [0 "layer2", 1 "layer3+4", 2 "layer2+3", 3 "encap2+3", 4 "encap3+4"];
    /// How often a bond's partner is asked to speak.
    lacp_rate "LACPRate" [0 "slow", 1 "fast"];
    /// Whose ARP answers a bond looks at.
    arp_validate "ARPValidate" [0 "none", 1 "active", 2 "backup", 3 "all", 4 "filter", 5 "filter-active", 6 "filter-backup"];
    /// How many of a bond's ARP targets must answer.
    arp_all_targets "ARPAllTargets" [0 "any", 1 "all"];
    /// When a bond's primary link takes over again.
    primary_reselect "PrimaryReselect" [0 "always", 1 "better", 2 "failure"];
    /// Whose hardware address a bond uses.
    fail_over_mac "FailOverMAC" [0 "none", 1 "active", 2 "follow"];
    /// How a bond chooses one of several partners.
    ad_select "ADSelect" [0 "stable", 1 "bandwidth", 2 "count"];
    /// Whether a bond speaks LACP unasked.
    ad_lacp_active "ADLACPActive" [0 "off", 1 "on"];
    /// What a route does with packets.
    route_type "RouteType" [
        0 "unspec", 1 "unicast", 2 "local", 3 "broadcast", 4 "anycast", 5 "multicast", 6 "blackhole", 7 "unreachable", 8 "prohibit",
        9 "throw", 10 "nat", 11 "xresolve",
    ];
    /// Who made a route.
    route_protocol "RouteProtocol" [
        0 "unspec", 1 "redirect", 2 "kernel", 3 "boot", 4 "static", 9 "ra", 10 "mrt", 11 "zebra", 12 "bird", 13 "dnrouted", 14 "xorp",
        15 "ntk", 16 "dhcp", 17 "mrtd", 18 "keepalived", 42 "babel", 99 "openr", 186 "bgp", 187 "isis", 188 "ospf", 189 "rip", 192 "eigrp",
    ];
    /// The hardware of a link.
    link_type "LinkType" [
        0 "netrom", 1 "ether", 2 "eether", 3 "ax25", 4 "pronet", 5 "chaos", 6 "ieee802", 7 "arcnet", 8 "atalk", 15 "dlci", 19 "atm",
        23 "metricom", 24 "ieee1394", 27 "eui64", 32 "infiniband", 256 "slip", 257 "cslip", 258 "slip6", 259 "cslip6", 260 "rsrvd",
        264 "adapt", 270 "rose", 271 "x25", 272 "hwx25", 280 "can", 512 "ppp", 513 "hdlc", 516 "lapb", 517 "ddcmp", 518 "rawhdlc",
        768 "ipip", 769 "tunnel6", 770 "frad", 771 "skip", 772 "loopback", 773 "localtlk", 774 "fddi", 775 "bif", 776 "sit",
        777 "ip/ddp", 778 "gre", 779 "pimreg", 780 "hippi", 781 "ash", 782 "econet", 783 "irda",
    ];
}

macro_rules! flags {
    ($($(#[$about:meta])* $name:ident from $first:literal [$($word:literal),* $(,)?];)*) => {$(
        $(#[$about])*
        #[must_use]
        pub fn $name(bits: u32) -> Bits {
            const NAMES: &[&str] = &[$($word),*];
            const BITS: &[(u32, &str)] = &numbered::<{ NAMES.len() }>(NAMES, $first);
            Bits { bits, names: BITS, between: "," }
        }
    )*};
}

/// Names with their bits: one after the other from the first bit on.
const fn numbered<const N: usize>(names: &'static [&'static str], first: u32) -> [(u32, &'static str); N] {
    let mut all = [(0, ""); N];
    let mut at = 0;
    while at < N {
        all[at] = (first << at, names[at]);
        at += 1;
    }
    all
}

flags! {
    /// Of an address.
    address_flags from 1 [
        "temporary", "nodad", "optimistic", "dadfailed", "homeaddress", "deprecated", "tentative", "permanent", "mngmtmpaddr",
        "noprefixroute", "mcautojoin", "stableprivacy",
    ];
    /// Of a link.
    link_flags from 1 [
        "UP", "BROADCAST", "DEBUG", "LOOPBACK", "POINTTOPOINT", "NOTRAILERS", "RUNNING", "NOARP", "PROMISC", "ALLMULTI", "MASTER", "SLAVE",
        "MULTICAST", "PORTSEL", "AUTOMEDIA", "DYNAMIC", "LOWER_UP", "DORMANT", "ECHO",
    ];
    /// Of a route.
    route_flags from 256 ["notify", "cloned", "equalize", "prefix", "lookup_table", "fib_match", "offload", "trap"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[track_caller]
    fn check(value: &impl Value, expect: &str) {
        assert_eq!(value.form().to_yaml().unwrap().trim(), expect);
    }

    #[test]
    fn numbers_have_the_clients_names() {
        check(&family(2_u32), "inet4");
        check(&link_type(772_u32), "loopback");
        check(&routing_table(254_u32), "main");
        check(&routing_table(7_u32), "'7'");
        check(&route_protocol(75_u32), "RouteProtocol(75)");
        check(&link_flags(0x1_1043), "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP");
        check(&address_flags(0x80), "permanent");
        check(&route_flags(0), "''");
        check(&route_flags(0x8000), "trap");
    }
}
