//! Messages there and back, and garbage.

use proptest::prelude::*;

use super::{write::Answer, *};

fn question(name: &str, kind: u16) -> Question {
    Question { name: Name::from_text(name).unwrap(), kind, class: CLASS_IN }
}

/// A query as a client sends it.
fn asked(name: &str, kind: u16, options: Option<bool>) -> Query {
    Query::parse(&write::query(7, &question(name, kind), options, false)).unwrap()
}

/// A server's response: flags, and records as name, type, time and data.
fn response(name: &str, kind: u16, flags: u16, answers: &[(&str, u16, u32, &[u8])], zone: Option<(u32, u32)>) -> Vec<u8> {
    let mut message = write::query(9, &question(name, kind), None, false);
    message[2..4].copy_from_slice(&(flag::QR | flag::RA | flags).to_be_bytes());
    message[7] = answers.len() as u8;
    message[9] = u8::from(zone.is_some());
    let mut put = |name: &str, kind: u16, ttl: u32, data: &[u8]| {
        message.extend(Name::from_text(name).unwrap().as_bytes());
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        message.extend(ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    };
    for (name, kind, ttl, data) in answers {
        put(name, *kind, *ttl, data);
    }
    if let Some((ttl, minimum)) = zone {
        let mut data = b"\x02ns\x00\x00".to_vec();
        data.extend([0; 16]);
        data.extend(minimum.to_be_bytes());
        put("example", kind::SOA, ttl, &data);
    }
    message
}

const ADDRESS: &[u8] = &[192, 0, 2, 1];

#[test]
fn what_is_asked_is_read() {
    let query = asked("Www.Example", kind::A, Some(true));
    assert_eq!((query.id, query.question.name.to_string().as_str(), query.signatures()), (7, "Www.Example", true));
    assert_eq!(query.edns, Some(Edns { size: LONGEST_UDP, version: 0, signatures: true }));
    assert_eq!(asked("a", kind::A, None).edns, None);
}

#[test]
fn what_is_no_query_is_told_apart() {
    let good = write::query(7, &question("a.b", kind::A), None, false);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Query::parse(&bytes)
    };
    assert_eq!(with(2, 0x80), Err(NotAsked::Noise));
    assert_eq!(Query::parse(&good[..11]), Err(NotAsked::Noise));
    assert_eq!(with(2, 0x29), Err(NotAsked::Unknown(7, 0x2900)), "an update");
    for (at, byte, why) in [(5, 0, Malformed::Place), (5, 2, Malformed::Place), (7, 1, Malformed::Place), (12, 0x41, Malformed::Name)] {
        assert_eq!(with(at, byte), Err(NotAsked::Unreadable(7, flag::RD, why)), "{at}");
    }
    let mut long = good.clone();
    long.push(0);
    assert_eq!(Query::parse(&long), Err(NotAsked::Unreadable(7, flag::RD, Malformed::Place)));
}

#[track_caller]
fn lasts(bytes: &[u8], wanted: Option<u32>) {
    assert_eq!(Response::parse(bytes).unwrap().lifetime(), wanted);
}

#[test]
fn how_long_answers_hold() {
    let both: &[_] = &[("a", kind::CNAME, 300, b"\x01b\x00" as &[u8]), ("b", kind::A, 60, ADDRESS)];
    lasts(&response("a", kind::A, 0, both, None), Some(60));
    lasts(&response("a", kind::A, 0, &[("a", kind::A, 1 << 31, ADDRESS)], None), Some(0));
    // Nothing there: the zone's minimum, or its own time, or that of what led there.
    lasts(&response("a", kind::A, 0, &[], Some((900, 30))), Some(30));
    lasts(&response("a", kind::A, 0, &[], Some((20, 30))), Some(20));
    lasts(&response("a", kind::A, 3, &both[..1], Some((900, 600))), Some(300));
    lasts(&response("a", kind::A, 3, &[], None), None);
    lasts(&response("a", kind::A, 2, &[], Some((900, 30))), None);
    lasts(&response("a", kind::A, flag::TC, &[], Some((900, 30))), None);
}

#[test]
fn a_client_gets_its_own_number_spelling_and_times() {
    let bytes = response("www.example", kind::A, flag::AD, &[("www.example", kind::A, 300, ADDRESS)], Some((900, 30)));
    let answer = Answer::of(&Response::parse(&bytes).unwrap(), &question("www.example", kind::A), false);
    assert_eq!((answer.lifetime, answer.rcode()), (300, Rcode::NoError));
    let reply = answer.reply(&asked("wWw.example", kind::A, None), 100, 512);
    let read = Response::parse(&reply).unwrap();
    assert_eq!((read.id, read.flags), (7, flag::QR | flag::RD | flag::RA));
    assert_eq!(read.question.as_ref().unwrap().name.to_string(), "wWw.example");
    assert_eq!(read.records().iter().map(|record| (record.kind, record.ttl)).collect::<Vec<_>>(), [(kind::A, 200)]);
    // With EDNS the verdict and our size are told, too.
    let reply = answer.reply(&asked("www.example", kind::A, Some(true)), 0, 512);
    let read = Response::parse(&reply).unwrap();
    assert_eq!((read.flags & flag::AD, read.has_options()), (flag::AD, true));
    // What does not fit is cut.
    let reply = answer.reply(&asked("www.example", kind::A, None), 0, 40);
    assert!(Response::parse(&reply).unwrap().is_cut() && reply.len() == 29);
}

#[test]
fn nothing_there_says_for_how_long() {
    let bytes = response("a.example", kind::A, 3, &[], Some((900, 30)));
    let answer = Answer::of(&Response::parse(&bytes).unwrap(), &question("a.example", kind::A), false);
    let reply = answer.reply(&asked("a.example", kind::A, None), 10, 512);
    let read = Response::parse(&reply).unwrap();
    assert_eq!((read.rcode(), read.records()[0].kind, read.records()[0].ttl), (Rcode::NxDomain, kind::SOA, 20));
}

#[test]
fn data_that_does_not_fit_its_type_is_refused() {
    let parse = |kind: u16, data: &[u8]| Response::parse(&response("a", kind, 0, &[("a", kind, 1, data)], None)).map(drop);
    for (kind, data) in [(kind::A, b"abc" as &[u8]), (kind::AAAA, ADDRESS), (kind::CNAME, b"\x01b\x00\x00"), (kind::SOA, b"\x00\x00")] {
        assert!(matches!(parse(kind, data), Err(Malformed::Data)), "{kind}");
    }
    assert_eq!(parse(kind::MX, b"\x00\x01\x01b"), Err(Malformed::Short));
    assert_eq!(parse(99, b"anything"), Ok(()));
    assert_eq!(parse(kind::OPT, b""), Err(Malformed::Place));
}

#[test]
fn an_answer_of_our_own_can_be_read() {
    let answer = Answer::own(&question("LocalHost", kind::A), Rcode::NoError, 0, &[(kind::A, vec![127, 0, 0, 1])]);
    let reply = answer.reply(&asked("LOCALHOST", kind::A, Some(false)), 0, 512);
    let read = Response::parse(&reply).unwrap();
    assert_eq!((read.records()[0].name.lower().to_string().as_str(), read.records()[0].kind), ("localhost", kind::A));
    let reply = Answer::own(&question("a", kind::A), Rcode::BadVers, 0, &[]).reply(&asked("a", kind::A, Some(false)), 0, 512);
    assert_eq!(Response::parse(&reply).unwrap().rcode(), Rcode::BadVers);
    let reply = Answer::own(&question("a", kind::A), Rcode::BadVers, 0, &[]).reply(&asked("a", kind::A, None), 0, 512);
    assert_eq!(Response::parse(&reply).unwrap().rcode(), Rcode::ServFail);
    let bytes = write::refusal(3, 0x2900, Rcode::NotImp);
    assert_eq!((&bytes[..4], bytes.len()), (&[0, 3, 0xa9, 4][..], HEADER));
}

proptest! {
    #[test]
    fn garbage_from_clients(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(query) = Query::parse(&bytes) {
            let reply = Answer::own(&query.question, Rcode::Refused, 0, &[]).reply(&query, 0, LONGEST_UDP.into());
            prop_assert!(Response::parse(&reply).is_ok());
        }
    }

    /// A true response with bytes changed: it is refused, or what clients are given of it can be read, and holds no longer.
    #[test]
    fn garbage_from_servers(
        changes in proptest::collection::vec((2_usize..120, any::<u8>()), 0..6),
        cut in 0_usize..140,
        tail in proptest::collection::vec(any::<u8>(), 0..30),
        all: bool,
        age in 0_u32..100_000,
    ) {
        let answers: &[_] = &[("a.example", kind::CNAME, 300, b"\x01b\xc0\x0e" as &[u8]), ("b.example", kind::A, 60, ADDRESS)];
        let mut bytes = response("a.example", kind::A, 0, answers, Some((900, 30)));
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(100)));
        bytes.extend(tail);
        let Ok(response) = Response::parse(&bytes) else { return Ok(()) };
        let Some(question) = response.question.clone() else { return Ok(()) };
        let query = Query::parse(&write::query(1, &question, Some(false), false)).unwrap();
        let answer = Answer::of(&response, &question, all);
        prop_assert!(answer.lifetime <= write::LONGEST_TTL);
        let reply = answer.reply(&query, age, write::LONGEST);
        let read = Response::parse(&reply);
        prop_assert!(read.is_ok(), "{read:?} of {bytes:?}");
        let oldest = read.unwrap().records().iter().filter(|record| record.kind != kind::OPT).map(|record| record.ttl).max();
        prop_assert!(oldest.unwrap_or(0) <= write::LONGEST_TTL.saturating_sub(age));
    }
}
