//! Frames of Ethernet, as far as the harness speaks: ARP (RFC 826), IPv4, ICMP echo (RFC 792), the first packet of TCP, and UDP
//! for DHCP and DNS; with a VLAN's number or without.

use std::net::Ipv4Addr;

/// Everybody.
const BROADCAST: [u8; 6] = [0xff; 6];
/// Types of frames.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
/// Protocols in IPv4.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Ports of DHCP.
const SERVER: u16 = 67;
const CLIENT: u16 = 68;
/// Where the harness's connections come from.
const PORT: u16 = 40_000;

/// A frame that the harness understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who sent it.
    pub source: [u8; 6],
    /// Number of its VLAN.
    pub vlan: Option<u16>,
    /// What is in it.
    pub payload: Payload,
}

/// What is in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "addresses of who asks or answers, and of whom it is about")]
pub enum Payload {
    /// Who has an address?
    ArpRequest { mac: [u8; 6], who: Ipv4Addr, whom: Ipv4Addr },
    /// Somebody has it.
    ArpReply { mac: [u8; 6], who: Ipv4Addr },
    /// An answer to an echo.
    EchoReply { from: Ipv4Addr, to: Ipv4Addr },
    /// A packet of TCP: a connection is taken, or not.
    Tcp { from: Ipv4Addr, from_port: u16, accepted: bool },
    /// A message to a DHCP server.
    Dhcp(Vec<u8>),
    /// A message to a DNS server.
    Dns { from: Ipv4Addr, from_port: u16, to: Ipv4Addr, message: Vec<u8> },
}

/// Reads a frame; `None` for one that the harness has no use for.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Frame> {
    let source = *bytes.get(6..)?.first_chunk::<6>()?;
    let (mut kind, mut rest) = (short(bytes, 12)?, bytes.get(14..)?);
    let mut vlan = None;
    if kind == VLAN {
        vlan = Some(short(rest, 0)? & 0x0fff);
        (kind, rest) = (short(rest, 2)?, rest.get(4..)?);
    }
    let payload = match kind {
        ARP => arp_payload(rest)?,
        IPV4 => ip_payload(rest)?,
        _ => return None,
    };
    Some(Frame { source, vlan, payload })
}

fn arp_payload(bytes: &[u8]) -> Option<Payload> {
    let mac = *bytes.get(8..)?.first_chunk::<6>()?;
    let (who, whom) = (address(bytes, 14)?, address(bytes, 24)?);
    match short(bytes, 6)? {
        1 => Some(Payload::ArpRequest { mac, who, whom }),
        2 => Some(Payload::ArpReply { mac, who }),
        _ => None,
    }
}

fn ip_payload(bytes: &[u8]) -> Option<Payload> {
    let header = usize::from(bytes.first()? & 0x0f) * 4;
    let (from, to) = (address(bytes, 12)?, address(bytes, 16)?);
    let inside = bytes.get(header..)?;
    match *bytes.get(9)? {
        ICMP if inside.first() == Some(&0) => Some(Payload::EchoReply { from, to }),
        TCP => {
            // SYN and ACK together: taken.
            let accepted = inside.get(13)? & 0x12 == 0x12;
            Some(Payload::Tcp { from, from_port: short(inside, 0)?, accepted })
        }
        UDP if short(inside, 2)? == SERVER => Some(Payload::Dhcp(inside.get(8..)?.to_vec())),
        UDP if short(inside, 2)? == super::dns::PORT => {
            // Short frames are padded.
            let message = inside.get(8..usize::from(short(inside, 4)?))?.to_vec();
            Some(Payload::Dns { from, from_port: short(inside, 0)?, to, message })
        }
        _ => None,
    }
}

/// A question for an address, or the answer to `asker`.
#[must_use]
pub fn arp(vlan: Option<u16>, own: [u8; 6], asker: Option<[u8; 6]>, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, if asker.is_some() { 2 } else { 1 }];
    body.extend(own);
    body.extend(from.octets());
    body.extend(asker.unwrap_or_default());
    body.extend(to.octets());
    ethernet(vlan, own, asker.unwrap_or(BROADCAST), ARP, &body)
}

/// An echo request.
#[must_use]
pub fn echo(vlan: Option<u16>, own: [u8; 6], mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![8, 0, 0, 0, 0x4b, 0x4c, 0, 1];
    body.extend(b"keelson!");
    let sum = checksum(&[&body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    ethernet(vlan, own, mac, IPV4, &ipv4(from, to, ICMP, &body))
}

/// The first packet of a connection.
#[must_use]
pub fn syn(vlan: Option<u16>, own: [u8; 6], mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(PORT.to_be_bytes());
    body.extend(port.to_be_bytes());
    body.extend(7_u32.to_be_bytes());
    body.extend(0_u32.to_be_bytes());
    // Five words of header, SYN, window, checksum, nothing urgent.
    body.extend([0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    let length = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let sum = checksum(&[&from.octets(), &to.octets(), &[0, TCP], &length, &body]);
    body[16..18].copy_from_slice(&sum.to_be_bytes());
    ethernet(vlan, own, mac, IPV4, &ipv4(from, to, TCP, &body))
}

/// A DHCP server's message, to everybody.
#[must_use]
pub fn dhcp(own: [u8; 6], client: [u8; 6], server: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    ethernet(None, own, client, IPV4, &ipv4(server, Ipv4Addr::BROADCAST, UDP, &udp(SERVER, CLIENT, message)))
}

/// A DNS server's message, to a port of the client.
#[must_use]
pub fn dns(vlan: Option<u16>, own: [u8; 6], mac: [u8; 6], from: Ipv4Addr, to: (Ipv4Addr, u16), message: &[u8]) -> Vec<u8> {
    ethernet(vlan, own, mac, IPV4, &ipv4(from, to.0, UDP, &udp(super::dns::PORT, to.1, message)))
}

/// Without a checksum: over IPv4 there need be none.
fn udp(from: u16, to: u16, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + message.len()).unwrap_or(u16::MAX);
    let mut body = Vec::new();
    for word in [from, to, length, 0] {
        body.extend(word.to_be_bytes());
    }
    body.extend(message);
    body
}

fn ethernet(vlan: Option<u16>, own: [u8; 6], mac: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(mac);
    frame.extend(own);
    if let Some(number) = vlan {
        frame.extend(VLAN.to_be_bytes());
        frame.extend(number.to_be_bytes());
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(body);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(body);
    packet
}

/// The internet checksum (RFC 1071) of parts of even length, the last one aside.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|pair| u16::from_be_bytes(*pair))
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn what_is_written_is_read() {
        let asked = parse(&arp(Some(7), MAC, None, A, B)).unwrap();
        assert_eq!(asked, Frame { source: MAC, vlan: Some(7), payload: Payload::ArpRequest { mac: MAC, who: A, whom: B } });
        let answered = parse(&arp(None, OTHER, Some(MAC), B, A)).unwrap();
        assert_eq!(answered.payload, Payload::ArpReply { mac: OTHER, who: B });
        assert_eq!(parse(&syn(None, MAC, OTHER, A, B, 50000)).unwrap().payload, Payload::Tcp { from: A, from_port: PORT, accepted: false });
        assert_eq!(parse(&echo(None, MAC, OTHER, A, B)), None, "an echo that is no answer");
        let asked = ethernet(None, MAC, OTHER, IPV4, &ipv4(A, B, UDP, &udp(40_001, 53, b"what")));
        assert_eq!(parse(&asked).unwrap().payload, Payload::Dns { from: A, from_port: 40_001, to: B, message: b"what".to_vec() });
        assert!(dns(None, OTHER, MAC, B, (A, 40_001), b"that").windows(4).any(|part| part == b"that"));
    }

    #[test]
    fn sums_are_those_of_the_internet() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        let packet = ipv4(A, B, ICMP, &[]);
        assert_eq!(checksum(&[&packet]), 0, "a header with its sum adds up");
    }

    #[test]
    fn cut_frames_are_none() {
        let whole = syn(Some(3), MAC, OTHER, A, B, 1);
        for length in 0..40 {
            let _ = parse(&whole[..length]);
        }
        assert_eq!(parse(&whole[..20]), None);
    }
}
