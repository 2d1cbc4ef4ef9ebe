//! Runs other programs: an error names the command line and how it ended.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// The command line, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs it on this terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    let status = command.status().with_context(|| format!("start {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// Runs it and returns what it prints; its errors go to this terminal.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let line = shown(command);
    let done = command.stderr(Stdio::inherit()).output().with_context(|| format!("start {line}"))?;
    ensure!(done.status.success(), "{line}: {}", done.status);
    Ok(done.stdout)
}

/// Results of test binaries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and programs that ended badly without having counted one.
    pub failed: u64,
}

impl Counts {
    /// Adds what one line of a test program's output says, if it is a summary.
    pub fn read(&mut self, line: &str) {
        let Some((_, summary)) = line.split_once("test result: ") else { return };
        let numbers = summary.split([';', '.']).map(str::trim);
        for part in numbers {
            match part.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// Sum of both.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs test programs, passes their output on and counts the results.
///
/// A command that fails without a counted failure (a test that does not compile, a program that was killed) counts as one.
pub fn run_tests(command: &mut Command) -> Result<Counts> {
    let line = shown(command);
    eprintln!("$ {line}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("start {line}"))?;
    let Some(output) = child.stdout.take() else { bail!("{line}: no standard output") };
    let mut counts = Counts::default();
    for text in BufReader::new(output).lines() {
        let text = text.with_context(|| format!("read the output of {line}"))?;
        println!("{text}");
        counts.read(&text);
    }
    let status = child.wait().with_context(|| format!("wait for {line}"))?;
    if !status.success() && counts.failed == 0 {
        eprintln!("{line}: {status}");
        counts.failed = 1;
    }
    Ok(counts)
}

/// A step that passes or fails as a whole, counted like one test.
pub fn as_test(name: &str, result: Result<()>) -> Counts {
    match result {
        Ok(()) => {
            println!("{name} ... ok");
            Counts { passed: 1, failed: 0 }
        }
        Err(error) => {
            println!("{name} ... FAILED\n{error:#}");
            Counts { passed: 0, failed: 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], passed: u64, failed: u64) {
        let mut counts = Counts::default();
        for line in lines {
            counts.read(line);
        }
        assert_eq!(counts, Counts { passed, failed }, "{lines:?}");
    }

    #[test]
    fn summaries_are_counted_and_nothing_else() {
        check(&[], 0, 0);
        check(&["test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s"], 12, 0);
        check(&["test a ... ok", "test result: FAILED. 3 passed; 2 failed; 0 ignored", "test result: ok. 1 passed; 0 failed"], 4, 2);
        check(&["3 passed; 2 failed"], 0, 0);
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failure() {
        assert_eq!(run_tests(&mut Command::new("false")).unwrap(), Counts { passed: 0, failed: 1 });
        assert_eq!(run_tests(&mut Command::new("true")).unwrap(), Counts::default());
    }
}
