//! What other machines on the network say.

use std::{net::Ipv4Addr, time::Duration};

use machined::time::packet::{LENGTH, answer};
use mozim::{DhcpV4ClasslessRoute, DhcpV4Lease, DhcpV6Lease};

use super::seeds;
use crate::target::{Target, words};

/// The node's own part of an exchange, where an input has none.
const NONCE: u64 = 0x0102_0304_0506_0708;
/// Between 1900 and 1970, seconds.
const TO_UNIX: u64 = 2_208_988_800;

/// The time, from servers.
pub const NTP: Target = Target {
    name: "ntp",
    bytes: "how long it took (four bytes, microseconds), then an answer of a time server",
    from: "whoever answers on port 123",
    property: "only an answer to our question is taken; what it bounds is bounded; the time it leads to is near the server's and after the floor",
    longest: 1024,
    seeds: || {
        let now = Duration::from_secs(1_795_300_000);
        let packet = machined::time::packet::server_packet(&machined::time::packet::request(NONCE), now, 2);
        packet.iter().map(|packet| [&[0x80, 0x1a, 6, 0][..], packet].concat()).collect()
    },
    check: |input| {
        let Some((took, packet)) = input.split_first_chunk() else { return };
        let took = Duration::from_micros(u32::from_le_bytes(*took).into());
        let (sent, floor) = (Duration::from_secs(1_795_300_000), Duration::from_secs(1_795_219_200));
        let Ok(found) = answer(packet, NONCE, sent, took, floor) else { return };
        assert!(packet.len() >= LENGTH && packet[24..32] == NONCE.to_be_bytes(), "an answer to another question");
        assert!(found.stratum > 0 && found.stratum < 16 && found.delay <= took, "{found:?}");
        assert!(found.distance <= took / 2 + Duration::from_millis(1500), "{found:?}");
        let true_time = i128::from(found.offset) + (sent + took).as_nanos() as i128;
        assert!(true_time >= (floor.as_nanos() - took.as_nanos()) as i128, "before the floor: {found:?}");
        // The fraction's low bits aside, what the server wrote is within the delay of what we take for true.
        let seconds = (true_time / 1_000_000_000) as u64 + TO_UNIX;
        let written = u64::from(u32::from_be_bytes([packet[40], packet[41], packet[42], packet[43]]));
        let apart = (seconds as u32).wrapping_sub(written as u32).cast_signed().unsigned_abs();
        assert!(u64::from(apart) <= took.as_secs() + 1, "{apart} s from the server's time: {found:?}");
    },
    ..Target::PLAIN
};

/// Takes values off an input; zeros when it is over.
struct Taken<'a>(&'a [u8]);

impl Taken<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn address(&mut self) -> Ipv4Addr {
        self.number().into()
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn some<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.byte() % 16).map(|_| make(self)).collect()
    }
}

/// What is leased.
pub const LEASE: Target = Target {
    name: "lease",
    bytes: "the fields of a DHCP lease, of either kind; or an address as it is remembered",
    from: "whoever answers on the link",
    property: "every name that is used is a host name or an address; prefixes are possible; only addresses of hosts are remembered",
    words: || words(&["\x0bexample.org", "\x03a.b", "\x09192.0.2.1", "\x0bfd00::1", "\x00"]),
    seeds: || {
        let mut four = vec![0, 10, 0, 2, 15, 255, 255, 255, 0, 2, 10, 0, 2, 2, 10, 0, 2, 3, 1, 10, 0, 0, 0, 8, 10, 0, 2, 2];
        four.extend(b"\x0bexample.org\x01\x03a.b\x04node");
        let six = [&[1][..], b"\x02\x0bexample.org\x05a b.c\x02\x0bfd00::1 rest\x0bntp.example"].concat();
        [vec![four, six], seeds(&["\x02192.168.0.1\n", "\x02127.0.0.1"])].concat()
    },
    check: |input| {
        let mut from = Taken(input);
        let lease = match from.byte() % 3 {
            0 => machined::fuzz::lease4(&lease4(&mut from)),
            1 => machined::fuzz::lease6(&lease6(&mut from)),
            _ => {
                let text = String::from_utf8_lossy(from.0);
                if let Some(address) = machined::fuzz::remembered(&text) {
                    assert!(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified(), "{address}");
                    assert_eq!(machined::fuzz::remembered(&format!("{address}\n")), Some(address));
                }
                return;
            }
        };
        let is_name = machined::net::cmdline::hostname;
        assert!(lease.search.iter().chain(&lease.hostname).all(|name| is_name(name)), "{lease:?}");
        let is_server = |server: &String| is_name(server) || server.parse::<std::net::IpAddr>().is_ok();
        assert!(lease.time_servers.iter().all(is_server), "{lease:?}");
        assert!(lease.address.prefix_len() > 0, "{lease:?}");
    },
    ..Target::PLAIN
};

fn lease4(from: &mut Taken<'_>) -> DhcpV4Lease {
    let mut lease = DhcpV4Lease::default();
    lease.yiaddr = from.address();
    lease.subnet_mask = from.address();
    lease.gateways = Some(from.some(Taken::address));
    lease.classless_routes =
        Some(from.some(|from| DhcpV4ClasslessRoute { destination: from.address(), prefix_length: from.byte(), router: from.address() }));
    lease.domain_name = Some(from.text());
    lease.domain_search = Some(from.some(Taken::text));
    lease.host_name = Some(from.text());
    lease.dns_srvs = Some(from.some(Taken::address));
    lease.ntp_srvs = Some(from.some(Taken::address));
    lease.lease_time_sec = from.number();
    lease
}

fn lease6(from: &mut Taken<'_>) -> DhcpV6Lease {
    let mut lease = DhcpV6Lease::default();
    lease.domain_list = from.some(Taken::text);
    lease.ntp_srvs = from.some(Taken::text);
    lease.address = std::net::Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|_| from.byte()));
    lease.valid_time_sec = from.number();
    lease
}
