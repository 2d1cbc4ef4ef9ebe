//! `talos.config.inline` on the kernel command line: zstd, then base64, in one or more pieces.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::store::MAX_BYTES;

/// Largest window that a frame may ask for, as a power of two: 8 MiB.
const WINDOW_LOG: u32 = 23;

/// The inline configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the source says it all")]
pub enum InlineError {
    #[error("talos.config.inline is not base64")]
    Base64(#[source] base64::DecodeError),
    #[error("talos.config.inline: unpack zstd")]
    Zstd(#[source] std::io::Error),
    #[error("talos.config.inline is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("talos.config.inline is not UTF-8")]
    NotText,
}

/// The configuration in the pieces, in order; `None` when there are none.
///
/// # Errors
/// [`InlineError`].
pub fn decode<'a>(pieces: impl Iterator<Item = &'a str>) -> Result<Option<String>, InlineError> {
    let joined: String = pieces.collect();
    if joined.is_empty() {
        return Ok(None);
    }
    let packed = STANDARD.decode(joined).map_err(InlineError::Base64)?;
    let mut decoder = zstd::stream::read::Decoder::new(packed.as_slice()).map_err(InlineError::Zstd)?;
    decoder.window_log_max(WINDOW_LOG).map_err(InlineError::Zstd)?;
    let mut bytes = Vec::new();
    decoder.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(InlineError::Zstd)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(InlineError::TooLarge);
    }
    String::from_utf8(bytes).map(Some).map_err(|_| InlineError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(bytes: &[u8]) -> String {
        STANDARD.encode(zstd::encode_all(bytes, 3).expect("packs"))
    }

    #[track_caller]
    fn check(pieces: &[&str], wanted: Result<Option<&str>, &str>) {
        let found = decode(pieces.iter().copied());
        match (&found, wanted) {
            (Ok(text), Ok(wanted)) => assert_eq!(text.as_deref(), wanted),
            (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{error}"),
            _ => panic!("{found:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn pieces() {
        check(&[], Ok(None));
        let packed = pack(b"machine: {}\n");
        check(&[&packed], Ok(Some("machine: {}\n")));
        check(&[&packed[..7], &packed[7..]], Ok(Some("machine: {}\n")));
        check(&["%"], Err("base64"));
        check(&["aGFsbG8="], Err("zstd"));
        check(&[&packed[..packed.len() - 8]], Err("zstd"));
        check(&[&pack(&[0xff, 0xfe])], Err("UTF-8"));
        check(&[&pack(&vec![b'a'; 5 * 1024 * 1024])], Err("larger"));
    }
}
