//! Escape sequences and the difference between two screens. Pure: serial lines are slow, so only changed lines are sent.

use std::fmt::Write;

/// Asks for the size: cursor to the far corner, where is it, cursor back. A terminal answers `ESC [ rows ; columns R`.
pub const PROBE: &str = "\x1b7\x1b[999;999H\x1b[6n\x1b8";
/// Before the first frame: no cursor, no automatic wrap, an empty screen.
pub const ENTER: &str = "\x1b[?25l\x1b[?7l\x1b[2J";
/// After the last frame: everything back, the log goes on below an empty screen.
pub const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[2J\x1b[H";

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Size {
    /// A terminal that says nothing about itself.
    pub const DEFAULT: Self = Self { columns: 80, rows: 24 };

    /// What a terminal claims, held to what can be drawn and paid for.
    #[must_use]
    pub fn clamped(columns: u16, rows: u16) -> Self {
        Self { columns: columns.clamp(20, 300), rows: rows.clamp(4, 120) }
    }
}

/// The bytes that turn a terminal showing `old` into one showing `new`. Lines beyond the shorter of both are blank.
#[must_use]
pub fn diff(old: &[String], new: &[String]) -> String {
    let mut out = String::new();
    for row in 0..old.len().max(new.len()) {
        let before = old.get(row).map_or("", String::as_str);
        let after = new.get(row).map_or("", String::as_str);
        if before != after {
            // Writing to a String cannot fail.
            let _ = write!(out, "\x1b[{};1H{after}\x1b[K", row + 1);
        }
    }
    out
}

/// Text from anywhere made safe for a terminal: printable ASCII only, tabs widened, nothing that could be an escape.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => out.push(character),
            '\t' => out.push_str("  "),
            _ => out.push('?'),
        }
    }
    out
}

/// Cuts to a width; `~` at the end shows that something is missing.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        out.push('~');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(old: &[&str], new: &[&str], wanted: &str) {
        let strings = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(diff(&strings(old), &strings(new)), wanted);
    }

    #[test]
    fn only_changed_lines_are_sent() {
        check(&["a", "b"], &["a", "b"], "");
        check(&["a", "b", "c"], &["a", "x", "c"], "\x1b[2;1Hx\x1b[K");
        check(&["a", "b"], &["a"], "\x1b[2;1H\x1b[K");
        check(&[], &["a"], "\x1b[1;1Ha\x1b[K");
    }

    #[test]
    fn nothing_dangerous_is_shown() {
        assert_eq!(clean("a\x1b[2Jb\tc\u{e9}\n"), "a?[2Jb  c??");
        assert_eq!(fit("abcdef", 4), "abc~");
        assert_eq!(fit("abcd", 4), "abcd");
        assert_eq!(fit("abcd", 0), "");
    }

    /// Plays the bytes on a toy terminal.
    fn play(screen: &mut Vec<String>, bytes: &str) {
        for part in bytes.split("\x1b[K").filter(|part| !part.is_empty()) {
            let (position, text) = part.trim_start_matches("\x1b[").split_once('H').unwrap();
            let row: usize = position.split_once(';').unwrap().0.parse().unwrap();
            screen.resize(screen.len().max(row), String::new());
            screen[row - 1] = text.to_owned();
        }
        while screen.last().is_some_and(String::is_empty) {
            screen.pop();
        }
    }

    proptest! {
        #[test]
        fn a_terminal_that_plays_the_difference_shows_the_new_screen(
            old in proptest::collection::vec("[a-c ]{1,5}", 0..8),
            new in proptest::collection::vec("[a-c ]{1,5}", 0..8),
        ) {
            let mut screen = old.clone();
            play(&mut screen, &diff(&old, &new));
            prop_assert_eq!(screen, new);
        }
    }
}
