//! Questions that are answered here and go nowhere else. Pure.
//!
//! Names of the hosts file and of this node, `localhost` and the way back from loopback, what can be nowhere (RFC 6761), and names
//! of one label: those are for the search list of who asks, and a server far away is told about them only when that is wanted.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::message::{CLASS_IN, Name, Question, Rcode, kind, write::Answer};

/// Names that are answered here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    addresses: BTreeMap<Name, Vec<IpAddr>>,
    names: BTreeMap<Name, Name>,
    zones: Zones,
    single_labels: bool,
}

/// Zones that have rules of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Zones {
    localhost: Option<Name>,
    invalid: Option<Name>,
    loopback: Option<Name>,
}

impl Default for Zones {
    fn default() -> Self {
        let zone = Name::from_text;
        Self { localhost: zone("localhost"), invalid: zone("invalid"), loopback: zone("127.in-addr.arpa") }
    }
}

impl Names {
    /// Those of `hosts`, an address with its names each; the first name of an address is the one that leads back. `single_labels`: names
    /// of one label are asked for elsewhere.
    #[must_use]
    pub fn new(hosts: &[(IpAddr, Vec<String>)], single_labels: bool) -> Self {
        let mut all = Self { single_labels, ..Self::default() };
        for (address, names) in hosts {
            for name in names.iter().filter_map(|name| Name::from_text(name)) {
                let addresses = all.addresses.entry(name.lower()).or_default();
                if !addresses.contains(address) {
                    addresses.push(*address);
                }
                if let Some(back) = reverse(*address) {
                    all.names.entry(back).or_insert(name);
                }
            }
        }
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            if let (Some(back), Some(name)) = (reverse(address), all.zones.localhost.clone()) {
                all.names.insert(back, name);
            }
        }
        all
    }

    /// The answer to a question in lower case; `None`: others know it.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Option<Answer> {
        let say = |rcode| Some(Answer::own(question, rcode, 0, &[]));
        let within = |zone: &Option<Name>| zone.as_ref().is_some_and(|zone| question.name.is_within(zone));
        match question.kind {
            _ if question.class != CLASS_IN => return say(Rcode::Refused),
            // Whole zones, and what belongs into other places of a message.
            0 | kind::OPT => return say(Rcode::FormErr),
            kind::QUESTIONS..kind::ANY => return say(Rcode::NotImp),
            _ => {}
        }
        if within(&self.zones.localhost) {
            return Some(addresses(question, &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
        }
        if within(&self.zones.invalid) {
            return say(Rcode::NxDomain);
        }
        if let (kind::PTR, Some(name)) = (question.kind, self.names.get(&question.name)) {
            return Some(Answer::own(question, Rcode::NoError, 0, &[(kind::PTR, name.as_bytes().to_vec())]));
        }
        if within(&self.zones.loopback) {
            return say(Rcode::NxDomain);
        }
        let asks_address = matches!(question.kind, kind::A | kind::AAAA);
        match self.addresses.get(&question.name) {
            Some(known) if asks_address => Some(addresses(question, known)),
            None if asks_address && !self.single_labels && question.name.labels().count() == 1 => say(Rcode::NxDomain),
            _ => None,
        }
    }
}

/// Those that were asked for; none is an answer, too.
fn addresses(question: &Question, all: &[IpAddr]) -> Answer {
    let records: Vec<(u16, Vec<u8>)> = all
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => (kind::A, address.octets().to_vec()),
            IpAddr::V6(address) => (kind::AAAA, address.octets().to_vec()),
        })
        .filter(|(kind, _)| question.kind == *kind || question.kind == kind::ANY)
        .collect();
    Answer::own(question, Rcode::NoError, 0, &records)
}

/// The name that leads back from an address (RFC 1035, section 3.5; RFC 3596, section 2.5).
fn reverse(address: IpAddr) -> Option<Name> {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let halves = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            let digits: Vec<String> = halves.map(|half| format!("{half:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    };
    Name::from_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Query, Response, write};

    fn names(single_labels: bool) -> Names {
        let host = |address: &str, names: &[&str]| (address.parse().unwrap(), names.iter().map(|name| (*name).to_owned()).collect());
        Names::new(
            &[host("10.0.0.9", &["Db.lan", "db"]), host("fd00::9", &["db.lan"]), host("10.0.0.9", &["db.lan", "not a..name"])],
            single_labels,
        )
    }

    /// `-` is for others; else the result and the data of the records.
    #[track_caller]
    fn check(names: &Names, name: &str, kind: u16, wanted: &str) {
        let question = Question { name: Name::from_text(name).unwrap(), kind, class: CLASS_IN };
        let found = names.answer(&question).map_or_else(
            || "-".to_owned(),
            |answer| {
                let query = Query::parse(&write::query(1, &question, None, false)).unwrap();
                let reply = answer.reply(&query, 0, 512);
                let read = Response::parse(&reply).unwrap();
                let data = |at: usize, end: usize| match end - at {
                    4 => Ipv4Addr::from(*reply[at..].first_chunk::<4>().unwrap()).to_string(),
                    16 => Ipv6Addr::from(*reply[at..].first_chunk::<16>().unwrap()).to_string(),
                    _ => Name::read(&reply, at).unwrap().0.to_string(),
                };
                let data = read.records().iter().map(|record| data(record.data_at, record.end));
                std::iter::once(format!("{:?}", read.rcode())).chain(data).collect::<Vec<_>>().join(" ")
            },
        );
        assert_eq!(found, wanted, "{name} {kind}");
    }

    #[test]
    fn what_is_answered_here() {
        let all = &names(false);
        for (name, kind, wanted) in [
            ("localhost", kind::A, "NoError 127.0.0.1"),
            ("a.localhost", kind::AAAA, "NoError ::1"),
            ("localhost", kind::ANY, "NoError 127.0.0.1 ::1"),
            ("localhost", kind::MX, "NoError"),
            ("1.0.0.127.in-addr.arpa", kind::PTR, "NoError localhost"),
            ("2.0.0.127.in-addr.arpa", kind::PTR, "NxDomain"),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", kind::PTR, "NoError localhost"),
            ("x.invalid", kind::A, "NxDomain"),
            ("db.lan", kind::A, "NoError 10.0.0.9"),
            ("db.lan", kind::AAAA, "NoError fd00::9"),
            ("db", kind::A, "NoError 10.0.0.9"),
            ("db", kind::AAAA, "NoError"),
            ("9.0.0.10.in-addr.arpa", kind::PTR, "NoError Db.lan"),
            ("db.lan", kind::MX, "-"),
            ("x.db.lan", kind::A, "-"),
            ("printer", kind::A, "NxDomain"),
            ("printer", kind::NS, "-"),
            ("", kind::A, "-"),
            ("example.org", kind::A, "-"),
            ("example.org", kind::ANY, "-"),
            ("example.org", 252, "NotImp"),
            ("example.org", kind::OPT, "FormErr"),
        ] {
            check(all, name, kind, wanted);
        }
        check(&names(true), "printer", kind::A, "-");
        let chaos = Question { name: Name::from_text("version.bind").unwrap(), kind: 16, class: 3 };
        assert_eq!(all.answer(&chaos).map(|answer| answer.rcode()), Some(Rcode::Refused));
    }
}
