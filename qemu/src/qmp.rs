//! QEMU's monitor protocol, as much as tests need: one command, one answer.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::limits;

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the socket, waiting for QEMU to make it.
    ///
    /// # Errors
    /// When it does not answer within [`limits::MONITOR`].
    pub fn connect(socket: &Path) -> Result<Self> {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if start.elapsed() > limits::MONITOR => {
                    return Err(error).with_context(|| format!("connect to QEMU's monitor {}", socket.display()));
                }
                Err(_) => thread::sleep(limits::POLL),
            }
        };
        stream.set_read_timeout(Some(limits::MONITOR))?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        monitor.read().context("read the monitor's greeting")?;
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs a command and returns its `return` value; events that arrive meanwhile are passed over.
    ///
    /// # Errors
    /// When QEMU refuses the command or does not answer in time.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{request}").with_context(|| format!("send {command} to the monitor"))?;
        loop {
            let answer = self.read().with_context(|| format!("read the monitor's answer to {command}"))?;
            if let Some(error) = answer.get("error") {
                bail!("the monitor refused {command}: {error}");
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        anyhow::ensure!(self.stream.read_line(&mut line)? > 0, "the monitor closed the connection");
        Ok(serde_json::from_str(&line)?)
    }
}
