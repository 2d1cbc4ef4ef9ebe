//! Addresses, routes and rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use resource::kinds::network::{AddressSpecSpec, RouteSpecSpec, RoutingRuleSpecSpec};

use super::{Action, Planner};
use crate::net::model::{Address, INET6, Link, Route, Rule};

/// `FR_ACT_TO_TBL`: the one action that looks into a table.
const LOOK_UP: u8 = 1;
/// `RT_SCOPE_HOST`.
const HOST: u32 = 254;

impl Planner<'_> {
    /// What of ours is not wanted any more. What is on a link that goes goes with it.
    pub(super) fn remove_layer3(&mut self) {
        let rules = self.wanted_rules();
        for rule in self.actual.rules.iter().filter(|rule| !rules.contains(rule)) {
            self.plan.actions.push(Action::RemoveRule(rule.clone()));
        }
        // A route of a link that is down is wanted, too: it is not there, but one that is there stays.
        let routes = self.wanted_routes(|_| true);
        let stays = |link: Option<u32>| link.is_none_or(|link| !self.going.contains(&link));
        let gone: Vec<_> = self.actual.routes.iter().filter(|route| stays(route.link) && !routes.contains(route)).cloned().collect();
        self.plan.actions.extend(gone.into_iter().map(Action::RemoveRoute));
        let ours = self.actual.addresses.iter().filter(|address| address.ours && stays(Some(address.link)));
        let gone: Vec<Action> = ours
            .filter(|have| {
                !self.wanted_addresses().any(|(link, net, metric, _)| (link.index, net, metric) == (have.link, have.net, have.metric))
            })
            .map(|have| Action::RemoveAddress { link: have.link, net: have.net })
            .collect();
        self.plan.actions.extend(gone);
    }

    /// What is wanted and not there. The kernel takes routes only on links that are up: they follow in the round that the
    /// change of the link starts.
    pub(super) fn add_layer3(&mut self) {
        let there = |link: u32, net: IpNet, metric: u32| {
            self.actual.addresses.iter().any(|have: &Address| (have.link, have.net) == (link, net) && (!have.ours || have.metric == metric))
        };
        let addresses: Vec<Action> = self
            .wanted_addresses()
            .filter(|(link, net, metric, _)| !there(link.index, *net, *metric))
            .map(|(link, net, metric, host)| Action::AddAddress { link: link.index, net, metric, host })
            .collect();
        let routes = self.wanted_routes(|link| link.up && !self.fallen.contains(&link.index));
        let routes = routes.into_iter().filter(|route| !self.actual.routes.contains(route)).map(Action::AddRoute).collect::<Vec<_>>();
        let rules = self.wanted_rules();
        let rules = rules.into_iter().filter(|rule| !self.actual.rules.contains(rule)).map(Action::AddRule).collect::<Vec<_>>();
        self.plan.actions.extend(addresses.into_iter().chain(routes).chain(rules));
    }

    /// Addresses of links that are there, with metrics, and whether they are for this host alone.
    fn wanted_addresses(&self) -> impl Iterator<Item = (&Link, IpNet, u32, bool)> {
        let known = |spec: &AddressSpecSpec| Some((self.link(&spec.link_name)?, spec.address?, spec.priority, spec.scope.number == HOST));
        self.wanted.addresses.values().filter_map(known)
    }

    fn wanted_routes(&self, fit: impl Fn(&Link) -> bool) -> Vec<Route> {
        let mut routes: Vec<Route> = self.wanted.routes.values().filter_map(|spec| self.route(spec, &fit)).collect();
        routes.sort();
        routes.dedup();
        routes
    }

    /// As the kernel would have it; `None` when its link is not there or does not fit.
    fn route(&self, spec: &RouteSpecSpec, fit: impl Fn(&Link) -> bool) -> Option<Route> {
        let link = match spec.out_link_name.as_str() {
            "" => None,
            name => Some(self.link(name).filter(|link| fit(link))?),
        };
        let everywhere = if spec.family.number == INET6 {
            IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0)
        } else {
            IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0)
        };
        Some(Route {
            link: link.map(|link| link.index),
            destination: spec.destination.or(everywhere.ok())?,
            gateway: spec.gateway,
            onlink: link.zip(spec.gateway).is_some_and(|(link, gateway)| self.off_link(link, gateway)),
            source: spec.source,
            metric: spec.priority,
            table: spec.table.number,
            mtu: spec.mtu,
            kind: u8::try_from(spec.kind.number).unwrap_or(0),
        })
    }

    /// A next hop outside all prefixes of its link: the kernel takes it only with the word that it is on the link.
    fn off_link(&self, link: &Link, gateway: IpAddr) -> bool {
        let link_local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
        !link_local && !self.wanted_addresses().any(|(on, net, ..)| on.index == link.index && net.contains(&gateway))
    }

    fn wanted_rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.wanted.rules.values().map(rule).collect();
        rules.sort();
        rules.dedup();
        rules
    }
}

/// As the kernel would have it: a mark without a mask counts whole, and only one action looks into a table.
fn rule(spec: &RoutingRuleSpecSpec) -> Rule {
    let action = u8::try_from(spec.action.number).unwrap_or(LOOK_UP);
    Rule {
        six: spec.family.number == INET6,
        priority: spec.priority,
        source: spec.source.filter(|net| net.prefix_len() > 0),
        destination: spec.destination.filter(|net| net.prefix_len() > 0),
        table: if action == LOOK_UP { spec.table.number } else { 0 },
        action,
        iif: spec.iif_name.clone(),
        oif: spec.oif_name.clone(),
        mark: spec.fw_mark,
        mask: match (spec.fw_mark, spec.fw_mask) {
            (0, 0) => 0,
            (_, 0) => u32::MAX,
            (_, mask) => mask,
        },
    }
}
