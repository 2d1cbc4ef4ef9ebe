//! A DNS server (RFC 1035): gives one address to every name of one domain, and says of all others that there are none.

use std::net::Ipv4Addr;

/// Port of DNS.
pub const PORT: u16 = 53;
/// How long answers hold, seconds: longer than a test.
const TTL: u32 = 3600;
/// Types: IPv4 address, start of a zone.
const ADDRESS: u16 = 1;
const ZONE: u16 = 6;
/// There is no such name.
const NOT_THERE: u8 = 3;
/// A pointer to the name of the question.
const NAME: [u8; 2] = [0xc0, 12];

/// What the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// Names within it have an address.
    pub domain: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Its own addresses.
    pub servers: Vec<Ipv4Addr>,
    /// Those at which it hears but does not answer.
    pub silent: Vec<Ipv4Addr>,
}

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// At which of its addresses.
    pub server: Ipv4Addr,
    /// The name, in lower case.
    pub name: String,
    /// The type: 1 is an IPv4 address.
    pub kind: u16,
}

/// What a message asks of `server`, and the answer to it. `None` for what is no question.
#[must_use]
pub fn answer(request: &[u8], server: Ipv4Addr, orders: &Orders) -> Option<(Seen, Option<Vec<u8>>)> {
    let (name, end) = name(request)?;
    let kind = u16::from_be_bytes(*request.get(end..)?.first_chunk::<2>()?);
    let seen = Seen { server, name, kind };
    let answers = orders.servers.contains(&server) && !orders.silent.contains(&server);
    let reply = answers.then(|| reply(request, end + 4, &seen, orders)).flatten();
    Some((seen, reply))
}

/// The name of the first question, and the place behind it.
fn name(request: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*request.get(at)?);
        let label = request.get(at + 1..at + 1 + length).filter(|_| length < 64)?;
        at += 1 + length;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
}

fn reply(request: &[u8], end: usize, seen: &Seen, orders: &Orders) -> Option<Vec<u8>> {
    let known = seen.name == orders.domain || seen.name.ends_with(&format!(".{}", orders.domain));
    let found = known && seen.kind == ADDRESS;
    let mut message = request.get(..2)?.to_vec();
    // A response, recursion wanted and there; one question, an answer or the zone that says that there is none.
    message.extend([0x81, 0x80 | if known { 0 } else { NOT_THERE }]);
    message.extend([0, 1, 0, u8::from(found), 0, u8::from(!found), 0, 0]);
    message.extend(request.get(12..end)?);
    message.extend(NAME);
    message.extend(if found { ADDRESS } else { ZONE }.to_be_bytes());
    message.extend([0, 1]);
    message.extend(TTL.to_be_bytes());
    let mut data = orders.address.octets().to_vec();
    if !found {
        data = vec![0, 0];
        data.extend([1, 1, 1, 1, TTL].map(u32::to_be_bytes).concat());
    }
    message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    message.extend(data);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 4, 0, 1);

    fn orders() -> Orders {
        Orders { domain: "test".into(), address: Ipv4Addr::new(10, 0, 2, 2), servers: vec![SERVER], silent: vec![] }
    }

    fn question(kind: u8) -> Vec<u8> {
        let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        request.extend(b"\x04TiMe\x04test\x00\x00");
        request.extend([kind, 0, 1]);
        request
    }

    #[test]
    fn names_of_the_domain_have_the_address() {
        let (seen, reply) = answer(&question(1), SERVER, &orders()).unwrap();
        assert_eq!(seen, Seen { server: SERVER, name: "time.test".into(), kind: 1 });
        let reply = reply.unwrap();
        assert_eq!((&reply[..12], &reply[reply.len() - 4..]), (&[0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..], &[10, 0, 2, 2][..]));
        // The spelling is repeated, and what is not there has a zone that says so.
        assert!(reply.windows(4).any(|part| part == b"TiMe"));
        let none = answer(&question(28), SERVER, &orders()).unwrap().1.unwrap();
        assert_eq!((&none[2..12], none.len()), (&[0x81, 0x80, 0, 1, 0, 0, 0, 1, 0, 0][..], 27 + 12 + 22));
        let other = Orders { domain: "example".into(), ..orders() };
        assert_eq!(answer(&question(1), SERVER, &other).unwrap().1.unwrap()[3], 0x83);
    }

    #[test]
    fn the_silent_and_the_cut() {
        let silent = Orders { silent: vec![SERVER], ..orders() };
        assert_eq!(answer(&question(1), SERVER, &silent).unwrap().1, None);
        assert_eq!(answer(&question(1), Ipv4Addr::LOCALHOST, &orders()).unwrap().1, None);
        let whole = question(1);
        for length in 0..whole.len() - 2 {
            assert_eq!(answer(&whole[..length], SERVER, &orders()), None, "{length}");
        }
        assert_eq!(answer(&[0xff; 40], SERVER, &orders()), None);
    }
}
