//! The kernel's messages as resources. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use resource::{
    HardwareAddress,
    kinds::network::{
        AddressStatusSpec, LinkStatusSpec, RouteNextHop, RouteStatusSpec, RoutingRuleStatusSpec, address_flags, duplex, family, link_flags,
        link_type, operational_state, port, route_flags, route_protocol, route_type, routing_rule_action, routing_table, scope,
    },
};
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkInfo, LinkMessage, Prop},
    route::{RouteAttribute, RouteMessage, RouteMetric, RouteNextHop as Hop, RouteVia},
    rule::RuleMessage,
};

use crate::net::{
    kernel::{details, ip, rule as own_rule},
    model::{INET, INET6},
    specs::{route_id, rule_id},
};

/// `DUPLEX_UNKNOWN` and `PORT_OTHER` of `ethtool.h`: nothing is known.
const UNKNOWN: u32 = 255;

/// What sysfs says of a link.
#[derive(Debug, Default)]
pub(crate) struct Device {
    /// Name of the device behind it; empty when there is none.
    pub(super) bus_path: String,
    /// Its driver.
    pub(super) driver: String,
    /// Vendor and device; empty when it is not on PCI.
    pub(super) pci_id: String,
    /// Megabits a second; 0 when not known.
    pub(super) speed: i64,
    /// `half`, `full` or anything.
    pub(super) duplex: String,
}

/// A link's name; empty when the kernel gives none.
pub(super) fn link_name(message: &LinkMessage) -> &str {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    });
    name.unwrap_or_default()
}

/// A link, with what sysfs says of it.
pub(crate) fn link(message: &LinkMessage, device: &Device) -> LinkStatusSpec {
    let mut spec = LinkStatusSpec {
        index: message.header.index,
        kind_of_hardware: link_type(u16::from(message.header.link_layer_type)),
        flags: link_flags(message.header.flags.bits()),
        operational_state: operational_state(0_u32),
        bus_path: device.bus_path.clone(),
        driver: device.driver.clone(),
        pci_id: device.pci_id.clone(),
        speed_megabits: device.speed,
        port: port(UNKNOWN),
        duplex: duplex(match device.duplex.as_str() {
            "half" => 0,
            "full" => 1,
            _ => UNKNOWN,
        }),
        ..LinkStatusSpec::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfAlias(alias) => spec.alias.clone_from(alias),
            LinkAttribute::PropList(properties) => spec.alt_names.extend(properties.iter().filter_map(|property| match property {
                Prop::AltIfName(name) => Some(name.clone()),
                _ => None,
            })),
            LinkAttribute::Link(index) => spec.link_index = *index,
            LinkAttribute::Address(bytes) => spec.hardware_addr = HardwareAddress(bytes.clone()),
            LinkAttribute::PermAddress(bytes) => spec.permanent_addr = HardwareAddress(bytes.clone()),
            LinkAttribute::Broadcast(bytes) => spec.broadcast_addr = HardwareAddress(bytes.clone()),
            LinkAttribute::Mtu(mtu) => spec.mtu = *mtu,
            LinkAttribute::Qdisc(name) => spec.queue_disc.clone_from(name),
            LinkAttribute::Controller(index) => spec.master_index = *index,
            LinkAttribute::OperState(state) => spec.operational_state = operational_state(u8::from(*state)),
            LinkAttribute::Carrier(carrier) => spec.link_state = *carrier != 0,
            LinkAttribute::LinkInfo(infos) => kind(infos, &mut spec),
            _ => {}
        }
    }
    spec
}

/// What made it and what it is part of, with what the kernel says about either.
fn kind(infos: &[LinkInfo], spec: &mut LinkStatusSpec) {
    let (kind, details) = details(infos);
    (spec.kind, spec.vlan, spec.bond_master) = (kind, details.vlan, details.bond);
    (spec.bridge_master, spec.vrf_master) = (details.bridge, details.vrf);
    for info in infos {
        if let LinkInfo::PortKind(kind) = info {
            spec.slave_kind = kind.to_string();
        }
    }
}

/// What a link says of others by their numbers, said by their names.
pub(super) fn name_others(spec: &mut LinkStatusSpec, names: &BTreeMap<u32, String>) {
    let name = |index: u32| names.get(&index).cloned().unwrap_or_default();
    if spec.kind == "veth" {
        spec.veth.peer_name = name(spec.link_index);
    }
    if let Some(primary) = spec.bond_master.primary_index {
        spec.bond_master.primary = name(primary);
    }
}

/// A rule with its id.
pub(crate) fn rule(message: &RuleMessage) -> (String, RoutingRuleStatusSpec) {
    let (rule, _) = own_rule(message);
    let spec = RoutingRuleStatusSpec {
        family: family(if rule.six { INET6 } else { INET }),
        source: rule.source,
        destination: rule.destination,
        table: routing_table(rule.table),
        priority: rule.priority,
        action: routing_rule_action(rule.action),
        iif_name: rule.iif,
        oif_name: rule.oif,
        fw_mark: rule.mark,
        fw_mask: rule.mask,
    };
    (rule_id(spec.family, spec.priority), spec)
}

/// An address with its id; nothing for one without an address.
pub(crate) fn address(message: &AddressMessage, names: &BTreeMap<u32, String>) -> Option<(String, AddressStatusSpec)> {
    let header = &message.header;
    let mut spec = AddressStatusSpec {
        link_index: header.index,
        link_name: names.get(&header.index).cloned().unwrap_or_default(),
        family: family(u8::from(header.family)),
        scope: scope(u8::from(header.scope)),
        flags: address_flags(header.flags.bits().into()),
        ..AddressStatusSpec::default()
    };
    let mut given = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => given = Some(*address),
            AddressAttribute::Local(address) => spec.local = Some(*address),
            AddressAttribute::Broadcast(address) => spec.broadcast = Some((*address).into()),
            AddressAttribute::Anycast(address) => spec.anycast = Some((*address).into()),
            AddressAttribute::Multicast(address) => spec.multicast = Some((*address).into()),
            AddressAttribute::Flags(flags) => spec.flags = address_flags(flags.bits()),
            AddressAttribute::RoutePriority(metric) => spec.priority = *metric,
            _ => {}
        }
    }
    let net = IpNet::new(given.or(spec.local)?, header.prefix_len).ok()?;
    spec.address = Some(net);
    Some((format!("{}/{net}", spec.link_name), spec))
}

/// A route with its id.
pub(crate) fn route(message: &RouteMessage, names: &BTreeMap<u32, String>) -> (String, RouteStatusSpec) {
    let header = &message.header;
    let name = |index: u32| names.get(&index).cloned().unwrap_or_default();
    let mut table = u32::from(header.table);
    let mut spec = RouteStatusSpec {
        family: family(u8::from(header.address_family)),
        scope: scope(u8::from(header.scope)),
        kind: route_type(u8::from(header.kind)),
        flags: route_flags(header.flags.bits()),
        protocol: route_protocol(u8::from(header.protocol)),
        ..RouteStatusSpec::default()
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                spec.destination = ip(address).and_then(|address| IpNet::new(address, header.destination_prefix_length).ok());
            }
            RouteAttribute::Source(address) => spec.source = ip(address),
            RouteAttribute::Gateway(address) => spec.gateway = ip(address),
            RouteAttribute::Via(via) => spec.gateway = through(via),
            RouteAttribute::Oif(index) => (spec.out_link_index, spec.out_link_name) = (*index, name(*index)),
            RouteAttribute::Priority(metric) => spec.priority = *metric,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Metrics(metrics) => {
                spec.mtu =
                    metrics.iter().find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }).unwrap_or(0);
            }
            RouteAttribute::MultiPath(hops) => spec.next_hops = hops.iter().map(|hop| next_hop(hop, name(hop.interface_index))).collect(),
            _ => {}
        }
    }
    spec.table = routing_table(table);
    let id = route_id(spec.family, spec.table, &spec.out_link_name, spec.gateway, spec.destination, spec.priority);
    (id, spec)
}

fn next_hop(hop: &Hop, out_link_name: String) -> RouteNextHop {
    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(via) => through(via),
        _ => None,
    });
    // The kernel counts shares from zero.
    RouteNextHop { gateway, out_link_name, weight: u32::from(hop.hops) + 1 }
}

/// A next hop of the other family.
fn through(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(address) => Some((*address).into()),
        RouteVia::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
