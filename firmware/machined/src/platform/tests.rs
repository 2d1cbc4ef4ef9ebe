//! What is published and kept, on a folder that plays STATE.

use std::path::Path;

use super::*;
use crate::node::{DiskStatus, PartitionStatus};

fn node(state: Option<&Path>) -> Arc<Node> {
    let (node, _commands) = Node::new();
    let partition = PartitionStatus { mounted_on: state.map(Into::into), ..PartitionStatus::default() };
    node.disk.send_replace(DiskStatus { partitions: vec![partition], settled: true, ..DiskStatus::default() });
    node.platform.send_modify(|status| status.platform = Platform::NoCloud);
    node
}

fn texts(address: &str) -> Texts {
    let network = format!("version: 2\nethernets: {{eth0: {{addresses: [{address}]}}}}\n");
    let meta = "instance-id: i-1\nlocal-hostname: n1\n".to_owned();
    Texts { origin: "cidata".into(), meta_data: Some(meta), network_config: Some(network), ..Texts::default() }
}

fn address(node: &Node) -> Option<String> {
    let status = node.platform.borrow();
    let link = status.network.links.first()?;
    link.addresses.first().map(|address| address.net.to_string())
}

#[tokio::test]
async fn what_a_platform_says_is_there_early_in_the_next_boot() {
    let folder = tempfile::tempdir().unwrap();
    let first = node(Some(folder.path()));
    adopt_into(&first, texts("10.0.0.5/24"), folder.path().into()).await;
    assert_eq!(address(&first).as_deref(), Some("10.0.0.5/24"));
    assert!(first.platform.borrow().fresh);

    let second = node(Some(folder.path()));
    recall(Arc::clone(&second), Platform::NoCloud, folder.path().into()).await;
    assert_eq!(address(&second).as_deref(), Some("10.0.0.5/24"));
    let status = second.platform.borrow().clone();
    assert_eq!((status.metadata.instance_id.as_str(), status.network.hostname.as_deref(), status.fresh), ("i-1", Some("n1"), false));
    adopt_into(&second, texts("10.0.0.6/24"), folder.path().into()).await;
    // What is read late does not take the place of what is new.
    recall(Arc::clone(&second), Platform::NoCloud, folder.path().into()).await;
    assert_eq!(address(&second).as_deref(), Some("10.0.0.6/24"));
    assert!(second.warnings.list().is_empty());
}

#[tokio::test]
async fn nothing_is_kept_without_state_or_for_another_platform() {
    let folder = tempfile::tempdir().unwrap();
    adopt_into(&node(None), texts("10.0.0.5/24"), folder.path().into()).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    std::fs::write(folder.path().join(FILE), texts("10.0.0.5/24").to_file(Platform::Metal)).unwrap();
    let other = node(Some(folder.path()));
    recall(Arc::clone(&other), Platform::NoCloud, folder.path().into()).await;
    assert_eq!((address(&other), other.warnings.list().len()), (None, 0));
    std::fs::write(folder.path().join(FILE), "torn").unwrap();
    recall(Arc::clone(&other), Platform::NoCloud, folder.path().into()).await;
    assert!(other.warnings.list().iter().any(|warning| warning.text.contains("what was kept is not used")));
}

#[tokio::test]
async fn mistakes_are_told_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(None);
    adopt_into(&node, texts("10.0.0.500/24"), folder.path().into()).await;
    let warnings: Vec<String> = node.warnings.list().into_iter().map(|warning| warning.text).collect();
    assert!(warnings.iter().any(|text| text.starts_with("platform: network-config of cidata: line 2: ")), "{warnings:?}");
    assert_eq!((address(&node), node.platform.borrow().metadata.hostname.as_str()), (None, "n1"));
    let node = self::node(Some(folder.path()));
    let long = Texts { network_config: Some("#".repeat(LONGEST.try_into().unwrap())), ..texts("10.0.0.5/24") };
    adopt_into(&node, long, folder.path().into()).await;
    assert!(node.warnings.list().iter().any(|warning| warning.text.contains("not kept for the next boot")));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_network_of_metal_is_kept_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let specs = |text: Option<&str>| Texts { origin: "META".into(), specs: text.map(str::to_owned), ..Texts::default() };
    let metal = || {
        let node = node(Some(folder.path()));
        node.platform.send_modify(|status| status.platform = Platform::Metal);
        node
    };
    let first = metal();
    adopt_into(&first, specs(Some("addresses: [{address: 10.0.0.7/24, linkName: eth0}]")), folder.path().into()).await;
    assert_eq!(address(&first).as_deref(), Some("10.0.0.7/24"));
    let second = metal();
    recall(Arc::clone(&second), Platform::Metal, folder.path().into()).await;
    assert_eq!(address(&second).as_deref(), Some("10.0.0.7/24"));
    adopt_into(&second, specs(None), folder.path().into()).await;
    let third = metal();
    recall(Arc::clone(&third), Platform::Metal, folder.path().into()).await;
    assert_eq!((address(&second), address(&third)), (None, None));
    assert_eq!(*third.platform.borrow().network, Network::default());
}
