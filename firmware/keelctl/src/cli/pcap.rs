//! `pcap`: packets of a node's link, as a file for tcpdump and Wireshark.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tonic::{Code, Streaming};
use wire::{
    common::Data,
    machine::{BpfInstruction, PacketCaptureRequest},
};

use crate::client::{ClientError, next_data};

use super::{args, nodes::Fleet, progress::Transfer};

/// Longest filter, instructions: the kernel's limit.
const MAX_FILTER: usize = 4096;

pub async fn run(fleet: &Fleet, args: &args::Pcap) -> Result<ExitCode> {
    let bpf_filter = args.bpf_filter.as_deref().map(filter).transpose().context("use --bpf-filter")?.unwrap_or_default();
    let duration = args.duration.map(Duration::try_from).transpose().context("use --duration")?;
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        bail!("packets are nothing for a terminal: name a file with --output, or `keelctl pcap -o - | tcpdump -r -`");
    }
    let (name, client) = fleet.one("pcap").await?;
    let failed = || format!("capture packets of {} of node {name}", args.interface);
    let request =
        PacketCaptureRequest { interface: args.interface.clone(), promiscuous: args.promiscuous, snap_len: args.snaplen, bpf_filter };
    let stream = client.capture(request).await.with_context(failed)?;
    let mut out = Out { path: (!to_stdout).then_some(args.output.as_path()), file: None };
    let progress = Transfer::start(format!("packets of {} of {name}", args.interface), None);
    let copying = copy(stream, &mut out, &progress);
    tokio::select! {
        done = copying => done.with_context(failed)?,
        () = over(duration) => {}
        signal = tokio::signal::ctrl_c() => signal.context("wait for a key")?,
    }
    out.flush().context("write the packets")?;
    let bytes = progress.bytes();
    drop(progress);
    match bytes {
        0 => eprintln!("no packet came, and no file was made"),
        bytes => eprintln!("{bytes} bytes in {}", args.output.display()),
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that is made with the first packet, or standard output.
struct Out<'a> {
    path: Option<&'a Path>,
    file: Option<File>,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(path) = self.path else { return io::stdout().write(bytes) };
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => self.file.insert(File::create(path)?).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.flush(),
            None => io::stdout().flush(),
        }
    }
}

async fn over(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Writes what comes. That the time is over is an end like any other.
async fn copy(mut stream: Streaming<Data>, out: &mut impl Write, progress: &Transfer) -> Result<()> {
    loop {
        match next_data("PacketCapture", &mut stream).await {
            Ok(Some(bytes)) => {
                // Each piece is written through: the file is whole whenever it ends.
                out.write_all(&bytes).and_then(|()| out.flush()).context("write the packets")?;
                progress.add(bytes.len());
            }
            Ok(None) => return Ok(()),
            Err(ClientError::Call { status, .. }) if status.code() == Code::DeadlineExceeded => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A compiled filter as `tcpdump -ddd` prints it: the count, then four numbers a line.
fn filter(text: &str) -> Result<Vec<BpfInstruction>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let count: usize = lines.next().context("it is empty")?.parse().context("its first line must be the number of instructions")?;
    let program = lines.map(instruction).collect::<Result<Vec<_>>>()?;
    ensure!(program.len() == count, "it has {} instructions and says {count}", program.len());
    ensure!(count <= MAX_FILTER, "it has more than {MAX_FILTER} instructions");
    Ok(program)
}

fn instruction(line: &str) -> Result<BpfInstruction> {
    let numbers: Vec<u32> =
        line.split_whitespace().map(str::parse).collect::<Result<_, _>>().with_context(|| format!("{line:?} has no four numbers"))?;
    let [op, jt, jf, k] = numbers[..] else { bail!("{line:?} has no four numbers") };
    ensure!(op <= 0xffff && jt <= 0xff && jf <= 0xff, "{line:?} is no instruction: a number in it is too large");
    Ok(BpfInstruction { op, jt, jf, k })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compiled_filters_are_read() {
        let arp = "4\n40 0 0 12\n21 0 1 2054\n6 0 0 262144\n6 0 0 0\n";
        let program = filter(arp).expect("a program");
        assert_eq!((program.len(), program[1].op, program[1].jf, program[1].k), (4, 21, 1, 2054));
        for (text, wanted) in [
            ("", "empty"),
            ("tcp port 80", "number of instructions"),
            ("2\n6 0 0 0", "says 2"),
            ("1\n6 0 0", "no four numbers"),
            ("1\n6 0 0 x", "no four numbers"),
            ("1\n6 256 0 0", "too large"),
        ] {
            let error = filter(text).expect_err(text);
            assert!(format!("{error:#}").contains(wanted), "{error:#}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_an_error(text in "[0-9 \n a]{0,200}") {
            if let Ok(program) = filter(&text) {
                prop_assert!(program.len() <= MAX_FILTER);
            }
        }
    }
}
