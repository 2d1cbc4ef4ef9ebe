//! The kernel's word that something changed. What changed is read anew from the kernel, so a lost or overrun message
//! (ENOBUFS) costs nothing: it is a change like any other.

use std::{io, time::Duration};

use rtnetlink::{
    constants::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK},
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use tokio::time::{Instant, sleep_until};

/// Groups of rules; the library has no names for them (`RTNLGRP_IPV4_RULE` is 8, `RTNLGRP_IPV6_RULE` 19).
const RULES: u32 = 1 << 7 | 1 << 18;
/// Messages are only counted, so a cut one is as good as a whole one.
const BUFFER: usize = 4096;
/// Changes closer together than this are one: pods coming and going make hundreds.
const TOGETHER: Duration = Duration::from_millis(20);

/// A subscription.
pub struct Changes {
    socket: TokioSocket,
    not_before: Instant,
}

impl Changes {
    /// Subscribes to links, addresses, routes and rules.
    ///
    /// # Errors
    /// The socket's.
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | RULES;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(Self { socket, not_before: Instant::now() })
    }

    /// Waits for the next change; changes close together are answered once. Dropped half-way it may have eaten a change:
    /// the caller reads the kernel after every wait, whatever ended it.
    ///
    /// # Errors
    /// The socket's, other than an overrun.
    pub async fn next(&mut self) -> io::Result<()> {
        self.one().await?;
        sleep_until(self.not_before).await;
        self.not_before = Instant::now() + TOGETHER;
        // What has come so far is covered by the reading that follows.
        while let Some(more) = futures_util::FutureExt::now_or_never(self.one()) {
            more?;
        }
        Ok(())
    }

    async fn one(&self) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        match self.socket.recv(&mut buffer).await {
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => Ok(()),
            other => other,
        }
    }
}
