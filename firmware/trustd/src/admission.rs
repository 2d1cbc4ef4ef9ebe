//! Who gets a certificate. Functions of values.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::Status;
use zeroize::Zeroizing;

/// What a joining node must know, as a digest: texts of any length are compared in the same time.
pub(crate) struct Token(Zeroizing<[u8; 32]>);

impl Token {
    /// `None` for an empty one, which everybody would know.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(digest(text.as_bytes())))
    }

    fn is(&self, said: &[u8]) -> bool {
        self.0.as_slice().ct_eq(digest(said).as_slice()).into()
    }
}

fn digest(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}

/// On what grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grounds {
    /// It knows the token.
    Token,
    /// It has a node's certificate already.
    Renewal,
}

/// Whether somebody is let in who says this token and has shown a node's certificate, or has not. Who says a token is measured by it,
/// certificate or not: so nobody tries out tokens behind a certificate.
pub(crate) fn admit(token: &Token, said: Option<&[u8]>, has_certificate: bool) -> Result<Grounds, Status> {
    match (said, has_certificate) {
        (Some(said), _) if token.is(said) => Ok(Grounds::Token),
        (Some(_), _) => Err(Status::unauthenticated("invalid token")),
        (None, true) => Ok(Grounds::Renewal),
        (None, false) => Err(Status::unauthenticated("missing token")),
    }
}

/// Whether what is asked for is within what the grounds give: a renewal changes nothing about whom a node may claim to be.
pub(crate) fn within(grounds: Grounds, asked: &Claim, has: Option<&Claim>) -> Result<(), Status> {
    let renews = has.is_some_and(|has| asked.common_name == has.common_name && asked.names.is_subset(&has.names));
    if grounds == Grounds::Token || renews {
        return Ok(());
    }
    Err(Status::permission_denied("a certificate with other names than the present one takes the token"))
}

/// Whom a certificate says that a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) common_name: Option<String>,
    pub(crate) names: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[track_caller]
    fn check(said: Option<&str>, has_certificate: bool, wanted: Result<Grounds, &str>) {
        let token = Token::new("abcdef.0123456789abcdef").expect("a token");
        let admitted = admit(&token, said.map(str::as_bytes), has_certificate);
        assert_eq!(admitted.as_ref().map_err(Status::message), wanted.as_ref().map_err(|text| *text), "{said:?} {has_certificate}");
        assert!(admitted.err().is_none_or(|status| status.code() == Code::Unauthenticated));
    }

    #[test]
    fn the_token_decides_where_there_is_one() {
        for has_certificate in [false, true] {
            check(Some("abcdef.0123456789abcdef"), has_certificate, Ok(Grounds::Token));
            for wrong in ["", "abcdef.0123456789abcdeg", "abcdef", "abcdef.0123456789abcdef "] {
                check(Some(wrong), has_certificate, Err("invalid token"));
            }
        }
        check(None, false, Err("missing token"));
        check(None, true, Ok(Grounds::Renewal));
        assert!(Token::new("").is_none());
    }

    #[test]
    fn a_renewal_stays_within_the_present_names() {
        let claim =
            |name: &str, names: &[&str]| Claim { common_name: Some(name.into()), names: names.iter().map(|name| (*name).into()).collect() };
        let has = claim("n", &["n", "10.0.0.2"]);
        for (asked, fine) in [
            (claim("n", &["n", "10.0.0.2"]), true),
            (claim("n", &["10.0.0.2"]), true),
            (claim("n", &["n", "10.0.0.3"]), false),
            (claim("m", &["n", "10.0.0.2"]), false),
            (Claim { names: has.names.clone(), common_name: None }, false),
        ] {
            assert_eq!(within(Grounds::Renewal, &asked, Some(&has)).is_ok(), fine, "{asked:?}");
            assert!(within(Grounds::Token, &asked, Some(&has)).is_ok());
            assert!(within(Grounds::Token, &asked, None).is_ok());
            assert!(within(Grounds::Renewal, &asked, None).is_err());
        }
    }
}
