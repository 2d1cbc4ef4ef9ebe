//! Subjects of several organisations. The certificate library keeps one value of each kind, so such a certificate is made with the
//! first and then given its subject, with a new signature over it.

use rcgen::{KeyPair, SigningKey};

use crate::{Error, der};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const BIT_STRING: u8 = 0x03;
/// Organisation: 2.5.4.10, a whole OBJECT IDENTIFIER.
const ORGANIZATION: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x0a];
/// What stands before the subject in what is signed: version, serial number, algorithm, issuer, validity (RFC 5280, section 4.1).
const BEFORE_SUBJECT: usize = 5;

/// The certificate with these organisations, in this order, as its whole subject. `signer` is its authority's key.
pub(crate) fn with_organizations(certificate: &[u8], organizations: &[&str], signer: &KeyPair) -> Result<Vec<u8>, Error> {
    let unreadable = || Error::Certificate(x509_parser::error::X509Error::Generic);
    let (_, body, _) = der::element(certificate).ok_or_else(unreadable)?;
    let (_, signed, rest) = der::element(body).ok_or_else(unreadable)?;
    let (algorithm, _) = split(rest, 1).ok_or_else(unreadable)?;
    let (before, after) = split(signed, BEFORE_SUBJECT).ok_or_else(unreadable)?;
    let (_, after) = split(after, 1).ok_or_else(unreadable)?;
    let signed = der::build(SEQUENCE, &[before, &name(organizations), after]);
    let signature = signer.sign(&signed).map_err(|source| Error::Issue { doing: "issuing a certificate", source })?;
    Ok(der::build(SEQUENCE, &[&signed, algorithm, &der::build(BIT_STRING, &[&[0], &signature])]).to_vec())
}

/// The first `count` elements, whole, and what follows them.
fn split(bytes: &[u8], count: usize) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    for _ in 0..count {
        rest = der::element(rest)?.2;
    }
    bytes.split_at_checked(bytes.len() - rest.len())
}

fn name(organizations: &[&str]) -> Vec<u8> {
    let one = |organization: &&str| {
        let value = der::build(UTF8_STRING, &[organization.as_bytes()]);
        der::build(SET, &[&der::build(SEQUENCE, &[ORGANIZATION, &value])])
    };
    let parts: Vec<_> = organizations.iter().map(one).collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
    der::build(SEQUENCE, &parts).to_vec()
}
