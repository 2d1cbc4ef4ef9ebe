//! The network as it is.

use std::net::IpAddr;

use ipnet::IpNet;

/// The only id of [`HostnameStatusSpec`].
pub const HOSTNAME: &str = "hostname";
/// The only id of [`ResolverStatusSpec`].
pub const RESOLVERS: &str = "resolvers";
/// The only id of [`StatusSpec`].
pub const STATUS: &str = "status";

crate::choice! {
    /// Family of an address.
    pub enum Family {
        /// IPv4.
        Inet4 = 2 "inet4",
        /// IPv6.
        Inet6 = 10 "inet6",
    }

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
    HostnameStatusSpec: "HostnameStatuses.net.talos.dev" in "network", ["hostname"],
        ["Hostname" = "{.hostname}", "Domainname" = "{.domainname}"];
    NodeAddressSpec: "NodeAddresses.net.talos.dev" in "network", [],
        ["Addresses" = "{.addresses}", "SortAlgorithm" = "{.sortAlgorithm}"];
    ResolverStatusSpec: "ResolverStatuses.net.talos.dev" in "network", ["resolvers"],
        ["Resolvers" = "{.dnsServers}", "Search Domains" = "{.searchDomains}"];
    StatusSpec: "NetworkStatuses.net.talos.dev" in "network", ["netstatus", "netstatuses"],
        ["Address" = "{.addressReady}", "Connectivity" = "{.connectivityReady}", "Hostname" = "{.hostnameReady}", "Etc" = "{.etcFilesReady}"];
}
