//! A virtual network between machines, with the harness on it: a hub over unix datagrams, one a frame.
//!
//! [`Lan::plug`] gives cables for [`crate::Machine::cables`]. The harness asks machines by ARP, ICMP and TCP
//! ([`Lan::ping`], [`Lan::opens`]) and serves DHCP and DNS ([`Lan::serve_dhcp`], [`Lan::serve_dns`]). [`frame`], [`dhcp`] and [`dns`] are pure.

pub mod dhcp;
pub mod dns;
pub mod frame;

use std::{
    collections::VecDeque,
    io,
    net::Ipv4Addr,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use dhcp::{Orders, Seen};
use frame::{Frame, Payload};
use tempfile::TempDir;

use crate::limits;

/// The harness's hardware address.
pub const HARNESS: [u8; 6] = [0x02, 0x4b, 0, 0, 0, 1];
/// Frames that are kept for those who wait for one; older ones are dropped.
const KEPT: usize = 512;
/// How long one question may take; whoever asks asks again.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the hub looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// One end of a cable, for a machine.
#[derive(Clone, Debug)]
pub struct Cable {
    /// The machine's socket.
    pub local: PathBuf,
    /// The hub's.
    pub hub: PathBuf,
    /// The machine's hardware address on it.
    pub mac: [u8; 6],
}

/// The network. It ends when it is dropped.
#[derive(Debug)]
pub struct Lan {
    folder: TempDir,
    socket: Arc<UnixDatagram>,
    shared: Arc<Mutex<Shared>>,
    hub: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ports: Vec<PathBuf>,
    /// What the harness has seen and nobody asked for yet.
    seen: VecDeque<Frame>,
    /// Addresses of the harness, with the VLANs that they are on.
    own: Vec<(Option<u16>, Ipv4Addr)>,
    dhcp: Option<Orders>,
    asked: Vec<Seen>,
    dns: Option<dns::Orders>,
    looked_up: Vec<dns::Seen>,
    ended: bool,
}

impl Lan {
    /// A network with nobody on it.
    ///
    /// # Errors
    /// When its socket cannot be made.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("keelson-lan-").tempdir().context("make the network's folder")?;
        let socket = Arc::new(UnixDatagram::bind(folder.path().join("hub")).context("make the network's socket")?);
        socket.set_read_timeout(Some(LOOK))?;
        // A machine that stands still holds up nobody else.
        socket.set_write_timeout(Some(LOOK))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (own_socket, own_shared) = (Arc::clone(&socket), Arc::clone(&shared));
        let hub = thread::spawn(move || run(&own_socket, &own_shared));
        Ok(Self { folder, socket, shared, hub: Some(hub) })
    }

    /// A cable for one machine.
    #[must_use]
    pub fn plug(&self) -> Cable {
        let mut shared = lock(&self.shared);
        let number = u8::try_from(shared.ports.len()).unwrap_or(u8::MAX);
        let local = self.folder.path().join(format!("port{number}"));
        shared.ports.push(local.clone());
        Cable { local, hub: self.folder.path().join("hub"), mac: [0x02, 0x4b, 0, 0, 1, number] }
    }

    /// Serves DHCP from now on, without a VLAN.
    pub fn serve_dhcp(&self, orders: Orders) {
        let mut shared = lock(&self.shared);
        shared.own.push((None, orders.server));
        shared.dhcp = Some(orders);
    }

    /// Changes what the DHCP server does.
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        if let Some(orders) = &mut lock(&self.shared).dhcp {
            change(orders);
        }
    }

    /// What the DHCP server was asked since it was last called.
    #[must_use]
    pub fn asked(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.shared).asked)
    }

    /// Serves DNS from now on, without a VLAN.
    pub fn serve_dns(&self, orders: dns::Orders) {
        let mut shared = lock(&self.shared);
        shared.own.extend(orders.servers.iter().map(|server| (None, *server)));
        shared.dns = Some(orders);
    }

    /// Changes what the DNS server does.
    pub fn order_dns(&self, change: impl FnOnce(&mut dns::Orders)) {
        if let Some(orders) = &mut lock(&self.shared).dns {
            change(orders);
        }
    }

    /// What the DNS server was asked since it was last called.
    #[must_use]
    pub fn looked_up(&self) -> Vec<dns::Seen> {
        std::mem::take(&mut lock(&self.shared).looked_up)
    }

    /// One ICMP echo from an address of the harness.
    ///
    /// # Errors
    /// When there is no answer within two seconds.
    pub fn ping(&self, vlan: Option<u16>, from: Ipv4Addr, to: Ipv4Addr) -> Result<()> {
        let mac = self.resolve(vlan, from, to)?;
        self.send(&frame::echo(vlan, HARNESS, mac, from, to));
        self.wait(&format!("echo from {to}"), |seen| {
            let fits = matches!(seen.payload, Payload::EchoReply { from: who, to: whom } if who == to && whom == from);
            (seen.vlan == vlan && fits).then_some(())
        })
    }

    /// Whether a port takes connections; the connection is not gone on with.
    ///
    /// # Errors
    /// When there is no answer within two seconds, or a refusal.
    pub fn opens(&self, vlan: Option<u16>, from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Result<()> {
        let mac = self.resolve(vlan, from, to)?;
        self.send(&frame::syn(vlan, HARNESS, mac, from, to, port));
        let accepted = self.wait(&format!("answer of {to}:{port}"), |seen| match seen.payload {
            Payload::Tcp { from: who, from_port, accepted } if seen.vlan == vlan && who == to && from_port == port => Some(accepted),
            _ => None,
        })?;
        anyhow::ensure!(accepted, "{to}:{port} refuses");
        Ok(())
    }

    /// A machine's hardware address.
    fn resolve(&self, vlan: Option<u16>, from: Ipv4Addr, to: Ipv4Addr) -> Result<[u8; 6]> {
        {
            let mut shared = lock(&self.shared);
            if !shared.own.contains(&(vlan, from)) {
                shared.own.push((vlan, from));
            }
            shared.seen.clear();
        }
        self.send(&frame::arp(vlan, HARNESS, None, from, to));
        self.wait(&format!("ARP of {to}"), |seen| match seen.payload {
            Payload::ArpReply { mac, who } if seen.vlan == vlan && who == to => Some(mac),
            _ => None,
        })
    }

    fn send(&self, bytes: &[u8]) {
        for port in &lock(&self.shared).ports {
            // A machine that is off takes nothing.
            let _ = self.socket.send_to(bytes, port);
        }
    }

    fn wait<T>(&self, what: &str, wanted: impl Fn(&Frame) -> Option<T>) -> Result<T> {
        let start = Instant::now();
        while start.elapsed() < ANSWER {
            let found = {
                let mut shared = lock(&self.shared);
                shared.seen.drain(..).find_map(|seen| wanted(&seen))
            };
            if let Some(found) = found {
                return Ok(found);
            }
            thread::sleep(limits::POLL);
        }
        anyhow::bail!("no {what} within {ANSWER:?}")
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        lock(&self.shared).ended = true;
        if let Some(hub) = self.hub.take() {
            let _ = hub.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats every frame to the others and answers those that are for the harness.
fn run(socket: &UnixDatagram, shared: &Mutex<Shared>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let received = socket.recv_from(&mut buffer);
        let mut shared = lock(shared);
        if shared.ended {
            return;
        }
        let (length, from) = match received {
            Ok((length, from)) => (length, from.as_pathname().map(std::path::Path::to_owned)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) => return,
        };
        let bytes = &buffer[..length];
        for port in shared.ports.iter().filter(|port| from.as_ref() != Some(*port)) {
            let _ = socket.send_to(bytes, port);
        }
        let Some(frame) = frame::parse(bytes) else { continue };
        for answer in answers(&mut shared, &frame) {
            if let Some(port) = &from {
                let _ = socket.send_to(&answer, port);
            }
        }
        if shared.seen.len() >= KEPT {
            shared.seen.pop_front();
        }
        shared.seen.push_back(frame);
    }
}

/// What the harness says to a frame.
fn answers(shared: &mut Shared, frame: &Frame) -> Vec<Vec<u8>> {
    match &frame.payload {
        Payload::ArpRequest { mac, who, whom } if shared.own.contains(&(frame.vlan, *whom)) => {
            vec![frame::arp(frame.vlan, HARNESS, Some(*mac), *whom, *who)]
        }
        Payload::Dhcp(request) if frame.vlan.is_none() => {
            let Some(orders) = &shared.dhcp else { return Vec::new() };
            let Some((seen, reply)) = dhcp::answer(request, orders) else { return Vec::new() };
            let answer = reply.map(|reply| frame::dhcp(HARNESS, frame.source, orders.server, &reply));
            shared.asked.push(seen);
            answer.into_iter().collect()
        }
        Payload::Dns { from, from_port, to, message } if frame.vlan.is_none() => {
            let Some(orders) = &shared.dns else { return Vec::new() };
            let Some((seen, reply)) = dns::answer(message, *to, orders) else { return Vec::new() };
            shared.looked_up.push(seen);
            let reply = reply.map(|reply| frame::dns(None, HARNESS, frame.source, *to, (*from, *from_port), &reply));
            reply.into_iter().collect()
        }
        _ => Vec::new(),
    }
}
