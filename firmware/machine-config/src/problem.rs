//! Problems and warnings: where, and what.

use std::fmt;

/// How many problems are collected; the rest is only counted.
const MAX_PROBLEMS: usize = 100;

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the text, from 1; 0 when the problem has no place (something is missing altogether).
    pub line: usize,
    /// Path of the value (`machine.network.interfaces[0].mtu`); empty for the whole text.
    pub path: String,
    /// What is wrong and what would be right. Never shows a secret value.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Every problem of a configuration, in the order of the text. `Display` prints all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// The problems (at most a hundred).
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn add(&mut self, line: usize, path: impl Into<String>, text: impl Into<String>) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem { line, path: path.into(), text: text.into() });
        } else {
            self.more += 1;
        }
    }

    /// Adds those of another check, but for values of which something is said already: one reason is enough.
    pub(crate) fn add_new(&mut self, others: Self) {
        let known: std::collections::HashSet<(usize, String)> = self.list.iter().map(|known| (known.line, known.path.clone())).collect();
        let fresh = others.list.into_iter().filter(|other| !known.contains(&(other.line, other.path.clone())));
        for Problem { line, path, text } in fresh {
            self.add(line, path, text);
        }
        self.more += others.more;
    }

    /// The value when there is no problem, otherwise all problems in the order of the text.
    pub(crate) fn or<T>(mut self, value: T) -> Result<T, Self> {
        self.sort();
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Sorted by line, which makes the checks' order invisible.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|problem| problem.line);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len() + self.more;
        writeln!(f, "{count} {} occurred:", if count == 1 { "error" } else { "errors" })?;
        for problem in &self.list {
            writeln!(f, "\t* {problem}")?;
        }
        if self.more > 0 {
            writeln!(f, "\t* and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
