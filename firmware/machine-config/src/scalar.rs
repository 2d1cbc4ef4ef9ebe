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
    span(text).is_some()
}

/// A span that is not negative; a whole number without a unit is nanoseconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let seconds = span(text).or_else(|| integer(text).map(|nanoseconds| nanoseconds as f64 / 1e9))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A span in seconds.
fn span(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut seconds = None;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, after) = rest.split_at(number);
        if digits.is_empty() || digits == "." {
            return None;
        }
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let value: f64 = digits.parse().ok()?;
        seconds = Some(seconds.unwrap_or(0.0) + value * factor);
        rest = &after[unit.len()..];
    }
    seconds.map(|seconds: f64| sign * seconds)
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
