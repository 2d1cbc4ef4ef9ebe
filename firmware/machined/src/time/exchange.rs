//! One question to one server.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{UdpSocket, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use super::packet::{self, LARGEST, Measurement, Refused};

/// Port of NTP.
const PORT: u16 = 123;
/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for a name's addresses.
const NAME_LIMIT: Duration = Duration::from_secs(10);

/// A server told no time.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum AskError {
    #[error("resolve {server}")]
    Name { server: String, source: io::Error },
    #[error("resolve {server}: no answer within {} s", NAME_LIMIT.as_secs())]
    NameSilent { server: String },
    #[error("{server} has no address")]
    NoAddress { server: String },
    #[error("ask {address}")]
    Send { address: SocketAddr, source: io::Error },
    #[error("{address} does not answer")]
    Silent { address: SocketAddr },
    #[error("ask {address}")]
    Refused { address: SocketAddr, source: Refused },
}

/// The addresses of a server: `host`, `host:port`, an address, `[address]:port`.
///
/// # Errors
/// [`AskError::Name`], [`AskError::NameSilent`], [`AskError::NoAddress`].
pub async fn resolve(server: &str) -> Result<Vec<SocketAddr>, AskError> {
    let (host, port) = parts(server);
    let found = match timeout(NAME_LIMIT, lookup_host((host, port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(source)) => return Err(AskError::Name { server: server.to_owned(), source }),
        Err(_) => return Err(AskError::NameSilent { server: server.to_owned() }),
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(AskError::NoAddress { server: server.to_owned() }) } else { Ok(addresses) }
}

/// Host and port.
fn parts(server: &str) -> (&str, u16) {
    let plain = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
    if plain(server) {
        return (server, PORT);
    }
    match server.rsplit_once(':') {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.parse().unwrap_or(PORT)),
        None => (server, PORT),
    }
}

/// Asks once. `now` is this clock's time since the Unix epoch; nothing is true before `floor`.
///
/// # Errors
/// [`AskError::Send`], [`AskError::Silent`], [`AskError::Refused`].
pub async fn ask(address: SocketAddr, now: impl Fn() -> Duration, floor: Duration) -> Result<Measurement, AskError> {
    let failed = |source| AskError::Send { address, source };
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    // A port of its own for every question: one more thing that a forger has to guess.
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    let (_, nonce) = uuid::Uuid::new_v4().as_u64_pair();
    let (sent, start) = (now(), Instant::now());
    socket.send(&packet::request(nonce)).await.map_err(failed)?;
    let mut buffer = [0; LARGEST];
    loop {
        let length = match timeout_at(start + ANSWER_LIMIT, socket.recv(&mut buffer)).await {
            Ok(received) => received.map_err(failed)?,
            Err(_) => return Err(AskError::Silent { address }),
        };
        let took = start.elapsed();
        match packet::answer(buffer.get(..length).unwrap_or_default(), nonce, sent, took, floor) {
            // Anybody can send something to a port; the answer may still come.
            Err(Refused::Foreign | Refused::NotAnAnswer) => {}
            Ok(measurement) => return Ok(measurement),
            Err(source) => return Err(AskError::Refused { address, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_host_and_a_port() {
        for (server, host, port) in [
            ("time.example", "time.example", 123),
            ("time.example:4123", "time.example", 4123),
            ("10.0.0.1", "10.0.0.1", 123),
            ("10.0.0.1:99", "10.0.0.1", 99),
            ("fd00::1", "fd00::1", 123),
            ("[fd00::1]:99", "fd00::1", 99),
        ] {
            assert_eq!(parts(server), (host, port), "{server}");
        }
    }

    #[tokio::test]
    async fn forged_answers_are_passed_over() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let now = linux::clock::now();
        let serve = async {
            let mut buffer = [0; 64];
            let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
            let mut forged = buffer;
            forged[44] ^= 1;
            for (packet, ahead) in [(&forged, 1000), (&buffer, 60)] {
                let answer = packet::server_packet(&packet[..length], now + Duration::from_secs(ahead), 1).unwrap();
                server.send_to(&answer, peer).await.unwrap();
            }
        };
        let (measured, ()) = tokio::join!(ask(address, || now, now), serve);
        let seconds = measured.unwrap().offset as f64 / 1e9;
        assert!((59.0..61.0).contains(&seconds), "{seconds}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_at_once() {
        let address = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let start = Instant::now();
        let error = ask(address, linux::clock::now, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, AskError::Send { .. }), "{error:?}");
        assert!(start.elapsed() < ANSWER_LIMIT);
        assert_eq!(resolve("127.0.0.1:77").await.unwrap(), ["127.0.0.1:77".parse().unwrap()]);
    }
}
