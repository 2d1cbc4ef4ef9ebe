//! `docs/api-coverage.md`: rows to a page, and back.

use std::{error::Error, fmt::Write};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tonic::{Code, Status};
use wire::methods::{self, Method};

/// The page, relative to the project.
pub const PAGE: &str = "docs/api-coverage.md";

/// Longest text of an answer on the page, characters.
const LONGEST: usize = 160;

const HEAD: &str = "# The machine API, method by method\n\n\
    What a configured node answered when the suite `coverage` called each method as the administrator, with a request that does no harm.\n\
    The suite fails when this page is not what it saw, and `cargo test -p apid --test roles` when a row is missing or its callers or\n\
    its state are not true; `KEELSON_WRITE=1` with the latter mends those rows, and with `cargo test -p qemu --test docs` the page is\n\
    written anew from what the suite last saw.\n\n\
    - **kind**: `unary`, or who sends a stream.\n\
    - **who**: roles that may call it: **A**dmin, **O**perator, **R**eader, **E**tcd backup, **I**mage verifier, **M**eta writer;\n  \
      `*`: while the node has no configuration, everybody. Everybody has the reader's role then.\n\
    - **answer**: `done`; `unimplemented` with the sentence that it gave; else the code and the text, because the request was made to be\n  \
      refused or the node lacks what it is about.\n\n\
    | service | method | kind | who | asked with | answer |\n|---|---|---|---|---|---|\n";

/// What a method answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did what it was asked for.
    Done,
    /// It is not there, and says so.
    Unimplemented(String),
    /// Code and text.
    Refused(String),
}

impl Answer {
    /// From what came over the wire.
    ///
    /// # Errors
    /// When the node did not answer.
    pub fn of(answer: &Result<Option<Bytes>, Status>) -> Result<Self> {
        Ok(match answer {
            Ok(_) => Self::Done,
            Err(status) if status.source().is_some() => {
                return Err(anyhow::Error::from(status.clone()).context("the node did not answer"));
            }
            Err(status) if status.code() == Code::Unimplemented => Self::Unimplemented(short(status.message())),
            Err(status) => Self::Refused(short(&format!("{:?}: {}", status.code(), status.message()))),
        })
    }

    /// Whether the method is there, whatever it answered.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        !matches!(self, Self::Unimplemented(_))
    }
}

/// A method on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The method.
    pub method: &'static Method,
    /// Letters of the roles that may call it.
    pub who: String,
    /// Whether everybody may while the node has no configuration.
    pub open: bool,
    /// What it was asked with, in words.
    pub about: String,
    /// What it answered.
    pub answer: Answer,
}

/// On one line, without what would end a cell of the table, and not too long.
fn short(text: &str) -> String {
    let plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    match plain.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", &plain[..at]),
        None => plain,
    }
}

const fn kind(method: &Method) -> &'static str {
    match (method.client_stream, method.server_stream) {
        (false, false) => "unary",
        (false, true) => "server stream",
        (true, false) => "client stream",
        (true, true) => "both streams",
    }
}

/// The page with these rows, and a count of them.
#[must_use]
pub fn write(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    for Row { method, who, open, about, answer } in rows {
        let open = if *open { " *" } else { "" };
        let answer = match answer {
            Answer::Done => "done".to_owned(),
            Answer::Unimplemented(text) => format!("unimplemented: {text}"),
            Answer::Refused(text) => text.clone(),
        };
        // A String takes everything.
        let _ = writeln!(page, "| `{}` | `{}` | {} | {who}{open} | {about} | {answer} |", method.service(), method.name(), kind(method));
    }
    let there = rows.iter().filter(|row| row.answer.is_there()).count();
    let _ = writeln!(page, "\n{there} of {} methods are there.", rows.len());
    page
}

/// The rows of a page.
///
/// # Errors
/// When a line of the table is not one, or names a method that is none.
pub fn read(page: &str) -> Result<Vec<Row>> {
    page.lines().filter(|line| line.starts_with("| `")).map(|line| row(line).with_context(|| format!("the row {line}"))).collect()
}

fn row(line: &str) -> Result<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [service, name, _, callers, about, answer] = cells[..] else { bail!("{} cells instead of six", cells.len()) };
    let path = format!("/{}/{}", service.trim_matches('`'), name.trim_matches('`'));
    let method = methods::find(&path).context("no such method")?;
    let (who, open) = callers.strip_suffix('*').map_or((callers, false), |who| (who.trim_end(), true));
    let answer = match answer.split_once("unimplemented: ") {
        Some(("", text)) => Answer::Unimplemented(text.to_owned()),
        _ if answer == "done" => Answer::Done,
        _ => Answer::Refused(answer.to_owned()),
    };
    Ok(Row { method, who: who.to_owned(), open, about: about.to_owned(), answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &str, who: &str, open: bool, answer: Answer) -> Row {
        Row { method: methods::find(path).expect("known"), who: who.to_owned(), open, about: "`/`".to_owned(), answer }
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let status = |code, text: &str| Answer::of(&Err(Status::new(code, text.to_owned()))).expect("an answer");
        let rows = vec![
            sample("/machine.MachineService/Version", "AOR", true, Answer::of(&Ok(None)).expect("an answer")),
            sample("/machine.MachineService/Bootstrap", "A", false, status(Code::Unimplemented, "not\nhere | yet")),
            sample("/machine.MachineService/Reset", "", false, status(Code::InvalidArgument, &"x".repeat(400))),
        ];
        let page = write(&rows);
        assert_eq!(read(&page).expect("rows"), rows);
        assert!(page.ends_with("\n2 of 3 methods are there.\n"), "{page}");
    }

    #[test]
    fn silence_is_no_answer() {
        Answer::of(&Err(Status::from_error("gone".into()))).expect_err("no answer of the node's");
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for line in ["| `a` | `b` |", "| `machine.MachineService` | `None` | unary | A |  | done |"] {
            read(line).expect_err(line);
        }
    }
}
