//! Private keys and chains between PEM, whatever its label, and DER.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use crate::{Error, Secret, der};

/// The certificates of a PEM text, leaf first. An empty chain is an error.
pub fn read_chain(text: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut reader = text.as_bytes();
    let chain: Vec<_> = rustls_pemfile::certs(&mut reader).collect::<Result<_, _>>().map_err(Error::Chain)?;
    if chain.is_empty() {
        return Err(Error::MissingBlock { what: "the certificate text", wanted: "CERTIFICATE" });
    }
    Ok(chain)
}

/// The private key of a PEM text, for a TLS stack. Knows the labels `PRIVATE KEY`, `ED25519 PRIVATE KEY` (both
/// PKCS#8), `EC PRIVATE KEY` (SEC1) and `RSA PRIVATE KEY` (PKCS#1).
pub fn read_key(text: &str) -> Result<PrivateKeyDer<'static>, Error> {
    // pem::Pem does not wipe itself, so its contents are moved out into types that do.
    let blocks = pem::parse_many(text).map_err(|source| Error::Pem { what: "the private key", source })?;
    for block in blocks {
        let kind = block.tag().to_owned();
        let contents = block.into_contents();
        match kind.as_str() {
            "PRIVATE KEY" | "ED25519 PRIVATE KEY" => return Ok(PrivatePkcs8KeyDer::from(contents).into()),
            "EC PRIVATE KEY" => return Ok(PrivateSec1KeyDer::from(contents).into()),
            "RSA PRIVATE KEY" => return Ok(PrivatePkcs1KeyDer::from(contents).into()),
            _ => drop(Zeroizing::new(contents)),
        }
    }
    Err(Error::MissingBlock { what: "the private key", wanted: "PRIVATE KEY" })
}

/// The key as the certificate library wants it.
pub(crate) fn key_pair(text: &str) -> Result<KeyPair, Error> {
    let issue = |source| Error::Issue { doing: "reading the private key", source };
    let key = read_key(text)?;
    let algorithm = match &key {
        PrivateKeyDer::Pkcs1(_) => &PKCS_RSA_SHA256,
        PrivateKeyDer::Sec1(_) => &PKCS_ECDSA_P256_SHA256,
        PrivateKeyDer::Pkcs8(der) => return KeyPair::try_from(der.secret_pkcs8_der()).map_err(issue),
        _ => return Err(Error::Key("it is neither PKCS#8, SEC1 nor PKCS#1")),
    };
    KeyPair::from_der_and_sign_algo(&key, algorithm).map_err(issue)
}

/// The key as PEM under the label and in the container that its kind has in the files.
pub(crate) fn key_pem(key: &KeyPair) -> Result<Secret, Error> {
    let pkcs8 = Zeroizing::new(key.serialize_der());
    let (_, inner) = der::open_pkcs8(&pkcs8).ok_or(Error::Key("its PKCS#8 form is not readable"))?;
    let (label, contents) = if key.algorithm() == &PKCS_ED25519 {
        ("ED25519 PRIVATE KEY", der::make_pkcs8(der::ALG_ED25519, inner))
    } else if key.algorithm() == &PKCS_ECDSA_P256_SHA256 {
        let sec1 = der::make_sec1(inner, key.der_bytes()).ok_or(Error::Key("its SEC1 form is not readable"))?;
        ("EC PRIVATE KEY", sec1)
    } else {
        ("RSA PRIVATE KEY", Zeroizing::new(inner.to_vec()))
    };
    Ok(armor(label, &contents))
}

/// PEM with 64 columns and line feeds, as Go writes it.
pub(crate) fn armor(label: &str, der: &[u8]) -> Secret {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 64);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (at, letter) in encoded.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &KeyPair, label: &str) {
        let text = key_pem(key).expect("a key");
        assert!(text.expose().starts_with(&format!("-----BEGIN {label}-----\n")), "{label}");
        assert!(text.expose().lines().all(|line| line.len() <= 64), "{label}");
        let again = key_pair(text.expose()).expect("readable");
        assert_eq!(again.der_bytes(), key.der_bytes(), "{label}");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.key_provider.load_private_key(read_key(text.expose()).expect("a key")).expect("usable for TLS");
    }

    #[test]
    fn keys_keep_their_labels_and_come_back() {
        check(&KeyPair::generate_for(&PKCS_ED25519).expect("key"), "ED25519 PRIVATE KEY");
        check(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("key"), "EC PRIVATE KEY");
        check(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("key"), "RSA PRIVATE KEY");
    }

    #[test]
    fn text_without_a_key_is_refused() {
        assert!(matches!(read_key(""), Err(Error::MissingBlock { .. })));
        assert!(matches!(read_chain("nothing"), Err(Error::MissingBlock { .. })));
        assert!(read_key("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n").is_err());
    }
}
