//! What a server says.

use super::{
    Header, Malformed, Question, Rcode, Record, Section, flag, kind,
    record::{self, Body},
};

/// A response, readable from end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    bytes: &'a [u8],
    /// Number of the query.
    pub id: u16,
    /// Flags of the header.
    pub flags: u16,
    /// What it answers; some servers leave it out when they could not read it.
    pub question: Option<Question>,
    question_end: usize,
    records: Vec<Record>,
}

impl<'a> Response<'a> {
    /// Reads what came from a server.
    ///
    /// # Errors
    /// [`Malformed`]; also for what is no response to a plain query.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = Header::read(bytes)?;
        if header.flags & flag::QR == 0 || header.flags & flag::OPCODE != 0 {
            return Err(Malformed::Place);
        }
        let Header { id, flags, .. } = header;
        // What is cut may be cut anywhere: there is nothing in it to be used.
        let Body { question, question_end, records } = if flags & flag::TC == 0 {
            record::body(bytes, header)?
        } else {
            let (question, question_end) = record::question(bytes, header)?;
            Body { question, question_end, records: Vec::new() }
        };
        record::options(&records)?;
        Ok(Self { bytes, id, flags, question, question_end, records })
    }

    /// How it went. The upper bits of numbers above 15 are in the OPT record.
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        let upper = record::options(&self.records).ok().flatten().and_then(|options| self.bytes.get(options.ttl_at)).copied();
        match upper.unwrap_or(0) {
            0 => Rcode::of(self.flags),
            1 if self.flags & flag::RCODE == 0 => Rcode::BadVers,
            upper => Rcode::Other(upper.saturating_mul(16)),
        }
    }

    /// It does not fit and is to be asked for over TCP.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.flags & flag::TC != 0
    }

    /// The server speaks EDNS.
    #[must_use]
    pub fn has_options(&self) -> bool {
        self.records.iter().any(|record| record.kind == kind::OPT)
    }

    /// Its records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// It says that there is nothing of what was asked for: the name is not there, or has no records of that type.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        let wanted = self.question.as_ref().map_or(kind::ANY, |question| question.kind);
        let fits = |record: &&Record| record.section == Section::Answer && (record.kind == wanted || wanted >= kind::QUESTIONS);
        self.rcode() == Rcode::NxDomain || !self.records.iter().any(|record| fits(&record))
    }

    /// How long it holds, seconds: as long as its shortest record. That something is not there holds as long as the start of the
    /// zone says (RFC 2308, section 5). `None`: it is not to be kept at all.
    #[must_use]
    pub fn lifetime(&self) -> Option<u32> {
        if self.is_cut() || !matches!(self.rcode(), Rcode::NoError | Rcode::NxDomain) {
            return None;
        }
        let answers = self.records.iter().filter(|record| record.section == Section::Answer);
        let shortest = answers.map(|record| record.ttl).min();
        if !self.is_negative() {
            return shortest;
        }
        let zones = self.records.iter().filter(|record| record.section == Section::Authority);
        let zone = zones.filter_map(|record| Some(record.minimum(self.bytes)?.min(record.ttl))).min()?;
        Some(shortest.map_or(zone, |shortest| shortest.min(zone)))
    }

    /// The part of it that is worth keeping: without what was not asked for. `all` keeps who says so, too.
    #[must_use]
    pub fn kept(&self, all: bool) -> &'a [u8] {
        let last = if all || self.is_negative() { Section::Authority } else { Section::Answer };
        let end = self.records.iter().rev().find(|record| record.section <= last).map_or(self.question_end, |record| record.end);
        self.bytes.get(..end).unwrap_or(self.bytes)
    }
}
