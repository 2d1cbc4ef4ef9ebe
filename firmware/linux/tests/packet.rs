//! Packets of loopback in a network namespace of the test's own. Needs root.

use std::{
    net::UdpSocket,
    os::fd::AsRawFd,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use linux::packet::{Capture, CaptureError, Counters, Instruction, LOOPBACK, Settings};
use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket},
};
use tokio::time::timeout;

/// Longest wait for a packet that was sent.
const LIMIT: Duration = Duration::from_secs(10);
/// Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;

/// Runs `test` in a namespace whose loopback link is up.
fn in_namespace(test: impl AsyncFnOnce() + Send + 'static) {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: it needs root");
    // Namespaces belong to threads: this one is left with its thread.
    let run = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        set_flags(1);
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    run.join().unwrap();
}

/// `RTM_NEWLINK` for the link with index 1: its flag IFF_UP, and that this flag is to change.
fn set_flags(up: u32) {
    let mut message = [0_u8; 32];
    for (at, value) in [(0, 32_u32), (4, 16 | 1 << 16), (8, 1), (20, 1), (24, up), (28, 1)] {
        message[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let route = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute).unwrap();
    sendto(route.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).unwrap();
}

fn open(link: &str, snap: usize, filter: &[Instruction]) -> Result<Capture, CaptureError> {
    Capture::open(&Settings { link, promiscuous: true, snap, filter })
}

/// The next packet: when, its bytes, its length.
async fn next(capture: &mut Capture) -> (Duration, Vec<u8>, u32) {
    loop {
        timeout(LIMIT, capture.wait()).await.expect("a packet in time").expect("a socket that works");
        if let Some(packet) = capture.take().expect("a socket that works") {
            return (packet.at, packet.bytes.to_vec(), packet.length);
        }
    }
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// UDP over IPv4 to this port, whole: what `udp dst port P` is compiled to, without options in the IP header.
fn to_port(port: u16) -> [Instruction; 4] {
    [instruction(0x28, 0, 0, 36), instruction(0x15, 0, 1, port.into()), instruction(0x06, 0, 0, u32::MAX), instruction(0x06, 0, 0, 0)]
}

#[test]
fn packets_come_once_with_time_and_length() {
    in_namespace(async || {
        let mut capture = open("lo", 64, &[]).unwrap();
        assert_eq!(capture.hardware(), LOOPBACK);
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for letter in *b"ab" {
            sender.send_to(&[letter; 100], receiver.local_addr().unwrap()).unwrap();
        }
        for letter in *b"ab" {
            let (at, bytes, length) = next(&mut capture).await;
            assert_eq!((bytes.len(), length), (64, 142));
            assert_eq!(bytes[HEADERS..], [letter; 64 - HEADERS]);
            assert!(at + Duration::from_secs(1) > before && at < before + LIMIT, "{at:?}, {before:?}");
        }
        assert_eq!(capture.take().unwrap(), None);
        assert_eq!(capture.counters().unwrap(), Counters { passed: 2, dropped: 0 });
    });
}

#[test]
fn filters_run_in_the_kernel_and_are_checked_there() {
    in_namespace(async || {
        let (sender, wanted, other) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = wanted.local_addr().unwrap().port();
        let mut capture = open("lo", 65535, &to_port(port)).unwrap();
        sender.send_to(b"not this", other.local_addr().unwrap()).unwrap();
        sender.send_to(b"this", wanted.local_addr().unwrap()).unwrap();
        let (_, bytes, length) = next(&mut capture).await;
        assert_eq!((&bytes[HEADERS..], length), (&b"this"[..], 46));
        assert_eq!(capture.counters().unwrap(), Counters { passed: 1, dropped: 0 });
        // Without an end; with a jump to nowhere; too long.
        for filter in [
            vec![instruction(0x28, 0, 0, 36)],
            vec![instruction(0x15, 9, 9, 0), instruction(6, 0, 0, 0)],
            vec![instruction(6, 0, 0, 0); 4097],
        ] {
            let refused = open("lo", 64, &filter).expect_err("refused");
            assert!(matches!(&refused, CaptureError::Filter { count, .. } if *count == filter.len()), "{refused}");
        }
    });
}

#[test]
fn what_is_not_read_is_dropped_and_counted() {
    in_namespace(async || {
        let mut capture = open("lo", 65535, &[]).unwrap();
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let count = 1000;
        for _ in 0..count {
            sender.send_to(&[0; 16384], receiver.local_addr().unwrap()).unwrap();
        }
        timeout(LIMIT, capture.wait()).await.expect("packets in time").expect("a socket that works");
        let mut taken = 0;
        while capture.take().unwrap().is_some() {
            taken += 1;
        }
        let Counters { passed, dropped } = capture.counters().unwrap();
        assert!(dropped > 0 && taken > 0 && taken + dropped == passed && passed == count, "{taken} of {passed}, {dropped} dropped");
    });
}

#[test]
fn links_go_down_and_are_not_there() {
    in_namespace(async || {
        let missing = open("eth9", 64, &[]).expect_err("no such link");
        assert!(matches!(missing, CaptureError::NoLink { .. }), "{missing}");
        let mut capture = open("lo", 64, &[]).unwrap();
        set_flags(0);
        timeout(LIMIT, capture.wait()).await.expect("told in time").expect("a socket that works");
        let error = capture.take().expect_err("the link is down");
        assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ENETDOWN as i32), "{error}");
    });
}
