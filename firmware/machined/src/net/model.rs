//! Values shared by the parts of `net`: what the kernel has and what DHCP gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net};
use machine_config::network::{DeviceSelector, Expression, Value, glob};
use resource::kinds::network::{BondMasterSpec, BridgeMasterSpec, VlanSpec, VrfMasterSpec, WireguardSpec};

/// `AF_INET`, `AF_INET6`.
pub const INET: u32 = 2;
/// See [`INET`].
pub const INET6: u32 = 10;
/// `RT_TABLE_MAIN`.
pub const MAIN_TABLE: u32 = 254;

/// A network link as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Kernel name.
    pub name: String,
    /// Its other names.
    pub alt_names: Vec<String>,
    /// Hardware address; empty when it has none.
    pub mac: Vec<u8>,
    /// The loopback link.
    pub loopback: bool,
    /// There is a device behind it (not a bridge, veth, tunnel ...).
    pub physical: bool,
    /// The node made it.
    pub ours: bool,
    /// Administratively up.
    pub up: bool,
    /// A cable is plugged in and the link runs.
    pub carrier: bool,
    /// It takes part in multicast.
    pub multicast: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Most the driver takes; 0 when it does not say.
    pub mtu_limit: u32,
    /// Index of what it is part of; 0: nothing.
    pub master: u32,
    /// Index of the link that it stands on, or of its other end; 0: none.
    pub parent: u32,
    /// What made it; empty for hardware.
    pub kind: String,
    /// More about its kind.
    pub details: Details,
    /// What its hardware is; read only when somebody chooses links by it.
    pub hardware: Hardware,
}

/// More about a link's kind, as far as the kernel says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// As a VLAN.
    pub vlan: VlanSpec,
    /// As a bond.
    pub bond: BondMasterSpec,
    /// As a bridge.
    pub bridge: BridgeMasterSpec,
    /// As a VRF.
    pub vrf: VrfMasterSpec,
}

/// The hardware behind a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// The address that it was made with; empty when the kernel does not say.
    pub permanent: Vec<u8>,
    /// Where it is plugged in.
    pub bus_path: String,
    /// Its driver.
    pub driver: String,
    /// Vendor and device, `1AF4:1000`.
    pub pci_id: String,
}

impl Link {
    /// The hardware address when it is an Ethernet one.
    #[must_use]
    pub fn ethernet(&self) -> Option<[u8; 6]> {
        self.mac.as_slice().try_into().ok()
    }

    /// The address that it was made with; where the kernel does not say, the one that it has.
    fn permanent(&self) -> &[u8] {
        if self.hardware.permanent.is_empty() { &self.mac } else { &self.hardware.permanent }
    }

    /// Whether an expression of the configuration is true of it.
    #[must_use]
    pub fn fits(&self, expression: &Expression) -> bool {
        expression.holds(&|name| {
            Some(match name {
                "name" => Value::Text(self.name.clone()),
                "alt_names" => Value::List(self.alt_names.clone()),
                "hardware_addr" => Value::Bytes(self.mac.clone()),
                "permanent_addr" => Value::Bytes(self.permanent().to_vec()),
                "bus_path" => Value::Text(self.hardware.bus_path.clone()),
                "driver" => Value::Text(self.hardware.driver.clone()),
                "pci_id" => Value::Text(self.hardware.pci_id.clone()),
                "kind" => Value::Text(self.kind.clone()),
                "mtu" => Value::Number(i64::from(self.mtu)),
                "index" => Value::Number(i64::from(self.index)),
                "link_state" => Value::Bool(self.carrier),
                _ => return None,
            })
        })
    }

    /// Whether a selector of the configuration means it.
    #[must_use]
    pub fn matches(&self, selector: &DeviceSelector) -> bool {
        let fits = |pattern: &str, text: &str| pattern.is_empty() || glob(pattern, text);
        fits(&selector.name, &self.name)
            && fits(&selector.bus_path, &self.hardware.bus_path)
            && fits(&selector.driver, &self.hardware.driver)
            && fits(&selector.pci_id, &self.hardware.pci_id)
            && fits(&selector.hardware_addr, &mac_text(&self.mac))
            && fits(&selector.permanent_addr, &mac_text(self.permanent()))
            && selector.physical.is_none_or(|physical| physical == self.physical)
    }
}

/// Hexadecimal with colons.
#[must_use]
pub fn mac_text(mac: &[u8]) -> String {
    let pairs: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    pairs.join(":")
}

/// An address as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of its link.
    pub link: u32,
    /// Address with prefix.
    pub net: IpNet,
    /// Metric of the route that it brings along; 0: the kernel's own.
    pub metric: u32,
    /// Set by this module.
    pub ours: bool,
    /// Not tentative, not a duplicate.
    pub settled: bool,
    /// Settled, and of global scope.
    pub usable: bool,
}

/// A route, as wanted or as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Index of its link; `None` for one that drops packets.
    pub link: Option<u32>,
    /// Where it leads.
    pub destination: IpNet,
    /// Next hop; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The next hop is on the link although no address says so.
    pub onlink: bool,
    /// Address that packets are sent from.
    pub source: Option<IpAddr>,
    /// Lower wins.
    pub metric: u32,
    /// Table that it is in.
    pub table: u32,
    /// Largest packet in bytes; 0: the link's.
    pub mtu: u32,
    /// What it does with packets (`RTN_*`).
    pub kind: u8,
}

/// A rule that chooses a table of routes, as wanted or as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Of IPv6; else of IPv4.
    pub six: bool,
    /// Lower ones are asked first.
    pub priority: u32,
    /// Senders; `None` is all.
    pub source: Option<IpNet>,
    /// Receivers; `None` is all.
    pub destination: Option<IpNet>,
    /// The table; 0 where none is looked into.
    pub table: u32,
    /// What is done (`FR_ACT_*`).
    pub action: u8,
    /// Link that packets came in by; empty: any.
    pub iif: String,
    /// Link that packets are to go out by; empty: any.
    pub oif: String,
    /// Mark of packets; 0: any.
    pub mark: u32,
    /// Bits of the mark that count.
    pub mask: u32,
}

/// What the kernel has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actual {
    /// All links, by index.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// Routes set by this module.
    pub routes: Vec<Route>,
    /// Rules set by this module; read only when there are or were any.
    pub rules: Vec<Rule>,
    /// Default gateways whoever set them, best first.
    pub gateways: Vec<IpAddr>,
    /// Other names that this module gave to links.
    pub given_names: BTreeSet<(u32, String)>,
    /// What the MTU of links was before this module set one, by index.
    pub mtus_before: BTreeMap<u32, u32>,
    /// What this module told tunnels, by index.
    pub tunnels: BTreeMap<u32, WireguardSpec>,
}

/// What a DHCP server granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Address with prefix.
    pub address: IpNet,
    /// Routers; not used when there are classless routes (RFC 3442).
    pub routers: Vec<Ipv4Addr>,
    /// Classless routes: destination and router, 0.0.0.0 meaning on the link.
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Name servers.
    pub resolvers: Vec<IpAddr>,
    /// Search domains, the domain name first.
    pub search: Vec<String>,
    /// Host name without domain.
    pub hostname: Option<String>,
    /// Time servers, names or addresses.
    pub time_servers: Vec<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u16>,
    /// Server that granted it.
    pub server: IpAddr,
    /// How long it holds.
    pub lifetime: Duration,
}
