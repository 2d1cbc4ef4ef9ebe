//! What clients ask.

use http::{HeaderMap, HeaderValue};
use prost::Message;
use resource::{Key, Metadata};
use wire::{cosi, machine};

use super::seeds;
use crate::target::{MIB, Target, text, words};

/// Whom a call is for.
pub const ROUTE: Target = Target {
    name: "route",
    bytes: "values of the metadata `node`, a line each",
    from: "API clients",
    property: "a call is ours only when every value names this node, however it is written",
    words: || {
        words(&["10.0.2.15", "::ffff:10.0.2.15", "node-1", "NODE-1", "localhost", "127.0.0.1", "::1", "[", "]", ":50000", "\n", "010"])
    },
    seeds: || seeds(&["10.0.2.15", "Node-1", "10.0.2.15\n10.0.2.15", ""]),
    check: |input| {
        let mut metadata = HeaderMap::new();
        let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').take(8).collect();
        for value in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
            metadata.append("node", value);
        }
        let ours = |value: &HeaderValue| {
            let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
            let named = ["node-1", "localhost"].contains(&value.as_str());
            let addresses: [std::net::IpAddr; 3] = [[10, 0, 2, 15].into(), [127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
            named || value.parse().is_ok_and(|address| addresses.contains(&address))
        };
        let values: Vec<&HeaderValue> = metadata.get_all("node").iter().collect();
        let wanted = values.is_empty() || values.len() == 1 && values.into_iter().all(ours);
        assert_eq!(apid::fuzz::is_local(&metadata), wanted);
    },
    ..Target::PLAIN
};

/// Which resources are meant.
pub const QUERY: Target = Target {
    name: "query",
    bytes: "protobuf of the options of a list of resources",
    from: "API clients",
    property: "a query that is taken can be asked of every resource, in bounded time",
    // An expression of 64 KiB when it is compiled, and as much while it is.
    memory: 8 * MIB,
    words: || words(&["(a*)*", "[a-z]{1,100}", "(?i)", "\\p{L}", "$", "^", "eth0", "x.y/z", "2Gi", "1e308", "-0", "inf", "nan"]),
    seeds: || {
        let term = |op, value: &[&str]| cosi::LabelTerm {
            key: "x.y/z".into(),
            op: op as i32,
            value: value.iter().map(|value| (*value).to_owned()).collect(),
            ..cosi::LabelTerm::default()
        };
        use cosi::label_term::Operation::{Equal, Exists, In, LtNumeric};
        let labels = vec![cosi::LabelQuery {
            terms: vec![term(Exists, &[]), term(Equal, &["1"]), term(In, &["1", "2Gi"]), term(LtNumeric, &["1Ki"])],
        }];
        let options = cosi::ListOptions { label_query: labels, id_query: Some(cosi::IdQuery { regexp: "^eth[0-9]+$".into() }) };
        vec![options.encode_to_vec()]
    },
    check: |input| {
        let Ok(options) = cosi::ListOptions::decode(input) else { return };
        let Some(query) = reconcile::fuzz::query(&options.label_query, options.id_query.as_ref()) else { return };
        for (id, label) in
            [("eth0", "2Gi"), ("", ""), ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "1e999"), ("ä\u{2028}", "-3 kB")]
        {
            let mut metadata = Metadata::new(Key::new("network", "LinkStatuses.net.talos.dev", id));
            metadata.labels.insert("x.y/z".into(), label.into());
            let _ = query.matches(&metadata);
        }
    },
    ..Target::PLAIN
};

/// Messages of the API.
pub const REQUESTS: Target = Target {
    name: "requests",
    bytes: "a number for the kind of request, then its protobuf",
    from: "API clients",
    property: "read and written again it is the same request",
    seeds: || {
        let apply = machine::ApplyConfigurationRequest { data: b"machine: {}\n".to_vec(), ..Default::default() };
        let read = machine::ReadRequest { path: "/proc/version".into() };
        vec![[vec![0], apply.encode_to_vec()].concat(), [vec![1], read.encode_to_vec()].concat()]
    },
    check: |input| {
        fn check<M: Message + Default + PartialEq>(bytes: &[u8]) {
            let Ok(message) = M::decode(bytes) else { return };
            let again = M::decode(message.encode_to_vec().as_slice());
            assert!(again.is_ok_and(|again| again == message), "written and read again it is another");
        }
        let Some((kind, bytes)) = input.split_first() else { return };
        match kind % 8 {
            0 => check::<machine::ApplyConfigurationRequest>(bytes),
            1 => check::<machine::ReadRequest>(bytes),
            2 => check::<machine::ListRequest>(bytes),
            3 => check::<machine::LogsRequest>(bytes),
            4 => check::<machine::EventsRequest>(bytes),
            5 => check::<machine::RebootRequest>(bytes),
            6 => check::<cosi::WatchRequest>(bytes),
            _ => check::<machine::ServiceRestartRequest>(bytes),
        }
    },
    ..Target::PLAIN
};

/// From where a client wants to hear events.
pub const EVENT_ID: Target = Target {
    name: "event-id",
    bytes: "the id of an event",
    from: "API clients",
    property: "an id that is taken is written as it was",
    longest: 64,
    words: || words(&["0123456789abcdefghij", "vvvvvvvvvvvvvvvvvvvg"]),
    seeds: || seeds(&["9m4e2mr0ui3e8a215n4g", "00000000000000000000"]),
    check: |input| {
        let text = text(input);
        if let Ok(id) = text.parse::<machined::events::EventId>() {
            // The last character has bits that no id uses.
            let (head, written) = (text.get(..19), id.to_string());
            assert_eq!(head, written.get(..19), "{written}");
            assert_eq!(written.parse::<machined::events::EventId>(), Ok(id));
        }
    },
    ..Target::PLAIN
};
