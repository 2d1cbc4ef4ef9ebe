//! The identity itself and what is derived from it. Pure.

use std::fmt;

use sha2::{Digest, Sha256};

/// Random bytes of an identity.
pub const BYTES: usize = 32;
/// Digits that hold them: 62^43 is more than 2^256.
const DIGITS: usize = 43;
/// Longest identity taken from a file.
const LONGEST: usize = 64;
const BASE_62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE_36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Who a node is: letters and digits that no other node has. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId(String);

impl NodeId {
    /// From random bytes: a number in base 62, always 43 digits.
    #[must_use]
    pub fn from_random(bytes: [u8; BYTES]) -> Self {
        let mut number = bytes;
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            // Long division by 62, the most significant byte first.
            let mut rest = 0_u16;
            for byte in &mut number {
                let part = rest << 8 | u16::from(*byte);
                *byte = u8::try_from(part / 62).unwrap_or(u8::MAX);
                rest = part % 62;
            }
            *digit = BASE_62.get(usize::from(rest)).copied().unwrap_or(b'0');
        }
        Self(digits.iter().map(|digit| char::from(*digit)).collect())
    }

    /// Reads a file such as `nodeId: 7x1S...`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let id = lines.next().and_then(|line| line.strip_prefix("nodeId:")).ok_or("it does not begin with nodeId:")?.trim();
        let id = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(id);
        if lines.next().is_some() {
            return Err("there is more in it than nodeId");
        }
        let good = (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if good { Ok(Self(id.to_owned())) } else { Err("nodeId is not made of 1 to 64 letters and digits") }
    }

    /// The file's text.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("nodeId: {self}\n")
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What programs read in `/etc/machine-id`: 32 hexadecimal digits (`machine-id(5)`).
    #[must_use]
    pub fn machine_id(&self) -> String {
        Sha256::digest(&self.0).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The host name that goes with it: `talos-xxx-yyy`, where x and y are the first six digits of the hash's first eight bytes
    /// in base 36 (reference, behaviour (j)).
    #[must_use]
    pub fn hostname(&self) -> String {
        let first = Sha256::digest(&self.0).iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let mut digits = Vec::new();
        let mut rest = first;
        while rest > 0 || digits.len() < 6 {
            let digit = usize::try_from(rest % 36).unwrap_or(0);
            digits.push(char::from(BASE_36.get(digit).copied().unwrap_or(b'0')));
            rest /= 36;
        }
        let text: String = digits.into_iter().rev().take(6).collect();
        let (x, y) = text.split_at(3);
        format!("talos-{x}-{y}")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: [u8; BYTES], id: &str, machine_id: &str, hostname: &str) {
        let made = NodeId::from_random(bytes);
        assert_eq!((made.as_str(), made.machine_id().as_str(), made.hostname().as_str()), (id, machine_id, hostname));
    }

    #[test]
    fn fixed_vectors() {
        // Computed apart from this code, with whole numbers of another language.
        check([0; BYTES], "0000000000000000000000000000000000000000000", "b918b22a1581fedd39058065f00e6aad", "talos-2tb-zes");
        check([0xff; BYTES], "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1", "3b0167f1f41de3789d5785086c07b95c", "talos-waw-v48");
        let mut counted = [0; BYTES];
        counted.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number);
        check(counted, "003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf", "b0bd65ed3119037a4dcbf6b8138eb2f0", "talos-2or-abb");
    }

    #[test]
    fn files() {
        for (text, wanted) in [
            ("nodeId: abc123\n", Some("abc123")),
            ("# by hand\nnodeId: \"abc123\"\n\n", Some("abc123")),
            ("nodeId:\n", None),
            ("nodeid: abc\n", None),
            ("nodeId: a/b\n", None),
            ("nodeId: a\nmore: b\n", None),
            ("", None),
        ] {
            assert_eq!(NodeId::parse(text).ok().as_ref().map(NodeId::as_str), wanted, "{text:?}");
        }
        assert!(NodeId::parse(&format!("nodeId: {}\n", "a".repeat(65))).is_err());
    }

    proptest! {
        #[test]
        fn every_identity_comes_back_and_names_its_node(bytes: [u8; BYTES]) {
            let id = NodeId::from_random(bytes);
            prop_assert_eq!(NodeId::parse(&id.to_file()), Ok(id.clone()));
            prop_assert_eq!(id.as_str().len(), DIGITS);
            let name = id.hostname();
            prop_assert!(crate::net::cmdline::hostname(&name) && name.len() == "talos-xxx-yyy".len(), "{}", name);
            prop_assert_eq!(id.machine_id().len(), 32);
        }

        #[test]
        fn others_have_others(one: [u8; BYTES], two: [u8; BYTES]) {
            prop_assert_eq!(one == two, NodeId::from_random(one) == NodeId::from_random(two));
        }

        #[test]
        fn any_file_is_survived(text in "(nodeId: ?)?\\PC{0,80}") {
            let _ = NodeId::parse(&text);
        }
    }
}
