//! Files that the root stores as they are: what every boot reads whole is there sooner without decompressing it, and a
//! page that is touched costs one page of reading.

use crate::glob;

/// Lines for `mkfs.erofs --compress-hints`: clusters of no blocks for each of `files` that a pattern means.
///
/// # Errors
/// The patterns that mean no file.
pub fn hints(files: &[String], patterns: &[String]) -> Result<String, Vec<String>> {
    let (mut lines, mut idle) = (String::new(), Vec::new());
    for pattern in patterns {
        let meant: Vec<_> = files.iter().filter(|file| glob::matches(pattern, file)).collect();
        if meant.is_empty() {
            idle.push(pattern.clone());
        }
        lines.extend(meant.into_iter().map(|file| format!("0 ^{}$\n", escaped(file))));
    }
    if idle.is_empty() { Ok(lines) } else { Err(idle) }
}

/// A path as an extended regular expression that means just it.
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for letter in path.chars() {
        if ".[]{}()\\*+?|^$".contains(letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::hints;

    #[track_caller]
    fn check(patterns: &[&str], expected: Result<&str, &[&str]>) {
        let files = ["usr/bin/keelson", "usr/lib/a/libc.so.6", "usr/lib/a/libm.so.6"].map(str::to_owned);
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let found = hints(&files, &patterns);
        assert_eq!(found, expected.map(str::to_owned).map_err(|idle| idle.iter().map(|&pattern| pattern.to_owned()).collect()));
    }

    #[test]
    fn each_pattern_means_files_that_are_there() {
        check(&[], Ok(""));
        check(&["usr/bin/keelson"], Ok("0 ^usr/bin/keelson$\n"));
        check(&["usr/lib/*/libc.so.6"], Ok("0 ^usr/lib/a/libc\\.so\\.6$\n"));
        check(&["usr/lib/a/*", "usr/bin/no", "no"], Err(&["usr/bin/no", "no"]));
    }
}
