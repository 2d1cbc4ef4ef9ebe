//! Domain names as bytes (RFC 1035, sections 2.3.4 and 4.1.4).

use std::fmt;

use super::Malformed;

/// Longest name with its lengths and the root's zero.
const MAX_NAME: usize = 255;
/// Longest label.
const MAX_LABEL: usize = 63;
/// The two upper bits of a length that is a pointer.
const POINTER: u8 = 0xc0;

/// A name, uncompressed, as it was spelled. Names are equal when they have the same letters in the same case: see [`Name::lower`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// From text with dots; a dot at the end changes nothing. `None` for what is no name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut bytes = Vec::with_capacity(text.len() + 2);
        for label in text.split('.').filter(|_| !text.is_empty()) {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=MAX_LABEL).contains(&usize::from(*length)))?;
            bytes.push(length);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        (bytes.len() <= MAX_NAME).then(|| Self(bytes.into()))
    }

    /// Reads a name at `at` of a message; gives it with the place behind it. A pointer leads to what is before the name that it is
    /// part of, so reading ends.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(message: &[u8], at: usize) -> Result<(Self, usize), Malformed> {
        let mut name = Vec::new();
        let (mut place, mut end, mut lowest) = (at, None, at);
        loop {
            let length = *message.get(place).ok_or(Malformed::Short)?;
            let next = place.saturating_add(1);
            match length & POINTER {
                0 => {
                    let after = next.saturating_add(usize::from(length));
                    name.push(length);
                    name.extend(message.get(next..after).ok_or(Malformed::Short)?);
                    if name.len() > MAX_NAME {
                        return Err(Malformed::Name);
                    }
                    place = after;
                    if length == 0 {
                        return Ok((Self(name.into()), end.unwrap_or(place)));
                    }
                }
                POINTER => {
                    let low = *message.get(next).ok_or(Malformed::Short)?;
                    let target = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                    if target >= lowest {
                        return Err(Malformed::Name);
                    }
                    end.get_or_insert(next.saturating_add(1));
                    (place, lowest) = (target, target);
                }
                _ => return Err(Malformed::Name),
            }
        }
    }

    /// As bytes of a message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its labels, the one of the host first, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*length)).filter(|_| *length > 0)?;
            rest = after;
            Some(label)
        })
    }

    /// In lower case: what names are compared by (RFC 4343).
    #[must_use]
    pub fn lower(&self) -> Self {
        // Lengths are at most 63, below the letters.
        Self(self.0.to_ascii_lowercase().into())
    }

    /// With the case of its letters as the bits of `coin` say, one bit a letter, over and over.
    #[must_use]
    pub fn mixed(&self, coin: u64) -> Self {
        let mut bytes = self.0.clone();
        let letters = bytes.iter_mut().filter(|byte| byte.is_ascii_alphabetic());
        for (at, letter) in letters.enumerate() {
            let upper = coin.rotate_right(u32::try_from(at % 64).unwrap_or(0)) & 1 == 1;
            *letter = if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        }
        Self(bytes)
    }

    /// Whether it is `other` or below it; both in lower case.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let mut rest = &*self.0;
        loop {
            if rest == &*other.0 {
                return true;
            }
            match rest.split_first() {
                Some((length, after)) if *length > 0 => rest = after.get(usize::from(*length)..).unwrap_or_default(),
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Name {
    /// With dots; what is no printable character, or a dot, as `\DDD` (RFC 1035, section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= 1 {
            return f.write_str(".");
        }
        for (at, label) in self.labels().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(message: &[u8], at: usize, wanted: Result<(&str, usize), Malformed>) {
        let found = Name::read(message, at).map(|(name, end)| (name.to_string(), end));
        assert_eq!(found, wanted.map(|(name, end)| (name.to_owned(), end)), "{message:?} at {at}");
    }

    #[test]
    fn names_are_read_through_their_pointers() {
        let message = b"\x03www\x02ab\x00\x01x\xc0\x04\xc0\x09\xc0\x0f\x40\xff";
        check(message, 0, Ok(("www.ab", 8)));
        check(message, 4, Ok(("ab", 8)));
        check(message, 7, Ok((".", 8)));
        check(message, 8, Ok(("x.ab", 12)));
        check(message, 12, Err(Malformed::Name));
        // To itself, to what is behind it, and a length that is neither.
        check(message, 14, Err(Malformed::Name));
        check(b"\xc0\x00", 0, Err(Malformed::Name));
        check(b"\xc0\x02\x00", 0, Err(Malformed::Name));
        check(message, 16, Err(Malformed::Name));
        check(b"\x05abc", 0, Err(Malformed::Short));
        check(b"\xc0", 0, Err(Malformed::Short));
        check(b"", 0, Err(Malformed::Short));
        check(b"\x04a.\x5c\xff\x00", 0, Ok((r"a\.\\\255", 6)));
    }

    #[test]
    fn names_have_limits() {
        let text = |labels: usize| vec!["a".repeat(63); labels].join(".");
        assert!(Name::from_text(&text(3)).is_some() && Name::from_text(&text(4)).is_none());
        for bad in ["a..b", ".a", "..", &"a".repeat(64)] {
            assert_eq!(Name::from_text(bad), None, "{bad}");
        }
        assert_eq!(Name::from_text("").unwrap().to_string(), ".");
        assert_eq!(Name::from_text("a.b.").unwrap(), Name::from_text("a.b").unwrap());
    }

    #[test]
    fn what_is_below_what() {
        let within = |name: &str, other: &str| Name::from_text(name).unwrap().is_within(&Name::from_text(other).unwrap());
        assert!(within("a.localhost", "localhost") && within("localhost", "localhost") && within("x", "."));
        assert!(!within("notlocalhost", "localhost") && !within("localhost", "a.localhost") && !within(".", "a"));
    }

    proptest! {
        #[test]
        fn garbage_is_no_trouble(message in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..700) {
            if let Ok((name, end)) = Name::read(&message, at) {
                prop_assert!(name.as_bytes().len() <= MAX_NAME && end <= message.len() && end > at);
                prop_assert_eq!(Name::read(name.as_bytes(), 0), Ok((name.clone(), name.as_bytes().len())));
            }
        }

        #[test]
        fn case_is_all_that_mixing_changes(text in "[a-zA-Z0-9-]{1,20}(\\.[a-z0-9]{1,20}){0,3}", coin: u64) {
            let name = Name::from_text(&text).unwrap();
            prop_assert_eq!(name.mixed(coin).lower(), name.lower());
            prop_assert_eq!(name.mixed(0), name.lower());
        }
    }
}
