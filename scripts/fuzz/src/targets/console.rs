//! What comes from a serial port, and what is shown there.

use machined::console::{
    input::Parser,
    screen::{clean, diff, fit},
};

use super::seeds;
use crate::target::{MIB, Target, text, words};

/// Keys, reports of the terminal, and texts that others made.
pub const CONSOLE: Target = Target {
    name: "console",
    bytes: "bytes from a terminal; and the same as a text that is to be shown",
    from: "whoever holds the serial line; whoever a line on the screen is from",
    property: "in pieces it is the same as at once; what is shown is printable ASCII and no wider than wanted",
    memory: 8 * MIB,
    words: || words(&["\x1b[", "\x1bO", "\x1b[24;80R", "\x1b", "R", ";", "65535", "\u{9b}", "\u{202e}", "\u{200d}", "字", "\x7f"]),
    seeds: || seeds(&["q\x1b[24;80Rn", "\x1b[A\x1b[1;2;3R", "line\x1b[2J\u{9b}2J字\u{202e}"]),
    check: |input| {
        let whole = Parser::default().feed(input);
        let (mut parser, mut pieces) = (Parser::default(), Vec::new());
        for byte in input {
            pieces.extend(parser.feed(&[*byte]));
        }
        assert_eq!(whole, pieces);
        assert!(whole.len() <= input.len());

        let text = text(input);
        let shown = clean(&text);
        assert!(!shown.chars().any(|letter| letter.is_control()), "{shown:?}");
        assert_eq!(clean(&shown), shown, "cleaned twice");
        let lines: Vec<String> = text.lines().map(|line| fit(&clean(line), 80)).collect();
        assert!(lines.iter().all(|line| line.len() <= 80 && line.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{lines:?}");
        drop(diff(&lines, &[]));
        assert_eq!(diff(&lines, &lines), "", "nothing changed, and something is sent");
    },
    ..Target::PLAIN
};
