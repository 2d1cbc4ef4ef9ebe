use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use super::*;

crate::choice! {
    /// A choice.
    pub enum Way {
        /// Up.
        Up = 0 "up",
        /// Down.
        Down = 3 "down below",
    }
}

crate::message! {
    /// A message within one.
    pub struct Inner {
        /// A number.
        1 number: i64 = "number",
    }

    /// One of each.
    pub struct Outer {
        /// Text.
        2 text: String = "text",
        /// A list of numbers.
        1 numbers: Vec<u32> = "numbers",
        /// A list of texts.
        3 texts: Vec<String> = "texts" omitempty,
        /// A message.
        4 inner: Inner = "inner" omitempty,
        /// One that may be missing.
        5 missing: Option<Inner> = "missing",
        /// A table.
        6 table: BTreeMap<String, bool> = "table" omitempty,
        /// A choice.
        7 way: Way = "way",
        /// A time.
        8 pause: Duration = "pause" omitempty,
        /// A fraction.
        9 share: f64 = "share" omitempty,
    }
}

/// `field:type:bytes` in hexadecimal as protobuf's own tools show it.
#[track_caller]
fn check(value: &dyn crate::Spec, proto: &str, yaml: &str) {
    let parts = value.parts();
    let hex: String = parts.to_proto().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((hex.as_str(), parts.to_yaml().unwrap().as_str()), (proto.replace(' ', "").as_str(), yaml));
}

#[test]
fn what_is_empty() {
    let yaml = "text: ''\nnumbers: []\nmissing: null\nway: up\n";
    // The fields that are messages themselves are always there: client and server tell absent from empty.
    check(&Outer::default(), "2200 4200", yaml);
}

#[test]
fn one_of_each() {
    let value = Outer {
        text: "a: b".into(),
        numbers: vec![1, 300],
        texts: vec![String::new(), "x".into()],
        inner: Inner { number: -1 },
        missing: Some(Inner { number: 0 }),
        table: BTreeMap::from([("k".into(), false)]),
        way: Way::Down,
        pause: Duration::from_millis(1500),
        share: 0.5,
    };
    let proto = concat!(
        "12 04 613a2062",
        " 0a 03 01 ac02",
        " 1a 00 1a 01 78",
        " 22 0b 08 ffffffffffffffffff01",
        " 2a 00",
        " 32 05 0a 01 6b 10 00",
        " 38 03",
        " 42 08 08 01 10 80cab5ee01",
        " 49 000000000000e03f",
    );
    let yaml = "text: 'a: b'\nnumbers:\n- 1\n- 300\ntexts:\n- ''\n- x\ninner:\n  number: -1\nmissing:\n  number: 0\ntable:\n  k: false\n\
                way: down below\npause: 1.5s\nshare: 0.5\n";
    check(&value, proto, yaml);
}

#[test]
fn addresses_are_bytes_and_text() {
    let [four, six]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
    check(&four, "0a 04 c0000201", "192.0.2.1\n");
    check(&six, "0a 10 20010db8000000000000000000000001", "2001:db8::1\n");
    check(&"192.0.2.1/24".parse::<IpNet>().unwrap(), "0a 04 c0000201 10 18", "192.0.2.1/24\n");
    check(&"192.0.2.1:53".parse::<SocketAddr>().unwrap(), "0a 04 c0000201 10 35", "192.0.2.1:53\n");
    check(&None::<IpAddr>, "", "''\n");
    let mac = HardwareAddress(vec![0x52, 0x54, 0, 0x12]);
    assert_eq!((mac.form().to_yaml().unwrap().as_str(), mac.form().to_proto()), ("52:54:00:12\n", vec![]));
}

#[test]
fn flags_have_names() {
    let flags = |bits| Bits { bits, names: &[(1, "UP"), (4, "LOOPBACK")], between: "," };
    for (bits, expect) in [(0, "''\n"), (1, "UP\n"), (7, "UP,LOOPBACK\n")] {
        assert_eq!(flags(bits).form().to_yaml().unwrap(), expect);
    }
}

#[test]
fn numbers_have_names_or_not() {
    let code = |number| Code { number, names: &[(0, "unspec"), (2, "kernel")], kind: "RouteProtocol" };
    for (number, expect) in [(0, "unspec\n"), (2, "kernel\n"), (75, "RouteProtocol(75)\n")] {
        assert_eq!(code(number).form().to_yaml().unwrap(), expect);
    }
}

#[test]
fn durations_read_as_clients_write_them() {
    for (nanoseconds, expect) in [
        (0_u64, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (250_000_000, "250ms"),
        (1_000_000_000, "1s"),
        (61_000_000_000, "1m1s"),
        (3_600_000_000_000, "1h0m0s"),
        (3_723_040_000_000, "1h2m3.04s"),
    ] {
        assert_eq!(Duration::from_nanos(nanoseconds).form().to_yaml().unwrap().trim(), expect);
    }
}

#[test]
fn types_tell_their_shape() {
    let Shape::Message("Outer", fields) = Outer::shape() else { panic!("not a message") };
    let named = |name| fields.iter().find(|field| field.name == name).map(|field| (field.number, field.shape.clone())).unwrap();
    assert_eq!(named("numbers"), (1, Shape::List(Box::new(Shape::Plain("uint32")))));
    assert_eq!(named("way"), (7, Shape::Choice("Way", &["up", "down below"])));
    assert_eq!(named("missing").1, Inner::shape());
}
