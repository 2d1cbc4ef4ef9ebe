//! An error with its causes, on one line.

use std::{error::Error, fmt};

/// How deep a chain is followed; a longer one is cut with `...`.
const DEPTH: usize = 16;

/// Shows `error` and its causes as `a: b: c`. A cause whose text the line already ends with is not said twice.
pub fn report(error: &dyn Error) -> impl fmt::Display {
    let mut line = error.to_string();
    let mut cause = error.source();
    for depth in 0.. {
        let Some(current) = cause else { break };
        if depth == DEPTH {
            line.push_str(": ...");
            break;
        }
        let text = current.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = current.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::report;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> Link {
        let (first, rest) = texts.split_first().expect("a chain has a head");
        Link { text: first, source: (!rest.is_empty()).then(|| Box::new(chain(rest))) }
    }

    #[track_caller]
    fn check(texts: &[&'static str], wanted: &str) {
        assert_eq!(report(&chain(texts)).to_string(), wanted);
    }

    #[test]
    fn chains_are_printed_once() {
        check(&["mount VAR"], "mount VAR");
        check(&["mount VAR", "open /dev/vda6", "denied"], "mount VAR: open /dev/vda6: denied");
        check(&["mount VAR: denied", "denied"], "mount VAR: denied");
        check(&["x"; 40], "x: ...");
        check(
            &["a", "b", "a", "b", "a", "b", "a", "b", "a", "b", "a", "b", "a", "b", "a", "b", "a", "b", "a"],
            "a: b: a: b: a: b: a: b: a: b: a: b: a: b: a: b: a: ...",
        );
    }
}
