//! A line of a table of sockets (kernel: `get_tcp4_sock`, `get_tcp6_sock`, `ip4_datagram`, `ip6_dgram_sock_seq_show`):
//!
//! ```text
//! sl: local:port remote:port st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ref pointer ...
//! ```
//! Hexadecimal but for uid, timeout, inode and ref; addresses as words of 32 bits in the machine's own order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::machine::{
    ConnectRecord,
    connect_record::{State, TimerActive},
};

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
    UdpLite,
    UdpLite6,
    Raw,
    Raw6,
}

impl Table {
    /// In the order of the request.
    pub(super) const ALL: [Self; 8] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6, Self::UdpLite, Self::UdpLite6, Self::Raw, Self::Raw6];

    /// Its file, and the protocol as clients know it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
            Self::UdpLite => "udplite",
            Self::UdpLite6 => "udplite6",
            Self::Raw => "raw",
            Self::Raw6 => "raw6",
        }
    }

    /// A socket; `None` for the heading and for lines of another shape.
    pub(super) fn line(self, text: &str) -> Option<ConnectRecord> {
        let mut columns = text.split_ascii_whitespace();
        columns.next()?.strip_suffix(':')?;
        let (local, localport) = endpoint(columns.next()?)?;
        let (remote, remoteport) = endpoint(columns.next()?)?;
        let state = i32::from_str_radix(columns.next()?, 16).ok()?;
        let (txqueue, rxqueue) = pair(columns.next()?)?;
        let (timer, timerwhen) = pair(columns.next()?)?;
        let retrnsmt = u64::from_str_radix(columns.next()?, 16).ok()?;
        let uid = columns.next()?.parse().ok()?;
        // A time that is over may be written as a negative number.
        let timeout = columns.next()?.parse().map_or(0, |timeout: i64| u64::try_from(timeout).unwrap_or(0));
        let inode = columns.next()?.parse().ok()?;
        let reference = columns.next()?.parse().ok()?;
        let pointer = u64::from_str_radix(columns.next()?, 16).ok()?;
        Some(ConnectRecord {
            l4proto: self.name().to_owned(),
            localip: local.to_string(),
            localport,
            remoteip: remote.to_string(),
            remoteport,
            state: State::try_from(state).unwrap_or(State::Reserved).into(),
            txqueue,
            rxqueue,
            tr: i32::try_from(timer).ok().and_then(|timer| TimerActive::try_from(timer).ok()).unwrap_or(TimerActive::Off).into(),
            timerwhen,
            retrnsmt,
            uid,
            timeout,
            inode,
            r#ref: reference,
            pointer,
            process: None,
            netns: String::new(),
        })
    }
}

/// What each table makes of a text, for fuzz targets.
pub(crate) fn parse_all(text: &str) -> Vec<ConnectRecord> {
    Table::ALL.iter().flat_map(|table| text.lines().filter_map(|line| table.line(line))).collect()
}

fn endpoint(text: &str) -> Option<(IpAddr, u32)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((self::address(address)?, port.into()))
}

fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| -> Option<[u8; 4]> { Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes()) };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.split_once(':')?;
    Some((u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(second, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: Table, line: &str, wanted: Option<(&str, u32, &str, u32, State)>) {
        let found = table.line(line);
        let found = found.as_ref().map(|r| (r.localip.as_str(), r.localport, r.remoteip.as_str(), r.remoteport, r.state()));
        assert_eq!(found, wanted, "{line}");
    }

    #[test]
    fn lines_of_each_kind() {
        check(Table::Tcp, "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", None);
        let listen = "   0: 0100007F:C350 00000000:0000 0A 00000000:00000000 00:00000000 00000000    50        0 20537 1 0000000000000000 100 0 0 10 0\n";
        check(Table::Tcp, listen, Some(("127.0.0.1", 50000, "0.0.0.0", 0, State::Listen)));
        let six = " 1: 00000000000000000000000000000000:C350 0000000000000000FFFF00000202000A:1F90 01 00000001:0000000A 02:00001234 00000002  0  0 77 3 00000000abcdef01 20 4 30 10 -1";
        check(Table::Tcp6, six, Some(("::", 50000, "::ffff:10.0.2.2", 8080, State::Established)));
        let record = Table::Tcp6.line(six).expect("a socket");
        assert_eq!((record.txqueue, record.rxqueue, record.timerwhen, record.retrnsmt), (1, 10, 0x1234, 2));
        assert_eq!((record.tr(), record.inode, record.r#ref, record.pointer), (TimerActive::Keepalive, 77, 3, 0xabcd_ef01));
        let datagram = "  349: 0200000A:0044 0100000A:0043 01 00000000:00000000 00:00000000 00000000     0        0 9 2 0000000000000000 0";
        check(Table::Udp, datagram, Some(("10.0.0.2", 68, "10.0.0.1", 67, State::Established)));
        let raw = " 58: 000080FE00000000FF005450123456FE:003A 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 -1 5 2 0 0";
        check(Table::Raw6, raw, Some(("fe80::5054:ff:fe56:3412", 58, "::", 0, State::Close)));
    }

    #[test]
    fn lines_of_another_shape() {
        for line in [
            "",
            "0:",
            "0: 0100007F:C350",
            "0: 0100007F 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
            "0: 010000F:C350 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
            "0: 0100007F:1C350 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
            "0: +100007F:C350 00000000:0000 0A 0:0 0:0 0 0 x 1 1",
            "0: 0100007é:C350 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
        ] {
            check(Table::Tcp, line, None);
        }
        check(Table::Tcp, "0: 0100007F:0001 00000000:0000 FF 0:0 9:0 0 0 0 1 1 0", Some(("127.0.0.1", 1, "0.0.0.0", 0, State::Reserved)));
    }
}
