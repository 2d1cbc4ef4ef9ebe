//! Commands that print bytes as they come: kernel messages and logs, each line with its node in front.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use tonic::Streaming;
use wire::common::Data;

use crate::client::{Client, ClientError, next_data};

use super::{
    args,
    nodes::{Fleet, each},
};

pub async fn dmesg(fleet: &Fleet, args: args::Dmesg) -> Result<ExitCode> {
    let nodes = fleet.nodes(&args.insecure).await?;
    let follow = args.follow || args.tail;
    let call = async |node: String, client: Client| copy("Dmesg", &node, client.dmesg(follow, args.tail).await?).await;
    Ok(each(nodes, call).await.1)
}

pub async fn logs(fleet: &Fleet, args: args::Logs) -> Result<ExitCode> {
    let nodes = fleet.nodes(&args.insecure).await?;
    let args = &args;
    let call = async |node: String, client: Client| {
        copy("Logs", &node, client.logs_of(args.whose.into(), &args.id, args.follow, args.tail).await?).await
    };
    Ok(each(nodes, call).await.1)
}

/// Prints the stream to its end. That the server ends it by cancelling is an end like any other.
async fn copy(method: &'static str, node: &str, mut stream: Streaming<Data>) -> Result<()> {
    let mut lines = Lines::new(node);
    loop {
        match next_data(method, &mut stream).await {
            Ok(Some(bytes)) => lines.take(&bytes, &mut io::stdout().lock())?,
            Ok(None) => break,
            Err(ClientError::Call { status, .. }) if status.code() == tonic::Code::Cancelled => break,
            Err(error) => {
                lines.end(&mut io::stdout().lock())?;
                return Err(error.into());
            }
        }
    }
    lines.end(&mut io::stdout().lock())
}

/// Cuts bytes into lines and prints each with its node. A line that never ends is printed in pieces.
struct Lines<'a> {
    node: &'a str,
    rest: Vec<u8>,
}

/// Longest piece kept back while its end is missing.
const MAX_LINE: usize = 64 << 10;

impl<'a> Lines<'a> {
    const fn new(node: &'a str) -> Self {
        Self { node, rest: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8], out: &mut impl Write) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        let cut = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if self.rest.len() > MAX_LINE => self.rest.len(),
            None => return Ok(()),
        };
        let rest = self.rest.split_off(cut);
        let whole = std::mem::replace(&mut self.rest, rest);
        for line in whole.strip_suffix(b"\n").unwrap_or(&whole).split(|byte| *byte == b'\n') {
            print(self.node, line, out)?;
        }
        out.flush().context("print")
    }

    fn end(&mut self, out: &mut impl Write) -> Result<()> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            print(self.node, &rest, out)?;
        }
        out.flush().context("print")
    }
}

fn print(node: &str, line: &[u8], out: &mut impl Write) -> Result<()> {
    let text = String::from_utf8_lossy(line);
    // A node must not drive the terminal of the one who reads its log.
    let clean: String = text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    writeln!(out, "{node}: {clean}").context("print")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], wanted: &str) {
        let mut lines = Lines::new("n");
        let mut out = Vec::new();
        for chunk in chunks {
            lines.take(chunk, &mut out).expect("printed");
        }
        lines.end(&mut out).expect("printed");
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }

    #[test]
    fn chunks_become_lines() {
        check(&[b"one\ntw", b"o\n\nthr", b"ee"], "n: one\nn: two\nn: \nn: three\n");
        check(&[], "");
        check(&[b"\xff\x1b[2J\n"], "n: \u{fffd}\u{fffd}[2J\n");
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut lines = Lines::new("n");
        let mut out = Vec::new();
        for _ in 0..1000 {
            lines.take(&[b'x'; 1000], &mut out).expect("printed");
            assert!(lines.rest.len() <= MAX_LINE);
        }
    }
}
