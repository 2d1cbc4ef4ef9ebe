//! Messages of our own: questions to servers, answers to clients.

use super::{CLASS_IN, HEADER, LONGEST_UDP, PLAIN_UDP, Query, Question, Rcode, Response, Section, flag, kind};

/// Longest time that anything is taken to hold, seconds: a day. What somebody mistyped as years must not outlive its repair by more.
pub const LONGEST_TTL: u32 = 86_400;
/// Longest message at all.
pub const LONGEST: usize = u16::MAX as usize;
/// Where a question's name begins, and a pointer to it.
const NAME_AT: usize = HEADER;
const NAME_POINTER: u16 = 0xc00c;

/// A question to a server. `options` says whether EDNS is spoken, and whether signatures are wanted; `unverified` that the client
/// verifies itself.
#[must_use]
pub fn query(id: u16, question: &Question, options: Option<bool>, unverified: bool) -> Vec<u8> {
    let flags = flag::RD | if unverified { flag::CD } else { 0 };
    let mut message = header(id, flags, [1, 0, 0, u16::from(options.is_some())]);
    put_question(&mut message, question);
    if let Some(signatures) = options {
        put_options(&mut message, Rcode::NoError, signatures);
    }
    message
}

/// What a client is told whose query cannot be read or answered: nothing but a number.
#[must_use]
pub fn refusal(id: u16, flags: u16, rcode: Rcode) -> Vec<u8> {
    header(id, flag::QR | flags & (flag::OPCODE | flag::RD) | u16::from(rcode.number()), [0; 4])
}

/// Longest message that a client takes over UDP.
#[must_use]
pub fn udp_limit(query: &Query) -> usize {
    query.edns.map_or(PLAIN_UDP, |edns| usize::from(edns.size).clamp(PLAIN_UDP, usize::from(LONGEST_UDP)))
}

/// An answer that can be given to everyone who asks the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A message without options, its number 0, its question in lower case.
    message: Box<[u8]>,
    rcode: Rcode,
    verified: bool,
    /// Where times stand, and which.
    times: Box<[(usize, u32)]>,
    /// How long it may be kept, seconds; 0: not at all.
    pub lifetime: u32,
}

impl Answer {
    /// What a server said to `question`. `all`: with what only those need who verify it.
    #[must_use]
    pub fn of(response: &Response<'_>, question: &Question, all: bool) -> Self {
        let lifetime = response.lifetime().unwrap_or(0).min(LONGEST_TTL);
        let longest = if response.is_negative() { lifetime } else { LONGEST_TTL };
        let kept = response.kept(all);
        let records = || response.records().iter().filter(|record| record.end <= kept.len() && record.section != Section::Additional);
        let count = |section| u16::try_from(records().filter(|record| record.section == section).count()).unwrap_or(0);
        let counts = [1, count(Section::Answer), count(Section::Authority), 0];
        let mut message = header(0, 0, counts);
        message.extend(question.name.lower().as_bytes());
        // What follows stays in its place: pointers lead to it.
        message.extend(kept.get(message.len()..).unwrap_or_default());
        let times = records().map(|record| (record.ttl_at, record.ttl.min(longest))).collect();
        let verified = response.flags & flag::AD != 0;
        Self { message: message.into(), rcode: response.rcode(), verified, times, lifetime }
    }

    /// An answer of our own, with records of `question`'s name: type and data.
    #[must_use]
    pub fn own(question: &Question, rcode: Rcode, ttl: u32, records: &[(u16, Vec<u8>)]) -> Self {
        let count = u16::try_from(records.len()).unwrap_or(0);
        let mut message = header(0, 0, [1, count, 0, 0]);
        put_question(&mut message, &question.lower());
        let mut times = Vec::new();
        for (kind, data) in records {
            // The name in the question.
            put_words(&mut message, &[NAME_POINTER, *kind, CLASS_IN]);
            times.push((message.len(), ttl));
            put(&mut message, &ttl.to_be_bytes());
            put_words(&mut message, &[u16::try_from(data.len()).unwrap_or(0)]);
            put(&mut message, data);
        }
        Self { message: message.into(), rcode, verified: false, times: times.into(), lifetime: 0 }
    }

    /// How it went.
    #[must_use]
    pub const fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Bytes that it takes to keep it.
    #[must_use]
    pub fn size(&self) -> usize {
        self.message.len().saturating_add(size_of_val(&*self.times)).saturating_add(size_of::<Self>())
    }

    /// The message for a client, `age` seconds after it was got, at most `limit` bytes: what does not fit is cut, and says so.
    #[must_use]
    pub fn reply(&self, query: &Query, age: u32, limit: usize) -> Vec<u8> {
        let mut message = self.message.to_vec();
        for (at, ttl) in &self.times {
            if let Some(place) = message.get_mut(*at..at.saturating_add(4)) {
                place.copy_from_slice(&ttl.saturating_sub(age).to_be_bytes());
            }
        }
        let spelled = query.question.name.as_bytes();
        let question_end = NAME_AT.saturating_add(spelled.len()).saturating_add(4);
        if let Some(place) = message.get_mut(NAME_AT..NAME_AT.saturating_add(spelled.len())) {
            place.copy_from_slice(spelled);
        }
        let options = if query.edns.is_some() { 11 } else { 0 };
        let mut flags = flag::QR | flag::RA | query.flags & (flag::RD | flag::CD);
        if message.len().saturating_add(options) > limit {
            message.truncate(question_end);
            set_words(&mut message, 6, &[0, 0]);
            flags |= flag::TC;
        } else if self.verified && query.wants_verdict() {
            flags |= flag::AD;
        }
        let number = match self.rcode.number() {
            // There is no place for it, and its lower bits mean something else.
            16.. if query.edns.is_none() => Rcode::ServFail.number(),
            number => number,
        };
        set_words(&mut message, 0, &[query.id, flags | u16::from(number & 0x0f)]);
        if query.edns.is_some() {
            set_words(&mut message, 10, &[1]);
            put_options(&mut message, self.rcode, query.signatures());
        }
        message
    }
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    put_words(&mut message, &[id, flags]);
    put_words(&mut message, &counts);
    message
}

fn put_question(message: &mut Vec<u8>, question: &Question) {
    put(message, question.name.as_bytes());
    put_words(message, &[question.kind, question.class]);
}

/// The OPT record: our size, the upper bits of the result, version 0, whether signatures are wanted, no options.
fn put_options(message: &mut Vec<u8>, rcode: Rcode, signatures: bool) {
    // Of the root.
    put(message, &[0]);
    put_words(message, &[kind::OPT, LONGEST_UDP]);
    put(message, &[rcode.number() >> 4, 0, if signatures { 0x80 } else { 0 }, 0]);
    put_words(message, &[0]);
}

fn put(message: &mut Vec<u8>, bytes: &[u8]) {
    message.extend_from_slice(bytes);
}

fn put_words(message: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        put(message, &word.to_be_bytes());
    }
}

fn set_words(message: &mut [u8], at: usize, words: &[u16]) {
    for (place, word) in message.get_mut(at..).unwrap_or_default().chunks_exact_mut(2).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}
