//! The little DER that turning key containers into each other takes.
//!
//! aws-lc and rcgen speak PKCS#8; the files carry SEC1 and PKCS#1 keys, and Ed25519 keys as PKCS#8 version 1.

use zeroize::Zeroizing;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;

/// Algorithm identifier of Ed25519, a whole SEQUENCE.
pub(crate) const ALG_ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// `[0] { OID prime256v1 }` inside a SEC1 key; readers of SEC1 need it.
const SEC1_P256: &[u8] = &[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// One element: its tag, its content and what follows it. `None` when the bytes are no DER.
pub(crate) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// An element of the given parts.
pub(crate) fn build(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(length + 5));
    out.push(tag);
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    if length >= 0x80 {
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0x7f));
    }
    out.extend_from_slice(significant);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The algorithm's content and the inner key of a PKCS#8 container.
pub(crate) fn open_pkcs8(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, _) = expect(der, SEQUENCE)?;
    let (_, rest) = expect(body, INTEGER)?;
    let (algorithm, rest) = expect(rest, SEQUENCE)?;
    let (key, _) = expect(rest, OCTET_STRING)?;
    Some((algorithm, key))
}

/// A PKCS#8 version 1 container around an inner key.
pub(crate) fn make_pkcs8(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    build(SEQUENCE, &[&[INTEGER, 1, 0], algorithm, &build(OCTET_STRING, &[key])])
}

/// A SEC1 key of curve P-256 that names its curve, from the inner key of PKCS#8 (which does not) and the public point.
pub(crate) fn make_sec1(inner: &[u8], public: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (body, _) = expect(inner, SEQUENCE)?;
    let (_, rest) = expect(body, INTEGER)?;
    let (scalar, _) = expect(rest, OCTET_STRING)?;
    let bits = build(0x03, &[&[0], public]);
    Some(build(SEQUENCE, &[&[INTEGER, 1, 1], &build(OCTET_STRING, &[scalar]), SEC1_P256, &build(0xa1, &[&bits])]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip() {
        for size in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; size];
            let built = build(OCTET_STRING, &[&content]);
            assert_eq!(element(&built), Some((OCTET_STRING, content.as_slice(), &[][..])), "size {size}");
        }
    }

    #[test]
    fn short_or_strange_bytes_are_no_element() {
        for bytes in [&[][..], &[0x30], &[0x30, 5, 1], &[0x30, 0x84, 0, 0, 0, 1, 1], &[0x30, 0x80], &[0x30, 0x82, 1]] {
            assert_eq!(element(bytes), None, "{bytes:?}");
        }
    }
}
