//! What a client asks.

use super::{
    Header, Malformed, Question, flag, long,
    record::{self, Body},
};

/// What a client says of its side of EDNS (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Longest message that it takes over UDP.
    pub size: u16,
    /// Version that it speaks.
    pub version: u8,
    /// It wants signatures.
    pub signatures: bool,
}

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The client's number for it.
    pub id: u16,
    /// Flags of its header.
    pub flags: u16,
    /// What it asks; the name as it was spelled.
    pub question: Question,
    /// `None`: it does not speak EDNS.
    pub edns: Option<Edns>,
}

/// Why there is no query to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// No message, or a response: to be met with silence, as any answer could be one of two that answer each other for ever.
    Noise,
    /// A query that cannot be read: its number, flags, and why.
    Unreadable(u16, u16, Malformed),
    /// A kind of query that is not answered: its number and flags.
    Unknown(u16, u16),
}

impl Query {
    /// Reads what came from a client.
    ///
    /// # Errors
    /// [`NotAsked`].
    pub fn parse(message: &[u8]) -> Result<Self, NotAsked> {
        let header = Header::read(message).map_err(|_| NotAsked::Noise)?;
        let Header { id, flags, .. } = header;
        if flags & flag::QR != 0 {
            return Err(NotAsked::Noise);
        }
        if flags & flag::OPCODE != 0 {
            return Err(NotAsked::Unknown(id, flags));
        }
        Self::read(message, header).map_err(|malformed| NotAsked::Unreadable(id, flags, malformed))
    }

    fn read(message: &[u8], header: Header) -> Result<Self, Malformed> {
        if header.counts.get(1..3) != Some(&[0, 0]) {
            return Err(Malformed::Place);
        }
        let Body { question, records, .. } = record::body(message, header)?;
        let question = question.ok_or(Malformed::Place)?;
        let edns = record::options(&records)?.map(|options| {
            // The upper bits of a result, a version, sixteen flags: in the place of the time.
            let [_, version, high, _] = long(message, options.ttl_at).unwrap_or_default().to_be_bytes();
            Edns { size: options.class, version, signatures: high & 0x80 != 0 }
        });
        Ok(Self { id: header.id, flags: header.flags, question, edns })
    }

    /// The client wants signatures.
    #[must_use]
    pub fn signatures(&self) -> bool {
        self.edns.is_some_and(|edns| edns.signatures)
    }

    /// The client verifies answers itself.
    #[must_use]
    pub const fn unverified(&self) -> bool {
        self.flags & flag::CD != 0
    }

    /// The client wants to know whether the server has verified it (RFC 6840, section 5.7).
    #[must_use]
    pub fn wants_verdict(&self) -> bool {
        self.signatures() || self.flags & flag::AD != 0
    }
}
