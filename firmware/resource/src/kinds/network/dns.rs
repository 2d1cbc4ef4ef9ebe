//! The node's own name server.

use std::net::{IpAddr, SocketAddr};

/// The only id of [`HostDnsConfigSpec`].
pub const HOST_DNS: &str = "config";

crate::message! {
    /// The name server as it is wanted.
    pub struct HostDnsConfigSpec {
        /// It runs.
        1 enabled: bool = "enabled",
        /// Where it listens.
        2 listen_addresses: Vec<SocketAddr> = "listenAddresses" omitempty,
        /// Where pods ask it.
        3 service_address: Option<IpAddr> = "serviceHostDNSAddress" omitempty,
        /// It knows the names of members.
        4 resolve_member_names: bool = "resolveMemberNames" omitempty,
        /// Where pods ask it over IPv6.
        5 service_address_v6: Option<IpAddr> = "serviceHostDNSAddressV6" omitempty,
    }

    /// A name server that it asks. Both are texts for clients; the reference gives its fields no numbers on the wire.
    pub struct DnsUpstreamSpec {
        /// `true` or `false`.
        1 healthy: String = "healthy",
        /// Address and port.
        2 address: String = "addr",
    }

    /// A place where it listens, called by protocol and address.
    pub struct DnsResolveCacheSpec {
        /// `running`.
        1 status: String = "status",
    }
}
