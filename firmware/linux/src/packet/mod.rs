//! Packets as a link carries them, through a packet socket (packet(7)).
//!
//! [`Capture`] waits in the kernel's own queue, whose size is bounded: what does not fit is dropped and counted by the kernel.
//! `control` reads what comes beside a packet (its time, its true length, its VLAN tag). Absent on purpose: file formats.

mod control;

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt},
};
use tokio::io::{Interest, unix::AsyncFd};

use control::{Beside, Tag};

/// Links with an Ethernet header, and loopback, which has one of zeroes (kernel: `if_arp.h`).
pub const ETHERNET: u16 = 1;
/// See [`ETHERNET`].
pub const LOOPBACK: u16 = 772;
/// Links whose packets begin with the IP header: WireGuard, tunnels without addresses of their own.
pub const HEADERLESS: [u16; 2] = [0xfffe, 519];

/// Most instructions of a filter (kernel: `BPF_MAXINSNS`).
pub const MOST_INSTRUCTIONS: usize = 4096;
/// What the kernel keeps for a reader that is slow, bytes.
const QUEUE: usize = 2 << 20;
/// Room for what comes beside a packet.
const CONTROL: usize = 256;
/// Hardware addresses of an Ethernet header: a VLAN tag comes after them.
const ADDRESSES: usize = 12;
/// Bytes of a VLAN tag.
const TAG: usize = 4;

// Of `if_packet.h` and `socket.h`; the library has them for some targets only.
const PACKET_ADD_MEMBERSHIP: libc::c_int = 1;
const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_AUXDATA: libc::c_int = 8;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const PACKET_MR_PROMISC: u16 = 1;

/// An instruction of a classic filter program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to jump over when true.
    pub jt: u8,
    /// The same when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What to capture.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Name of the link.
    pub link: &'a str,
    /// Also packets for others.
    pub promiscuous: bool,
    /// Bytes kept of each packet.
    pub snap: usize,
    /// The kernel runs it on each packet; an empty one takes all.
    pub filter: &'a [Instruction],
}

/// It cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No such link.
    #[error("there is no link {name:?}")]
    NoLink {
        /// The name.
        name: String,
    },
    /// The kernel checks filters before it runs them.
    #[error("the kernel refuses the filter of {count} instructions")]
    Filter {
        /// How many.
        count: usize,
        /// Its verdict.
        source: io::Error,
    },
    /// Anything else that the kernel refused.
    #[error("{what} on link {name:?}")]
    Socket {
        /// Which step.
        what: &'static str,
        /// Which link.
        name: String,
        /// Cause.
        source: io::Error,
    },
}

/// A packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When the kernel saw it, since the Unix epoch.
    pub at: Duration,
    /// Its bytes, at most as many as are kept.
    pub bytes: &'a [u8],
    /// How long it was, bytes.
    pub length: u32,
}

/// What the kernel counted since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that passed the filter.
    pub passed: u32,
    /// Those among them that were dropped, because the queue was full.
    pub dropped: u32,
}

/// A running capture. Ends when it is dropped; a link that is promiscuous for its sake is no longer so then.
#[derive(Debug)]
pub struct Capture {
    socket: AsyncFd<OwnedFd>,
    hardware: u16,
    snap: usize,
    buffer: Vec<u8>,
}

impl Capture {
    /// Begins. Needs a runtime.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn open(settings: &Settings<'_>) -> Result<Self, CaptureError> {
        let name = settings.link;
        let failed = |what| move |source| CaptureError::Socket { what, name: name.to_owned(), source };
        let index = index(name).map_err(failed("look up the link"))?;
        let index = index.ok_or_else(|| CaptureError::NoLink { name: name.to_owned() })?;
        // Of no protocol until it is bound: nothing comes in before the filter is there.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(io::Error::from);
        let socket = socket.map_err(failed("open a packet socket"))?;
        attach(&socket, settings.filter)?;
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE).map_err(io::Error::from).map_err(failed("bound the queue"))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(io::Error::from).map_err(failed("ask for times"))?;
        set(&socket, libc::SOL_PACKET, PACKET_AUXDATA, &1_i32).map_err(failed("ask for lengths"))?;
        let hardware = bind(&socket, index).map_err(failed("bind"))?;
        if hardware == LOOPBACK {
            // Each packet passes twice, out and in.
            set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32).map_err(failed("leave out what goes out"))?;
        }
        if settings.promiscuous {
            promiscuous(&socket, index).map_err(failed("take packets for others"))?;
        }
        // SAFETY: the descriptor is the socket's own, and the two are dropped together: it stays open while it is registered.
        let socket =
            unsafe { AsyncFd::register_with_interest(socket, interest()) }.map_err(io::Error::from).map_err(failed("wait for packets"))?;
        Ok(Self { socket, hardware, snap: settings.snap, buffer: vec![0; settings.snap + TAG] })
    }

    /// The link's kind (kernel: `if_arp.h`).
    #[must_use]
    pub const fn hardware(&self) -> u16 {
        self.hardware
    }

    /// Waits until there is a packet, or an error, to take. Nothing is lost when it is dropped before.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn wait(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.ready(interest()).await?;
            if is_there(self.socket.get_ref())? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// The next packet, if one is there.
    ///
    /// # Errors
    /// `ENETDOWN` when the link went down or away; others when the socket failed.
    pub fn take(&mut self) -> io::Result<Option<Packet<'_>>> {
        let room = self.buffer.get_mut(TAG..).unwrap_or_default();
        let mut control = [0; CONTROL];
        // Not by way of the reactor, which knows no single attempt for packets and errors together.
        let received = match receive(self.socket.get_ref(), room, &mut control) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let beside = Beside::read(control.get(..received.control).unwrap_or_default());
        let (start, added) = match beside.tag.filter(|_| matches!(self.hardware, ETHERNET | LOOPBACK)) {
            Some(tag) if received.length >= ADDRESSES => (put_back(&mut self.buffer, tag), TAG),
            _ => (TAG, 0),
        };
        let kept = (received.length + added).min(self.snap);
        let bytes = self.buffer.get(start..start + kept).unwrap_or_default();
        let truly = beside.length.unwrap_or(u32::try_from(received.length).unwrap_or(u32::MAX));
        let at = beside.at.unwrap_or_else(crate::clock::now);
        Ok(Some(Packet { at, bytes, length: truly.saturating_add(u32::try_from(added).unwrap_or(0)) }))
    }

    /// What was counted since the last time.
    ///
    /// # Errors
    /// The socket failed.
    pub fn counters(&self) -> io::Result<Counters> {
        let mut counted = [0_u32; 2];
        let mut size = libc::socklen_t::try_from(mem::size_of_val(&counted)).unwrap_or(0);
        // SAFETY: the kernel writes at most `size` bytes, which is how many there are, and any bytes are two numbers.
        let code = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                ptr::from_mut(&mut counted).cast(),
                &raw mut size,
            )
        };
        Errno::result(code)?;
        let [passed, dropped] = counted;
        Ok(Counters { passed, dropped })
    }
}

/// Whether a packet or an error can be taken.
fn is_there(socket: &OwnedFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut asked, PollTimeout::ZERO)? > 0)
}

/// Packets, and that the link went down: the kernel says that as an error and nothing else.
fn interest() -> Interest {
    Interest::READABLE | Interest::ERROR
}

/// Moves the addresses of a header to the front and puts the tag that the kernel took out behind them. Says where the packet begins.
fn put_back(buffer: &mut [u8], tag: Tag) -> usize {
    buffer.copy_within(TAG..TAG + ADDRESSES, 0);
    if let Some(room) = buffer.get_mut(ADDRESSES..ADDRESSES + TAG) {
        room.copy_from_slice(&tag.bytes());
    }
    0
}

fn index(name: &str) -> io::Result<Option<i32>> {
    // A longer name would be cut, and be another link's.
    let Some(name) = CString::new(name).ok().filter(|name| (1..libc::IFNAMSIZ).contains(&name.as_bytes().len())) else {
        return Ok(None);
    };
    match nix::net::if_::if_nametoindex(name.as_c_str()) {
        Ok(index) => Ok(i32::try_from(index).ok()),
        Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    count: libc::c_ushort,
    instructions: *const Instruction,
}

fn attach(socket: &OwnedFd, filter: &[Instruction]) -> Result<(), CaptureError> {
    if filter.is_empty() {
        return Ok(());
    }
    let refused = |source| CaptureError::Filter { count: filter.len(), source };
    let count = u16::try_from(filter.len()).ok().filter(|count| usize::from(*count) <= MOST_INSTRUCTIONS);
    let count = count.ok_or_else(|| refused(io::Error::from(Errno::E2BIG)))?;
    let program = Program { count, instructions: filter.as_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).map_err(refused)
}

/// Sets an option whose value is a C structure, which `value` has to be.
fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(0);
    // SAFETY: the kernel reads `size` bytes of `value`, which lives through the call; a `Program` points at as many instructions as it
    // says, which live through it, too.
    Errno::result(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(value).cast(), size) })?;
    Ok(())
}

/// Binds to the link, for all protocols; says what kind of link it is.
fn bind(socket: &OwnedFd, index: i32) -> io::Result<u16> {
    let protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be();
    let mut address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(17),
        sll_protocol: protocol,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut size = libc::socklen_t::try_from(mem::size_of_val(&address)).unwrap_or(0);
    // SAFETY: `address` is a packet socket's address of `size` bytes and lives through the call.
    Errno::result(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), size) })?;
    // SAFETY: the kernel writes at most `size` bytes, which is how many `address` has, and any bytes are one.
    Errno::result(unsafe { libc::getsockname(socket.as_raw_fd(), ptr::from_mut(&mut address).cast(), &raw mut size) })?;
    Ok(address.sll_hatype)
}

/// `struct packet_mreq`.
#[repr(C)]
struct Membership {
    index: i32,
    kind: u16,
    length: u16,
    address: [u8; 8],
}

fn promiscuous(socket: &OwnedFd, index: i32) -> io::Result<()> {
    let membership = Membership { index, kind: PACKET_MR_PROMISC, length: 0, address: [0; 8] };
    set(socket, libc::SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership)
}

/// What was written into the two buffers, bytes.
struct Received {
    length: usize,
    control: usize,
}

fn receive(socket: &OwnedFd, room: &mut [u8], control: &mut [u8]) -> io::Result<Received> {
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: a message header of zeroes has no address, no parts and no room.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the header's part and control data are the two buffers with their lengths; nobody else has them during the call.
    let length = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    Ok(Received { length: usize::try_from(length).unwrap_or(0), control: message.msg_controllen as _ })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_back_behind_the_addresses() {
        let mut buffer: Vec<u8> = [0; TAG].into_iter().chain(1..=20).collect();
        let start = put_back(&mut buffer, Tag { protocol: 0x8100, value: 0x2007 });
        let wanted: Vec<u8> = (1..=12).chain([0x81, 0, 0x20, 7]).chain(13..=20).collect();
        assert_eq!(&buffer[start..], wanted);
    }

    #[test]
    fn links_that_are_not_there() {
        for name in ["", "nothing", "a-name-that-is-much-too-long", "a\0b", "lo\0"] {
            assert_eq!(index(name).expect("looked up"), None, "{name:?}");
        }
    }
}
