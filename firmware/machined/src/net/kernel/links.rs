//! Links as messages and back.

use std::{fs, path::Path};

use resource::kinds::network::{
    BondMasterSpec, BridgeMasterSpec, BridgeVlanSpec, LinkSpecSpec, StpSpec, VlanSpec, VrfMasterSpec, routing_table, vlan_protocol,
};
use rtnetlink::{
    LinkUnspec,
    packet_route::link::{
        BridgeStpState, InfoBridge, InfoData, InfoKind, InfoVeth, InfoVlan, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop,
        VlanProtocol,
    },
};

use super::GROUP;
use crate::net::{
    bond,
    model::{Details, Hardware, Link},
};

/// A link as the kernel tells it; `more` of it from sysfs.
pub(crate) fn link(message: &LinkMessage, sys_net: &Path, more: bool) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        loopback: flags.contains(LinkFlags::Loopback),
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        multicast: flags.contains(LinkFlags::Multicast),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::PropList(properties) => link.alt_names.extend(properties.iter().filter_map(|property| match property {
                Prop::AltIfName(name) => Some(name.clone()),
                _ => None,
            })),
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::PermAddress(mac) => link.hardware.permanent.clone_from(mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::MaxMtu(mtu) => link.mtu_limit = *mtu,
            LinkAttribute::Group(group) => link.ours = *group == GROUP,
            LinkAttribute::Controller(index) => link.master = *index,
            LinkAttribute::Link(index) => link.parent = *index,
            LinkAttribute::LinkInfo(infos) => (link.kind, link.details) = details(infos),
            _ => {}
        }
    }
    link.physical = !link.loopback && sys_net.join(&link.name).join("device").exists();
    if more && link.physical {
        link.hardware = Hardware { permanent: link.hardware.permanent, ..hardware(sys_net, &link.name) };
    }
    link
}

/// What made a link, and what more the kernel says about that.
pub(crate) fn details(infos: &[LinkInfo]) -> (String, Details) {
    let (mut kind, mut details) = (String::new(), Details::default());
    for info in infos {
        match info {
            LinkInfo::Kind(name) => kind = name.to_string(),
            LinkInfo::Data(InfoData::Vlan(options)) => details.vlan = vlan(options),
            LinkInfo::Data(InfoData::Bond(options)) => details.bond = bond::read(options),
            LinkInfo::Data(InfoData::Bridge(options)) => details.bridge = bridge_spec(options),
            LinkInfo::Data(InfoData::Vrf(options)) => {
                let table = options.iter().find_map(|option| if let InfoVrf::TableId(table) = option { Some(*table) } else { None });
                details.vrf = VrfMasterSpec { table: routing_table(table.unwrap_or(0)) };
            }
            _ => {}
        }
    }
    (kind, details)
}

fn vlan(options: &[InfoVlan]) -> VlanSpec {
    let mut spec = VlanSpec::default();
    for option in options {
        match option {
            InfoVlan::Id(id) => spec.vid = u32::from(*id),
            InfoVlan::Protocol(protocol) => spec.protocol = vlan_protocol(u16::from(*protocol)),
            _ => {}
        }
    }
    spec
}

fn bridge_spec(options: &[InfoBridge]) -> BridgeMasterSpec {
    let mut spec = BridgeMasterSpec::default();
    for option in options {
        match option {
            InfoBridge::StpState(state) => spec.stp = StpSpec { enabled: u32::from(*state) != 0 },
            InfoBridge::VlanFiltering(on) => spec.vlan = BridgeVlanSpec { filtering_enabled: *on },
            _ => {}
        }
    }
    spec
}

/// What sysfs says of the hardware behind a link; nothing of one that is gone by now.
pub(crate) fn hardware(sys_net: &Path, name: &str) -> Hardware {
    let folder = sys_net.join(name);
    let base = |path: &str| {
        let target = fs::canonicalize(folder.join(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    // The bus's own name of a device is that of the nearest one that is on PCI: virtio puts one in between.
    let device = fs::canonicalize(folder.join("device")).ok();
    let on_pci = device
        .as_deref()
        .into_iter()
        .flat_map(Path::ancestors)
        .take(3)
        .find(|path| path.join("vendor").exists() && path.join("class").exists());
    let number = |path: &Path, file: &str| {
        let text = fs::read_to_string(path.join(file)).ok()?;
        Some(text.trim().trim_start_matches("0x").to_uppercase())
    };
    let pci_id = on_pci.and_then(|path| Some(format!("{}:{}", number(path, "vendor")?, number(path, "device")?)));
    let bus_path = on_pci.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Hardware {
        permanent: Vec::new(),
        bus_path: bus_path.or_else(|| base("device")).unwrap_or_default(),
        driver: base("device/driver").unwrap_or_default(),
        pci_id: pci_id.unwrap_or_default(),
    }
}

/// The message that makes a link, with the node's mark; `None` for a kind that is not made here.
pub(super) fn making(spec: &LinkSpecSpec, parent: Option<u32>) -> Option<LinkMessage> {
    let (kind, data) = match spec.kind.as_str() {
        "vlan" => {
            let id = u16::try_from(spec.vlan.vid).ok()?;
            let protocol = VlanProtocol::from(u16::try_from(spec.vlan.protocol.number).ok()?);
            (InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(id), InfoVlan::Protocol(protocol)])))
        }
        "bond" => (InfoKind::Bond, Some(InfoData::Bond(bond::making(&spec.bond_master)))),
        "bridge" => (InfoKind::Bridge, Some(InfoData::Bridge(bridge_options(&BridgeMasterSpec::default(), &spec.bridge_master)))),
        "dummy" => (InfoKind::Dummy, None),
        "vrf" => (InfoKind::Vrf, Some(InfoData::Vrf(vec![InfoVrf::TableId(spec.vrf_master.table.number)]))),
        "veth" => {
            let mut peer = LinkUnspec::new_with_name(&spec.veth.peer_name).build();
            peer.attributes.push(LinkAttribute::Group(GROUP));
            (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))))
        }
        "wireguard" => (InfoKind::Wireguard, None),
        _ => return None,
    };
    let mut message = LinkUnspec::new_with_name(&spec.name).build();
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message.attributes.push(LinkAttribute::Group(GROUP));
    message.attributes.extend(parent.map(LinkAttribute::Link));
    if !spec.hardware_addr.0.is_empty() {
        message.attributes.push(LinkAttribute::Address(spec.hardware_addr.0.clone()));
    }
    if spec.mtu > 0 {
        message.attributes.push(LinkAttribute::Mtu(spec.mtu));
    }
    Some(message)
}

/// The message that changes a bond.
pub(super) fn bond(link: u32, from: &BondMasterSpec, to: &BondMasterSpec, primary: Option<u32>) -> LinkMessage {
    let (options, _) = bond::changes(from, to, primary);
    changing(link, InfoKind::Bond, InfoData::Bond(options))
}

/// The message that changes a bridge.
pub(super) fn bridge(link: u32, from: &BridgeMasterSpec, to: &BridgeMasterSpec) -> LinkMessage {
    changing(link, InfoKind::Bridge, InfoData::Bridge(bridge_options(from, to)))
}

/// Only what differs: a kernel may be built without what nobody asks for.
fn bridge_options(from: &BridgeMasterSpec, to: &BridgeMasterSpec) -> Vec<InfoBridge> {
    let stp = if to.stp.enabled { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
    let stp = (from.stp != to.stp).then_some(InfoBridge::StpState(stp));
    let filtering = (from.vlan != to.vlan).then_some(InfoBridge::VlanFiltering(to.vlan.filtering_enabled));
    stp.into_iter().chain(filtering).collect()
}

fn changing(link: u32, kind: InfoKind, data: InfoData) -> LinkMessage {
    let mut message = LinkUnspec::new_with_index(link).build();
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
    message
}
