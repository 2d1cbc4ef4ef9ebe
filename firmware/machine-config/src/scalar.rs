//! What a plain scalar means where a field has a type: the rules of the decoder that these configurations are
//! written for. It is more lenient than YAML 1.2: old octal, `yes` and `no`, digits with underscores.

use std::time::Duration;

/// A truth value.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
        _ => None,
    }
}

/// A whole number: decimal, `0x`, `0o`, `0b`, and a leading zero for octal.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['_', '+', '-']) || digits.len() > 40 {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    i128::from_str_radix(&digits, radix).ok().map(|number| sign * number)
}

/// A number with a fraction or an exponent, or one that is none (`.inf`, `.nan`).
pub(crate) fn is_float(text: &str) -> bool {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(number, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") || {
        let digits = |c: char| c.is_ascii_digit() || ".eE+-_".contains(c);
        number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && number.chars().all(digits)
            && number.replace('_', "").parse::<f64>().is_ok()
    }
}

/// A span such as `1h30m` or `1.5s`; `0` alone is allowed.
pub(crate) fn is_duration(text: &str) -> bool {
    parse_duration(text).is_some()
}

/// A span in nanoseconds, written as a duration or as a number of them.
pub(crate) fn nanoseconds(text: &str) -> Option<i128> {
    parse_duration(text).or_else(|| integer(text))
}

/// A span that is not negative; a whole number without a unit is nanoseconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    nanoseconds(text).and_then(|span| u64::try_from(span).ok()).map(Duration::from_nanos)
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and no limit is near what a span cannot hold")]
fn parse_duration(text: &str) -> Option<i128> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, after) = rest.split_at(number);
        let count: f64 = digits.parse().ok()?;
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        sum += count * size;
        rest = &after[unit.len()..];
    }
    let parts = !text.trim_start_matches(['+', '-']).is_empty();
    parts.then_some(if text.starts_with('-') { -(sum as i128) } else { sum as i128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_they_are_written() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("+7", Some(7)),
            ("0644", Some(0o644)),
            ("0o644", Some(0o644)),
            ("0x1a4", Some(0x1a4)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("08", None),
            ("_1", None),
            ("", None),
            ("1.0", None),
            ("--1", None),
            ("0x", None),
            ("1e3", None),
            ("99999999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(integer(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn spans_as_they_are_written() {
        for text in ["1s", "1h30m", "1.5s", "0", "-2m", "100ms", ".5h", "1µs"] {
            assert!(is_duration(text), "{text:?}");
        }
        for text in ["", "1", "s", "1d", "1s5", "1..2s", "-", "1 s", "."] {
            assert!(!is_duration(text), "{text:?}");
        }
    }

    #[test]
    fn spans_are_times() {
        let ms = Duration::from_millis;
        for (text, wanted) in [
            ("1h30m", Some(ms(5_400_000))),
            ("1.5s", Some(ms(1500))),
            ("100ms", Some(ms(100))),
            ("0", Some(ms(0))),
            ("2000000", Some(ms(2))),
            ("-2m", None),
            ("99999999999999999999h", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text), wanted, "{text:?}");
        }
    }
}
