//! Kernel configuration: fragments are merged, and the result is compared with the wish.
//!
//! A symbol whose menu is off, or which a newer kernel has renamed, vanishes from the final configuration without a word, so
//! every wanted value is looked up in it afterwards.

use std::collections::BTreeMap;

/// A wanted value and who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// `y`, `m`, `n`, a number or a quoted string.
    pub value: String,
    /// The fragment that had the last word.
    pub fragment: String,
}

/// Merges fragments given as (name, text): the last mention of a symbol counts.
///
/// # Errors
/// The line that is neither an assignment nor a comment.
pub fn merge<'a>(fragments: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<BTreeMap<String, Wish>, String> {
    let mut wishes = BTreeMap::new();
    for (fragment, text) in fragments {
        for (number, line) in text.lines().enumerate() {
            match assignment(line) {
                Line::Nothing => {}
                Line::Set(symbol, value) => {
                    let wish = Wish { value: value.to_owned(), fragment: fragment.to_owned() };
                    wishes.insert(symbol.to_owned(), wish);
                }
                Line::Wrong => {
                    return Err(format!("{fragment} line {}: neither CONFIG_X=value nor \"# CONFIG_X is not set\": {line}", number + 1));
                }
            }
        }
    }
    Ok(wishes)
}

/// The merged fragments as one file.
#[must_use]
pub fn text(wishes: &BTreeMap<String, Wish>) -> String {
    let mut out = String::new();
    for (symbol, wish) in wishes {
        match wish.value.as_str() {
            "n" => out.push_str(&format!("# {symbol} is not set\n")),
            value => out.push_str(&format!("{symbol}={value}\n")),
        }
    }
    out
}

/// Every wish that `config`, the kernel's final configuration, does not fulfil.
#[must_use]
pub fn unfulfilled(wishes: &BTreeMap<String, Wish>, config: &str) -> Vec<String> {
    let mut found = BTreeMap::new();
    for line in config.lines() {
        if let Line::Set(symbol, value) = assignment(line) {
            found.insert(symbol, value);
        }
    }
    let mut problems = Vec::new();
    for (symbol, wish) in wishes {
        let got = found.get(symbol.as_str()).copied().unwrap_or("n");
        if got != wish.value {
            problems.push(format!("{symbol}={} is wanted by {}, the kernel has {got}", wish.value, wish.fragment));
        }
    }
    problems
}

enum Line<'a> {
    Nothing,
    Set(&'a str, &'a str),
    Wrong,
}

fn assignment(line: &str) -> Line<'_> {
    let line = line.trim();
    if let Some(symbol) = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"))
        && symbol.starts_with("CONFIG_")
        && !symbol.contains(' ')
    {
        return Line::Set(symbol, "n");
    }
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let Some((symbol, value)) = line.split_once('=') else { return Line::Wrong };
    if !symbol.starts_with("CONFIG_") || symbol.contains(' ') {
        return Line::Wrong;
    }
    // A remark after a value is allowed in our fragments, but not inside a string.
    let value = if value.starts_with('"') { value } else { value.split('#').next().unwrap_or(value) };
    Line::Set(symbol, value.trim())
}

#[cfg(test)]
mod tests {
    use super::{merge, text, unfulfilled};

    #[track_caller]
    fn check(fragments: &[(&str, &str)], config: &str, expected: &[&str]) {
        let wishes = merge(fragments.iter().copied()).expect("fragments");
        assert_eq!(unfulfilled(&wishes, config), expected);
    }

    #[test]
    fn every_unfulfilled_wish_is_named_with_its_fragment() {
        let common = ("common", "# reason\nCONFIG_A=y\nCONFIG_B=y # why\nCONFIG_S=\"a # b\"\n");
        check(&[common], "CONFIG_A=y\nCONFIG_B=y\nCONFIG_S=\"a # b\"\n", &[]);
        check(
            &[common],
            "CONFIG_A=m\nCONFIG_S=\"a # b\"\n",
            &["CONFIG_A=y is wanted by common, the kernel has m", "CONFIG_B=y is wanted by common, the kernel has n"],
        );
        let board = ("board", "CONFIG_A=m\n# CONFIG_B is not set\n");
        check(&[common, board], "CONFIG_A=m\n# CONFIG_B is not set\nCONFIG_S=\"a # b\"\n", &[]);
        check(&[("x", "CONFIG_Z=n\n")], "", &[]);
    }

    #[test]
    fn merged_fragments_are_one_file() {
        let wishes = merge([("a", "CONFIG_B=m\nCONFIG_A=y\n"), ("b", "CONFIG_B=n\n")]).expect("fragments");
        assert_eq!(text(&wishes), "CONFIG_A=y\n# CONFIG_B is not set\n");
    }

    #[test]
    fn a_line_that_is_no_assignment_is_refused() {
        let error = merge([("a", "CONFIG_A=y\nCONFIG_B\n")]).expect_err("refused");
        assert!(error.starts_with("a line 2:"), "{error}");
        assert!(merge([("a", "A=y\n")]).is_err());
    }
}
