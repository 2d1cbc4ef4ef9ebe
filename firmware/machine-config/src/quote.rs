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
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    Cow::Owned(out)
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let safe = |c: char| c.is_ascii_alphanumeric() || "/+=._-".contains(c);
    let colons_inside = !text.ends_with(':'); // a colon is an ordinary letter unless a space follows
    starts && colons_inside && text.chars().all(|c| safe(c) || c == ':') && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}
