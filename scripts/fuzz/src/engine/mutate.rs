//! Changes to an input, of all the kinds that have led somewhere in other fuzzers.

use super::random::Random;

/// Numbers at which code likes to go wrong.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];
/// The same for numbers that are written out.
const WRITTEN: [&str; 10] =
    ["0", "-1", "1", "255", "256", "65536", "4294967296", "-9223372036854775808", "18446744073709551616", "99999999999999999999999"];
/// Most changes in a row.
const MOST: usize = 6;

/// What was compared while the engine looked on; nothing in tests.
pub trait Seen {
    /// Two numbers that were compared and were not the same, and how many bytes they have.
    fn numbers(&self, choice: usize) -> Option<(u64, u64, u8)>;
    /// Two texts.
    fn texts(&self, choice: usize) -> Option<[Vec<u8>; 2]>;
}

/// Changes inputs.
#[derive(Debug)]
pub struct Mutator {
    /// Where its choices come from.
    pub random: Random,
    /// Words of the target's language.
    pub words: Vec<Vec<u8>>,
    /// Most bytes of an input.
    pub longest: usize,
}

impl Mutator {
    /// A few changes to `base`; some take a piece of `other`.
    pub fn change(&mut self, base: &[u8], other: &[u8], seen: &impl Seen) -> Vec<u8> {
        let mut bytes = base.to_vec();
        // One step at a time gets through a row of comparisons; several at once get out of a corner.
        let more = if self.random.below(2) == 0 { 0 } else { self.random.below(MOST) };
        for _ in 0..=more {
            self.once(&mut bytes, other, seen);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn once(&mut self, bytes: &mut Vec<u8>, other: &[u8], seen: &impl Seen) {
        match self.random.below(16) {
            0 => self.flip(bytes),
            1 => self.overwrite(bytes),
            2 => self.remove(bytes),
            3 => self.double(bytes),
            4 => self.insert_noise(bytes),
            5 => self.splice(bytes, other),
            6 => self.arithmetic(bytes),
            7 => self.edge(bytes),
            8 => self.written_number(bytes),
            9 | 10 => self.word(bytes),
            11 => self.swap_pieces(bytes),
            12 | 13 => self.numbers(bytes, seen),
            _ => self.texts(bytes, seen),
        }
    }

    /// A stretch of the input: where it begins and ends.
    fn stretch(&mut self, length: usize) -> (usize, usize) {
        let start = self.random.below(length + 1);
        // Short ones more often than long ones.
        let most = if self.random.below(4) == 0 { length } else { 16 };
        (start, (start + 1 + self.random.below(most)).min(length))
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let (at, bit) = (self.random.below(bytes.len()), self.random.below(8));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn overwrite(&mut self, bytes: &mut [u8]) {
        let (at, value) = (self.random.below(bytes.len()), self.random.next().to_le_bytes()[0]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }

    fn remove(&mut self, bytes: &mut Vec<u8>) {
        let (start, end) = self.stretch(bytes.len());
        bytes.drain(start..end.max(start));
    }

    fn double(&mut self, bytes: &mut Vec<u8>) {
        let (start, end) = self.stretch(bytes.len());
        let piece = bytes.get(start..end).unwrap_or_default().to_vec();
        let times = 1 + self.random.below(4) * self.random.below(8);
        let room = self.longest.saturating_sub(bytes.len());
        let piece: Vec<u8> = piece.iter().copied().cycle().take((piece.len() * times).min(room)).collect();
        self.insert(bytes, &piece);
    }

    fn insert_noise(&mut self, bytes: &mut Vec<u8>) {
        let count = 1 + self.random.below(8);
        let same = self.random.below(2) == 0;
        let first = self.random.next().to_le_bytes()[0];
        let noise: Vec<u8> = (0..count).map(|_| if same { first } else { self.random.next().to_le_bytes()[0] }).collect();
        self.insert(bytes, &noise);
    }

    fn splice(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let (start, end) = self.stretch(other.len());
        let piece = other.get(start..end).unwrap_or_default().to_vec();
        self.put(bytes, &piece);
    }

    fn arithmetic(&mut self, bytes: &mut [u8]) {
        let size = 1 << self.random.below(4);
        let at = self.random.below(bytes.len());
        let by = 1 + self.random.below(35) as u64;
        let (add, big) = (self.random.below(2) == 0, self.random.below(2) == 0);
        let Some(place) = bytes.get_mut(at..at + size) else { return };
        let value = read(place, big);
        write(place, if add { value.wrapping_add(by) } else { value.wrapping_sub(by) }, big);
    }

    fn edge(&mut self, bytes: &mut [u8]) {
        let size = 1 << self.random.below(4);
        let at = self.random.below(bytes.len());
        let (big, value) = (self.random.below(2) == 0, self.random.one(&EDGES).copied().unwrap_or(0));
        if let Some(place) = bytes.get_mut(at..at + size) {
            write(place, value, big);
        }
    }

    /// A run of digits becomes another number.
    fn written_number(&mut self, bytes: &mut Vec<u8>) {
        let begins = |at: &usize| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit());
        let starts: Vec<usize> = (0..bytes.len()).filter(begins).collect();
        let Some(&start) = self.random.one(&starts) else { return };
        let end = (start..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(bytes.len());
        let text = match self.random.below(3) {
            0 => self.random.one(&WRITTEN).copied().unwrap_or_default().to_owned(),
            1 => (self.random.next() >> self.random.below(64)).to_string(),
            _ => {
                let old: u64 = String::from_utf8_lossy(&bytes[start..end]).parse().unwrap_or(0);
                old.wrapping_add(self.random.below(5) as u64).wrapping_sub(2).to_string()
            }
        };
        bytes.splice(start..end, text.into_bytes());
    }

    fn word(&mut self, bytes: &mut Vec<u8>) {
        if let Some(word) = self.random.one(&self.words).cloned() {
            self.put(bytes, &word);
        }
    }

    fn swap_pieces(&mut self, bytes: &mut Vec<u8>) {
        let (start, end) = self.stretch(bytes.len());
        let piece: Vec<u8> = bytes.drain(start..end.max(start)).collect();
        self.insert(bytes, &piece);
    }

    /// Makes a comparison of numbers come out the other way.
    fn numbers(&mut self, bytes: &mut Vec<u8>, seen: &impl Seen) {
        let choice = self.random.below(usize::MAX);
        let Some((one, other, size)) = seen.numbers(choice) else { return };
        let (from, to) = if self.random.below(2) == 0 { (one, other) } else { (other, one) };
        // On the edge and beside it.
        let to = match self.random.below(4) {
            0 => to.wrapping_add(1),
            1 => to.wrapping_sub(1),
            _ => to,
        };
        let size = usize::from(size).min(8);
        let (from, to) = match self.random.below(3) {
            0 => (from.to_le_bytes()[..size].to_vec(), to.to_le_bytes()[..size].to_vec()),
            1 => (from.to_be_bytes()[8 - size..].to_vec(), to.to_be_bytes()[8 - size..].to_vec()),
            _ => (from.to_string().into_bytes(), to.to_string().into_bytes()),
        };
        self.replace(bytes, &from, &to);
    }

    /// Makes a comparison of texts come out the other way.
    fn texts(&mut self, bytes: &mut Vec<u8>, seen: &impl Seen) {
        let choice = self.random.below(usize::MAX);
        let Some([one, other]) = seen.texts(choice) else { return };
        let (from, to) = if self.random.below(2) == 0 { (one, other) } else { (other, one) };
        self.replace(bytes, &from, &to);
    }

    /// `to` in the place of one `from`; somewhere when there is none.
    fn replace(&mut self, bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
        let places: Vec<usize> = match from {
            [] => Vec::new(),
            from => bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect(),
        };
        match self.random.one(&places) {
            Some(&at) => drop(bytes.splice(at..at + from.len(), to.iter().copied())),
            None => self.put(bytes, to),
        }
    }

    /// Inserted, or over what is there.
    fn put(&mut self, bytes: &mut Vec<u8>, piece: &[u8]) {
        if self.random.below(2) == 0 {
            return self.insert(bytes, piece);
        }
        let at = self.random.below(bytes.len() + 1);
        let end = (at + piece.len()).min(bytes.len());
        bytes.splice(at..end, piece.iter().copied());
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, piece: &[u8]) {
        // Parsers go on at the end.
        let at = if self.random.below(4) == 0 { bytes.len() } else { self.random.below(bytes.len() + 1) };
        bytes.splice(at..at, piece.iter().copied());
    }
}

fn read(place: &[u8], big: bool) -> u64 {
    let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    if big { place.iter().fold(0, fold) } else { place.iter().rev().fold(0, fold) }
}

fn write(place: &mut [u8], value: u64, big: bool) {
    let bytes = value.to_le_bytes();
    if big {
        place.iter_mut().rev().zip(bytes).for_each(|(to, from)| *to = from);
    } else {
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixed;

    impl Seen for Fixed {
        fn numbers(&self, choice: usize) -> Option<(u64, u64, u8)> {
            choice.is_multiple_of(2).then_some((0x4142, 7, 2))
        }
        fn texts(&self, choice: usize) -> Option<[Vec<u8>; 2]> {
            choice.is_multiple_of(2).then(|| [b"AB".to_vec(), b"other".to_vec()])
        }
    }

    #[test]
    fn every_kind_of_change_leads_somewhere() {
        let mut mutator = Mutator { random: Random::new(7), words: vec![b"word".to_vec()], longest: 64 };
        let made: Vec<Vec<u8>> = (0..5000).map(|_| mutator.change(b"AB 12", b"[other]", &Fixed)).collect();
        for wanted in [&b"word"[..], b"other", b"99999999999999999999999", b"\x07", b"AB AB 12", b"[o"] {
            let found = made.iter().any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted));
            assert!(found, "{}", wanted.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn limits_hold(base in prop::collection::vec(any::<u8>(), 0..40), other in prop::collection::vec(any::<u8>(), 0..40), seed: u64) {
            let mut mutator = Mutator { random: Random::new(seed), words: vec![vec![1; 50]], longest: 32 };
            let made = mutator.change(&base, &other, &Fixed);
            prop_assert!(made.len() <= 32);
            mutator.random = Random::new(seed);
            prop_assert_eq!(made, mutator.change(&base, &other, &Fixed), "the same seed, the same changes");
        }

        #[test]
        fn numbers_are_read_as_written(value: u64, size in 1_usize..=8, big: bool) {
            let mut place = vec![0; size];
            write(&mut place, value, big);
            prop_assert_eq!(read(&place, big), if size == 8 { value } else { value & ((1 << (size * 8)) - 1) });
        }
    }
}
