//! What the kernel command line and the image say: pure parsers, read once at boot.

use std::{collections::BTreeMap, time::Duration};

/// Where the image describes itself.
pub const RELEASE_FILE: &str = "/usr/share/keelson/release";

/// The kernel's command line as words; a word is `key` or `key=value`, and values may be quoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<(String, String)>);

impl CommandLine {
    /// Reads the text of `/proc/cmdline`. Words after `--` belong to init and are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        let (mut word, mut quoted) = (String::new(), false);
        for character in text.chars().chain([' ']) {
            match character {
                '"' => quoted = !quoted,
                space if space.is_whitespace() && !quoted => {
                    if word == "--" {
                        break;
                    }
                    if !word.is_empty() {
                        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
                        words.push((key.to_owned(), value.to_owned()));
                    }
                    word.clear();
                }
                other => word.push(other),
            }
        }
        Self(words)
    }

    /// The last value given for `key`; empty for a bare word.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value given for `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The image's description of itself, `KEY=value` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release(BTreeMap<String, String>);

impl Release {
    /// Reads the text of [`RELEASE_FILE`]; quotes around values are taken off.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        Self(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches('"').to_owned())).collect())
    }

    /// A value; empty when it is not there.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// When the image was built (by its inputs): the clock is never before that.
    #[must_use]
    pub fn build_epoch(&self) -> Option<Duration> {
        self.get("BUILD_EPOCH").parse().ok().map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, key: &str, wanted: &[&str]) {
        assert_eq!(CommandLine::parse(text).all(key).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn command_lines() {
        check("a=1 b a=2\n", "a", &["1", "2"]);
        check("a=1 b a=2\n", "b", &[""]);
        check("dm-mod.create=\"root,,,ro,0 8 verity\" panic=0", "dm-mod.create", &["root,,,ro,0 8 verity"]);
        check("\"dm=x y\" z", "dm", &["x y"]);
        check("a=b=c", "a", &["b=c"]);
        check("a -- a=2", "a", &[""]);
        check("", "a", &[]);
        assert_eq!(CommandLine::parse("panic=1 panic=0").last("panic"), Some("0"));
    }

    #[test]
    fn releases() {
        let release = Release::parse("VERSION=0.1.0\nBOARD=\"qemu-arm64\"\nBUILD_EPOCH=1790000000\nrubbish\n");
        assert_eq!((release.get("VERSION"), release.get("BOARD"), release.get("ARCH")), ("0.1.0", "qemu-arm64", ""));
        assert_eq!(release.build_epoch(), Some(Duration::from_secs(1_790_000_000)));
        assert_eq!(Release::parse("BUILD_EPOCH=x").build_epoch(), None);
    }
}
