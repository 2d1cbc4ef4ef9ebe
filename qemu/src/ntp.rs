//! A time server for guests, with a time of its own.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

/// Between 1900, where NTP counts from, and 1970, seconds.
const TO_UNIX: u64 = 2_208_988_800;
/// How often the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// A server whose time is ahead of the host's. It ends when it is dropped.
#[derive(Debug)]
pub struct TimeServer {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TimeServer {
    /// Begins to serve on a free port of the host's loopback.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(ahead: Duration) -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).context("find a free port")?;
        socket.set_read_timeout(Some(LOOK))?;
        let port = socket.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut request = [0; 128];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = socket.recv_from(&mut request)
                    && let Some(packet) = request.get(..length).and_then(|request| answer(request, ahead))
                {
                    // A guest that is gone asks no more.
                    let _ = socket.send_to(&packet, peer);
                }
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }

    /// As a node on QEMU's user network names it: 10.0.2.2 is the host.
    #[must_use]
    pub fn name(&self) -> String {
        format!("10.0.2.2:{}", self.port)
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// RFC 5905, section 7.3: version 4, mode 4, stratum 2, the request's time of sending, ours twice.
fn answer(request: &[u8], ahead: Duration) -> Option<[u8; 48]> {
    let asked = request.get(40..48)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()? + ahead;
    let time = ((now.as_secs() + TO_UNIX) << 32) | ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000);
    let mut packet = [0; 48];
    packet[..2].copy_from_slice(&[0x24, 2]);
    packet[24..32].copy_from_slice(asked);
    packet[32..40].copy_from_slice(&time.to_be_bytes());
    packet[40..].copy_from_slice(&time.to_be_bytes());
    Some(packet)
}
