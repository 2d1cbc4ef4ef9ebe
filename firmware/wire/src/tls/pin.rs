//! Fingerprints of public keys, as a node in maintenance shows its own.

use std::{fmt, str::FromStr};

use rustls::pki_types::CertificateDer;

/// SHA-256 of a certificate's public key info (SPKI), written as plain base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpkiFingerprint(String);

/// Characters of 32 bytes in base64, padding included.
const CHARACTERS: usize = 44;

impl SpkiFingerprint {
    /// The fingerprint of a certificate; `None` when it is not one.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        pki::spki_fingerprint(certificate).ok().map(Self)
    }
}

impl fmt::Display for SpkiFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 32 bytes in base64")]
pub struct ParseFingerprintError;

impl FromStr for SpkiFingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        match text.strip_suffix('=') {
            Some(body) if text.len() == CHARACTERS && body.bytes().all(alphabet) => Ok(Self(text.to_owned())),
            _ => Err(ParseFingerprintError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_checked() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(text.parse::<SpkiFingerprint>().expect("valid").to_string(), text);
        for bad in ["AAAA", "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "47DEQpj8HBSa+ TImW+5JCeuQeRkm5NMpJWZG3hSuFU="] {
            assert_eq!(bad.parse::<SpkiFingerprint>(), Err(ParseFingerprintError), "{bad:?}");
        }
    }
}
