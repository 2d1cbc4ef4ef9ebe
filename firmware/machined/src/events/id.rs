//! Event ids: 12 bytes as 20 characters of base32 that sort by time (the form called xid).

use std::{fmt, str::FromStr};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const BYTES: usize = 12;
const CHARACTERS: usize = 20;

/// Seconds (4 bytes), a node part (5 bytes, constant here) and a counter (3 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId([u8; BYTES]);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = u128::from_be_bytes(std::array::from_fn(|at| self.0.get(at).copied().unwrap_or(0))) >> 28;
        // 96 bits, padded at the end to 100: 20 groups of 5
        let mut text = [0_u8; CHARACTERS];
        for place in text.iter_mut().rev() {
            *place = ALPHABET.get((number & 31) as usize).copied().unwrap_or(b'0');
            number >>= 5;
        }
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Text that is no event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 20 characters out of 0-9 and a-v")]
pub struct ParseIdError;

impl FromStr for EventId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text.len() != CHARACTERS {
            return Err(ParseIdError);
        }
        let mut number = 0_u128;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|known| *known == byte).ok_or(ParseIdError)?;
            number = (number << 5) | digit as u128;
        }
        let bytes = (number << 28).to_be_bytes();
        bytes.get(..BYTES).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(ParseIdError)
    }
}

/// Makes ids that only go up, also when the clock is set back.
#[derive(Debug, Default)]
pub struct Generator {
    seconds: u32,
    counter: u32,
}

impl Generator {
    /// The next id at this second since the Unix epoch.
    pub fn next(&mut self, seconds: u64) -> EventId {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(self.seconds);
        if seconds > self.seconds {
            self.counter = 0;
        }
        self.seconds = seconds;
        let mut bytes = [0_u8; BYTES];
        let value = (u128::from(self.seconds) << 96) | (u128::from(self.counter) << 32);
        bytes.iter_mut().zip(value.to_be_bytes()).for_each(|(to, from)| *to = from);
        if self.counter == 0x00ff_ffff {
            // 16 million events in a second: borrow from the next one
            self.seconds = self.seconds.saturating_add(1);
            self.counter = 0;
        } else {
            self.counter += 1;
        }
        EventId(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_text_form() {
        let mut ids = Generator::default();
        let first = ids.next(0x4d88_e15b).to_string();
        assert_eq!((first.len(), &first[..6]), (20, "9m4e2m"), "{first}");
        assert_eq!("0".repeat(20).parse(), Ok(EventId([0; 12])));
        assert_eq!("".parse::<EventId>(), Err(ParseIdError));
        assert_eq!("z".repeat(20).parse::<EventId>(), Err(ParseIdError));
    }

    #[test]
    fn ids_go_up_whatever_the_clock_does() {
        let mut ids = Generator { seconds: 0, counter: 0x00ff_fffe };
        let made: Vec<EventId> = [0, 0, 0, 100, 100, 50, 50, 101].iter().map(|second| ids.next(*second)).collect();
        assert!(made.is_sorted() && made.windows(2).all(|pair| pair[0] < pair[1]));
        let texts: Vec<String> = made.iter().map(EventId::to_string).collect();
        assert!(texts.is_sorted());
        assert!(made.iter().zip(&texts).all(|(id, text)| text.parse() == Ok(*id)));
    }
}
