//! The network as it is wanted: by each layer, and by the strongest of them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::NameServerSpec;
use crate::{Bits, Code};

crate::choice! {
    /// Who wants something, the weakest first.
    pub enum ConfigLayer {
        /// The node, when nobody says anything.
        Default = 0 "default",
        /// The kernel command line.
        Cmdline = 1 "cmdline",
        /// The platform.
        Platform = 2 "platform",
        /// Something that asks others: DHCP.
        Operator = 3 "operator",
        /// The machine configuration.
        Configuration = 4 "configuration",
    }

    /// Something that asks others.
    pub enum Operator {
        /// For an IPv4 address.
        Dhcp4 = 0 "dhcp4",
        /// For an IPv6 address.
        Dhcp6 = 1 "dhcp6",
        /// For the right to use an address.
        Vip = 2 "vip",
    }

    /// What a DHCP client calls itself.
    pub enum ClientIdentifier {
        /// Nothing.
        None = 0 "none",
        /// Its hardware address.
        Mac = 1 "mac",
        /// A DHCP unique identifier.
        Duid = 2 "duid",
    }
}

crate::message! {
    /// An address that a link is to have.
    pub struct AddressSpecSpec {
        /// With its prefix.
        1 address: Option<IpNet> = "address",
        /// Name of the link.
        2 link_name: String = "linkName",
        /// Family.
        3 family: Code = "family",
        /// How far it is valid.
        4 scope: Code = "scope",
        /// The kernel's flags.
        5 flags: Bits = "flags",
        /// Others are told when it comes.
        6 announce_with_arp: bool = "announceWithARP" omitempty,
        /// Metric of its route; 0: the kernel's.
        8 priority: u32 = "priority" omitempty,
        /// Who wants it.
        7 layer: ConfigLayer = "layer",
    }

    /// A route that is to be.
    pub struct RouteSpecSpec {
        /// Family.
        1 family: Code = "family",
        /// Where it leads; nothing for everywhere.
        2 destination: Option<IpNet> = "dst",
        /// Address that packets are sent from.
        3 source: Option<IpAddr> = "src",
        /// Next hop.
        4 gateway: Option<IpAddr> = "gateway",
        /// Link.
        5 out_link_name: String = "outLinkName" omitempty,
        /// The table that it is in.
        6 table: Code = "table",
        /// Metric: lower wins.
        7 priority: u32 = "priority" omitempty,
        /// How far it leads.
        8 scope: Code = "scope",
        /// What it does with packets.
        9 kind: Code = "type",
        /// The kernel's flags.
        10 flags: Bits = "flags",
        /// Who made it.
        11 protocol: Code = "protocol",
        /// Who wants it.
        12 layer: ConfigLayer = "layer",
        /// Largest packet, bytes; 0: nobody says.
        13 mtu: u32 = "mtu" omitempty,
    }

    /// A rule that chooses a table of routes, as it is to be.
    pub struct RoutingRuleSpecSpec {
        /// Family.
        1 family: Code = "family",
        /// Senders; nothing for all.
        2 source: Option<IpNet> = "src",
        /// Receivers; nothing for all.
        3 destination: Option<IpNet> = "dst",
        /// The table.
        4 table: Code = "table",
        /// Lower ones are asked first.
        5 priority: u32 = "priority",
        /// What is done.
        6 action: Code = "action",
        /// Link that packets came in by.
        7 iif_name: String = "iifName" omitempty,
        /// Link that packets are to go out by.
        8 oif_name: String = "oifName" omitempty,
        /// Mark of packets; 0: any.
        9 fw_mark: u32 = "fwMark" omitempty,
        /// Bits of the mark that count.
        10 fw_mask: u32 = "fwMask" omitempty,
        /// Who wants it.
        11 layer: ConfigLayer = "layer",
    }

    /// A rule that chooses a table of routes, as it is.
    pub struct RoutingRuleStatusSpec {
        /// Family.
        1 family: Code = "family",
        /// Senders; nothing for all.
        2 source: Option<IpNet> = "src",
        /// Receivers; nothing for all.
        3 destination: Option<IpNet> = "dst",
        /// The table.
        4 table: Code = "table",
        /// Lower ones are asked first.
        5 priority: u32 = "priority",
        /// What is done.
        6 action: Code = "action",
        /// Link that packets came in by.
        7 iif_name: String = "iifName" omitempty,
        /// Link that packets are to go out by.
        8 oif_name: String = "oifName" omitempty,
        /// Mark of packets; 0: any.
        9 fw_mark: u32 = "fwMark" omitempty,
        /// Bits of the mark that count.
        10 fw_mask: u32 = "fwMask" omitempty,
    }

    /// A host name that somebody wants.
    pub struct HostnameSpecSpec {
        /// Its first label.
        1 hostname: String = "hostname",
        /// The rest of it.
        2 domainname: String = "domainname",
        /// Who wants it.
        3 layer: ConfigLayer = "layer",
    }

    /// Name servers that somebody wants to be asked.
    pub struct ResolverSpecSpec {
        /// In the order in which they are asked.
        1 dns_servers: Vec<IpAddr> = "dnsServers",
        /// The same with how they are asked.
        4 name_servers: Vec<NameServerSpec> = "nameServers" omitempty,
        /// Who wants it.
        2 layer: ConfigLayer = "layer",
        /// Domains that short names are looked for in.
        3 search_domains: Vec<String> = "searchDomains" omitempty,
        /// Only in these, not in those of weaker layers.
        5 search_domains_overridden: bool = "searchDomainsOverridden" omitempty,
    }

    /// Time servers that somebody wants to be asked.
    pub struct TimeServerSpecSpec {
        /// Names or addresses.
        1 ntp_servers: Vec<String> = "timeServers",
        /// They are asked over NTS.
        3 use_nts: bool = "useNTS" omitempty,
        /// Who wants it.
        2 layer: ConfigLayer = "layer",
    }

    /// The time servers in force.
    pub struct TimeServerStatusSpec {
        /// Names or addresses.
        1 ntp_servers: Vec<String> = "timeServers",
        /// They are asked over NTS.
        2 use_nts: bool = "useNTS",
    }

    /// Something that asks others, on a link.
    pub struct OperatorSpecSpec {
        /// For what.
        1 operator: Operator = "operator",
        /// Name of the link.
        2 link_name: String = "linkName",
        /// It begins when the link is up.
        3 require_up: bool = "requireUp",
        /// For an IPv4 address.
        4 dhcp4: Dhcp4OperatorSpec = "dhcp4" omitempty,
        /// For an IPv6 address.
        5 dhcp6: Dhcp6OperatorSpec = "dhcp6" omitempty,
        /// Who wants it.
        7 layer: ConfigLayer = "layer",
    }

    /// A client of DHCP for IPv4.
    pub struct Dhcp4OperatorSpec {
        /// Metric of the routes that come with the address.
        1 route_metric: u32 = "routeMetric",
        /// No host name is taken.
        2 skip_hostname_request: bool = "skipHostnameRequest" omitempty,
        /// What it calls itself.
        3 client_identifier: ClientIdentifierSpec = "clientIdentifier" omitempty,
        /// No routes are taken.
        4 skip_routes: bool = "skipRoutes" omitempty,
    }

    /// A client of DHCP for IPv6.
    pub struct Dhcp6OperatorSpec {
        /// Metric of the routes that come with the address.
        2 route_metric: u32 = "routeMetric",
        /// No host name is taken.
        3 skip_hostname_request: bool = "skipHostnameRequest" omitempty,
        /// What it calls itself.
        4 client_identifier: ClientIdentifierSpec = "clientIdentifier" omitempty,
    }

    /// What a DHCP client calls itself.
    pub struct ClientIdentifierSpec {
        /// Of what kind.
        1 client_identifier: ClientIdentifier = "clientIdentifier",
        /// The identifier, hexadecimal.
        2 duid_raw_hex: String = "duidRawHex" omitempty,
    }

    /// Another name for a link.
    pub struct LinkAliasSpecSpec {
        /// The name.
        1 alias: String = "alias",
    }

    /// A host of the hosts file; its name is the id.
    pub struct StaticHostSpec {
        /// Addresses of the name.
        1 addresses: Vec<IpAddr> = "addresses",
    }
}
