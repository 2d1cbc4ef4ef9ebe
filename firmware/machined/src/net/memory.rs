//! The address that each link had last, kept on STATE: after a reboot the node asks for it again (RFC 2131 section 3.2)
//! instead of looking for a server first. Only ever a wish: the server decides.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::node::Node;

/// How long a link waits for STATE before it looks for a server. A disk that is set up for the first time takes longer, and
/// holds no memory.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most bytes of a file.
const LONGEST: u64 = 64;

/// The addresses on STATE.
#[derive(Clone, Debug)]
pub struct Memory {
    node: Arc<Node>,
    /// Mount point of STATE.
    state: PathBuf,
}

impl Memory {
    /// On the file system that is, or will be, mounted on `state`.
    #[must_use]
    pub const fn new(node: Arc<Node>, state: PathBuf) -> Self {
        Self { node, state }
    }

    /// The last address of the link with this hardware address, once it is known whether there is one.
    pub async fn recall(self, mac: [u8; 6]) -> Option<Ipv4Addr> {
        let mut disk = self.node.disk.subscribe();
        let settled = disk.wait_for(|disk| disk.settled);
        let usable = matches!(timeout(PATIENCE, settled).await, Ok(Ok(disk)) if disk.is_mounted(&self.state));
        let path = self.path(mac);
        let read = move || parse(&bounded(&path)?);
        if usable { tokio::task::spawn_blocking(read).await.ok()? } else { None }
    }

    /// Whether STATE is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.node.disk.borrow().is_mounted(&self.state)
    }

    /// Remembers an address, on a thread for such work. Not flushed: what a power cut takes is only a wish.
    pub async fn keep(self, mac: [u8; 6], address: Ipv4Addr) {
        let write = move || super::names::replace(&self.path(mac), &format!("{address}\n"));
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("the address {address} is not remembered: {}", daemon::report(&error)),
            Err(lost) => log::warn!("the address {address} is not remembered: {lost}"),
        }
    }

    fn path(&self, mac: [u8; 6]) -> PathBuf {
        let name: String = mac.iter().map(|octet| format!("{octet:02x}")).collect();
        self.state.join("dhcp").join(name)
    }
}

fn bounded(path: &std::path::Path) -> Option<String> {
    (fs::metadata(path).ok()?.len() <= LONGEST).then(|| fs::read_to_string(path).ok()).flatten()
}

/// An address that a host may have; whatever else is in the file is no memory.
pub(crate) fn parse(text: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = text.trim().parse().ok()?;
    let host = !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast());
    host.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{DiskStatus, PartitionStatus};

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn mounted(on: &std::path::Path) -> DiskStatus {
        let partition = PartitionStatus { mounted_on: Some(on.into()), ..PartitionStatus::default() };
        DiskStatus { partitions: vec![partition], settled: true, ..DiskStatus::default() }
    }

    #[track_caller]
    fn check(text: &str, wanted: Option<[u8; 4]>) {
        assert_eq!(parse(text), wanted.map(Ipv4Addr::from), "{text:?}");
    }

    #[test]
    fn only_addresses_of_hosts() {
        check("10.0.2.15\n", Some([10, 0, 2, 15]));
        for text in ["", "10.0.2", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.2.15/24", "::1"] {
            check(text, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_comes_back_once_state_is_there() {
        let (node, _commands) = Node::new();
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(Arc::clone(&node), folder.path().to_owned());
        let address = Ipv4Addr::new(10, 0, 2, 15);
        assert!(!memory.ready(), "nothing below an unmounted mount point");
        assert_eq!(memory.clone().recall(MAC).await, None, "STATE does not come");

        node.disk.send_replace(mounted(folder.path()));
        assert_eq!(memory.clone().recall(MAC).await, None, "nothing was kept yet");
        assert!(memory.ready());
        memory.clone().keep(MAC, address).await;
        assert_eq!(memory.clone().recall(MAC).await, Some(address));
        fs::write(folder.path().join("dhcp/525400123456"), "1.2.3.4".repeat(100)).unwrap();
        assert_eq!(memory.recall(MAC).await, None, "not one of ours");
    }
}
