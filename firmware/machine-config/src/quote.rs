//! Text as a YAML scalar that every reader takes for text.

use std::{borrow::Cow, fmt::Write};

/// The text plain when nobody can take it for something else, in double quotes otherwise.
pub(crate) fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if !is_printable(letter) => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    Cow::Owned(out)
}

/// Whether a letter may stand in YAML as it is: no control, no other line break, no byte order mark.
pub(crate) fn is_printable(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    // What starts with a digit is text for certain when it has a slash or two dots (10.0.0.0/8, 10.0.0.1).
    let address = !text.contains(':') && (text.contains('/') || text.matches('.').count() > 1);
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c.is_ascii_digit() && address);
    let safe = |c: char| c.is_ascii_alphanumeric() || "/+=._-".contains(c);
    let colons_inside = !text.ends_with(':'); // a colon is an ordinary letter unless a space follows
    starts && colons_inside && text.chars().all(|c| safe(c) || c == ':') && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}
