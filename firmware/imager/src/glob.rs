//! File name patterns: `?` and `*` stay within one path component, `**` crosses them.

/// Whether `path` (relative, `/` between components) is meant by `pattern`.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    match_bytes(pattern.as_bytes(), path.as_bytes())
}

fn match_bytes(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|skip| match_bytes(rest, &path[skip..])),
        [b'*', rest @ ..] => {
            let component = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=component).any(|skip| match_bytes(rest, &path[skip..]))
        }
        [b'?', rest @ ..] => matches!(path, [byte, tail @ ..] if *byte != b'/' && match_bytes(rest, tail)),
        [byte, rest @ ..] => matches!(path, [head, tail @ ..] if head == byte && match_bytes(rest, tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
    }

    #[test]
    fn patterns_stay_in_their_component_unless_doubled() {
        check("usr/lib/*/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6", true);
        check("usr/lib/*/libc.so.6", "usr/lib/a/b/libc.so.6", false);
        check("usr/lib/*", "usr/lib/a/b", false);
        check("usr/lib/**", "usr/lib/a/b", true);
        check("lib?.so", "liba.so", true);
        check("lib?.so", "lib/.so", false);
        check("", "", true);
        check("*", "", true);
        check("a", "ab", false);
    }
}
