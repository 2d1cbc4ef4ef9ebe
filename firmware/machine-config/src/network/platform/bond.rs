//! Settings of bonds: version 1 has the kernel's names with `bond-` in front, version 2 its own, specs the kernel's in one word.

use super::Reader;
use crate::{
    network::bond::{AdSelect, ArpAllTargets, ArpValidate, Bond, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy},
    scalar,
    take::number,
    tree::{Entry, Node},
};

impl Reader {
    pub(super) fn bond(&mut self, node: Option<&Node>, path: &str) -> Bond {
        let mut bond = Bond::default();
        for entry in node.map_or(&[][..], Node::entries) {
            // `bond_mode`, `bond-mode` and `mode` are the same, `xmitHashPolicy` and `xmit-hash-policy`, too.
            let key = hyphenated(&entry.key);
            let key = key.strip_prefix("bond-").unwrap_or(&key);
            let path = format!("{path}.{}", entry.key.chars().take(40).collect::<String>());
            self.bond_setting(&mut bond, key, entry, &path);
        }
        bond
    }

    fn bond_setting(&mut self, bond: &mut Bond, key: &str, entry: &Entry, path: &str) {
        let node = &entry.value;
        match key {
            "mode" => bond.mode = self.word(node, path, mode).unwrap_or_default(),
            "miimon" | "mii-monitor-interval" => bond.miimon_ms = self.count(node, path),
            "updelay" | "up-delay" => bond.updelay_ms = self.count(node, path),
            "downdelay" | "down-delay" => bond.downdelay_ms = self.count(node, path),
            "xmit-hash-policy" | "transmit-hash-policy" => bond.xmit_hash_policy = self.word(node, path, XmitHashPolicy::parse),
            "lacp-rate" => bond.lacp_rate = self.word(node, path, lacp_rate),
            "ad-select" => bond.ad_select = self.word(node, path, AdSelect::parse),
            "arp-interval" => bond.arp_interval_ms = self.count(node, path),
            "arp-ip-target" | "arp-ip-targets" => {
                // In version 1 one text with commas.
                let texts: Vec<String> = self.items(Some(node), path).into_iter().filter_map(Node::text).map(str::to_owned).collect();
                let parts = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty());
                match parts.map(str::parse).collect() {
                    Ok(targets) => bond.arp_ip_targets = targets,
                    Err(_) => self.problem(node, path, "these must be IPv4 addresses"),
                }
            }
            "arp-validate" => bond.arp_validate = self.word(node, path, ArpValidate::parse),
            "arp-all-targets" => bond.arp_all_targets = self.word(node, path, ArpAllTargets::parse),
            "fail-over-mac" | "fail-over-mac-policy" => bond.fail_over_mac = self.word(node, path, FailOverMac::parse),
            "primary" => bond.primary = node.text().map(str::to_owned),
            "primary-reselect" | "primary-reselect-policy" => bond.primary_reselect = self.word(node, path, PrimaryReselect::parse),
            "min-links" => bond.min_links = self.count(node, path),
            "resend-igmp" => bond.resend_igmp = self.count(node, path),
            "packets-per-slave" | "packets-per-member" => bond.packets_per_port = self.count(node, path),
            "use-carrier" => bond.use_carrier = node.text().and_then(scalar::boolean),
            "num-peer-notif" | "num-grat-arp" | "num-unsol-na" | "gratuitous-arp" => {
                bond.num_peer_notif = self.count(node, path).and_then(|count| u8::try_from(count).ok());
            }
            "all-slaves-active" | "all-members-active" => {
                bond.all_ports_active = node.text().and_then(|text| match text {
                    "0" => Some(false),
                    "1" => Some(true),
                    other => scalar::boolean(other),
                });
            }
            "lp-interval" | "learn-packet-interval" => bond.lp_interval_s = self.count(node, path),
            _ => self.warn(entry.line, path, "this is not acted on"),
        }
    }

    fn word<T>(&mut self, node: &Node, path: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let found = node.text().and_then(parse);
        if found.is_none() {
            self.problem(node, path, "this is none of the kernel's words (Documentation/networking/bonding.rst)");
        }
        found
    }

    /// A count; spans of time are milliseconds.
    fn count(&mut self, node: &Node, path: &str) -> Option<u32> {
        let found = number(Some(node));
        if found.is_none() {
            self.problem(node, path, "this must be a number");
        }
        found
    }
}

fn hyphenated(key: &str) -> String {
    let mut text = String::new();
    for character in key.chars().take(64) {
        if character.is_ascii_uppercase() {
            text.push('-');
        }
        text.push(if character == '_' { '-' } else { character.to_ascii_lowercase() });
    }
    text
}

/// A word or the kernel's number.
fn mode(text: &str) -> Option<BondMode> {
    let modes = ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
    let word = text.parse::<usize>().ok().and_then(|number| modes.get(number).copied()).unwrap_or(text);
    BondMode::parse(word)
}

fn lacp_rate(text: &str) -> Option<LacpRate> {
    match text {
        "0" => Some(LacpRate::Slow),
        "1" => Some(LacpRate::Fast),
        word => LacpRate::parse(word),
    }
}
