//! Links: which go, which change, which come.

use std::collections::{BTreeMap, BTreeSet};

use resource::kinds::network::LinkSpecSpec;

use super::{Action, Planner};
use crate::net::{bond, model::Link, specs::master};

impl Planner<'_> {
    /// Links of ours that nobody wants, or that would have to be another one; and what cannot stand without them.
    pub(super) fn find_going(&mut self) {
        for link in &self.actual.links {
            let spec = self.spec(link).filter(|spec| spec.logical);
            match spec {
                None if link.ours => {
                    self.going.insert(link.index);
                }
                Some(spec) if self.is_another(spec, link) => {
                    if link.ours {
                        self.going.insert(link.index);
                    } else {
                        let has = if link.kind.is_empty() { "device" } else { &link.kind };
                        self.plan.conflicts.push(format!(
                            "{}: a {has} that the node did not make has this name; the configuration wants another {}",
                            link.name, spec.kind
                        ));
                    }
                }
                _ => {}
            }
        }
        // The kernel takes VLANs away with what they stand on, and a cable with its end.
        loop {
            let more: Vec<u32> = self
                .actual
                .links
                .iter()
                .filter(|link| matches!(link.kind.as_str(), "vlan" | "veth") && self.going.contains(&link.parent))
                .map(|link| link.index)
                .filter(|index| !self.going.contains(index))
                .collect();
            if more.is_empty() {
                return;
            }
            self.going.extend(more);
        }
    }

    /// Whether what is there can never become what is wanted.
    fn is_another(&self, spec: &LinkSpecSpec, link: &Link) -> bool {
        if spec.kind != link.kind {
            return true;
        }
        match spec.kind.as_str() {
            "vlan" => {
                let parent = self.actual.links.iter().find(|other| other.name == spec.parent_name);
                link.details.vlan.vid != spec.vlan.vid
                    || link.details.vlan.protocol.number != spec.vlan.protocol.number
                    || parent.is_some_and(|parent| parent.index != link.parent)
            }
            "vrf" => link.details.vrf.table.number != spec.vrf_master.table.number,
            "veth" => self.by_index(link.parent).is_none_or(|peer| peer.name != spec.veth.peer_name),
            "bond" => bond::is_another(&link.details.bond, &spec.bond_master),
            _ => false,
        }
    }

    pub(super) fn remove_links(&mut self) {
        let going: Vec<_> = self.actual.links.iter().filter(|link| link.ours && self.going.contains(&link.index)).collect();
        for link in going {
            self.step(Action::RemoveLink { link: link.index, name: link.name.clone() });
        }
    }

    pub(super) fn change_links(&mut self) {
        let staying: Vec<&Link> = self.actual.links.iter().filter(|link| !self.going.contains(&link.index)).collect();
        for link in &staying {
            self.release(link);
        }
        for link in staying {
            // Another one's of another kind: it is left alone.
            match self.spec(link) {
                Some(spec) if !spec.logical || !self.is_another(spec, link) => self.change(link, spec),
                Some(_) => {}
                None => self.set_mtu(link, 0),
            }
        }
    }

    /// Takes a link out of one of ours that it is not to be part of. What others put into a bridge of ours stays there.
    fn release(&mut self, link: &Link) {
        let Some(of) = self.by_index(link.master).filter(|of| of.ours && !self.going.contains(&of.index)) else { return };
        let wanted = self.spec(link).and_then(master) == Some(of.name.as_str());
        if !wanted && (link.physical || link.ours) {
            self.step(Action::Port { link: link.index, master: None });
        }
    }

    /// Sets what is wanted, 0: what it was before anything was.
    fn set_mtu(&mut self, link: &Link, wanted: u32) {
        let most = if link.mtu_limit > 0 { link.mtu_limit } else { u32::MAX };
        let before = self.actual.mtus_before.get(&link.index).copied();
        let mtu = if wanted > 0 { wanted.min(most) } else { before.unwrap_or(link.mtu) };
        if mtu != link.mtu {
            self.step(Action::Mtu { link: link.index, from: link.mtu, mtu });
        }
    }

    fn change(&mut self, link: &Link, spec: &LinkSpecSpec) {
        let index = link.index;
        let mac = &spec.hardware_addr.0;
        if !mac.is_empty() && *mac != link.mac {
            self.step(Action::HardwareAddress { link: index, mac: mac.clone() });
        }
        self.set_mtu(link, spec.mtu);
        if let Some(on) = spec.multicast.filter(|on| *on != link.multicast) {
            self.step(Action::Multicast { link: index, on });
        }
        let mut up = link.up;
        match spec.kind.as_str() {
            "bond" => up = self.change_bond(link, spec),
            "bridge" if link.details.bridge != spec.bridge_master => {
                self.step(Action::Bridge { link: index, from: link.details.bridge.clone(), to: spec.bridge_master.clone() });
            }
            _ => {}
        }
        let is_port = master(spec).is_some();
        let wait = self.enslave(link, spec, up);
        if wait || spec.up == up {
            return;
        }
        if spec.up {
            if !link.loopback && !is_port {
                self.step(Action::AllowIpv6 { name: link.name.clone() });
            }
            self.step(Action::Up { link: index });
        } else {
            self.step(Action::Down { link: index });
        }
    }

    /// Whether the bond is up afterwards: some options are taken only while it is down.
    fn change_bond(&mut self, link: &Link, spec: &LinkSpecSpec) -> bool {
        let primary = self.link(&spec.bond_master.primary).filter(|port| port.master == link.index).map(|port| port.index);
        let (options, down) = bond::changes(&link.details.bond, &spec.bond_master, primary);
        if options.is_empty() {
            return link.up;
        }
        if down && link.up {
            self.step(Action::Down { link: link.index });
        }
        let (from, to) = (Box::new(link.details.bond.clone()), Box::new(spec.bond_master.clone()));
        self.step(Action::Bond { link: link.index, from, to, primary });
        link.up && !down
    }

    /// Makes a link part of what it is to be part of. `true`: it is not to be brought up now; a bond takes only links that
    /// are down, and brings them up itself.
    fn enslave(&mut self, link: &Link, spec: &LinkSpecSpec, up: bool) -> bool {
        let bonded = !spec.bond_slave.master_name.is_empty();
        let Some(name) = master(spec) else { return false };
        let Some(of) = self.link(name) else { return bonded };
        if link.master == of.index {
            return bonded && !spec.up;
        }
        if bonded && up {
            self.step(Action::Down { link: link.index });
        }
        self.step(Action::Port { link: link.index, master: Some(of.index) });
        bonded
    }

    pub(super) fn make_links(&mut self) {
        // A cable is made once, with both its ends.
        let mut made: BTreeSet<&str> = BTreeSet::new();
        let there: BTreeSet<&str> = self.actual.links.iter().map(|link| link.name.as_str()).collect();
        for spec in self.wanted.links.values().filter(|spec| spec.logical) {
            if there.contains(spec.name.as_str()) || made.contains(spec.name.as_str()) {
                continue;
            }
            let parent = match spec.kind.as_str() {
                "vlan" => match self.link(&spec.parent_name) {
                    Some(parent) => Some(parent.index),
                    None => continue,
                },
                "veth" if there.contains(spec.veth.peer_name.as_str()) => continue,
                "veth" => {
                    made.insert(&spec.veth.peer_name);
                    None
                }
                _ => None,
            };
            made.insert(&spec.name);
            self.step(Action::MakeLink { spec: Box::new(spec.clone()), parent });
        }
    }

    /// Other names of links: only those that were given here are taken away.
    pub(super) fn name_links(&mut self, aliases: &BTreeMap<String, String>) {
        let owner = |alias: &str| aliases.get(alias).and_then(|name| self.link(name)).map(|link| link.index);
        let mut steps = Vec::new();
        for (link, name) in &self.actual.given_names {
            let there = self.by_index(*link).is_some_and(|link| link.alt_names.contains(name));
            if there && owner(name) != Some(*link) {
                steps.push(Action::TakeName { link: *link, name: name.clone() });
            }
        }
        for (alias, name) in aliases {
            let taken = self.actual.links.iter().any(|link| link.name == *alias || link.alt_names.contains(alias));
            if let Some(link) = self.link(name).filter(|_| !taken) {
                steps.push(Action::GiveName { link: link.index, name: alias.clone() });
            }
        }
        self.plan.actions.extend(steps);
    }

    pub(super) fn tell_tunnels(&mut self) {
        for spec in self.wanted.links.values().filter(|spec| spec.kind == "wireguard") {
            let Some(link) = self.link(&spec.name).filter(|link| link.kind == spec.kind) else { continue };
            let told = self.actual.tunnels.get(&link.index);
            if told != Some(&spec.wireguard) {
                let (from, to) = (told.cloned().map(Box::new), Box::new(spec.wireguard.clone()));
                self.step(Action::Tunnel { link: link.index, from, to });
            }
        }
    }
}
