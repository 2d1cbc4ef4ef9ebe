//! Inputs in files: one a line, written as a byte string is in Rust; lines that begin with `#` say something about the next one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The folder with the kept inputs, `<target>.txt` each: those that together make a target's code do all that it was seen to do,
/// and in `regressions/` those that once broke something.
#[must_use]
pub fn folder() -> PathBuf {
    // As of now and not as of the build: the same program may have been built in another checkout.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.join("corpus")
}

/// The inputs in a file; none when there is no file.
///
/// # Errors
/// The file cannot be read, or a line is not a byte string.
pub fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines.map(|(at, line)| parse(line).with_context(|| format!("{}, line {}", path.display(), at + 1))).collect()
}

/// Writes inputs.
///
/// # Errors
/// The file cannot be written.
pub fn write<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
    let text: String = inputs.into_iter().map(line).collect();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// An input as a line, line break included.
#[must_use]
pub fn line(input: &[u8]) -> String {
    let text = input.escape_ascii().to_string();
    // A `#` in front would make it a remark.
    match text.strip_prefix('#') {
        Some(rest) => format!("\\x23{rest}\n"),
        None => format!("{text}\n"),
    }
}

fn parse(line: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(same @ (b'\\' | b'\'' | b'"')) => same,
            Some(b'x') => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).context("\\x takes two digits");
                u8::try_from(digit()? * 16 + digit()?)?
            }
            _ => bail!("an escape that is none"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn remarks_are_no_inputs_and_mistakes_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        fs::write(&path, "# why\na\\x00\\n\n\\x23b\n\n").unwrap();
        assert_eq!(read(&path).unwrap(), [&b"a\0\n"[..], b"#b", b""]);
        assert_eq!(read(&folder.path().join("none.txt")).unwrap(), Vec::<Vec<u8>>::new());
        fs::write(&path, "a\n\\q\n").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("line 2: an escape that is none"));
    }

    proptest! {
        #[test]
        fn every_input_is_a_line(input in prop::collection::vec(any::<u8>(), 0..60)) {
            let line = line(&input);
            prop_assert!(line.is_ascii() && line.ends_with('\n') && line.lines().count() == 1 && !line.starts_with('#'));
            prop_assert_eq!(parse(line.trim_end_matches('\n')).unwrap(), input);
        }
    }
}
