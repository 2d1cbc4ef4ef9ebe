use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Option<Selector> {
    Some(Selector::Name(text.to_owned()))
}

fn fixed_at(address: &str, gateway: Option<&str>) -> Method {
    Method::Static { address: address.parse().unwrap(), gateway: gateway.map(|text| text.parse().unwrap()) }
}

/// The tenth field, in these forms.
fn time_of(value: &str) -> Option<String> {
    value.split(':').nth(9).filter(|text| value.starts_with("10.0.2.15") && !text.is_empty()).map(str::to_owned)
}

#[track_caller]
fn check(value: &str, device: Option<Selector>, method: Method, hostname: Option<&str>, resolvers: &[&str]) {
    let line = CommandLine::parse(&format!("quiet ip={value} ro"));
    let resolvers = resolvers.iter().map(|text| text.parse().unwrap()).collect();
    let wanted = IpArgument { device, method, hostname: hostname.map(str::to_owned), resolvers, time_server: time_of(value) };
    assert_eq!(line.problems, Vec::<String>::new(), "{value}");
    assert_eq!(line.ip, [wanted], "{value}");
}

#[track_caller]
fn refuse(value: &str, reason: &str) {
    let line = CommandLine::parse(&format!("ip={value}"));
    assert_eq!(line.ip, [], "{value}");
    assert_eq!(line.problems, [format!("ip={value}: {reason}")]);
}

#[test]
fn forms_of_the_kernel_and_the_short_ones() {
    check("dhcp", None, Method::Dhcp, None, &[]);
    check("on", None, Method::Dhcp, None, &[]);
    check("any", None, Method::Dhcp, None, &[]);
    check("off", None, Method::None, None, &[]);
    check("none", None, Method::None, None, &[]);
    check("eth1:dhcp", name("eth1"), Method::Dhcp, None, &[]);
    check("enx525400123456:dhcp", Some(Selector::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])), Method::Dhcp, None, &[]);
    check(":::::eth0:dhcp", name("eth0"), Method::Dhcp, None, &[]);
    check("::::node1::dhcp", None, Method::Dhcp, Some("node1"), &[]);
    check(
        "10.0.2.15::10.0.2.2:255.255.255.0:node1:eth0:off:10.0.2.3:1.1.1.1:10.0.2.4",
        name("eth0"),
        fixed_at("10.0.2.15/24", Some("10.0.2.2")),
        Some("node1"),
        &["10.0.2.3", "1.1.1.1"],
    );
    check("192.168.7.9::::::", None, fixed_at("192.168.7.9/24", None), None, &[]);
    check("172.20.0.2:::255.255.0.0::eth0", name("eth0"), fixed_at("172.20.0.2/16", None), None, &[]);
    check(
        "10.1.2.3:::20::[52:54:00:12:34:56]:none",
        Some(Selector::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
        fixed_at("10.1.2.3/20", None),
        None,
        &[],
    );
    check(
        "10.1.2.3:::20::52-54-00-12-34-56:none",
        Some(Selector::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
        fixed_at("10.1.2.3/20", None),
        None,
        &[],
    );
    check(
        "[2001:db8::2]::[2001:db8::1]:64:node.example.com:eth0:off",
        name("eth0"),
        fixed_at("2001:db8::2/64", Some("2001:db8::1")),
        Some("node.example.com"),
        &[],
    );
}

#[test]
fn mistakes_are_named() {
    refuse("10.0.0.300", "`10.0.0.300` is not an address");
    refuse("10.0.0.3:::255.0.255.0", "`255.0.255.0` is not a netmask");
    refuse("10.0.0.3:::33", "prefix length 33 is too long");
    refuse("10.0.0.3::[fe80::1]:24", "address and gateway are of different families");
    refuse("10.0.0.3::::::dhcp", "an address and automatic configuration exclude each other");
    refuse(":::::eth0:magic", "unknown kind of automatic configuration");
    refuse("bootp", "`bootp` is not supported, only dhcp is");
    refuse("[2001:db8::2", "unbalanced bracket");
    refuse("10.0.0.3::::-bad", "`-bad` is not a host name");
    refuse("1:2:3:4:5:6:7:8:9:10:11", "more than ten fields");
}

#[test]
fn other_arguments() {
    let line = CommandLine::parse("talos.hostname=a.b talos.network.interface.ignore=eth7 talos.hostname=c_d root=/dev/dm-0");
    assert_eq!(line.hostname.as_deref(), Some("a.b"));
    assert_eq!(line.ignored, ["eth7"]);
    assert_eq!(line.problems, ["talos.hostname=c_d: not a host name"]);
    let line = CommandLine::parse("vlan=eth0.5:eth0 bond=bond0 vlan=x");
    assert_eq!((line.links.len(), line.problems), (2, vec!["vlan=x: a VLAN is NAME:PARENT".to_owned()]));
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in ".{0,200}") {
        let _ = CommandLine::parse(&text);
        let _ = CommandLine::parse(&format!("ip={text} vlan={text} bond={text}"));
    }

    #[test]
    fn every_static_form_is_read_back(octets: [u8; 4], bits in 0_u8..=32, host in "[a-z][a-z0-9]{0,8}", device in "[a-z]{1,6}[0-9]") {
        let address = Ipv4Addr::from(octets);
        let line = CommandLine::parse(&format!("ip={address}:::{bits}:{host}:{device}:off"));
        let wanted = IpArgument {
            device: name(&device),
            method: Method::Static { address: IpNet::new(address.into(), bits).unwrap(), gateway: None },
            hostname: Some(host),
            resolvers: vec![],
            time_server: None,
        };
        prop_assert_eq!(line.ip, vec![wanted]);
    }
}
