//! Base64 as the files carry it, and random texts.

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{Error, Secret};

/// Base64 (standard alphabet, padded) of some text, as configuration files carry PEM.
#[must_use]
pub fn encode_base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// The text behind base64; white space inside is skipped, as the files' usual reader does. `what` names the value in the error.
pub fn decode_base64_text(what: &str, encoded: &str) -> Result<Secret, Error> {
    let compact: Zeroizing<String> = Zeroizing::new(encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    let bytes = STANDARD.decode(compact.as_bytes()).map_err(|source| Error::Base64 { what: what.into(), source })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(Error::NotText { what: what.into() })
        }
    }
}

/// Whether the text is base64, white space aside.
#[must_use]
pub fn is_base64(encoded: &str) -> bool {
    let compact: Zeroizing<String> = Zeroizing::new(encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    STANDARD.decode(compact.as_bytes()).map(Zeroizing::new).is_ok()
}

/// How many bytes base64 stands for; `None` when it is none.
#[must_use]
pub fn base64_len(encoded: &str) -> Option<usize> {
    let compact: Zeroizing<String> = Zeroizing::new(encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    STANDARD.decode(compact.as_bytes()).map(Zeroizing::new).map(|bytes| bytes.len()).ok()
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// Base64 of 32 random bytes: cluster id, cluster secret, encryption secret.
pub(crate) fn random_base64() -> Result<Secret, Error> {
    Ok(Secret::new(STANDARD.encode(random::<32>()?.as_slice())))
}

/// A token `xxxxxx.yyyyyyyyyyyyyyyy` of digits and lower-case letters, each equally likely.
pub(crate) fn random_token() -> Result<Secret, Error> {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    const FAIR: u8 = 252; // the largest multiple of 36 in a byte: values above it would favour some letters
    let mut token = String::with_capacity(23);
    while token.len() < 23 {
        for byte in random::<32>()?.iter().filter(|byte| **byte < FAIR) {
            match token.len() {
                6 => token.push('.'),
                23 => break,
                _ => token.push(char::from(ALPHABET[usize::from(*byte % 36)])),
            }
        }
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_kubeadm_form() {
        for _ in 0..50 {
            let token = random_token().expect("random");
            let (id, secret) = token.expose().split_once('.').expect("a dot");
            assert_eq!((id.len(), secret.len()), (6, 16));
            assert!(token.expose().chars().all(|c| c == '.' || c.is_ascii_digit() || c.is_ascii_lowercase()));
        }
    }

    #[test]
    fn base64_with_line_breaks_is_read() {
        let wrapped = format!("{}\n  ", encode_base64("hello"));
        assert_eq!(decode_base64_text("x", &wrapped).expect("text").expose(), "hello");
        assert!(matches!(decode_base64_text("x", "%%"), Err(Error::Base64 { .. })));
        assert!(matches!(decode_base64_text("x", "/w=="), Err(Error::NotText { .. })));
    }
}
