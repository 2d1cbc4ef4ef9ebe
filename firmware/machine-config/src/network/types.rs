//! The values.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Bond, Expression, Which, Wireguard};

/// Number of the table of routes that is used when none is named (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;

/// Which host name a node takes when none is given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AutoHostname {
    /// From the node's identity: `talos-xxx-yyy`.
    #[default]
    Stable,
    /// From its first address.
    Address,
    /// None.
    Off,
}

/// Everything that is said about the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Host name given, if any.
    pub hostname: Option<String>,
    /// What to do without one.
    pub auto_hostname: AutoHostname,
    /// Links, those before that others stand on or not.
    pub links: Vec<Link>,
    /// Other names of links.
    pub aliases: Vec<Alias>,
    /// Links that ask for an address.
    pub dhcp: Vec<Dhcp>,
    /// A document says which links there are: those that nobody mentions are left alone.
    pub explicit: bool,
    /// Name servers; empty means those of the lower layers.
    pub name_servers: Vec<NameServer>,
    /// Search domains.
    pub search_domains: Vec<String>,
    /// Only these search domains; else those of the lower layers follow.
    pub search_only: bool,
    /// Lines of the hosts file.
    pub hosts: Vec<ExtraHost>,
    /// Rules that choose a table of routes.
    pub rules: Vec<Rule>,
    /// Networks that packets are dropped for.
    pub blackholes: Vec<Blackhole>,
    /// Time servers; empty means those of the lower layers.
    pub time_servers: Vec<String>,
    /// They are asked over NTS.
    pub use_nts: bool,
}

impl Network {
    /// Whether links are chosen by more than their names: what is behind them must be looked at.
    #[must_use]
    pub fn chooses_by_hardware(&self) -> bool {
        let matching = |which: &Which| which.name().is_none();
        !self.aliases.is_empty()
            || self.dhcp.iter().any(|dhcp| matching(&dhcp.which))
            || self.links.iter().any(|link| matching(&link.which) || link.ports.iter().any(matching))
    }
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Line that its description begins on; 0 when that is not known.
    pub line: usize,
    /// Which one.
    pub which: Which,
    /// What it is.
    pub kind: LinkKind,
    /// Leave it alone, whatever other layers say.
    pub ignore: bool,
    /// Administratively up.
    pub up: bool,
    /// Largest packet in bytes, if given.
    pub mtu: Option<u32>,
    /// Takes part in multicast, if given.
    pub multicast: Option<bool>,
    /// Hardware address, if given.
    pub hardware_addr: Option<[u8; 6]>,
    /// Static addresses.
    pub addresses: Vec<Address>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Links that are part of it (bond, bridge, VRF), in order.
    pub ports: Vec<Which>,
}

impl Link {
    /// A link as it is when nothing is said about it but which and what.
    #[must_use]
    pub const fn new(which: Which, kind: LinkKind) -> Self {
        Self {
            line: 0,
            which,
            kind,
            ignore: false,
            up: true,
            mtu: None,
            multicast: None,
            hardware_addr: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            ports: Vec::new(),
        }
    }
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// One that is there already.
    Existing,
    /// Packets of another link that carry a number.
    Vlan {
        /// Name of the other link.
        parent: Which,
        /// The number, 1 to 4094.
        id: u16,
        /// How the number is carried.
        protocol: VlanProtocol,
    },
    /// Several links as one.
    Bond(Box<Bond>),
    /// A switch.
    Bridge(Bridge),
    /// Leads nowhere.
    Dummy,
    /// One end of a cable between two links.
    Veth {
        /// Name of the other end.
        peer: String,
    },
    /// Links with a table of routes of their own.
    Vrf {
        /// The table.
        table: u32,
    },
    /// An encrypted tunnel.
    Wireguard(Box<Wireguard>),
}

/// How a VLAN's number is carried: the Ethernet type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VlanProtocol {
    /// 802.1Q.
    #[default]
    Dot1Q = 0x8100,
    /// 802.1ad, below another number.
    Dot1Ad = 0x88a8,
}

/// How a bridge works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// It speaks the spanning tree protocol.
    pub stp: bool,
    /// It looks at VLAN numbers.
    pub vlan_filtering: bool,
}

/// A static address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// With its prefix.
    pub net: IpNet,
    /// Metric of the route that it brings along, if given.
    pub metric: Option<u32>,
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; `None` is everywhere, in the gateway's family.
    pub network: Option<IpNet>,
    /// Next hop; `None` means on the link.
    pub gateway: Option<IpAddr>,
    /// Address that packets are sent from, if given.
    pub source: Option<IpAddr>,
    /// Metric, if given.
    pub metric: Option<u32>,
    /// Largest packet in bytes, if given.
    pub mtu: Option<u32>,
    /// Table that it goes to.
    pub table: u32,
}

/// How a link asks for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp {
    /// The link.
    pub which: Which,
    /// Of IPv6; else of IPv4.
    pub six: bool,
    /// Metric of the routes that come with it, if given.
    pub metric: Option<u32>,
    /// Take no host name.
    pub ignore_hostname: bool,
    /// Take no routes.
    pub ignore_routes: bool,
    /// What the client calls itself.
    pub client_id: ClientId,
}

/// What a DHCP client calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientId {
    /// Nothing.
    None,
    /// Its hardware address.
    #[default]
    Mac,
    /// A DHCP unique identifier, as bytes.
    Duid(Vec<u8>),
}

/// Another name for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name; with `%d` a number for each link that matches.
    pub name: String,
    /// Which links.
    pub selector: Expression,
}

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Where.
    pub address: IpAddr,
    /// How it is asked.
    pub protocol: NameServerProtocol,
    /// Name in its certificate; empty: its address.
    pub tls_name: String,
}

/// How a name server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameServerProtocol {
    /// Over UDP and TCP.
    #[default]
    Plain,
    /// Over TLS.
    Tls,
    /// Over HTTPS.
    Https,
}

/// A line of the hosts file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// Address.
    pub ip: IpAddr,
    /// Its names.
    pub aliases: Vec<String>,
}

/// A rule that chooses a table of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Lower ones are asked first.
    pub priority: u32,
    /// Senders; `None` is all.
    pub source: Option<IpNet>,
    /// Receivers; `None` is all.
    pub destination: Option<IpNet>,
    /// The table.
    pub table: u32,
    /// What is done.
    pub action: RuleAction,
    /// Link that packets came in by; empty: any.
    pub iif: String,
    /// Link that packets are to go out by; empty: any.
    pub oif: String,
    /// Mark of packets; 0: any.
    pub mark: u32,
    /// Bits of the mark that count; 0: all.
    pub mask: u32,
}

/// What a rule does with packets. Numbers: `linux/fib_rules.h` as far as the kernel and clients agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleAction {
    /// Looks into the table.
    #[default]
    Lookup = 1,
    /// Drops them.
    Blackhole = 6,
    /// Answers that nobody is there.
    Unreachable = 7,
    /// Answers that it is forbidden.
    Prohibit = 8,
}

/// A network that packets are dropped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackhole {
    /// The network.
    pub network: IpNet,
    /// Metric, if given.
    pub metric: Option<u32>,
}
