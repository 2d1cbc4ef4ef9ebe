//! A DHCP server for one machine (RFC 2131): gives the one address that it is told to, or is silent.

use std::net::Ipv4Addr;

/// Offset of options, after the magic number.
const OPTIONS: usize = 240;

/// What the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// Its own address.
    pub server: Ipv4Addr,
    /// The address that it gives, with a prefix of 24.
    pub address: Ipv4Addr,
    /// How long it gives it for, seconds.
    pub lease_seconds: u32,
    /// It hears but does not answer.
    pub silent: bool,
}

/// What it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Option 53: 1 discover, 3 request.
    pub kind: u8,
    /// The client has the address already: it renews.
    pub renews: bool,
}

/// What a message asks, and the answer to it. `None` for what is no request.
#[must_use]
pub fn answer(request: &[u8], orders: &Orders) -> Option<(Seen, Option<Vec<u8>>)> {
    let uses = Ipv4Addr::from(*request.get(12..)?.first_chunk::<4>()?);
    let options = request.get(OPTIONS..)?;
    let kind = *option(options, 53)?.first()?;
    let wants = option(options, 50).and_then(|value| value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets)));
    let seen = Seen { kind, renews: kind == 3 && uses == orders.address };
    let says = match kind {
        1 => 2,
        3 if wants.unwrap_or(uses) == orders.address => 5,
        3 => 6,
        _ => return Some((seen, None)),
    };
    Some((seen, (!orders.silent).then(|| reply(request, says, orders))))
}

fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [code, length, rest @ ..] = options {
        if *code == 255 {
            return None;
        }
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        if *code == wanted {
            return Some(value);
        }
        options = after;
    }
    None
}

fn reply(request: &[u8], says: u8, orders: &Orders) -> Vec<u8> {
    let mut message = request.get(..OPTIONS).unwrap_or_default().to_vec();
    message[0] = 2;
    let mut options: Vec<(u8, Vec<u8>)> = vec![(53, vec![says]), (54, orders.server.octets().to_vec())];
    if says != 6 {
        message[16..20].copy_from_slice(&orders.address.octets());
        options.push((51, orders.lease_seconds.to_be_bytes().to_vec()));
        options.push((1, vec![255, 255, 255, 0]));
    }
    for (code, value) in options {
        message.push(code);
        message.push(u8::try_from(value.len()).unwrap_or(0));
        message.extend(value);
    }
    message.push(255);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, wants: Option<[u8; 4]>) -> Vec<u8> {
        let mut message = vec![0; OPTIONS];
        message[0] = 1;
        message.extend([53, 1, kind]);
        if let Some(wants) = wants {
            message.extend([50, 4]);
            message.extend(wants);
        }
        message.push(255);
        message
    }

    #[test]
    fn it_gives_its_one_address() {
        let orders = Orders { server: Ipv4Addr::new(10, 0, 0, 1), address: Ipv4Addr::new(10, 0, 0, 9), lease_seconds: 20, silent: false };
        let says =
            |message: &[u8], orders: &Orders| answer(message, orders).unwrap().1.map(|reply| option(&reply[OPTIONS..], 53).unwrap()[0]);
        assert_eq!(says(&request(1, None), &orders), Some(2));
        assert_eq!(says(&request(3, Some([10, 0, 0, 9])), &orders), Some(5));
        assert_eq!(says(&request(3, Some([10, 0, 0, 8])), &orders), Some(6));
        assert_eq!(says(&request(1, None), &Orders { silent: true, ..orders.clone() }), None);
        assert_eq!(answer(&[0; 100], &orders), None);
    }
}
