//! Which link is meant.

/// A link by its name or by what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Kernel name or another name of it.
    Named(String),
    /// All that match.
    Matching(DeviceSelector),
}

impl Which {
    /// The name, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name.as_str()),
            Self::Matching(_) => None,
        }
    }
}

/// A link by its hardware: patterns with `*` and `?`, all of which must match; empty ones match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSelector {
    /// What the kernel calls it.
    pub name: String,
    /// Where it is plugged in (`0000:00:02.0`).
    pub bus_path: String,
    /// Its address.
    pub hardware_addr: String,
    /// The address that it was made with.
    pub permanent_addr: String,
    /// Vendor and device (`1AF4:1000`).
    pub pci_id: String,
    /// Its driver.
    pub driver: String,
    /// There is hardware behind it, or not.
    pub physical: Option<bool>,
}

impl DeviceSelector {
    /// Whether it names nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a pattern with `*` (any text) and `?` (one character) fits a text; case does not count. Linear in the product of
/// both lengths at worst.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut at, mut seen) = (0, 0);
    // Where the last star was, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match (pattern.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some(one), _) if *one == '?' || Some(one) == text.get(seen) => {
                at += 1;
                seen += 1;
            }
            (_, Some((before, taken))) => {
                star = Some((before, taken + 1));
                at = before + 1;
                seen = taken + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|one| *one == '*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::glob;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("virtio_net", "virtio_net", true),
            ("VIRTIO*", "virtio_net", true),
            ("00:1a:*:5e", "00:1A:2b:3c:4d:5e", true),
            ("00:1a:*:5e", "00:1a:2b:3c:4d:5f", false),
            ("?th*", "eth0", true),
            ("*a*b", "xaxbxab", true),
            ("a", "", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_fits_itself_and_a_star(text in "[a-z:0-9]{0,20}", cut in 0_usize..20) {
            prop_assert!(glob(&text, &text));
            let cut = cut.min(text.len());
            let (start, end) = (&text[..cut], &text[cut..]);
            let pattern = format!("{start}*{end}");
            prop_assert!(glob(&pattern, &text));
        }
    }
}
