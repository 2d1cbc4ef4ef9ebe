//! What arrives from a terminal, as events. Pure; bounded; never trusts a length.

/// Longest escape sequence kept while it is incomplete.
const LONGEST: usize = 24;

/// Something from the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key, or the last character of a sequence of no other meaning to us is dropped.
    Key(char),
    /// The answer to "where is the cursor" (row, column), both from 1.
    Position(u16, u16),
}

/// Turns bytes into events across reads.
#[derive(Debug, Default)]
pub struct Parser {
    pending: Vec<u8>,
}

impl Parser {
    /// Takes what was read and answers the events it completes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            self.byte(byte, &mut events);
        }
        events
    }

    fn byte(&mut self, byte: u8, events: &mut Vec<Event>) {
        if byte == 0x1b {
            // Escape always starts anew: a half sequence before it was noise.
            self.pending.clear();
            self.pending.push(byte);
            return;
        }
        match self.pending.as_slice() {
            [] => {
                if byte.is_ascii_graphic() || byte == b' ' || byte == 0x0c {
                    events.push(Event::Key(char::from(byte)));
                }
            }
            [_] if matches!(byte, b'[' | b'O') => self.pending.push(byte),
            [_] => {
                self.pending.clear();
                self.byte(byte, events);
            }
            [_, _, body @ ..] => {
                if (0x40..=0x7e).contains(&byte) {
                    if byte == b'R' {
                        events.extend(position(body));
                    }
                    self.pending.clear();
                } else if self.pending.len() < LONGEST && (0x20..0x40).contains(&byte) {
                    self.pending.push(byte);
                } else {
                    self.pending.clear();
                }
            }
        }
    }
}

/// `rows;columns` of a cursor report.
fn position(body: &[u8]) -> Option<Event> {
    let text = std::str::from_utf8(body).ok()?;
    let (row, column) = text.split_once(';')?;
    match (row.parse().ok()?, column.parse().ok()?) {
        (0, _) | (_, 0) => None,
        (row, column) => Some(Event::Position(row, column)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(chunks: &[&[u8]], wanted: &[Event]) {
        let mut parser = Parser::default();
        let events: Vec<_> = chunks.iter().flat_map(|chunk| parser.feed(chunk)).collect();
        assert_eq!(events, wanted, "{chunks:?}");
    }

    #[test]
    fn keys_reports_and_noise() {
        check(&[b"1k?"], &[Event::Key('1'), Event::Key('k'), Event::Key('?')]);
        check(&[b"\x1b[24;80R"], &[Event::Position(24, 80)]);
        check(&[b"\x1b[2", b"4;8", b"0Rs"], &[Event::Position(24, 80), Event::Key('s')]);
        check(&[b"\x1b[A\x1bOPn"], &[Event::Key('n')]);
        check(&[b"\x1b[0;80R\x1b[R\x1b[99999;1R"], &[]);
        check(&[b"\x1bq"], &[Event::Key('q')]);
        check(&[b"\x00\xff\x7f\r\n"], &[]);
        check(&[b"\x1b[\x1b[1;2R"], &[Event::Position(1, 2)]);
        check(&[b"\x0c"], &[Event::Key('\x0c')]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut parser = Parser::default();
            parser.feed(&bytes);
            prop_assert!(parser.pending.len() <= LONGEST);
        }
    }
}
