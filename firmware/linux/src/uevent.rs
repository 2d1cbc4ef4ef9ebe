//! What the kernel says about devices that come, go and change.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket},
};
use tokio::io::unix::AsyncFd;

/// The multicast group that the kernel itself speaks to.
const KERNEL: u32 = 1;
/// Longest message, bytes (`UEVENT_BUFFER_SIZE` and a header).
const LONGEST: usize = 8 << 10;

/// An ear on the kernel's messages.
#[derive(Debug)]
pub struct Uevents {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Uevents {
    /// From now on. Needs a runtime.
    ///
    /// # Errors
    /// No such socket in this kernel, or not allowed.
    pub fn listen() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL))?;
        // SAFETY: the descriptor is the socket's own, and the two are dropped together: it stays open while it is registered.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket, buffer: vec![0; LONGEST] })
    }

    /// Ends with the next message about a device of `subsystem`, or when messages were lost. Nothing is lost when it is
    /// dropped before.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn about(&mut self, subsystem: &str) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            match heard(&self.socket, &mut self.buffer, subsystem)? {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => ready.clear_ready(),
            }
        }
    }

    /// Passes over what has been said so far: for a caller that looks at the devices themselves next.
    ///
    /// # Errors
    /// The socket failed.
    pub fn pass_over(&mut self) -> io::Result<()> {
        while heard(&self.socket, &mut self.buffer, "")?.is_some() {}
        Ok(())
    }
}

/// Whether the next message is about a subsystem; nothing when there is none.
fn heard(socket: &AsyncFd<OwnedFd>, buffer: &mut [u8], subsystem: &str) -> io::Result<Option<bool>> {
    match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer) {
        Ok((length, from)) => {
            // Programs may speak in this group, too.
            let kernel = from.is_some_and(|from| from.pid() == 0);
            Ok(Some(kernel && buffer.get(..length).is_some_and(|message| is_about(message, subsystem))))
        }
        Err(Errno::EAGAIN) => Ok(None),
        Err(Errno::EINTR) => Ok(Some(false)),
        // More was said than the socket holds: anything may have changed.
        Err(Errno::ENOBUFS) => Ok(Some(true)),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a message is about a device of a subsystem: `KEY=value` fields with zero bytes between them.
pub(crate) fn is_about(message: &[u8], subsystem: &str) -> bool {
    let fields = message.split(|byte| *byte == 0);
    fields.filter_map(|field| field.strip_prefix(b"SUBSYSTEM=")).any(|value| value == subsystem.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_subsystem() {
        let message = b"add@/devices/virtual/block/loop8\0ACTION=add\0DEVPATH=/devices/virtual/block/loop8\0SUBSYSTEM=block\0SEQNUM=7\0";
        for (message, subsystem, expect) in [
            (&message[..], "block", true),
            (message, "net", false),
            (message, "bloc", false),
            (b"SUBSYSTEM=block", "block", true),
            (b"MYSUBSYSTEM=block\0", "block", false),
            (b"", "block", false),
            (b"\0\0\0", "", false),
        ] {
            assert_eq!(is_about(message, subsystem), expect, "{}", String::from_utf8_lossy(message));
        }
    }

    #[tokio::test]
    async fn the_kernel_can_be_listened_to() {
        let mut uevents = Uevents::listen().expect("a socket");
        // Nobody has said anything yet: it waits, and can be dropped and asked again.
        for _ in 0..2 {
            assert!(tokio::time::timeout(std::time::Duration::from_millis(1), uevents.about("no such subsystem")).await.is_err());
        }
        uevents.pass_over().expect("a socket that works");
    }
}
