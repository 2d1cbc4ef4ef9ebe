//! Parsers that are nobody else's to call, for `scripts/fuzz`. Nothing here is used on a node.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use mozim::{DhcpV4Lease, DhcpV6Lease};
use resource::kinds::network::WireguardSpec;
use rtnetlink::{
    packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};

use crate::{
    api::{metrics, netstat},
    net::{
        dhcp, dhcp6, kernel, memory,
        model::Lease,
        tunnel::{self, MessageError, Wire},
    },
    resources::kernel::convert,
};

/// What is used of a DHCPv4 lease.
#[must_use]
pub fn lease4(lease: &DhcpV4Lease) -> Lease {
    dhcp::granted(lease)
}

/// What is used of a DHCPv6 lease.
#[must_use]
pub fn lease6(lease: &DhcpV6Lease) -> Lease {
    dhcp6::granted(lease)
}

/// The address in a file on STATE.
#[must_use]
pub fn remembered(text: &str) -> Option<Ipv4Addr> {
    memory::parse(text)
}

/// What each reader of /proc makes of a text.
#[must_use]
pub fn proc(text: &str) -> String {
    metrics::all_of(text)
}

/// Sockets in a table of /proc/net, whichever protocol it is of: local and remote end.
#[must_use]
pub fn sockets(text: &str) -> Vec<[(String, u32); 2]> {
    let records = netstat::parse_all(text).into_iter();
    records.map(|record| [(record.localip, record.localport), (record.remoteip, record.remoteport)]).collect()
}

/// A WireGuard tunnel in the kernel's answer to a request.
///
/// # Errors
/// [`MessageError`].
pub fn tunnel(answer: &[u8], sequence: u32) -> Result<WireguardSpec, MessageError> {
    let parts = tunnel::split(answer, sequence)?.into_iter().filter_map(|wire| match wire {
        Wire::Part(part) => Some(part),
        Wire::Done(_) => None,
    });
    tunnel::device(&parts.collect::<Vec<_>>())
}

/// What the network's parts and the resources make of messages of the kernel's routing interface, for people; `None` when it is
/// no such datagram.
#[must_use]
pub fn routing(datagram: &[u8]) -> Option<String> {
    let mut rest = datagram;
    let mut all = String::new();
    while !rest.is_empty() {
        let length = usize::try_from(NetlinkBuffer::new_checked(&rest).ok()?.length()).ok()?;
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest.get(..length)?).ok()?;
        if let NetlinkPayload::InnerMessage(message) = message.payload {
            all.push_str(&understood(&message));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(all)
}

fn understood(message: &RouteNetlinkMessage) -> String {
    use RouteNetlinkMessage::{DelAddress, DelLink, DelRoute, NewAddress, NewLink, NewRoute, NewRule};
    let names = BTreeMap::from([(1, "lo".to_owned())]);
    match message {
        NewLink(link) | DelLink(link) => {
            format!("{:?}", (kernel::link(link, Path::new(""), false), convert::link(link, &convert::Device::default())))
        }
        NewAddress(address) | DelAddress(address) => format!("{:?}", (kernel::address(address), convert::address(address, &names))),
        NewRoute(route) | DelRoute(route) => {
            format!("{:?}", (kernel::own_route(route), kernel::default_gateway(route), convert::route(route, &names)))
        }
        NewRule(rule) => format!("{:?}", (kernel::own_rule(rule), kernel::rule(rule), convert::rule(rule))),
        _ => String::new(),
    }
}
