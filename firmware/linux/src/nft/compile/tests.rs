use proptest::prelude::*;

use super::*;
use crate::nft::{ESTABLISHED, Hook, RELATED, message};

fn chain(rules: Vec<Rule>) -> Table {
    let chain = Chain { name: "in".to_owned(), hook: Hook::Input, priority: -140, policy: Verdict::Drop, rules };
    Table { name: "t".to_owned(), chains: vec![chain] }
}

fn ranges(list: &[(&str, &str)]) -> Vec<(IpAddr, IpAddr)> {
    list.iter().map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap())).collect()
}

/// Each message as its number and what is in it: attributes in hexadecimal, nests in brackets.
fn shown(table: &Table) -> Vec<String> {
    let batch = replace(table);
    let show = |message: &message::Received<'_>| format!("{:x} {}", message.kind, nest(&message.payload[message::FAMILY_HEADER..]));
    message::messages(batch.messages.bytes()).iter().map(show).collect()
}

/// A value that is a whole list of attributes is shown as one.
fn nest(bytes: &[u8]) -> String {
    let one = |(kind, value): &(u16, &[u8])| {
        let inside = message::attributes(value);
        let used: usize = inside.iter().map(|(_, value)| (value.len() + 4).next_multiple_of(4)).sum();
        match value {
            [letters @ .., 0] if letters.len() > 1 && letters.iter().all(|byte| byte.is_ascii_graphic()) => {
                format!("{kind}={}", String::from_utf8_lossy(letters))
            }
            _ if !inside.is_empty() && used == value.len() => format!("{kind}[{}]", nest(value)),
            _ => format!("{kind}={}", value.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        }
    };
    message::attributes(bytes).iter().map(one).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(rule: Rule, wanted: &[&str]) {
    let all = shown(&chain(vec![rule]));
    // Begin, the table three times, the chain; end.
    assert_eq!(all[5..all.len() - 1], *wanted, "{all:#?}");
}

#[test]
fn a_table_is_made_removed_and_made_again() {
    assert_eq!(
        shown(&chain(vec![])),
        [
            "10 ",
            "a00 1=7400 2=00000000",
            "a02 1=7400",
            "a00 1=7400 2=00000000",
            "a03 1=7400 3=in 4[1=00000001 2=ffffff74] 5=00000000 7=filter",
            "11 "
        ]
    );
    let none = Table { name: "keelson".to_owned(), chains: vec![] };
    assert_eq!(shown(&none), ["10 ", "a00 1=keelson 2=00000000", "a02 1=keelson", "11 "]);
    let batch = replace(&none);
    let flags: Vec<_> = message::messages(batch.messages.bytes()).iter().map(|message| message.flags & message::ACK).collect();
    assert_eq!((flags, batch.last), (vec![0, 0, message::ACK, 0], 3));
}

#[test]
fn one_value_is_compared_and_several_are_looked_up() {
    let one = Rule { links: vec!["lo".to_owned()], verdict: Some(Verdict::Accept), ..Rule::default() };
    check(
        one,
        &["a06 1=7400 2=in 4[1[1=meta 2[1=00000001 2=00000006]] 1[1=cmp 2[1=00000001 2=00000000 3[1=6c6f0000000000000000000000000000]]] \
           1[1=immediate 2[1=00000000 2[2[1=00000001]]]]]"],
    );
    let states = Rule { states: ESTABLISHED | RELATED, verdict: Some(Verdict::Drop), ..Rule::default() };
    check(
        states,
        &["a06 1=7400 2=in 4[1[1=ct 2[1=00000001 2=00000000]] \
           1[1=bitwise 2[1=00000001 2=00000001 3=00000004 4[1=06000000] 5[1=00000000]]] \
           1[1=cmp 2[1=00000001 2=00000001 3[1=00000000]]] 1[1=immediate 2[1=00000000 2[2[1=00000000]]]]]"],
    );
    let ports = Transport { protocol: 6, source: vec![], destination: vec![(80, 81), (50000, 50000), (82, 90)], types: vec![] };
    check(
        Rule { transport: Some(ports), per_second: 5, count: true, ..Rule::default() },
        &[
            "a09 1=7400 2=__set%d 3=00000007 4=00000000 5=00000002 10=00000001",
            "a0c 1=7400 2=__set%d 4=00000001 3[1[1[1=0050]] 1[1[1=005b] 3=00000001] 1[1[1=c350]] 1[1[1=c351] 3=00000001]]",
            "a06 1=7400 2=in 4[1[1=meta 2[1=00000001 2=00000010]] 1[1=cmp 2[1=00000001 2=00000000 3[1=06]]] \
             1[1=payload 2[1=00000001 2=00000002 3=00000002 4=00000002]] 1[1=lookup 2[1=__set%d 2=00000001 4=00000001 5=00000000]] \
             1[1=limit 2[1=0000000000000005 2=0000000000000001 3=00000005 4=00000000]] 1[1=counter 2[1=0000000000000000 2=0000000000000000]]]",
        ],
    );
}

#[test]
fn addresses_of_two_families_are_two_rules() {
    let both = ranges(&[("10.0.0.0", "10.0.0.255"), ("255.0.0.0", "255.255.255.255"), ("fd00::", "fd00::1")]);
    let source = Addresses { ranges: both, invert: true };
    check(
        Rule { source: Some(source.clone()), ..Rule::default() },
        &[
            "a09 1=7400 2=__set%d 3=00000007 4=00000000 5=00000004 10=00000001",
            // Nothing is behind the last address of all.
            "a0c 1=7400 2=__set%d 4=00000001 3[1[1[1=0a000000]] 1[1[1=0a000100] 3=00000001] 1[1[1=ff000000]]]",
            "a06 1=7400 2=in 4[1[1=meta 2[1=00000001 2=0000000f]] 1[1=cmp 2[1=00000001 2=00000000 3[1=02]]] \
             1[1=payload 2[1=00000001 2=00000001 3=0000000c 4=00000004]] 1[1=lookup 2[1=__set%d 2=00000001 4=00000001 5=00000001]]]",
            "a09 1=7400 2=__set%d 3=00000007 4=00000000 5=00000010 10=00000002",
            "a0c 1=7400 2=__set%d 4=00000002 3[1[1[1=fd000000000000000000000000000000]] 1[1[1=fd000000000000000000000000000002] 3=00000001]]",
            "a06 1=7400 2=in 4[1[1=meta 2[1=00000001 2=0000000f]] 1[1=cmp 2[1=00000001 2=00000000 3[1=0a]]] \
             1[1=payload 2[1=00000001 2=00000001 3=00000008 4=00000010]] 1[1=lookup 2[1=__set%d 2=00000001 4=00000002 5=00000001]]]",
        ],
    );
    let only = |list: &[(&str, &str)], invert| Some(Addresses { ranges: ranges(list), invert });
    let v4 = Rule { source: only(&[("10.0.0.0", "10.0.0.1")], false), ..Rule::default() };
    assert_eq!(families(&v4), [Some(IPV4)]);
    assert_eq!(families(&Rule { destination: only(&[("::", "::1")], false), ..v4.clone() }), [], "no packet has both");
    assert_eq!(families(&Rule { destination: only(&[("::", "::1")], true), ..v4 }), [Some(IPV4)]);
    assert_eq!(families(&Rule { source: only(&[], false), ..Rule::default() }), [], "from nobody");
    assert_eq!(families(&Rule { source: only(&[], true), ..Rule::default() }), [Some(IPV4), Some(IPV6)]);
}

#[test]
fn every_message_says_what_it_is_about() {
    let ports = Transport { protocol: 17, source: vec![(67, 67)], destination: vec![(68, 68)], types: vec![] };
    let batch = replace(&chain(vec![Rule::default(), Rule { transport: Some(ports), ..Rule::default() }]));
    let about: Vec<_> = batch.subjects.iter().map(|(_, subject)| subject.as_str()).collect();
    let second = "chain in, rule 2";
    assert_eq!(about, ["table t", "table t", "table t", "chain in", "chain in, rule 1", second, second, second, second, second]);
}

proptest! {
    #[test]
    fn merged_ranges_hold_the_same_ports(list in proptest::collection::vec((any::<u16>(), any::<u16>()), 0..8), port: u16) {
        let list: Vec<_> = list.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        let inside = |list: &[(u16, u16)]| list.iter().any(|(first, last)| (*first..=*last).contains(&port));
        let found = merged(&list);
        prop_assert_eq!(inside(&found), inside(&list));
        prop_assert!(found.windows(2).all(|pair| u32::from(pair[0].1) + 1 < u32::from(pair[1].0)), "{:?}", found);
    }
}
