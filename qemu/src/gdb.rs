//! The debugger's protocol, as much as it takes to wedge a machine or to crash a process in it
//! (<https://sourceware.org/gdb/current/onlinedocs/gdb.html/Remote-Protocol.html>).

use std::{
    io::{BufReader, Read, Write},
    ops::Range,
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{Arch, limits};

/// How long the machine runs between two looks at where it is: short, because what is looked for may be rare.
const GLANCE: Duration = Duration::from_millis(2);

/// A connection to QEMU's debugger stub. The machine stands still while there is one.
#[derive(Debug)]
pub struct Debugger {
    stream: BufReader<UnixStream>,
}

impl Debugger {
    /// Connects, and thereby stops the machine.
    ///
    /// # Errors
    /// When the stub does not answer within [`limits::MONITOR`].
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("connect to QEMU's debugger stub {}", socket.display()))?;
        stream.set_read_timeout(Some(limits::MONITOR))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Lets every processor run into an endless loop with interrupts masked as soon as the machine goes on: what a kernel
    /// that has wedged looks like from outside.
    ///
    /// # Errors
    /// When the stub refuses a command.
    pub fn wedge(&mut self, arch: Arch) -> Result<()> {
        // x86: `cli; hlt; jmp` back to the `hlt`. arm64: `msr daifset, #15; wfi; b` back to the `wfi`.
        let code: &[u8] = match arch {
            Arch::X86_64 => &[0xfa, 0xf4, 0xeb, 0xfd],
            Arch::Arm64 => &[0xdf, 0x4f, 0x03, 0xd5, 0x7f, 0x20, 0x03, 0xd5, 0xff, 0xff, 0xff, 0x17],
        };
        for processor in self.processors()? {
            let address = self.position(&processor, arch)?;
            let mut line = format!("M{address:x},{:x}:", code.len());
            code.iter().for_each(|byte| line.push_str(&format!("{byte:02x}")));
            self.agreed(&line)?;
        }
        Ok(())
    }

    /// Lets the machine run until a processor is somewhere in `program`, and makes it go on at address 0: a process that has its code
    /// there dies of that.
    ///
    /// # Errors
    /// When no processor comes by within `limit`, or the stub refuses a command.
    pub fn crash(&mut self, arch: Arch, program: &Range<u64>, limit: Duration) -> Result<()> {
        let start = Instant::now();
        let processors = self.processors()?;
        loop {
            for processor in &processors {
                if program.contains(&self.position(processor, arch)?) {
                    return self.agreed(&format!("P{:x}={:016x}", counter(arch), 0));
                }
            }
            ensure!(start.elapsed() < limit, "waited {limit:?} for a processor in {program:x?}");
            self.glance()?;
        }
    }

    /// Lets the machine run for a moment.
    fn glance(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(packet("c").as_bytes()).context("let the machine go on")?;
        thread::sleep(GLANCE);
        // Not a packet: the byte of an interrupt from the keyboard.
        self.stream.get_mut().write_all(&[3]).context("stop the machine")?;
        let answer = self.answer().context("wait for the machine to stop")?;
        self.stream.get_mut().write_all(b"+")?;
        ensure!(answer.starts_with(['T', 'S']), "the stub answers {answer:?} to an interrupt");
        Ok(())
    }

    /// The names of the processors; the stub gives some with each answer, and an `l` when there are no more.
    fn processors(&mut self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut answer = self.command("qfThreadInfo")?;
        while let Some(more) = answer.strip_prefix('m') {
            names.extend(more.split(',').map(str::to_owned));
            answer = self.command("qsThreadInfo")?;
        }
        ensure!(answer == "l" && !names.is_empty(), "the stub lists no processors but {answer:?} after {names:?}");
        Ok(names)
    }

    /// Where a processor is; the next commands are about it.
    fn position(&mut self, processor: &str, arch: Arch) -> Result<u64> {
        self.agreed(&format!("Hg{processor}"))?;
        little_endian(&self.command(&format!("p{:x}", counter(arch)))?)
    }

    /// Lets the machine go on and leaves it.
    ///
    /// # Errors
    /// When the stub refuses.
    pub fn detach(mut self) -> Result<()> {
        self.agreed("D")
    }

    fn agreed(&mut self, command: &str) -> Result<()> {
        let answer = self.command(command)?;
        ensure!(answer == "OK", "the stub answers {answer:?} to {command}");
        Ok(())
    }

    /// Sends a command and takes its answer. What the stub says unasked (why it has stopped) is passed over.
    fn command(&mut self, command: &str) -> Result<String> {
        let packet = packet(command);
        self.stream.get_mut().write_all(packet.as_bytes()).with_context(|| format!("send {command} to the stub"))?;
        loop {
            let answer = self.answer().with_context(|| format!("read the stub's answer to {command}"))?;
            self.stream.get_mut().write_all(b"+")?;
            if !answer.starts_with(['T', 'S']) {
                return Ok(answer);
            }
        }
    }

    /// The next packet's content: `$content#xx`; acknowledgements before it are passed over.
    fn answer(&mut self) -> Result<String> {
        let mut content = Vec::new();
        while self.byte()? != b'$' {}
        loop {
            match self.byte()? {
                b'#' => break,
                byte => content.push(byte),
            }
        }
        let sum = [self.byte()?, self.byte()?];
        let content = String::from_utf8(content)?;
        ensure!(packet(&content).as_bytes().ends_with(&sum), "a packet with a wrong sum: {content:?}");
        Ok(content)
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

/// The number of the register that says where a processor is.
const fn counter(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => 16,
        Arch::Arm64 => 32,
    }
}

fn packet(content: &str) -> String {
    let sum = content.bytes().fold(0_u8, u8::wrapping_add);
    format!("${content}#{sum:02x}")
}

/// A register's value: hexadecimal bytes, the lowest first.
fn little_endian(text: &str) -> Result<u64> {
    ensure!(text.len() == 16, "no register but {text:?}");
    let number = u64::from_str_radix(text, 16).with_context(|| format!("no register but {text:?}"))?;
    Ok(number.swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_their_sum() {
        assert_eq!(packet("OK"), "$OK#9a");
        assert_eq!(packet(""), "$#00");
        assert_eq!(little_endian("efcdab8967452301").unwrap(), 0x0123_4567_89ab_cdef);
        for wrong in ["E01", "", "xxxxxxxxxxxxxxxx"] {
            assert!(little_endian(wrong).is_err(), "{wrong}");
        }
    }
}
