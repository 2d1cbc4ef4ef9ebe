//! The network as it is (here) and as it is wanted (`specs`, `link`).

mod dns;
mod link;
mod names;
mod specs;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Bits, Code, HardwareAddress};
pub use dns::{DnsResolveCacheSpec, DnsUpstreamSpec, HOST_DNS, HostDnsConfigSpec};
pub use link::{
    BondMasterSpec, BondSlave, BridgeMasterSpec, BridgeVlanSpec, LinkSpecSpec, PortSpec, StpSpec, VethSpec, VlanSpec, VrfMasterSpec,
    WireguardPeer, WireguardSpec,
};
pub use names::{
    ad_lacp_active, ad_select, address_flags, arp_all_targets, arp_validate, bond_mode, duplex, fail_over_mac, family, lacp_rate,
    link_flags, link_type, operational_state, port, primary_reselect, route_flags, route_protocol, route_type, routing_rule_action,
    routing_table, scope, vlan_protocol, xmit_hash_policy,
};
pub use specs::{
    AddressSpecSpec, ClientIdentifier, ClientIdentifierSpec, ConfigLayer, Dhcp4OperatorSpec, Dhcp6OperatorSpec, HostnameSpecSpec,
    LinkAliasSpecSpec, Operator, OperatorSpecSpec, ResolverSpecSpec, RouteSpecSpec, RoutingRuleSpecSpec, RoutingRuleStatusSpec,
    StaticHostSpec, TimeServerSpecSpec, TimeServerStatusSpec,
};

/// The only id of [`HostnameStatusSpec`].
pub const HOSTNAME: &str = "hostname";
/// The only id of [`ResolverStatusSpec`].
pub const RESOLVERS: &str = "resolvers";
/// The only id of [`TimeServerStatusSpec`].
pub const TIME_SERVERS: &str = "timeservers";
/// The namespace of what each layer wants; what the strongest wants is in the types' own.
pub const LAYERS: &str = "network-config";
/// The only id of [`StatusSpec`].
pub const STATUS: &str = "status";

crate::choice! {
    /// How addresses are put in order.
    pub enum AddressSortAlgorithm {
        /// By their bytes.
        V1 = 0 "v1",
        /// Longer prefixes first.
        V2 = 1 "v2",
    }

    /// How a name server is asked.
    pub enum DnsProtocol {
        /// Over UDP and TCP.
        Default = 0 "Do53",
        /// Over TLS.
        Tls = 1 "DoT",
        /// Over HTTPS.
        Http = 2 "DoH",
    }
}

crate::message! {
    /// An address that a link has.
    pub struct AddressStatusSpec {
        /// With its prefix.
        1 address: Option<IpNet> = "address",
        /// This side of a link with two ends.
        2 local: Option<IpAddr> = "local" omitempty,
        /// Reaches all on the link.
        3 broadcast: Option<IpAddr> = "broadcast" omitempty,
        /// Shared with others.
        4 anycast: Option<IpAddr> = "anycast" omitempty,
        /// Of a group.
        5 multicast: Option<IpAddr> = "multicast" omitempty,
        /// Index of its link.
        6 link_index: u32 = "linkIndex",
        /// Name of its link.
        7 link_name: String = "linkName",
        /// Family.
        8 family: Code = "family",
        /// How far it is valid.
        9 scope: Code = "scope",
        /// The kernel's flags.
        10 flags: Bits = "flags",
        /// Metric of its route.
        11 priority: u32 = "priority",
    }

    /// A link.
    pub struct LinkStatusSpec {
        /// The kernel's alias for it.
        31 alias: String = "alias" omitempty,
        /// More names.
        32 alt_names: Vec<String> = "altNames" omitempty,
        /// The kernel's index.
        1 index: u32 = "index",
        /// Its hardware.
        2 kind_of_hardware: Code = "type",
        /// Index of the link below it.
        3 link_index: u32 = "linkIndex",
        /// The kernel's flags.
        4 flags: Bits = "flags",
        /// Its address.
        5 hardware_addr: HardwareAddress = "hardwareAddr",
        /// The address that it was made with.
        30 permanent_addr: HardwareAddress = "permanentAddr",
        /// Reaches all on the link.
        6 broadcast_addr: HardwareAddress = "broadcastAddr",
        /// Largest packet, bytes.
        7 mtu: u32 = "mtu",
        /// How packets wait.
        8 queue_disc: String = "queueDisc",
        /// Index of the link that it is part of.
        9 master_index: u32 = "masterIndex" omitempty,
        /// What works.
        10 operational_state: Code = "operationalState",
        /// What made it; empty for hardware.
        11 kind: String = "kind",
        /// What it is part of.
        12 slave_kind: String = "slaveKind",
        /// Where it is plugged in.
        13 bus_path: String = "busPath" omitempty,
        /// Vendor and device.
        14 pci_id: String = "pciID" omitempty,
        /// Its driver.
        15 driver: String = "driver" omitempty,
        /// Somebody is at the other end.
        22 link_state: bool = "linkState",
        /// Megabits a second.
        23 speed_megabits: i64 = "speedMbit" omitempty,
        /// What is plugged in.
        24 port: Code = "port",
        /// Whether both ends may speak at once.
        25 duplex: Code = "duplex",
        /// As a VLAN.
        26 vlan: VlanSpec = "vlan" omitempty,
        /// As a switch.
        27 bridge_master: BridgeMasterSpec = "bridgeMaster" omitempty,
        /// As a bond.
        28 bond_master: BondMasterSpec = "bondMaster" omitempty,
        /// As a VRF.
        33 vrf_master: VrfMasterSpec = "vrfMaster" omitempty,
        /// As a tunnel.
        29 wireguard: WireguardSpec = "wireguard" omitempty,
        /// As one end of a cable.
        34 veth: VethSpec = "veth" omitempty,
    }

    /// One of several ways to a destination.
    pub struct RouteNextHop {
        /// Next hop.
        1 gateway: Option<IpAddr> = "gateway",
        /// Link.
        2 out_link_name: String = "outLinkName" omitempty,
        /// Its share of the packets.
        3 weight: u32 = "weight" omitempty,
    }

    /// A route.
    pub struct RouteStatusSpec {
        /// Family.
        1 family: Code = "family",
        /// Where it leads; nothing for everywhere.
        2 destination: Option<IpNet> = "dst",
        /// Address that packets are sent from.
        3 source: Option<IpAddr> = "src",
        /// Next hop.
        4 gateway: Option<IpAddr> = "gateway",
        /// Index of its link.
        5 out_link_index: u32 = "outLinkIndex" omitempty,
        /// Name of its link.
        6 out_link_name: String = "outLinkName" omitempty,
        /// The table that it is in.
        7 table: Code = "table",
        /// Metric: lower wins.
        8 priority: u32 = "priority",
        /// How far it leads.
        9 scope: Code = "scope",
        /// What it does with packets.
        10 kind: Code = "type",
        /// The kernel's flags.
        11 flags: Bits = "flags",
        /// Who made it.
        12 protocol: Code = "protocol",
        /// Largest packet, bytes.
        13 mtu: u32 = "mtu" omitempty,
        /// Several ways.
        14 next_hops: Vec<RouteNextHop> = "nextHops" omitempty,
    }

    /// The host name in force.
    pub struct HostnameStatusSpec {
        /// Its first label.
        1 hostname: String = "hostname",
        /// The rest of it.
        2 domainname: String = "domainname",
    }

    /// A set of the node's addresses.
    pub struct NodeAddressSpec {
        /// In order.
        1 addresses: Vec<IpNet> = "addresses",
        /// What order.
        2 sort_algorithm: AddressSortAlgorithm = "sortAlgorithm",
    }

    /// Which of the node's addresses a set holds.
    pub struct NodeAddressFilterSpec {
        /// Only those within; nothing for all.
        1 include_subnets: Vec<IpNet> = "includeSubnets",
        /// None of those within.
        2 exclude_subnets: Vec<IpNet> = "excludeSubnets",
    }

    /// A name server.
    pub struct NameServerSpec {
        /// Where.
        1 address: Option<IpAddr> = "addr",
        /// How it is asked.
        2 protocol: DnsProtocol = "protocol",
        /// Name in its certificate.
        3 tls_server_name: String = "tlsServerName",
    }

    /// The name servers in force.
    pub struct ResolverStatusSpec {
        /// In the order in which they are asked.
        1 dns_servers: Vec<IpAddr> = "dnsServers",
        /// The same with how they are asked.
        4 name_servers: Vec<NameServerSpec> = "nameServers" omitempty,
        /// Domains that short names are looked for in.
        2 search_domains: Vec<String> = "searchDomains",
    }

    /// Which parts of the network are up.
    pub struct StatusSpec {
        /// There is an address.
        1 address_ready: bool = "addressReady",
        /// Other networks can be reached.
        2 connectivity_ready: bool = "connectivityReady",
        /// There is a host name.
        3 hostname_ready: bool = "hostnameReady",
        /// `resolv.conf` and `hosts` are written.
        4 etc_files_ready: bool = "etcFilesReady",
    }
}

kinds! {
    AddressSpecSpec: "AddressSpecs.net.talos.dev" in "network", [], [];
    LinkSpecSpec: "LinkSpecs.net.talos.dev" in "network", [], [], sensitive;
    RouteSpecSpec: "RouteSpecs.net.talos.dev" in "network", [], [];
    RoutingRuleSpecSpec: "RoutingRuleSpecs.net.talos.dev" in "network", [], [];
    HostnameSpecSpec: "HostnameSpecs.net.talos.dev" in "network", [], [];
    ResolverSpecSpec: "ResolverSpecs.net.talos.dev" in "network", [],
        ["Layer" = "{.layer}", "Resolvers" = "{.dnsServers}", "Search Domains" = "{.searchDomains}"];
    TimeServerSpecSpec: "TimeServerSpecs.net.talos.dev" in "network", [], ["Timeservers" = "{.timeServers}", "UseNTS" = "{.useNTS}"];
    OperatorSpecSpec: "OperatorSpecs.net.talos.dev" in "network", [], [], sensitive;
    LinkAliasSpecSpec: "LinkAliasSpecs.net.talos.dev" in "network", [], ["Alias" = "{.alias}"];
    StaticHostSpec: "StaticHosts.net.talos.dev" in "network", [], ["Addresses" = "{.addresses}"];
    HostDnsConfigSpec: "HostDNSConfigs.net.talos.dev" in "network", [], ["Enabled" = "{.enabled}"];
    DnsUpstreamSpec: "DNSUpstreams.net.talos.dev" in "network", [], ["Healthy" = "{.healthy}", "Address" = "{.addr}"];
    DnsResolveCacheSpec: "DNSResolveCaches.net.talos.dev" in "network", [], ["Status" = "{.status}"];
    RoutingRuleStatusSpec: "RoutingRuleStatuses.net.talos.dev" in "network", ["routingrule", "routingrules"],
        ["Src" = "{.src}", "Dst" = "{.dst}", "Table" = "{.table}", "Priority" = "{.priority}"];
    TimeServerStatusSpec: "TimeServerStatuses.net.talos.dev" in "network", ["timeserver", "timeservers"],
        ["Timeservers" = "{.timeServers}", "UseNTS" = "{.useNTS}"];
    AddressStatusSpec: "AddressStatuses.net.talos.dev" in "network", ["address", "addresses"],
        ["Address" = "{.address}", "Link" = "{.linkName}"];
    LinkStatusSpec: "LinkStatuses.net.talos.dev" in "network", ["link", "links"],
        ["Alias" = "{.alias}", "Type" = "{.type}", "Kind" = "{.kind}", "Hw Addr" = "{.hardwareAddr}",
         "Oper State" = "{.operationalState}", "Link State" = "{.linkState}"];
    RouteStatusSpec: "RouteStatuses.net.talos.dev" in "network", ["route", "routes"],
        ["Destination" = "{.dst}", "Gateway" = "{.gateway}", "Link" = "{.outLinkName}", "Metric" = "{.priority}"];
    HostnameStatusSpec: "HostnameStatuses.net.talos.dev" in "network", ["hostname"],
        ["Hostname" = "{.hostname}", "Domainname" = "{.domainname}"];
    NodeAddressSpec: "NodeAddresses.net.talos.dev" in "network", [],
        ["Addresses" = "{.addresses}", "SortAlgorithm" = "{.sortAlgorithm}"];
    NodeAddressFilterSpec: "NodeAddressFilters.net.talos.dev" in "network", [],
        ["Include Subnets" = "{.includeSubnets}", "Exclude Subnets" = "{.excludeSubnets}"];
    ResolverStatusSpec: "ResolverStatuses.net.talos.dev" in "network", ["resolvers"],
        ["Resolvers" = "{.dnsServers}", "Search Domains" = "{.searchDomains}"];
    StatusSpec: "NetworkStatuses.net.talos.dev" in "network", ["netstatus", "netstatuses"],
        ["Address" = "{.addressReady}", "Connectivity" = "{.connectivityReady}", "Hostname" = "{.hostnameReady}", "Etc" = "{.etcFilesReady}"];
}
