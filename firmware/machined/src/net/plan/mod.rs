//! The steps from what the kernel has to what is wanted. Pure.
//!
//! Only what the node set is ever removed: links carry its group, addresses and routes and rules its protocol (see
//! [`super::kernel`]). A plan need not be whole: what stands on something that is not there yet follows in the round that the
//! kernel's word of the change starts. The plan is empty when nothing is left to do.

mod action;
mod layer3;
mod links;

use std::collections::{BTreeMap, BTreeSet};

pub use action::Action;
use resource::kinds::network::LinkSpecSpec;

use super::{
    model::{Actual, Link},
    specs::Merged,
};

/// What to do, in order, and what stands in the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps in an order that works: what must go before what comes, links before addresses before routes.
    pub actions: Vec<Action>,
    /// What cannot be done, for people.
    pub conflicts: Vec<String>,
}

/// Plans. `aliases` are other names that links are to have: alias to name.
#[must_use]
pub fn plan(wanted: &Merged, aliases: &BTreeMap<String, String>, actual: &Actual) -> Plan {
    let mut planner = Planner { wanted, actual, going: BTreeSet::new(), fallen: BTreeSet::new(), plan: Plan::default() };
    planner.find_going();
    planner.remove_layer3();
    planner.remove_links();
    planner.change_links();
    planner.make_links();
    planner.name_links(aliases);
    planner.tell_tunnels();
    planner.add_layer3();
    planner.plan
}

/// A plan in the making.
struct Planner<'a> {
    wanted: &'a Merged,
    actual: &'a Actual,
    /// Links that go in this round, with all that goes with them.
    going: BTreeSet<u32>,
    /// Links that a step of this round takes down.
    fallen: BTreeSet<u32>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// A link that stays.
    fn link(&self, name: &str) -> Option<&'a Link> {
        self.actual.links.iter().find(|link| link.name == name && !self.going.contains(&link.index))
    }

    fn by_index(&self, index: u32) -> Option<&'a Link> {
        self.actual.links.iter().find(|link| link.index == index)
    }

    /// What is wanted of a link that is there.
    fn spec(&self, link: &Link) -> Option<&'a LinkSpecSpec> {
        self.wanted.links.get(&link.name)
    }

    fn step(&mut self, action: Action) {
        match action {
            Action::Down { link } | Action::Port { link, .. } => {
                self.fallen.insert(link);
            }
            // The kernel takes down what was part of it.
            Action::RemoveLink { link, .. } => {
                let ports = self.actual.links.iter().filter(|port| port.master == link);
                self.fallen.extend(ports.map(|port| port.index));
            }
            _ => {}
        }
        self.plan.actions.push(action);
    }
}

#[cfg(test)]
mod tests;
