//! A DHCP server for one test: answers on one link in a network namespace of its own, as told.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

/// The server's own address, router and name server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);

/// What the server does from now on.
#[derive(Clone, Debug)]
pub struct Orders {
    pub address: Ipv4Addr,
    pub lease_seconds: u32,
    pub silent: bool,
}

/// A message that the server saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Option 53: 1 discover, 3 request.
    pub kind: u8,
    /// Address that the client already uses: set when it renews.
    pub uses: Ipv4Addr,
    /// Option 50: address that the client asks for.
    pub wants: Option<Ipv4Addr>,
    pub client_id: Vec<u8>,
    pub hostname: Option<String>,
}

pub struct Server {
    pub orders: Arc<Mutex<Orders>>,
    pub seen: UnboundedReceiver<Seen>,
}

impl Server {
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap());
    }

    /// Waits for a message, dropping others.
    pub async fn wait_for(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let search = async {
            loop {
                let seen = self.seen.recv().await.expect("the server lives");
                if wanted(&seen) {
                    return seen;
                }
            }
        };
        timeout(limit, search).await.unwrap_or_else(|_| panic!("no {what} within {limit:?}"))
    }
}

/// Serves on `link` of the calling thread's namespace for as long as the process lives.
pub fn serve(link: &str, orders: Orders) -> Server {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap();
    socket.set_broadcast(true).unwrap();
    setsockopt(&socket, sockopt::BindToDevice, &link.into()).unwrap();
    let orders = Arc::new(Mutex::new(orders));
    let (sender, seen) = unbounded_channel();
    let shared = Arc::clone(&orders);
    std::thread::spawn(move || run(&socket, &shared, &sender));
    Server { orders, seen }
}

fn run(socket: &UdpSocket, orders: &Mutex<Orders>, sender: &UnboundedSender<Seen>) {
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let request = &buffer[..length];
        let option = |code| find(&request[240..], code);
        let kind = option(53).and_then(|value| value.first().copied()).unwrap_or(0);
        let uses = Ipv4Addr::from(<[u8; 4]>::try_from(&request[12..16]).unwrap());
        let orders = orders.lock().unwrap().clone();
        let wants = option(50).map(|value| Ipv4Addr::from(<[u8; 4]>::try_from(value.as_slice()).unwrap()));
        let seen = Seen {
            kind,
            uses,
            wants,
            client_id: option(61).unwrap_or_default(),
            hostname: option(12).map(|value| String::from_utf8(value).unwrap()),
        };
        if sender.send(seen).is_err() {
            return;
        }
        if orders.silent {
            continue;
        }
        let asked = wants.unwrap_or(uses);
        let answer = match kind {
            1 => reply(request, 2, &orders),
            3 if asked == orders.address => reply(request, 5, &orders),
            3 => reply(request, 6, &orders),
            _ => continue,
        };
        let to: SocketAddr = if uses.is_unspecified() { (Ipv4Addr::BROADCAST, 68).into() } else { from };
        socket.send_to(&answer, to).unwrap();
    }
}

fn find(mut options: &[u8], wanted: u8) -> Option<Vec<u8>> {
    while let [code, length, rest @ ..] = options {
        if *code == 255 {
            return None;
        }
        let (value, rest) = rest.split_at(usize::from(*length));
        if *code == wanted {
            return Some(value.to_vec());
        }
        options = rest;
    }
    None
}

/// RFC 2131: the request's header as a reply, then options.
fn reply(request: &[u8], kind: u8, orders: &Orders) -> Vec<u8> {
    let mut message = request[..240].to_vec();
    message[0] = 2;
    let mut options: Vec<(u8, Vec<u8>)> = vec![(53, vec![kind]), (54, SERVER.octets().to_vec())];
    if kind != 6 {
        message[16..20].copy_from_slice(&orders.address.octets());
        options.extend([
            (51, orders.lease_seconds.to_be_bytes().to_vec()),
            (1, vec![255, 255, 255, 0]),
            (3, SERVER.octets().to_vec()),
            (6, SERVER.octets().to_vec()),
            (12, b"leased".to_vec()),
            (15, b"example.com".to_vec()),
            (26, 1400_u16.to_be_bytes().to_vec()),
        ]);
    }
    for (code, value) in options {
        message.push(code);
        message.push(u8::try_from(value.len()).unwrap());
        message.extend(value);
    }
    message.push(255);
    message
}
