//! Rules, and routes that no link has.

use super::{Blackhole, Rule, RuleAction};
use crate::{
    take::{Taker, number, text},
    tree::Node,
};

/// Priorities that the kernel or the node itself use.
const RESERVED: [u32; 5] = [0, 32_500, 32_501, 32_766, 32_767];
/// Largest priority of a rule of the configuration.
const MOST: u32 = 32_765;

impl Taker {
    /// A rule is called by its priority.
    pub(super) fn rule(&mut self, node: &Node) -> Option<Rule> {
        let name = node.get("name")?;
        let priority = name.text().and_then(|name| name.parse().ok()).filter(|priority| *priority <= MOST && !RESERVED.contains(priority));
        let Some(priority) = priority else {
            self.problems.add(
                name.line,
                "RoutingRuleConfig.name",
                format!("this must be the rule's priority, a number from 1 to {MOST} that the system does not use itself"),
            );
            return None;
        };
        let rule = Rule {
            priority,
            source: self.one(node.get("src"), "RoutingRuleConfig.src", "a network (10.0.0.0/8)"),
            destination: self.one(node.get("dst"), "RoutingRuleConfig.dst", "a network (10.0.0.0/8)"),
            table: self.table(node.get("table"), "RoutingRuleConfig.table"),
            action: match node.get("action").and_then(Node::text) {
                Some("blackhole") => RuleAction::Blackhole,
                Some("unreachable") => RuleAction::Unreachable,
                Some("prohibit") => RuleAction::Prohibit,
                _ => RuleAction::Lookup,
            },
            iif: text(node.get("iifName")),
            oif: text(node.get("oifName")),
            mark: number(node.get("fwMark")).unwrap_or(0),
            mask: number(node.get("fwMask")).unwrap_or(0),
        };
        let families = [rule.source, rule.destination].map(|net| net.map(|net| net.addr().is_ipv4()));
        if let [Some(one), Some(other)] = families
            && one != other
        {
            self.problems.add(node.line, "RoutingRuleConfig.dst", "src and dst are of different families");
        }
        Some(rule)
    }

    /// A blackhole is called by its network.
    pub(super) fn blackhole(&mut self, node: &Node) -> Option<Blackhole> {
        let network = self.one(node.get("name"), "BlackholeRouteConfig.name", "a network (10.0.0.0/8)")?;
        Some(Blackhole { network, metric: number(node.get("metric")).filter(|metric| *metric > 0) })
    }
}
