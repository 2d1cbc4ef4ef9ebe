use std::net::{Ipv4Addr, Ipv6Addr};

use resource::Value;
use rtnetlink::packet_route::{
    address::{AddressFlags, AddressScope},
    link::{InfoKind, LinkFlags, LinkLayerType, State},
    route::{RouteAddress, RouteProtocol, RouteScope, RouteType},
};

use rtnetlink::packet_route::AddressFamily;

use super::*;

fn names() -> BTreeMap<u32, String> {
    BTreeMap::from([(2, "eth0".into()), (3, "eth1".into())])
}

fn yaml(value: &impl Value) -> String {
    value.form().to_yaml().unwrap()
}

#[test]
fn a_link() {
    let mut message = LinkMessage::default();
    message.header.index = 2;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up | LinkFlags::Running;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".into()),
        LinkAttribute::Address(vec![0x52, 0x54, 0, 0x12, 0x34, 0x56]),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Qdisc("fq_codel".into()),
        LinkAttribute::OperState(State::Up),
        LinkAttribute::Carrier(1),
        LinkAttribute::PropList(vec![Prop::AltIfName("lan".into())]),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]),
    ];
    let device = Device {
        bus_path: "virtio0".into(),
        driver: "virtio_net".into(),
        pci_id: "1AF4:1000".into(),
        speed: 10_000,
        duplex: "full".into(),
    };
    assert_eq!(link_name(&message), "eth0");
    let expect = "altNames:\n- lan\nindex: 2\ntype: ether\nlinkIndex: 0\nflags: UP,RUNNING\nhardwareAddr: 52:54:00:12:34:56\npermanentAddr: ''\n\
                  broadcastAddr: ''\nmtu: 1500\nqueueDisc: fq_codel\noperationalState: up\nkind: vlan\nslaveKind: ''\nbusPath: virtio0\npciID: 1AF4:1000\n\
                  driver: virtio_net\nlinkState: true\nspeedMbit: 10000\nport: Other\nduplex: Full\n";
    assert_eq!(yaml(&link(&message, &device)), expect);
    let bare = yaml(&link(&LinkMessage::default(), &Device::default()));
    assert!(bare.contains("operationalState: unknown\n") && bare.contains("duplex: Unknown\n"), "{bare}");
}

#[test]
fn an_address() {
    let mut message = AddressMessage::default();
    (message.header.index, message.header.prefix_len) = (2, 24);
    (message.header.family, message.header.scope) = (AddressFamily::Inet, AddressScope::Universe);
    let [one, all] = [Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 255)];
    message.attributes = vec![
        AddressAttribute::Address(one.into()),
        AddressAttribute::Local(one.into()),
        AddressAttribute::Broadcast(all),
        AddressAttribute::Flags(AddressFlags::Permanent),
    ];
    let (id, spec) = address(&message, &names()).unwrap();
    assert_eq!(id, "eth0/192.0.2.7/24");
    let expect = "address: 192.0.2.7/24\nlocal: 192.0.2.7\nbroadcast: 192.0.2.255\nlinkIndex: 2\nlinkName: eth0\nfamily: inet4\nscope: global\n\
                  flags: permanent\npriority: 0\n";
    assert_eq!(yaml(&spec), expect);
    assert_eq!(address(&AddressMessage::default(), &names()), None);
    message.header.prefix_len = 33;
    assert_eq!(address(&message, &names()), None);
}

#[track_caller]
fn check_route(family: AddressFamily, length: u8, attributes: Vec<RouteAttribute>, expect: &str) -> RouteStatusSpec {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    (header.address_family, header.destination_prefix_length, header.table) = (family, length, 254);
    (header.protocol, header.scope, header.kind) = (RouteProtocol::Dhcp, RouteScope::Universe, RouteType::Unicast);
    message.attributes = attributes;
    let (id, spec) = route(&message, &names());
    assert_eq!(id, expect);
    spec
}

#[test]
fn routes() {
    let four = |last| RouteAddress::Inet(Ipv4Addr::new(192, 0, 2, last));
    let way = || vec![RouteAttribute::Gateway(four(1)), RouteAttribute::Oif(2), RouteAttribute::Priority(1024)];
    let spec = check_route(AddressFamily::Inet, 0, way(), "inet4/192.0.2.1//1024");
    let expect = "family: inet4\ndst: ''\nsrc: ''\ngateway: 192.0.2.1\noutLinkIndex: 2\noutLinkName: eth0\ntable: main\npriority: 1024\n\
                  scope: global\ntype: unicast\nflags: ''\nprotocol: dhcp\n";
    assert_eq!(yaml(&spec), expect);

    let mut other = way();
    other.extend([
        RouteAttribute::Destination(four(0)),
        RouteAttribute::Table(1000),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
    ]);
    let spec = check_route(AddressFamily::Inet, 24, other, "1000/inet4/192.0.2.1/192.0.2.0/24/1024");
    assert_eq!(spec.mtu, 1400);

    let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
    let on_link = vec![RouteAttribute::Destination(RouteAddress::Inet6(six)), RouteAttribute::Oif(3), RouteAttribute::Priority(256)];
    check_route(AddressFamily::Inet6, 64, on_link, "eth1/inet6//2001:db8::/64/256");

    let hop = |interface_index, hops, gateway| {
        let mut hop = Hop::default();
        (hop.interface_index, hop.hops, hop.attributes) = (interface_index, hops, vec![RouteAttribute::Gateway(four(gateway))]);
        hop
    };
    let spec = check_route(AddressFamily::Inet, 0, vec![RouteAttribute::MultiPath(vec![hop(2, 0, 1), hop(9, 4, 2)])], "inet4///0");
    let hops: Vec<_> = spec.next_hops.iter().map(|hop| (hop.out_link_name.as_str(), hop.weight, hop.gateway.is_some())).collect();
    assert_eq!(hops, [("eth0", 1, true), ("", 5, true)]);
}
