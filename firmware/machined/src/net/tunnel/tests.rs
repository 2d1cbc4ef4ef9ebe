use std::time::Duration;

use proptest::prelude::*;
use resource::{
    SecretText,
    kinds::network::{WireguardPeer, WireguardSpec},
};

use super::message::*;

fn key(byte: u8) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

fn peer(byte: u8, networks: &[&str]) -> WireguardPeer {
    WireguardPeer {
        public_key: key(byte),
        preshared_key: SecretText::default(),
        endpoint: "192.0.2.1:51820".to_owned(),
        persistent_keepalive: Duration::from_secs(25),
        allowed_ips: networks.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

fn tunnel(peers: Vec<WireguardPeer>) -> WireguardSpec {
    WireguardSpec { private_key: SecretText(key(1).into()), public_key: String::new(), listen_port: 51820, firewall_mark: 0x20, peers }
}

/// What the kernel would understand of payloads: as it tells tunnels, without keys.
fn understood(payloads: &[zeroize::Zeroizing<Vec<u8>>]) -> WireguardSpec {
    let parts: Vec<Vec<u8>> = payloads.iter().map(|payload| payload[4..].to_vec()).collect();
    device(&parts).unwrap()
}

#[test]
fn what_is_told_is_what_is_wanted() {
    let wanted = tunnel(vec![peer(2, &["10.0.0.0/24", "fd00::/64"]), peer(3, &[])]);
    let payloads = setting(7, None, &wanted).unwrap();
    let mut heard = understood(&payloads);
    heard.private_key = wanted.private_key.clone();
    assert_eq!(heard, wanted);
    // Index, key, flags, port, mark: golden, as `linux/wireguard.h` has it.
    let head: Vec<u8> = payloads[0].to_vec();
    assert_eq!(head[..12], [1, 1, 0, 0, 8, 0, 1, 0, 7, 0, 0, 0]);
    assert_eq!(head[12..16], [36, 0, 3, 0], "the private key");
    assert_eq!(head[16..48], [1; 32]);
    assert_eq!(head[48..56], [8, 0, 5, 0, 1, 0, 0, 0], "all peers are replaced");
    assert_eq!(head[56..], [6, 0, 6, 0, 0x6c, 0xca, 0, 0, 8, 0, 7, 0, 0x20, 0, 0, 0]);
}

#[test]
fn only_changes_are_told() {
    let before = tunnel(vec![peer(2, &["10.0.0.0/24"]), peer(3, &[]), peer(4, &[])]);
    let mut after = before.clone();
    after.peers.remove(2);
    after.peers[1].allowed_ips.push("10.9.0.0/16".parse().unwrap());
    let payloads = setting(7, Some(&before), &after).unwrap();
    assert_eq!(payloads[0].len(), 12, "the tunnel itself has not changed");
    let told = understood(&payloads);
    let keys: Vec<_> = told.peers.iter().map(|peer| peer.public_key.clone()).collect();
    assert_eq!(keys, [key(4), key(3)], "one is removed, one changed, the first is left alone with its session");
    assert_eq!(setting(7, Some(&after), &after).unwrap().len(), 1);
}

#[test]
fn many_networks_and_peers_take_several_messages() {
    let networks: Vec<String> = (0..1000_u32).map(|at| format!("10.{}.{}.0/24", at / 256, at % 256)).collect();
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    let wanted = tunnel(vec![peer(2, &networks), peer(3, &["10.99.0.0/16"])]);
    let payloads = setting(7, None, &wanted).unwrap();
    assert!(payloads.len() > 2 && payloads.iter().all(|payload| payload.len() < 60_000), "{}", payloads.len());
    assert_eq!(understood(&payloads).peers, wanted.peers);
}

#[test]
fn what_is_no_key_is_refused() {
    let mut wrong = tunnel(vec![]);
    wrong.private_key = SecretText("AAAA".to_owned().into());
    assert_eq!(setting(7, None, &wrong).unwrap_err(), MessageError::Key);
    let mut wrong = tunnel(vec![peer(2, &[])]);
    wrong.peers[0].endpoint = "nowhere".to_owned();
    assert_eq!(setting(7, None, &wrong).unwrap_err(), MessageError::Endpoint("nowhere".to_owned()));
}

#[test]
fn answers_are_split() {
    let mut bytes = request(0x1c, true, 5, &[0, 1, 0, 0, 9, 9, 9, 9]).to_vec();
    bytes.extend(request(0x1c, true, 6, &[0, 1, 0, 0]).iter());
    bytes.extend(request(2, false, 5, &(-19_i32).to_ne_bytes()).iter());
    assert_eq!(split(&bytes, 5).unwrap(), [Wire::Part(vec![9, 9, 9, 9]), Wire::Done(-19)]);
    assert_eq!(split(&bytes[..20], 5).unwrap_err(), MessageError::Cut);
}

proptest! {
    #[test]
    fn no_answer_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), sequence in 0_u32..3) {
        if let Ok(parts) = split(&bytes, sequence) {
            let parts: Vec<Vec<u8>> = parts.into_iter().filter_map(|wire| if let Wire::Part(part) = wire { Some(part) } else { None }).collect();
            let _ = device(&parts);
            let _ = family(&parts);
        }
        let _ = device(&[bytes]);
    }
}
