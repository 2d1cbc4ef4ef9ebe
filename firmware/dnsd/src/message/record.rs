//! Records of a message: where they are and how long they hold.

use super::{HEADER, Header, Malformed, Name, Question, kind, long, short};

/// Part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who would know.
    Authority,
    /// What may be of use.
    Additional,
}

/// A record, by its places in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Part of the message.
    pub section: Section,
    /// Whose it is.
    pub name: Name,
    /// Type.
    pub kind: u16,
    /// Class.
    pub class: u16,
    /// How long it holds, seconds; a number with the highest bit set is 0 (RFC 2181, section 8).
    pub ttl: u32,
    /// Where that stands.
    pub ttl_at: usize,
    /// Where its data begins.
    pub data_at: usize,
    /// Where it ends.
    pub end: usize,
}

impl Record {
    fn read(message: &[u8], at: usize, section: Section) -> Result<Self, Malformed> {
        let (name, at) = Name::read(message, at)?;
        let (kind, class) = (short(message, at)?, short(message, at.saturating_add(2))?);
        let ttl_at = at.saturating_add(4);
        let ttl = i32::try_from(long(message, ttl_at)?).map_or(0, i32::unsigned_abs);
        let data_at = at.saturating_add(10);
        let end = data_at.saturating_add(usize::from(short(message, at.saturating_add(8))?));
        let data = message.get(..end).ok_or(Malformed::Short)?;
        fits(data, kind, data_at)?;
        Ok(Self { section, name, kind, class, ttl, ttl_at, data_at, end })
    }

    /// The last number of a start of a zone: how long it holds that something is not there (RFC 2308, section 4).
    pub(super) fn minimum(&self, message: &[u8]) -> Option<u32> {
        (self.kind == kind::SOA).then(|| long(message, self.end.checked_sub(4)?).ok()).flatten()
    }
}

/// Whether the data of a record, from `at` to the end of `message`, has the form that its type has. Programs that ask trust in that.
fn fits(message: &[u8], kind: u16, at: usize) -> Result<(), Malformed> {
    let length = message.len().saturating_sub(at);
    let name = |from: usize| Name::read(message, from).map(|(_, end)| end);
    let end = match kind {
        kind::A => at.saturating_add(4),
        kind::AAAA => at.saturating_add(16),
        kind::NS | kind::CNAME | kind::PTR => name(at)?,
        kind::MX => name(at.saturating_add(2))?,
        kind::SRV => name(at.saturating_add(6))?,
        kind::SOA => name(name(at)?)?.saturating_add(20),
        _ => at.saturating_add(length),
    };
    if end == message.len() { Ok(()) } else { Err(Malformed::Data) }
}

/// What follows the header.
pub(super) struct Body {
    pub(super) question: Option<Question>,
    pub(super) question_end: usize,
    pub(super) records: Vec<Record>,
}

/// The question, if there is one, and the place behind it.
pub(super) fn question(message: &[u8], header: Header) -> Result<(Option<Question>, usize), Malformed> {
    match header.counts {
        [0, ..] => Ok((None, HEADER)),
        [1, ..] => Question::read(message, HEADER).map(|(question, end)| (Some(question), end)),
        _ => Err(Malformed::Place),
    }
}

/// All of a message; nothing may follow.
pub(super) fn body(message: &[u8], header: Header) -> Result<Body, Malformed> {
    let [_, answers, authorities, additional] = header.counts;
    let (question, question_end) = question(message, header)?;
    let mut at = question_end;
    // Each takes eleven bytes at least, so a message bounds their number whatever it says.
    let mut records = Vec::new();
    for (section, count) in [(Section::Answer, answers), (Section::Authority, authorities), (Section::Additional, additional)] {
        for _ in 0..count {
            let record = Record::read(message, at, section)?;
            at = record.end;
            records.push(record);
        }
    }
    if at == message.len() { Ok(Body { question, question_end, records }) } else { Err(Malformed::Place) }
}

/// The one OPT record, if there is one.
pub(super) fn options(records: &[Record]) -> Result<Option<&Record>, Malformed> {
    let mut found = records.iter().filter(|record| record.kind == kind::OPT);
    let first = found.next();
    let misplaced = first.is_some_and(|record| record.section != Section::Additional || record.name.as_bytes() != [0]);
    if misplaced || found.next().is_some() { Err(Malformed::Place) } else { Ok(first) }
}
