//! Values shared by the parts of `net`: what the kernel has, what DHCP gave, what the configuration wants.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net};

use super::cmdline::Selector;

/// A network link as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Kernel name.
    pub name: String,
    /// Hardware address; empty when it has none.
    pub mac: Vec<u8>,
    /// The loopback link.
    pub loopback: bool,
    /// There is a device behind it (not a bridge, veth, tunnel ...).
    pub physical: bool,
    /// Administratively up.
    pub up: bool,
    /// A cable is plugged in and the link runs.
    pub carrier: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Most the driver takes; 0 when it does not say.
    pub mtu_limit: u32,
}

impl Link {
    /// The hardware address when it is an Ethernet one.
    #[must_use]
    pub fn ethernet(&self) -> Option<[u8; 6]> {
        self.mac.as_slice().try_into().ok()
    }
}

/// An address as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of its link.
    pub link: u32,
    /// Address with prefix.
    pub net: IpNet,
    /// Set by this module.
    pub ours: bool,
    /// Of global scope and usable (not tentative, not a duplicate).
    pub usable: bool,
}

/// A route, as wanted or as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Index of its link.
    pub link: u32,
    /// Where it leads.
    pub destination: IpNet,
    /// Next hop; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The next hop is on the link although no address says so.
    pub onlink: bool,
    /// Lower wins.
    pub metric: u32,
}

/// What the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// All links, by index.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// Routes set by this module.
    pub routes: Vec<Route>,
    /// Default gateways whoever set them, best first.
    pub gateways: Vec<IpAddr>,
}

/// What a DHCP server granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Address with prefix.
    pub address: Ipv4Net,
    /// Routers; not used when there are classless routes (RFC 3442).
    pub routers: Vec<Ipv4Addr>,
    /// Classless routes: destination and router, 0.0.0.0 meaning on the link.
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Name servers.
    pub resolvers: Vec<Ipv4Addr>,
    /// Search domains, the domain name first.
    pub search: Vec<String>,
    /// Host name without domain.
    pub hostname: Option<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u16>,
    /// Server that granted it.
    pub server: Ipv4Addr,
    /// How long it holds.
    pub lifetime: Duration,
}

/// The network part of the machine configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Host name, with or without a domain.
    pub hostname: Option<String>,
    /// Name servers; they replace all others.
    pub resolvers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Names in /etc/hosts.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
    /// Links with a setting of their own.
    pub links: Vec<WantedLink>,
}

/// A link in the machine configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLink {
    /// Which link.
    pub selector: Selector,
    /// Leave it alone.
    pub ignore: bool,
    /// Ask for an address by DHCP.
    pub dhcp: bool,
    /// Metric of the routes that DHCP gives.
    pub dhcp_metric: Option<u32>,
    /// Fixed addresses.
    pub addresses: Vec<IpNet>,
    /// Fixed routes: destination, next hop, metric.
    pub routes: Vec<(IpNet, Option<IpAddr>, Option<u32>)>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
}
