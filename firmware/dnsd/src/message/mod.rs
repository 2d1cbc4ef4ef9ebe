//! Messages of DNS (RFC 1035), as far as a forwarder looks into them. Pure.
//!
//! - [`Query`]: what a client asks. [`Response`]: what a server says, checked from end to end but kept as the bytes that it sent.
//! - [`Name`]: names; [`write`]: messages of our own.
//!
//! Absent on purpose: the contents of records beyond what decides how long they hold and whether they can be read at all.

mod name;
mod query;
mod record;
mod response;
pub mod write;

pub use name::Name;
pub use query::{Edns, NotAsked, Query};
pub use record::{Record, Section};
pub use response::Response;

/// Length of the header.
pub const HEADER: usize = 12;
/// Longest message over UDP without EDNS.
pub const PLAIN_UDP: usize = 512;
/// Longest message over UDP that we ask for and send: fits any path unfragmented (DNS flag day 2020).
pub const LONGEST_UDP: u16 = 1232;

/// Flags of the header.
pub mod flag {
    /// It is a response.
    pub const QR: u16 = 0x8000;
    /// It is cut.
    pub const TC: u16 = 0x0200;
    /// Recursion is wanted.
    pub const RD: u16 = 0x0100;
    /// Recursion is there.
    pub const RA: u16 = 0x0080;
    /// The server has verified it.
    pub const AD: u16 = 0x0020;
    /// The client verifies it itself.
    pub const CD: u16 = 0x0010;
    /// Kind of query.
    pub const OPCODE: u16 = 0x7800;
    /// How it went.
    pub const RCODE: u16 = 0x000f;
}

/// Types of records.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name of it.
    pub const CNAME: u16 = 5;
    /// Start of a zone.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Mail server.
    pub const MX: u16 = 15;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Place of a service.
    pub const SRV: u16 = 33;
    /// Options of the message (RFC 6891).
    pub const OPT: u16 = 41;
    /// From here to [`ANY`]: questions that are no types.
    pub const QUESTIONS: u16 = 249;
    /// Whatever there is.
    pub const ANY: u16 = 255;
}

/// The internet, as a class.
pub const CLASS_IN: u16 = 1;

/// How a question went (RFC 1035, RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rcode {
    /// Well.
    NoError,
    /// The question cannot be read.
    FormErr,
    /// Nobody could answer.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// That kind of question is not answered here.
    NotImp,
    /// Not answered here.
    Refused,
    /// This version of EDNS is not spoken here.
    BadVers,
    /// Another number.
    Other(u8),
}

impl Rcode {
    /// From the four bits of the header.
    #[must_use]
    pub const fn of(flags: u16) -> Self {
        match flags & flag::RCODE {
            0 => Self::NoError,
            1 => Self::FormErr,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            other => Self::Other(other as u8),
        }
    }

    /// The number; above 15 the upper bits go into the OPT record.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::BadVers => 16,
            Self::Other(number) => number,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// About this name.
    pub name: Name,
    /// For records of this type.
    pub kind: u16,
    /// In this class.
    pub class: u16,
}

impl Question {
    /// Reads it at `at`; gives the place behind it, too.
    fn read(message: &[u8], at: usize) -> Result<(Self, usize), Malformed> {
        let (name, at) = Name::read(message, at)?;
        let question = Self { name, kind: short(message, at)?, class: short(message, at.saturating_add(2))? };
        Ok((question, at.saturating_add(4)))
    }

    /// The same with the name in lower case.
    #[must_use]
    pub fn lower(&self) -> Self {
        Self { name: self.name.lower(), ..*self }
    }
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the message is cut off")]
    Short,
    /// A name that leads nowhere or is too long.
    #[error("a name in the message cannot be read")]
    Name,
    /// The data of a record does not fit its type.
    #[error("the data of a record does not fit its type")]
    Data,
    /// Something that a message has once is there twice, or in the wrong place.
    #[error("the message has something in the wrong place")]
    Place,
}

/// The header's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    id: u16,
    flags: u16,
    /// Questions, answers, authorities, additional records.
    counts: [u16; 4],
}

impl Header {
    fn read(message: &[u8]) -> Result<Self, Malformed> {
        let word = |at| short(message, at);
        Ok(Self { id: word(0)?, flags: word(2)?, counts: [word(4)?, word(6)?, word(8)?, word(10)?] })
    }
}

fn short(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|pair| u16::from_be_bytes(*pair)).ok_or(Malformed::Short)
}

fn long(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|four| u32::from_be_bytes(*four)).ok_or(Malformed::Short)
}

#[cfg(test)]
mod tests;
