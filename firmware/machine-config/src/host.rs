//! What the configuration says of the host below the workloads: its clock, its name server, its firewall, its kernel.
//!
//! Older sections of the main document (`machine.time`, `machine.features.hostDNS`, `machine.sysctls`, `machine.sysfs`,
//! `machine.kernel`) and the documents that take their place. A setting may be in one of the two, not in both.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use crate::{
    Config, scalar,
    stream::Document,
    take::{Taker, flag, map, text, texts},
    tree::Node,
};

const TIME: &str = "TimeSyncConfig";
const RESOLVER: &str = "ResolverConfig";
const DEFAULT_ACTION: &str = "NetworkDefaultActionConfig";
const RULE: &str = "NetworkRuleConfig";
const SYSCTL: &str = "SysctlConfig";
const SYSFS: &str = "SysfsConfig";
const MODULE: &str = "KernelModuleConfig";

/// Kinds whose content, or part of it, is taken out here.
pub(crate) const KINDS: [&str; 7] = [TIME, RESOLVER, DEFAULT_ACTION, RULE, SYSCTL, SYSFS, MODULE];

/// Most time servers; asking more tells no better what time it is.
const MAX_TIME_SERVERS: usize = 16;
/// Most rules, ports and ranges in one, and addresses in one: a kernel's table is built from their product at most.
const MAX_RULES: usize = 256;
const MAX_IN_RULE: usize = 256;
/// Longest name of a rule.
const MAX_NAME: usize = 128;

/// `machine.time` or `TimeSyncConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Do not synchronise.
    pub disabled: bool,
    /// Servers, `host` or `host:port`; empty means those of the lower layers.
    pub servers: Vec<String>,
    /// After this long since the kernel's start the time counts as synchronised whether it is or not; `None` waits for ever.
    pub boot_timeout: Option<Duration>,
}

/// `machine.features.hostDNS` or `ResolverConfig.hostDNS`: the node's own name server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostDns {
    /// It runs.
    pub enabled: bool,
    /// Pods ask it, too; never without `enabled`.
    pub forward_pods: bool,
    /// It knows the names of the cluster's members; never without `enabled`.
    pub member_names: bool,
}

/// What becomes of packets that no rule speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultAction {
    /// They are let in.
    #[default]
    Accept,
    /// They are dropped.
    Block,
}

/// A protocol that rules can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMP of IPv6.
    Icmpv6,
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last; not below the first.
    pub last: u16,
}

/// Addresses that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peers {
    /// These.
    pub subnet: IpNet,
    /// But not these.
    pub except: Option<IpNet>,
}

/// `NetworkRuleConfig`: who may reach what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRule {
    /// Its name.
    pub name: String,
    /// Of this protocol.
    pub protocol: Protocol,
    /// To these ports; empty for a protocol that has none.
    pub ports: Vec<Ports>,
    /// From these addresses; empty lets nobody in.
    pub peers: Vec<Peers>,
}

/// The firewall for what comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// For what no rule speaks of.
    pub default_action: DefaultAction,
    /// Sorted by name, each name once.
    pub rules: Vec<IngressRule>,
}

/// A kernel module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelModule {
    /// Its name.
    pub name: String,
    /// `name=value` each.
    pub parameters: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The clock.
    pub time: Time,
    /// The name server.
    pub dns: HostDns,
    /// The firewall.
    pub ingress: Ingress,
    /// Kernel parameters: key (`net.ipv4.ip_forward`) to value.
    pub sysctls: BTreeMap<String, String>,
    /// Values to write below `/sys`: key (`devices.system.cpu...`) to value.
    pub sysfs: BTreeMap<String, String>,
    /// Modules, in the order of the text.
    pub modules: Vec<KernelModule>,
}

impl Config {
    /// Time settings.
    #[must_use]
    pub const fn time(&self) -> &Time {
        &self.host.time
    }

    /// The node's own name server.
    #[must_use]
    pub const fn host_dns(&self) -> HostDns {
        self.host.dns
    }

    /// The firewall.
    #[must_use]
    pub const fn ingress(&self) -> &Ingress {
        &self.host.ingress
    }

    /// Kernel parameters: key (`net.ipv4.ip_forward`) to value.
    #[must_use]
    pub const fn sysctls(&self) -> &BTreeMap<String, String> {
        &self.host.sysctls
    }

    /// Values to write below `/sys`: key (`devices.system.cpu...`) to value.
    #[must_use]
    pub const fn sysfs(&self) -> &BTreeMap<String, String> {
        &self.host.sysfs
    }

    /// Kernel modules to load.
    #[must_use]
    pub fn kernel_modules(&self) -> &[KernelModule] {
        &self.host.modules
    }
}

impl Taker {
    /// What the `machine` section and the documents of [`KINDS`] say.
    pub fn host(&mut self, machine: Option<&Node>, documents: &[&Document]) -> Host {
        let of = |kind: &'static str| documents.iter().filter(move |document| document.kind == kind).map(|document| &document.node);
        let section = |key: &str| machine.and_then(|machine| machine.get(key));
        let mut rules: Vec<_> = of(RULE).take(MAX_RULES).filter_map(|node| self.ingress_rule(node)).collect();
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(beyond) = of(RULE).nth(MAX_RULES) {
            self.problems.add(beyond.line, RULE, format!("at most {MAX_RULES} rules are taken"));
        }
        Host {
            time: self.time(section("time"), of(TIME).next()),
            dns: host_dns(section("features"), of(RESOLVER).next()),
            ingress: Ingress { default_action: default_action(of(DEFAULT_ACTION).next()), rules },
            sysctls: self.settings(section("sysctls"), of(SYSCTL).next(), "machine.sysctls", SYSCTL),
            sysfs: self.settings(section("sysfs"), of(SYSFS).next(), "machine.sysfs", SYSFS),
            modules: self.modules(section("kernel"), of(MODULE)),
        }
    }

    fn time(&mut self, older: Option<&Node>, document: Option<&Node>) -> Time {
        let (path, servers, disabled, limit) = match document {
            Some(node) => (
                "TimeSyncConfig.ntp.servers",
                node.get("ntp").and_then(|ntp| ntp.get("servers")),
                flag(node.get("enabled")) == Some(false),
                node.get("bootTimeout"),
            ),
            None => (
                "machine.time.servers",
                older.and_then(|node| node.get("servers")),
                older.and_then(|node| flag(node.get("disabled"))).unwrap_or(false),
                older.and_then(|node| node.get("bootTimeout")),
            ),
        };
        for server in servers.map_or(&[][..], Node::items) {
            if !server.text().is_some_and(is_server) {
                self.problems.add(
                    server.line,
                    path,
                    "this must be a host name or an address, with or without a port (ntp.example.org, 10.0.0.1:123)",
                );
            }
        }
        let names = texts(servers);
        if let (Some(node), true) = (servers, names.len() > MAX_TIME_SERVERS) {
            self.problems.add(node.line, path, format!("at most {MAX_TIME_SERVERS} servers are taken"));
        }
        let boot_timeout = limit.and_then(Node::text).and_then(scalar::duration).filter(|limit| !limit.is_zero());
        Time { disabled, servers: names, boot_timeout }
    }

    fn ingress_rule(&mut self, node: &Node) -> Option<IngressRule> {
        let name = text(node.get("name"));
        if name.is_empty() || name.len() > MAX_NAME {
            self.problems.add(node.line, "NetworkRuleConfig.name", format!("a name of 1 to {MAX_NAME} bytes is required"));
        }
        let selector = node.get("portSelector");
        let protocol = match selector.and_then(|selector| selector.get("protocol")).and_then(Node::text) {
            Some("tcp") => Some(Protocol::Tcp),
            Some("udp") => Some(Protocol::Udp),
            Some("icmp") => Some(Protocol::Icmp),
            Some("icmpv6") => Some(Protocol::Icmpv6),
            // What is there but unknown was reported by the check of types.
            Some(text) if !text.is_empty() => None,
            _ => {
                self.problems.add(node.line, "NetworkRuleConfig.portSelector.protocol", "this is required: tcp, udp, icmp or icmpv6");
                None
            }
        };
        let path = "NetworkRuleConfig.portSelector.ports";
        let listed = selector.and_then(|selector| selector.get("ports"));
        let mut ports = self.each(listed, path, Self::ingress_ports);
        ports.sort_unstable();
        // The reference demands ports of these protocols too, so they are taken, and mean nothing.
        let ports = if matches!(protocol, Some(Protocol::Icmp | Protocol::Icmpv6)) { Vec::new() } else { ports };
        let wanted = match protocol {
            Some(Protocol::Tcp | Protocol::Udp) if listed.is_none_or(|ports| ports.items().is_empty()) => {
                Some("this is required for tcp and udp")
            }
            _ if ports.len() > MAX_IN_RULE => Some("at most 256 ports and ranges are taken in one rule"),
            _ => None,
        };
        if let Some(wanted) = wanted {
            self.problems.add(listed.map_or(node.line, |ports| ports.line), path, wanted);
        }
        let peers = self.each(node.get("ingress"), "NetworkRuleConfig.ingress", Self::peers);
        if peers.len() > MAX_IN_RULE {
            self.problems.add(node.line, "NetworkRuleConfig.ingress", format!("at most {MAX_IN_RULE} subnets are taken in one rule"));
        }
        Some(IngressRule { name, protocol: protocol?, ports, peers })
    }

    fn ingress_ports(&mut self, node: &Node, path: &str) -> Option<Ports> {
        let ports = node.text().and_then(ports);
        if ports.is_none() {
            self.problems.add(node.line, path, "this must be a port or a range of ports (50000, 30000-32767)");
        }
        ports
    }

    fn peers(&mut self, node: &Node, path: &str) -> Option<Peers> {
        let subnet: Option<IpNet> = self.one(node.get("subnet"), &format!("{path}.subnet"), "a network (10.0.0.0/8)");
        if node.get("subnet").is_none() {
            self.problems.add(node.line, format!("{path}.subnet"), "this is required");
        }
        let except: Option<IpNet> = self.one(node.get("except"), &format!("{path}.except"), "a network (10.0.0.0/8)");
        let (subnet, except) = (subnet?.trunc(), except.map(|except| except.trunc()));
        if except.is_some_and(|except| !subnet.contains(&except)) {
            self.problems.add(node.line, format!("{path}.except"), format!("this must be a part of {subnet}"));
        }
        Some(Peers { subnet, except })
    }

    /// Names with values, from the main document and from the document of their own.
    fn settings(&mut self, older: Option<&Node>, document: Option<&Node>, older_path: &str, kind: &str) -> BTreeMap<String, String> {
        let own = document.and_then(|node| node.get("params"));
        for (path, node) in [(older_path.to_owned(), older), (format!("{kind}.params"), own)] {
            for entry in node.map_or(&[][..], Node::entries).iter().filter(|entry| !is_parameter(&entry.key)) {
                let short: String = entry.key.chars().take(80).collect();
                self.problems.add(
                    entry.line,
                    &path,
                    format!("{short:?} is not a name of letters and digits with dots or slashes between (net.ipv4.ip_forward)"),
                );
            }
        }
        let mut all = map(older);
        for (key, value) in map(own) {
            if all.insert(key.clone(), value).is_some() {
                let line = own.map_or(0, |node| node.line);
                self.problems.add(line, format!("{kind}.params"), format!("{older_path} sets {key} already: keep one of the two"));
            }
        }
        all
    }

    fn modules<'a>(&mut self, older: Option<&'a Node>, documents: impl Iterator<Item = &'a Node>) -> Vec<KernelModule> {
        let listed = older.and_then(|kernel| kernel.get("modules")).map_or(&[][..], Node::items);
        let mut modules: Vec<KernelModule> = Vec::new();
        for node in listed.iter().chain(documents) {
            let module = KernelModule { name: text(node.get("name")), parameters: texts(node.get("parameters")) };
            let plain = !module.name.is_empty() && module.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            if !plain {
                self.problems.add(node.line, "name", "this must be the name of a kernel module (letters, digits, _ and -)");
            } else if modules.iter().any(|known| known.name == module.name) {
                self.problems.add(node.line, "name", format!("the kernel module {} is there already", module.name));
            }
            if let Some(bad) = module.parameters.iter().find(|parameter| parameter.contains('\0')) {
                self.problems.add(node.line, "parameters", format!("{bad:?} is not a parameter"));
            }
            modules.push(module);
        }
        modules
    }
}

/// The document's section comes first; both at once are refused elsewhere.
fn host_dns(features: Option<&Node>, document: Option<&Node>) -> HostDns {
    let settings = document.and_then(|node| node.get("hostDNS")).or_else(|| features.and_then(|node| node.get("hostDNS")));
    let set = |key: &str| settings.and_then(|node| flag(node.get(key))).unwrap_or(false);
    let enabled = set("enabled");
    HostDns { enabled, forward_pods: enabled && set("forwardKubeDNSToHost"), member_names: enabled && set("resolveMemberNames") }
}

fn default_action(document: Option<&Node>) -> DefaultAction {
    match document.and_then(|node| node.get("ingress")).and_then(Node::text) {
        Some("block") => DefaultAction::Block,
        _ => DefaultAction::Accept,
    }
}

/// `50000` or `30000-32767`. Port 0 is none.
fn ports(text: &str) -> Option<Ports> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(Ports { first, last })
}

/// `host`, `host:port`, an address, `[address]:port`.
fn is_server(text: &str) -> bool {
    if text.parse::<std::net::IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok() {
        return true;
    }
    let (name, port) = text.split_once(':').unwrap_or((text, "123"));
    let name = name.strip_suffix('.').unwrap_or(name);
    let label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    name.len() <= 253 && name.split('.').all(label) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// A name below `/proc/sys` or `/sys` that leads nowhere else.
fn is_parameter(key: &str) -> bool {
    let fits =
        |part: &str| !part.is_empty() && part != ".." && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@,".contains(&byte));
    key.len() <= 512 && !key.contains("..") && key.split('/').all(fits) && !key.starts_with('.') && !key.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_a_range() {
        for (text, expect) in [
            ("50000", Some((50000, 50000))),
            ("1-65535", Some((1, 65535))),
            ("10 - 20", Some((10, 20))),
            ("0", None),
            ("20-10", None),
            ("65536", None),
            ("-5", None),
            ("5-", None),
            ("http", None),
            ("", None),
        ] {
            assert_eq!(ports(text).map(|ports| (ports.first, ports.last)), expect, "{text:?}");
        }
    }

    #[test]
    fn servers_have_names_or_addresses_and_maybe_a_port() {
        for good in ["time.cloudflare.com", "ntp", "10.0.0.1", "10.0.2.2:4123", "fd00::1", "[fd00::1]:123", "a.example.:99"] {
            assert!(is_server(good), "{good}");
        }
        for bad in ["", "a b", "a:0", "a:70000", "http://x", ":123", "a..b", "[fd00::1"] {
            assert!(!is_server(bad), "{bad}");
        }
    }

    #[test]
    fn parameters_stay_below_their_folder() {
        for good in ["net.ipv4.ip_forward", "net/ipv4/conf/eth0.100/rp_filter", "vm.swappiness", "block.sda.queue.scheduler"] {
            assert!(is_parameter(good), "{good}");
        }
        for bad in ["", "../etc", "net/../x", "net..x", ".a", "a.", "/a/b", "a/b/", "a b.c", "a.\u{e9}"] {
            assert!(!is_parameter(bad), "{bad}");
        }
    }
}
