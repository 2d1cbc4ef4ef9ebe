//! Messages of generic netlink about WireGuard (numbers: `linux/netlink.h`, `linux/genetlink.h`, `linux/wireguard.h`). Pure.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use resource::{
    SecretText,
    kinds::network::{WireguardPeer, WireguardSpec},
};
use zeroize::Zeroizing;

/// `GENL_ID_CTRL`.
const CONTROL: u16 = 0x10;
/// `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME`.
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `WG_CMD_GET_DEVICE`, `WG_CMD_SET_DEVICE`.
const GET: u8 = 0;
const SET: u8 = 1;
/// `WGDEVICE_A_*`.
mod device_attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const PRIVATE_KEY: u16 = 3;
    pub(super) const PUBLIC_KEY: u16 = 4;
    pub(super) const FLAGS: u16 = 5;
    pub(super) const PORT: u16 = 6;
    pub(super) const MARK: u16 = 7;
    pub(super) const PEERS: u16 = 8;
}
/// `WGPEER_A_*`.
mod peer_attribute {
    pub(super) const PUBLIC_KEY: u16 = 1;
    pub(super) const PRESHARED_KEY: u16 = 2;
    pub(super) const FLAGS: u16 = 3;
    pub(super) const ENDPOINT: u16 = 4;
    pub(super) const KEEPALIVE: u16 = 5;
    pub(super) const ALLOWED: u16 = 9;
}
/// `WGALLOWEDIP_A_*`.
mod allowed_attribute {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const ADDRESS: u16 = 2;
    pub(super) const LENGTH: u16 = 3;
}
/// `WGDEVICE_F_REPLACE_PEERS`; `WGPEER_F_REMOVE_ME`, `WGPEER_F_REPLACE_ALLOWEDIPS`.
const REPLACE_PEERS: u32 = 1;
const REMOVE: u32 = 1;
const REPLACE_ALLOWED: u32 = 2;
/// `AF_INET`, `AF_INET6`.
const INET: u16 = 2;
const INET6: u16 = 10;
/// `NLA_F_NESTED`; the type of an attribute is what is below it and the bit for byte order.
const NESTED: u16 = 0x8000;
const TYPE: u16 = 0x3fff;
/// `NLM_F_REQUEST | NLM_F_ACK`, `NLM_F_DUMP`.
const ACKNOWLEDGED: u16 = 1 | 4;
const DUMP: u16 = 0x300;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Bytes of headers: netlink's and generic netlink's.
const HEADER: usize = 16;
const GENERIC: usize = 4;
/// Bytes of a key.
const KEY: usize = 32;
/// A message is ended when it has grown to this; attributes cannot be longer than 64 KiB.
const FULL: usize = 16 << 10;
/// Allowed networks of a peer in one piece.
const NETWORKS: usize = 256;

/// Settings that no message can carry, or an answer that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A key is none.
    #[error("a key is not base64 of 32 bytes")]
    Key,
    /// An endpoint is none.
    #[error("the endpoint {0} is not an address with port")]
    Endpoint(String),
    /// The answer ends in the middle, or lacks something.
    #[error("the kernel's answer is cut")]
    Cut,
}

/// A message of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The attributes in it.
    Part(Vec<u8>),
    /// The end: 0, or the kernel's error, negative.
    Done(i32),
}

/// What a message is put together in; wiped, it may hold keys.
type Bytes = Zeroizing<Vec<u8>>;

/// The question for WireGuard's number.
pub(super) fn family_request(sequence: u32) -> Bytes {
    let mut payload = generic(GET_FAMILY);
    attribute(&mut payload, FAMILY_NAME, b"wireguard\0");
    request(CONTROL, false, sequence, &payload)
}

/// The number in the answer.
pub(super) fn family(parts: &[Vec<u8>]) -> Result<u16, MessageError> {
    let found = parts.iter().flat_map(|part| attributes(part)).find(|(kind, _)| *kind == FAMILY_ID);
    let (_, value) = found.ok_or(MessageError::Cut)?;
    value.try_into().map(u16::from_ne_bytes).map_err(|_| MessageError::Cut)
}

/// The question for all that a tunnel has.
pub(super) fn getting(link: u32) -> Bytes {
    let mut payload = generic(GET);
    attribute(&mut payload, device_attribute::INDEX, &link.to_ne_bytes());
    payload
}

/// A request with netlink's header in front.
pub(super) fn request(family: u16, dump: bool, sequence: u32, payload: &[u8]) -> Bytes {
    let flags = if dump { ACKNOWLEDGED | DUMP } else { ACKNOWLEDGED };
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut message = Bytes::new(Vec::with_capacity(HEADER + payload.len()));
    message.extend(length.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(payload);
    message
}

fn generic(command: u8) -> Bytes {
    // Room for all of it: what grows leaves copies of keys behind.
    let mut payload = Bytes::new(Vec::with_capacity(2 * FULL));
    payload.extend([command, 1, 0, 0]);
    payload
}

/// The payloads that bring a tunnel from one state to another, in order. The first one holds the tunnel's own settings.
pub(super) fn setting(link: u32, from: Option<&WireguardSpec>, to: &WireguardSpec) -> Result<Vec<Bytes>, MessageError> {
    let start = || {
        let mut payload = generic(SET);
        attribute(&mut payload, device_attribute::INDEX, &link.to_ne_bytes());
        payload
    };
    let mut first = start();
    if from.is_none_or(|from| from.private_key != to.private_key) {
        attribute(&mut first, device_attribute::PRIVATE_KEY, &*key(&to.private_key.0)?);
    }
    if from.is_none() {
        attribute(&mut first, device_attribute::FLAGS, &REPLACE_PEERS.to_ne_bytes());
    }
    if from.is_none_or(|from| from.listen_port != to.listen_port) {
        let port = u16::try_from(to.listen_port).unwrap_or(0);
        attribute(&mut first, device_attribute::PORT, &port.to_ne_bytes());
    }
    if from.is_none_or(|from| from.firewall_mark != to.firewall_mark) {
        let mark = u32::try_from(to.firewall_mark).unwrap_or(0);
        attribute(&mut first, device_attribute::MARK, &mark.to_ne_bytes());
    }
    let mut payloads = vec![first];
    let mut pieces = Vec::new();
    let before = from.map_or(&[][..], |from| &from.peers);
    for gone in before.iter().filter(|old| !to.peers.iter().any(|peer| peer.public_key == old.public_key)) {
        let mut piece = Bytes::default();
        attribute(&mut piece, peer_attribute::PUBLIC_KEY, &*key(&gone.public_key)?);
        attribute(&mut piece, peer_attribute::FLAGS, &REMOVE.to_ne_bytes());
        pieces.push(piece);
    }
    for peer in to.peers.iter().filter(|peer| !before.contains(peer)) {
        pieces.extend(self::peer(peer)?);
    }
    let mut list = Bytes::new(Vec::with_capacity(2 * FULL));
    for piece in pieces {
        if !list.is_empty() && list.len() + piece.len() > FULL {
            close(&mut payloads, &mut list, start());
        }
        attribute(&mut list, NESTED, &piece);
    }
    if !list.is_empty() {
        close(&mut payloads, &mut list, start());
    }
    Ok(payloads)
}

/// Puts the peers so far into a payload of their own, after the first that holds the tunnel's settings.
fn close(payloads: &mut Vec<Bytes>, list: &mut Bytes, mut payload: Bytes) {
    attribute(&mut payload, device_attribute::PEERS | NESTED, list);
    payloads.push(payload);
    // Wiped and kept: it does not grow again.
    list.iter_mut().for_each(|byte| *byte = 0);
    list.clear();
}

/// A peer in as many pieces as its networks take; the first replaces what the kernel has of them.
fn peer(peer: &WireguardPeer) -> Result<Vec<Bytes>, MessageError> {
    let own = key(&peer.public_key)?;
    let mut pieces = Vec::new();
    let mut networks = peer.allowed_ips.chunks(NETWORKS);
    let mut first = Bytes::new(Vec::with_capacity(FULL));
    attribute(&mut first, peer_attribute::PUBLIC_KEY, &*own);
    // Without one the kernel is told of a key of zeros, which is none.
    let shared = if peer.preshared_key.0.is_empty() { Zeroizing::new([0; KEY]) } else { key(&peer.preshared_key.0)? };
    attribute(&mut first, peer_attribute::PRESHARED_KEY, &*shared);
    attribute(&mut first, peer_attribute::FLAGS, &REPLACE_ALLOWED.to_ne_bytes());
    if !peer.endpoint.is_empty() {
        let endpoint: SocketAddr = peer.endpoint.parse().map_err(|_| MessageError::Endpoint(peer.endpoint.clone()))?;
        attribute(&mut first, peer_attribute::ENDPOINT, &socket_address(endpoint));
    }
    let keepalive = u16::try_from(peer.persistent_keepalive.as_secs()).unwrap_or(u16::MAX);
    attribute(&mut first, peer_attribute::KEEPALIVE, &keepalive.to_ne_bytes());
    allowed(&mut first, networks.next().unwrap_or_default());
    pieces.push(first);
    for more in networks {
        let mut piece = Bytes::new(Vec::with_capacity(FULL));
        attribute(&mut piece, peer_attribute::PUBLIC_KEY, &*own);
        allowed(&mut piece, more);
        pieces.push(piece);
    }
    Ok(pieces)
}

fn allowed(piece: &mut Bytes, networks: &[IpNet]) {
    let mut list = Vec::new();
    for net in networks {
        let mut entry = Vec::new();
        let (family, address) = match net.addr() {
            IpAddr::V4(address) => (INET, address.octets().to_vec()),
            IpAddr::V6(address) => (INET6, address.octets().to_vec()),
        };
        attribute(&mut entry, allowed_attribute::FAMILY, &family.to_ne_bytes());
        attribute(&mut entry, allowed_attribute::ADDRESS, &address);
        attribute(&mut entry, allowed_attribute::LENGTH, &[net.prefix_len()]);
        attribute(&mut list, NESTED, &entry);
    }
    attribute(piece, peer_attribute::ALLOWED | NESTED, &list);
}

/// `sockaddr_in` or `sockaddr_in6`.
fn socket_address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    match address {
        SocketAddr::V4(address) => {
            bytes.extend(INET.to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(address) => {
            bytes.extend(INET6.to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.flowinfo().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_ne_bytes());
        }
    }
    bytes
}

fn key(text: &str) -> Result<Zeroizing<[u8; KEY]>, MessageError> {
    let bytes = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| MessageError::Key)?;
    let own: [u8; KEY] = bytes.as_slice().try_into().map_err(|_| MessageError::Key)?;
    Ok(Zeroizing::new(own))
}

/// An attribute, padded to four bytes.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The attributes in some bytes; what is cut ends them.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<4>() {
        let [a, b, c, d] = *head;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([c, d]) & TYPE, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The messages of an answer to the request with this number; others are passed over.
pub(crate) fn split(mut bytes: &[u8], sequence: u32) -> Result<Vec<Wire>, MessageError> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (head, _) = bytes.split_first_chunk::<HEADER>().ok_or(MessageError::Cut)?;
        let [a, b, c, d, e, f, _, _, g, h, i, j, ..] = *head;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).map_err(|_| MessageError::Cut)?;
        let body = bytes.get(HEADER..length).ok_or(MessageError::Cut)?;
        let error = || body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)).ok_or(MessageError::Cut);
        if u32::from_ne_bytes([g, h, i, j]) == sequence {
            found.push(match u16::from_ne_bytes([e, f]) {
                ERROR => Wire::Done(error()?),
                DONE => Wire::Done(error().unwrap_or(0)),
                _ => Wire::Part(body.get(GENERIC..).ok_or(MessageError::Cut)?.to_vec()),
            });
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// A tunnel as the kernel tells it, without its keys. A peer with many networks comes in pieces.
pub(crate) fn device(parts: &[Vec<u8>]) -> Result<WireguardSpec, MessageError> {
    let mut spec = WireguardSpec::default();
    for (kind, value) in parts.iter().flat_map(|part| attributes(part)) {
        match kind {
            device_attribute::PUBLIC_KEY => spec.public_key = STANDARD.encode(value),
            device_attribute::PORT => spec.listen_port = number(value)?,
            device_attribute::MARK => spec.firewall_mark = number(value)?,
            device_attribute::PEERS => {
                for (_, piece) in attributes(value) {
                    let piece = read_peer(piece)?;
                    match spec.peers.iter_mut().find(|peer| peer.public_key == piece.public_key) {
                        Some(peer) => peer.allowed_ips.extend(piece.allowed_ips),
                        None => spec.peers.push(piece),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(spec)
}

fn read_peer(piece: &[u8]) -> Result<WireguardPeer, MessageError> {
    let mut peer = WireguardPeer { preshared_key: SecretText::default(), ..WireguardPeer::default() };
    for (kind, value) in attributes(piece) {
        match kind {
            peer_attribute::PUBLIC_KEY => peer.public_key = STANDARD.encode(value),
            peer_attribute::ENDPOINT => peer.endpoint = endpoint(value).map(|endpoint| endpoint.to_string()).unwrap_or_default(),
            peer_attribute::KEEPALIVE => peer.persistent_keepalive = Duration::from_secs(number(value)?.unsigned_abs()),
            peer_attribute::ALLOWED => peer.allowed_ips = attributes(value).into_iter().filter_map(|(_, entry)| network(entry)).collect(),
            _ => {}
        }
    }
    Ok(peer)
}

fn network(entry: &[u8]) -> Option<IpNet> {
    let (mut address, mut length) = (None, None);
    for (kind, value) in attributes(entry) {
        match (kind, value.len()) {
            (allowed_attribute::ADDRESS, 4) => address = value.try_into().ok().map(|octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets))),
            (allowed_attribute::ADDRESS, 16) => address = value.try_into().ok().map(|octets: [u8; 16]| IpAddr::V6(Ipv6Addr::from(octets))),
            (allowed_attribute::LENGTH, 1) => length = value.first().copied(),
            _ => {}
        }
    }
    IpNet::new(address?, length?).ok()
}

fn endpoint(value: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*value.first_chunk()?);
    let port = u16::from_be_bytes(*value.get(2..)?.first_chunk()?);
    let address = match family {
        INET => IpAddr::V4(Ipv4Addr::from(*value.get(4..)?.first_chunk::<4>()?)),
        INET6 => IpAddr::V6(Ipv6Addr::from(*value.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// A number of two or four bytes.
fn number(value: &[u8]) -> Result<i64, MessageError> {
    match value.len() {
        2 => value.first_chunk().map(|bytes| i64::from(u16::from_ne_bytes(*bytes))).ok_or(MessageError::Cut),
        4 => value.first_chunk().map(|bytes| i64::from(u32::from_ne_bytes(*bytes))).ok_or(MessageError::Cut),
        _ => Err(MessageError::Cut),
    }
}
