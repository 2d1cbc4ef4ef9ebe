//! From rules to messages. Pure.
//!
//! A rule becomes expressions that load a part of the packet into a register and compare it. Several values are compared by a set
//! that belongs to the rule alone. Addresses of both families in one rule are two rules for the kernel.

use std::net::IpAddr;

use super::{
    Addresses, Chain, Rule, Table, Transport, Verdict,
    message::{APPEND, Attributes, CREATE, Messages},
};

/// Subsystem of nf_tables, and of messages that bracket a batch.
pub(super) const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFT_MSG_*`.
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
pub(super) const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
pub(super) const GET_RULE: u16 = 7;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
/// `NFPROTO_INET`, and the two families inside it.
pub(super) const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// Registers: the verdict's, and the one that everything here is loaded into.
const VERDICT: u32 = 0;
const REGISTER: u32 = 1;
/// `NFT_SET_ANONYMOUS | NFT_SET_CONSTANT`, `NFT_SET_INTERVAL`, `NFT_SET_ELEM_INTERVAL_END`.
const OF_A_RULE: u32 = 3;
const INTERVALS: u32 = 4;
const INTERVAL_END: u32 = 1;
/// Bytes of a link's name for the kernel.
const LINK_NAME: usize = 16;
/// Elements in one message: an attribute's length has 16 bits.
const ELEMENTS: usize = 512;

/// A batch, and what each of its messages is about.
#[derive(Debug)]
pub(super) struct Batch {
    pub messages: Messages,
    /// Sequence number and what it is about, ascending.
    pub subjects: Vec<(u32, String)>,
    /// The message that is answered in any case.
    pub last: u32,
}

const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// Replaces the table: whatever it was, it is this afterwards.
pub(super) fn replace(table: &Table) -> Batch {
    let mut batch = Batch { messages: Messages::default(), subjects: Vec::new(), last: 0 };
    batch.messages.add(BATCH_BEGIN, 0, 0, SUBSYSTEM, |_| {});
    // Made if it is not there, so that it can be deleted.
    batch.table(table, NEW_TABLE, CREATE);
    batch.table(table, DELETE_TABLE, 0);
    if !table.chains.is_empty() {
        batch.table(table, NEW_TABLE, CREATE);
    }
    let mut sets = 0;
    for chain in &table.chains {
        batch.chain(table, chain);
        for (at, rule) in chain.rules.iter().enumerate() {
            for family in families(rule) {
                batch.rule(table, chain, at, rule, family, &mut sets);
            }
        }
    }
    batch.last = batch.messages.acknowledge_last();
    batch.messages.add(BATCH_END, 0, 0, SUBSYSTEM, |_| {});
    batch
}

/// How many rules the kernel has for one of ours: none for one that can fit no packet.
pub(super) fn families(rule: &Rule) -> Vec<Option<u8>> {
    let addresses = [rule.source.as_ref(), rule.destination.as_ref()];
    if addresses.iter().all(Option::is_none) {
        return vec![None];
    }
    let has = |addresses: Option<&Addresses>, v4: bool| {
        addresses.is_none_or(|addresses| addresses.invert || addresses.ranges.iter().any(|(first, _)| first.is_ipv4() == v4))
    };
    [(true, IPV4), (false, IPV6)]
        .into_iter()
        .filter(|(v4, _)| addresses.iter().all(|one| has(*one, *v4)))
        .map(|(_, family)| Some(family))
        .collect()
}

/// What a value is loaded by and compared with.
struct Load {
    expression: &'static str,
    fill: Box<dyn Fn(&mut Attributes<'_>)>,
}

/// `meta`: 16 is the protocol, 15 the family, 6 the incoming link's name.
fn meta(key: u32) -> Load {
    Load { expression: "meta", fill: Box::new(move |data| _ = data.u32(1, REGISTER).u32(2, key)) }
}

/// `payload`: base 1 is the network header, 2 the transport header.
fn payload(base: u32, offset: u32, length: u32) -> Load {
    Load { expression: "payload", fill: Box::new(move |data| _ = data.u32(1, REGISTER).u32(2, base).u32(3, offset).u32(4, length)) }
}

/// Values of the same length: single ones, or ranges with their first and last.
enum Values {
    Single(Vec<Vec<u8>>),
    Ranges(Vec<(Vec<u8>, Vec<u8>)>),
}

/// An expression's name and what fills in its data.
type Expression = (&'static str, Box<dyn Fn(&mut Attributes<'_>)>);
/// Those of a rule.
type Expressions = Vec<Expression>;

impl Batch {
    fn table(&mut self, table: &Table, message: u16, flags: u16) {
        let sequence = self.messages.add(kind(message), flags, INET, 0, |out| {
            out.text(1, &table.name);
            if message == NEW_TABLE {
                out.u32(2, 0);
            }
        });
        self.subjects.push((sequence, format!("table {}", table.name)));
    }

    fn chain(&mut self, table: &Table, chain: &Chain) {
        let sequence = self.messages.add(kind(NEW_CHAIN), CREATE, INET, 0, |out| {
            out.text(1, &table.name).text(3, &chain.name);
            out.nest(4, |hook| _ = hook.u32(1, chain.hook as u32).u32(2, chain.priority.cast_unsigned()));
            out.u32(5, chain.policy as u32).text(7, "filter");
        });
        self.subjects.push((sequence, format!("chain {}", chain.name)));
    }

    /// The sets of a rule come before it.
    fn rule(&mut self, table: &Table, chain: &Chain, at: usize, rule: &Rule, family: Option<u8>, sets: &mut u32) {
        let subject = format!("chain {}, rule {}", chain.name, at + 1);
        let mut expressions: Expressions = Vec::new();
        let before = self.subjects.len();
        if let Some(family) = family {
            self.compare(table, meta(15), Values::Single(vec![vec![family]]), false, sets, &mut expressions);
        }
        if !rule.links.is_empty() {
            let names = rule.links.iter().map(|name| padded(name)).collect();
            self.compare(table, meta(6), Values::Single(names), false, sets, &mut expressions);
        }
        if rule.states != 0 {
            expressions.extend(states(rule.states));
        }
        for (addresses, source) in [(&rule.source, true), (&rule.destination, false)] {
            if let (Some(addresses), Some(family)) = (addresses, family) {
                self.addresses(table, addresses, family, source, sets, &mut expressions);
            }
        }
        if let Some(transport) = &rule.transport {
            self.transport(table, transport, sets, &mut expressions);
        }
        expressions.extend(ending(rule));
        let sequence = self.messages.add(kind(NEW_RULE), CREATE | APPEND, INET, 0, |out| {
            out.text(1, &table.name).text(2, &chain.name);
            out.nest(4, |list| {
                for (name, fill) in &expressions {
                    list.nest(1, |element| _ = element.text(1, name).nest(2, |data| fill(data)));
                }
            });
        });
        self.subjects.push((sequence, subject.clone()));
        for (_, about) in self.subjects.iter_mut().skip(before) {
            about.clone_from(&subject);
        }
    }

    fn addresses(&mut self, table: &Table, addresses: &Addresses, family: u8, source: bool, sets: &mut u32, out: &mut Expressions) {
        let ranges = addresses.ranges.iter().filter(|(first, _)| first.is_ipv4() == (family == IPV4));
        let ranges: Vec<_> = ranges.map(|(first, last)| (octets(*first), octets(*last))).collect();
        // Not among none: always so.
        if ranges.is_empty() && addresses.invert {
            return;
        }
        // Where the addresses are in either header.
        let (offset, length) = match (family == IPV4, source) {
            (true, true) => (12, 4),
            (true, false) => (16, 4),
            (false, true) => (8, 16),
            (false, false) => (24, 16),
        };
        self.compare(table, payload(1, offset, length), Values::Ranges(ranges), addresses.invert, sets, out);
    }

    fn transport(&mut self, table: &Table, transport: &Transport, sets: &mut u32, out: &mut Expressions) {
        self.compare(table, meta(16), Values::Single(vec![vec![transport.protocol]]), false, sets, out);
        for (ports, offset) in [(&transport.source, 0), (&transport.destination, 2)] {
            if !ports.is_empty() {
                let ranges =
                    merged(ports).iter().map(|(first, last)| (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec())).collect();
                self.compare(table, payload(2, offset, 2), Values::Ranges(ranges), false, sets, out);
            }
        }
        if !transport.types.is_empty() {
            let types = transport.types.iter().map(|kind| vec![*kind]).collect();
            self.compare(table, payload(2, 0, 1), Values::Single(types), false, sets, out);
        }
    }

    /// Loads something and compares it: one value directly, several by a set.
    fn compare(&mut self, table: &Table, load: Load, values: Values, invert: bool, sets: &mut u32, out: &mut Expressions) {
        out.push((load.expression, load.fill));
        if let (Values::Single(values), false) = (&values, invert)
            && let [value] = &values[..]
        {
            return out.push(equal(value.clone()));
        }
        *sets += 1;
        let id = *sets;
        let name = "__set%d";
        let (intervals, elements) = match values {
            Values::Single(values) => (false, values.into_iter().map(|value| (value, false)).collect()),
            Values::Ranges(ranges) => (true, interval_ends(&ranges)),
        };
        let length = elements.first().map_or(1, |(value, _)| value.len());
        let sequence = self.messages.add(kind(NEW_SET), CREATE, INET, 0, |set| {
            set.text(1, &table.name).text(2, name).u32(3, OF_A_RULE | if intervals { INTERVALS } else { 0 });
            // The type is for people's tools alone; the kernel needs a number.
            set.u32(4, 0).u32(5, u32::try_from(length).unwrap_or_default()).u32(10, id);
        });
        self.subjects.push((sequence, String::new()));
        for some in elements.chunks(ELEMENTS) {
            let sequence = self.messages.add(kind(NEW_ELEMENTS), CREATE, INET, 0, |list| {
                list.text(1, &table.name).text(2, name).u32(4, id);
                list.nest(3, |list| {
                    for (value, ends) in some {
                        list.nest(1, |element| {
                            element.nest(1, |key| _ = key.raw(1, value));
                            if *ends {
                                element.u32(3, INTERVAL_END);
                            }
                        });
                    }
                });
            });
            self.subjects.push((sequence, String::new()));
        }
        out.push(("lookup", Box::new(move |data| _ = data.text(1, name).u32(2, REGISTER).u32(4, id).u32(5, u32::from(invert)))));
    }
}

/// `cmp`, equal.
fn equal(value: Vec<u8>) -> Expression {
    ("cmp", Box::new(move |data| _ = data.u32(1, REGISTER).u32(2, 0).nest(3, |inside| _ = inside.raw(1, &value))))
}

/// The connection's state, masked, is not zero. The kernel keeps it in its own byte order.
fn states(states: u32) -> Expressions {
    let mask = move |data: &mut Attributes<'_>| {
        data.u32(1, REGISTER).u32(2, REGISTER).u32(3, 4);
        data.nest(4, |inside| _ = inside.raw(1, &states.to_ne_bytes())).nest(5, |inside| _ = inside.raw(1, &[0; 4]));
    };
    vec![
        ("ct", Box::new(|data| _ = data.u32(1, REGISTER).u32(2, 0))),
        ("bitwise", Box::new(mask)),
        ("cmp", Box::new(|data| _ = data.u32(1, REGISTER).u32(2, 1).nest(3, |inside| _ = inside.raw(1, &[0; 4])))),
    ]
}

/// Limit, counter and verdict.
fn ending(rule: &Rule) -> Expressions {
    let mut out: Expressions = Vec::new();
    let rate = rule.per_second;
    if rate > 0 {
        // Packets a second, and as many at once.
        let burst = u32::try_from(rate).unwrap_or(u32::MAX);
        out.push(("limit", Box::new(move |data| _ = data.u64(1, rate).u64(2, 1).u32(3, burst).u32(4, 0))));
    }
    if rule.count {
        out.push(("counter", Box::new(|data| _ = data.u64(1, 0).u64(2, 0))));
    }
    if let Some(verdict) = rule.verdict {
        out.push(("immediate", Box::new(move |data| immediate(data, verdict))));
    }
    out
}

fn immediate(data: &mut Attributes<'_>, verdict: Verdict) {
    data.u32(1, VERDICT).nest(2, |inside| _ = inside.nest(2, |code| _ = code.u32(1, verdict as u32)));
}

/// Ranges as the kernel's interval sets want them: each first value, and the one behind each last where there is one.
fn interval_ends(ranges: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, bool)> {
    let mut ends: Vec<(Vec<u8>, bool)> = Vec::new();
    for (first, last) in ranges {
        ends.push((first.clone(), false));
        ends.extend(behind(last).map(|value| (value, true)));
    }
    ends
}

/// The next value; nothing after the greatest.
fn behind(value: &[u8]) -> Option<Vec<u8>> {
    let mut next = value.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}

/// Sorted, and those that touch or overlap as one.
fn merged(ranges: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(LINK_NAME, 0);
    bytes
}

#[cfg(test)]
mod tests;
