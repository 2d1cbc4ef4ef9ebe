//! `NetworkDeviceStats`: /proc/net/dev.

use tonic::Status;
use wire::machine::{NetDev, NetworkDeviceStats, NetworkDeviceStatsResponse};

use super::{number, read};

pub(in super::super) fn network_stats() -> Result<NetworkDeviceStatsResponse, Status> {
    let devices = parse(&read("/proc/net/dev")?);
    let total = Some(total(&devices));
    Ok(NetworkDeviceStatsResponse { messages: vec![NetworkDeviceStats { metadata: None, total, devices }] })
}

/// The two lines of headings have no colon.
pub(super) fn parse(text: &str) -> Vec<NetDev> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, columns)| row(name.trim(), columns)).collect()
}

fn row(name: &str, columns: &str) -> NetDev {
    let mut columns = columns.split_whitespace();
    let mut next = || number(&mut columns);
    NetDev {
        name: name.to_owned(),
        rx_bytes: next(),
        rx_packets: next(),
        rx_errors: next(),
        rx_dropped: next(),
        rx_fifo: next(),
        rx_frame: next(),
        rx_compressed: next(),
        rx_multicast: next(),
        tx_bytes: next(),
        tx_packets: next(),
        tx_errors: next(),
        tx_dropped: next(),
        tx_fifo: next(),
        tx_collisions: next(),
        tx_carrier: next(),
        tx_compressed: next(),
    }
}

pub(super) fn total(devices: &[NetDev]) -> NetDev {
    let sum = |field: fn(&NetDev) -> u64| devices.iter().map(field).fold(0, u64::saturating_add);
    NetDev {
        name: "total".to_owned(),
        rx_bytes: sum(|d| d.rx_bytes),
        rx_packets: sum(|d| d.rx_packets),
        rx_errors: sum(|d| d.rx_errors),
        rx_dropped: sum(|d| d.rx_dropped),
        rx_fifo: sum(|d| d.rx_fifo),
        rx_frame: sum(|d| d.rx_frame),
        rx_compressed: sum(|d| d.rx_compressed),
        rx_multicast: sum(|d| d.rx_multicast),
        tx_bytes: sum(|d| d.tx_bytes),
        tx_packets: sum(|d| d.tx_packets),
        tx_errors: sum(|d| d.tx_errors),
        tx_dropped: sum(|d| d.tx_dropped),
        tx_fifo: sum(|d| d.tx_fifo),
        tx_collisions: sum(|d| d.tx_collisions),
        tx_carrier: sum(|d| d.tx_carrier),
        tx_compressed: sum(|d| d.tx_compressed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parsed_and_summed() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0:100 0 0\n";
        let devices = parse(text);
        assert_eq!(devices.len(), 2);
        assert_eq!((devices[0].rx_multicast, devices[0].tx_compressed, devices[1].rx_bytes), (8, 16, 100));
        assert_eq!(total(&devices).rx_bytes, 101);
    }
}
