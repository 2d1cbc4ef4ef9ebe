//! Packets of a link as a stream, in the format of `pcap`.
//!
//! The stream takes packets when the client takes the stream: what comes in between waits in the kernel's queue, which drops and
//! counts what does not fit. It ends with the client, the node or the link.

mod pcap;

use std::{io, num::TryFromIntError, sync::Arc};

use futures_util::{StreamExt, stream};
use linux::packet::{self, Capture, CaptureError, Instruction, Settings};
use nix::errno::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use wire::{
    common::Data,
    machine::{BpfInstruction, PacketCaptureRequest},
};

use super::{
    Context, Replies,
    streams::{data, until_stop},
};
use pcap::LinkType;

/// Captures at the same time; each has its queue in the kernel.
const CAPTURES: usize = 4;
/// Bytes of each packet when the request does not say.
const DEFAULT_SNAP: u32 = 65535;
/// The most: more than any packet has, and what programs that read the format accept.
const LARGEST_SNAP: u32 = 262_144;
/// A message is sent on when it has so many bytes, or when no more packets are there.
const MESSAGE: usize = 32 * 1024;

/// Turns for captures.
#[derive(Clone, Debug)]
pub(super) struct Captures(Arc<Semaphore>);

impl Default for Captures {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CAPTURES)))
    }
}

/// What a request means.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    link: String,
    promiscuous: bool,
    snap: u32,
    filter: Vec<Instruction>,
}

pub(super) fn capture(context: &Context, request: PacketCaptureRequest) -> Result<Replies<Data>, Status> {
    let Wanted { link, promiscuous, snap, filter } = understood(request)?;
    let turn = Arc::clone(&context.captures.0).try_acquire_owned();
    let turn = turn.map_err(|_| Status::resource_exhausted(format!("{CAPTURES} captures are running; end one of them")))?;
    let settings = Settings { link: &link, promiscuous, snap: usize::try_from(snap).unwrap_or(0), filter: &filter };
    let capture = Capture::open(&settings).map_err(|error| status(&error))?;
    let link_type = link_type(capture.hardware(), &link)?;
    log::info!(target: "api", "capturing packets on {link} (promiscuous: {promiscuous}, {} instructions of filter)", filter.len());
    let running = Running { capture, link, packets: 0, problem: None, _turn: turn };
    let first = stream::once(std::future::ready(Ok(data(pcap::header(snap, link_type).to_vec()))));
    let packets = stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        match running.next().await {
            Ok(bytes) => Some((Ok(data(bytes)), Some(running))),
            Err(status) => Some((Err(status), None)),
        }
    });
    Ok(until_stop(context, first.chain(packets)))
}

fn understood(request: PacketCaptureRequest) -> Result<Wanted, Status> {
    let PacketCaptureRequest { interface, promiscuous, snap_len, bpf_filter } = request;
    if interface.is_empty() {
        return Err(Status::invalid_argument("the name of a link is required"));
    }
    let snap = if snap_len == 0 { DEFAULT_SNAP } else { snap_len };
    if snap > LARGEST_SNAP {
        return Err(Status::invalid_argument(format!("snap_len {snap} is more than {LARGEST_SNAP}")));
    }
    if bpf_filter.len() > packet::MOST_INSTRUCTIONS {
        let most = packet::MOST_INSTRUCTIONS;
        return Err(Status::invalid_argument(format!("the filter has {} instructions, more than {most}", bpf_filter.len())));
    }
    let number = |(at, wire): (usize, &BpfInstruction)| {
        instruction(wire).map_err(|_| Status::invalid_argument(format!("instruction {at} of the filter has a number that is too large")))
    };
    let filter = bpf_filter.iter().enumerate().map(number).collect::<Result<_, _>>()?;
    Ok(Wanted { link: interface, promiscuous, snap, filter })
}

fn instruction(wire: &BpfInstruction) -> Result<Instruction, TryFromIntError> {
    Ok(Instruction { code: wire.op.try_into()?, jt: wire.jt.try_into()?, jf: wire.jf.try_into()?, k: wire.k })
}

/// Rule: behaviour (c), "PacketCapture".
fn link_type(hardware: u16, link: &str) -> Result<LinkType, Status> {
    match hardware {
        packet::ETHERNET | packet::LOOPBACK => Ok(LinkType::Ethernet),
        kind if packet::HEADERLESS.contains(&kind) => Ok(LinkType::Ip),
        kind => {
            Err(Status::invalid_argument(format!("packets of {link} cannot be captured: links of kind {kind} have headers of their own")))
        }
    }
}

fn status(error: &CaptureError) -> Status {
    let text = daemon::report(error).to_string();
    match error {
        CaptureError::NoLink { .. } => Status::not_found(text),
        CaptureError::Filter { source, .. } if source.raw_os_error() == Some(Errno::ENOMEM as i32) => Status::resource_exhausted(text),
        CaptureError::Filter { .. } => Status::invalid_argument(text),
        CaptureError::Socket { .. } => Status::internal(text),
    }
}

/// A capture that somebody reads.
struct Running {
    capture: Capture,
    link: String,
    packets: u64,
    /// What ends the stream once the packets before it are sent: the kernel says it once only.
    problem: Option<io::Error>,
    _turn: OwnedSemaphorePermit,
}

impl Running {
    /// The next packets, as many as are there.
    async fn next(&mut self) -> Result<Vec<u8>, Status> {
        let mut out = Vec::new();
        while self.problem.is_none() && out.is_empty() {
            self.problem = self.capture.wait().await.err();
            while self.problem.is_none() && out.len() < MESSAGE {
                match self.capture.take() {
                    Ok(Some(packet)) => pcap::append(&mut out, packet.at, packet.bytes, packet.length),
                    Ok(None) => break,
                    Err(error) => {
                        self.problem = Some(error);
                        break;
                    }
                }
                self.packets += 1;
            }
        }
        match &self.problem {
            Some(error) if out.is_empty() => Err(self.failed(error)),
            _ => Ok(out),
        }
    }

    fn failed(&self, error: &io::Error) -> Status {
        match error.raw_os_error() {
            Some(code) if code == Errno::ENETDOWN as i32 => Status::unavailable(format!("link {} went down", self.link)),
            _ => Status::internal(format!("capture packets on {}: {error}", self.link)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let dropped = self.capture.counters().map_or_else(|error| error.to_string(), |counters| counters.dropped.to_string());
        let (link, packets) = (&self.link, self.packets);
        log::info!(target: "api", "the capture on {link} ended: {packets} packets sent, {dropped} dropped because the client was slow");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    fn request(interface: &str, snap_len: u32, bpf_filter: Vec<BpfInstruction>) -> PacketCaptureRequest {
        PacketCaptureRequest { interface: interface.to_owned(), promiscuous: false, snap_len, bpf_filter }
    }

    const RETURN: BpfInstruction = BpfInstruction { op: 6, jt: 0, jf: 0, k: 64 };

    #[test]
    fn requests_are_understood() {
        let wanted = understood(request("eth0", 0, vec![RETURN])).expect("understood");
        let filter = vec![Instruction { code: 6, jt: 0, jf: 0, k: 64 }];
        assert_eq!(wanted, Wanted { link: "eth0".into(), promiscuous: false, snap: DEFAULT_SNAP, filter });
        assert_eq!(understood(request("lo", LARGEST_SNAP, vec![])).expect("understood").snap, LARGEST_SNAP);
    }

    #[test]
    fn limits_and_numbers_are_checked() {
        for (request, expect) in [
            (request("", 0, vec![]), "name of a link"),
            (request("lo", LARGEST_SNAP + 1, vec![]), "more than 262144"),
            (request("lo", 0, vec![RETURN; packet::MOST_INSTRUCTIONS + 1]), "more than 4096"),
            (request("lo", 0, vec![RETURN, BpfInstruction { op: 1 << 16, ..RETURN }]), "instruction 1 of"),
            (request("lo", 0, vec![BpfInstruction { jt: 256, ..RETURN }]), "instruction 0 of"),
            (request("lo", 0, vec![BpfInstruction { jf: u32::MAX, ..RETURN }]), "instruction 0 of"),
        ] {
            let status = understood(request).expect_err(expect);
            assert!(status.code() == Code::InvalidArgument && status.message().contains(expect), "{status}");
        }
    }

    #[test]
    fn kinds_of_links() {
        for (kind, wanted) in [(1, Some(LinkType::Ethernet)), (772, Some(LinkType::Ethernet)), (0xfffe, Some(LinkType::Ip)), (801, None)] {
            assert_eq!(link_type(kind, "x").ok(), wanted, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn any_numbers_are_kept_or_refused(op: u32, jt: u32, jf: u32, k: u32) {
            let wire = BpfInstruction { op, jt, jf, k };
            if let Ok(Instruction { code, jt: yes, jf: no, k: operand }) = instruction(&wire) {
                prop_assert_eq!((u32::from(code), u32::from(yes), u32::from(no), operand), (op, jt, jf, k));
            } else {
                prop_assert!(op > 0xffff || jt > 0xff || jf > 0xff);
            }
        }
    }
}
