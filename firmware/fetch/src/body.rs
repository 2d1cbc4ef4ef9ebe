//! Bodies: collected and unpacked, both within a limit.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{FetchError, Url};

/// First bytes of gzip (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// All of a body.
pub async fn collect(url: &Url, mut body: Incoming, most: usize) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| FetchError::Ask { url: url.clone(), source })?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > most {
            return Err(FetchError::TooLarge { url: url.clone(), most });
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// Unpacks gzip, whether the server says that it is or a file was packed before. What is not packed stays as it is: some
/// servers say what is not so.
pub fn unpack(url: &Url, encoding: Option<&HeaderValue>, bytes: Vec<u8>, most: usize) -> Result<Vec<u8>, FetchError> {
    match encoding.map(|encoding| encoding.to_str().unwrap_or("?")) {
        None | Some("gzip" | "x-gzip" | "identity" | "") => {}
        Some(other) => return Err(FetchError::Encoding { url: url.clone(), encoding: other.chars().take(40).collect() }),
    }
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes.as_slice()).take(most as u64 + 1);
    decoder.read_to_end(&mut unpacked).map_err(|source| FetchError::Unpack { url: url.clone(), source })?;
    if unpacked.len() > most { Err(FetchError::TooLarge { url: url.clone(), most }) } else { Ok(unpacked) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(encoding: Option<&'static str>, bytes: Vec<u8>, wanted: Result<&[u8], &str>) {
        let url = Url::parse("http://a/").unwrap();
        let found = unpack(&url, encoding.map(HeaderValue::from_static).as_ref(), bytes, 1000);
        match (found, wanted) {
            (Ok(bytes), Ok(wanted)) => assert_eq!(bytes, wanted),
            (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{error}"),
            (found, wanted) => panic!("{found:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn gzip_and_others() {
        check(None, b"plain".to_vec(), Ok(b"plain"));
        check(Some("gzip"), packed(b"text"), Ok(b"text"));
        check(None, packed(b"a file that was packed"), Ok(b"a file that was packed"));
        check(Some("gzip"), b"not so".to_vec(), Ok(b"not so"));
        check(Some("gzip"), [packed(b"two"), packed(b"parts")].concat(), Ok(b"twoparts"));
        check(Some("br"), b"x".to_vec(), Err("packed in a way"));
        check(None, packed(&[0; 100_000]), Err("more than 1000 bytes"));
        let mut cut = packed(b"text");
        cut.truncate(12);
        check(None, cut, Err("unpack"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), gzip in any::<bool>()) {
            let bytes = if gzip { [&GZIP[..], &[8, 0], &bytes].concat() } else { bytes };
            let _ = unpack(&Url::parse("http://a/").unwrap(), None, bytes, 1000);
        }
    }
}
