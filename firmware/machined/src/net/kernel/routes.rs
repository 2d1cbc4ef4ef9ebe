//! Routes and rules as messages and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};

use super::{OURS, ip};
use crate::net::model::{Route, Rule};

/// `RTN_UNICAST`.
const UNICAST: u8 = 1;

pub(super) fn route_message(route: &Route) -> Option<RouteMessage> {
    let mut builder = RouteMessageBuilder::<IpAddr>::default()
        .destination_prefix(route.destination.addr(), route.destination.prefix_len())
        .ok()?
        .priority(route.metric)
        .table_id(route.table)
        .kind(RouteType::from(route.kind))
        .protocol(RouteProtocol::Other(OURS));
    if let Some(link) = route.link {
        builder = builder.output_interface(link);
    }
    if let Some(source) = route.source {
        builder = builder.pref_source(source).ok()?;
    }
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway).ok()?,
        None if route.kind == UNICAST => builder.scope(RouteScope::Link),
        None => builder,
    };
    if route.onlink {
        builder = builder.onlink();
    }
    if route.mtu > 0 {
        builder.get_mut().attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(route.mtu)]));
    }
    Some(builder.build())
}

/// What a route's attributes say.
#[derive(Default)]
struct Parts {
    link: Option<u32>,
    gateway: Option<IpAddr>,
    destination: Option<IpAddr>,
    source: Option<IpAddr>,
    metric: u32,
    table: u32,
    mtu: u32,
}

fn parts(message: &RouteMessage) -> Parts {
    let mut parts = Parts { table: u32::from(message.header.table), ..Parts::default() };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => parts.link = Some(*index),
            RouteAttribute::Gateway(gateway) => parts.gateway = ip(gateway),
            RouteAttribute::Destination(destination) => parts.destination = ip(destination),
            RouteAttribute::PrefSource(source) => parts.source = ip(source),
            RouteAttribute::Priority(metric) => parts.metric = *metric,
            RouteAttribute::Table(number) => parts.table = *number,
            RouteAttribute::Metrics(metrics) => {
                let mtu = metrics.iter().find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None });
                parts.mtu = mtu.unwrap_or(0);
            }
            _ => {}
        }
    }
    parts
}

/// A route of ours in any table.
pub(crate) fn own_route(message: &RouteMessage) -> Option<Route> {
    if message.header.protocol != RouteProtocol::Other(OURS) {
        return None;
    }
    let parts = parts(message);
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let kind = u8::from(message.header.kind);
    Some(Route {
        // For IPv6 the kernel puts what drops packets on the loopback link.
        link: parts.link.filter(|_| kind == UNICAST),
        destination: IpNet::new(parts.destination.unwrap_or(any), message.header.destination_prefix_length).ok()?,
        gateway: parts.gateway,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
        source: parts.source,
        metric: parts.metric,
        table: parts.table,
        mtu: parts.mtu,
        kind,
    })
}

/// Metric and gateway of a default route in the main table.
pub(crate) fn default_gateway(message: &RouteMessage) -> Option<(u32, IpAddr)> {
    let parts = parts(message);
    let default = message.header.destination_prefix_length == 0 && parts.table == u32::from(RouteHeader::RT_TABLE_MAIN);
    if default { Some((parts.metric, parts.gateway?)) } else { None }
}

pub(super) fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.six { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::from(rule.action);
    message.header.table = u8::try_from(rule.table).unwrap_or(0);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(OURS)));
    if let Some(net) = rule.source {
        message.header.src_len = net.prefix_len();
        attributes.push(RuleAttribute::Source(net.addr()));
    }
    if let Some(net) = rule.destination {
        message.header.dst_len = net.prefix_len();
        attributes.push(RuleAttribute::Destination(net.addr()));
    }
    if !rule.iif.is_empty() {
        attributes.push(RuleAttribute::Iifname(rule.iif.clone()));
    }
    if !rule.oif.is_empty() {
        attributes.push(RuleAttribute::Oifname(rule.oif.clone()));
    }
    if (rule.mark, rule.mask) != (0, 0) {
        attributes.push(RuleAttribute::FwMark(rule.mark));
        attributes.push(RuleAttribute::FwMask(rule.mask));
    }
    message
}

/// A rule, and whether it is ours.
pub(crate) fn rule(message: &RuleMessage) -> (Rule, bool) {
    let header = &message.header;
    let mut rule = Rule {
        six: header.family == AddressFamily::Inet6,
        table: u32::from(header.table),
        action: u8::from(header.action),
        ..Rule::default()
    };
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Protocol(protocol) => ours = *protocol == RouteProtocol::Other(OURS),
            RuleAttribute::Source(address) => rule.source = IpNet::new(*address, header.src_len).ok(),
            RuleAttribute::Destination(address) => rule.destination = IpNet::new(*address, header.dst_len).ok(),
            RuleAttribute::Iifname(name) => rule.iif.clone_from(name),
            RuleAttribute::Oifname(name) => rule.oif.clone_from(name),
            RuleAttribute::FwMark(mark) => rule.mark = *mark,
            RuleAttribute::FwMask(mask) => rule.mask = *mask,
            _ => {}
        }
    }
    (rule, ours)
}

pub(crate) fn own_rule(message: &RuleMessage) -> Option<Rule> {
    let (rule, ours) = rule(message);
    ours.then_some(rule)
}
