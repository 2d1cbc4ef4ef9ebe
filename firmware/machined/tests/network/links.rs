//! Links that a configuration asks for, in a namespace of their own: made, used, changed, gone.

use std::{sync::Arc, time::SystemTime};

use futures_util::TryStreamExt;
use machine_config::Config;
use machined::node::{ActiveConfig, ConfigStatus, Node};
use rtnetlink::{
    Handle, LinkUnspec, LinkVeth,
    packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};

use super::{SOON, connect, end, paths, runtime, until};

/// A document a line: kind of link that the kernel must have for it, and its text.
const DOCUMENTS: &[(&str, &str)] = &[
    ("veth", "kind: VethConfig\nname: near\npeer: {name: far, mtu: 1400, addresses: [{address: 10.7.1.2/24}]}"),
    (
        "bridge",
        "kind: BridgeConfig\nname: br0\nlinks: [near]\nhardwareAddr: '02:00:00:00:00:01'\naddresses: [{address: 10.7.1.1/24, routePriority: 77}]\nroutes: [{destination: 10.70.0.0/16, gateway: 10.7.1.2, metric: 5}]",
    ),
    ("vlan", "kind: VLANConfig\nname: far.5\nvlanID: 5\nparent: far\naddresses: [{address: 10.5.1.2/24}]"),
    ("dummy", "kind: DummyLinkConfig\nname: leaf0\naddresses: [{address: 10.6.1.2/24}]"),
    ("bond", "kind: BondConfig\nname: bond7\nlinks: []\nbondMode: active-backup\nmiimon: 100\naddresses: [{address: 10.8.1.2/24}]"),
    ("vrf", "kind: VRFConfig\nname: blue\nlinks: []\ntable: '100'"),
    (
        "wireguard",
        "kind: WireguardConfig\nname: wg0\nprivateKey: AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nlistenPort: 51820\naddresses: [{address: 10.9.1.2/24}]",
    ),
];

#[test]
fn links_of_a_configuration() {
    assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: it needs root");
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWUTS).unwrap();
        runtime().block_on(run());
    })
    .join()
    .unwrap();
}

/// Whether this kernel makes links of a kind.
async fn has(handle: &Handle, kind: &str) -> bool {
    let mut message = LinkUnspec::new_with_name("probe").build();
    let info = match kind {
        "veth" | "vlan" | "vrf" => {
            // These want more than a name: an unknown kind and a wrong one are told apart by the error.
            message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::from(kind))]));
            let answer = handle.link().add(message).execute().await;
            let unknown = matches!(&answer, Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -95);
            let made = handle.link().get().match_name("probe".to_owned()).execute().try_next().await;
            if let Ok(Some(link)) = made {
                handle.link().del(link.header.index).execute().await.unwrap();
            }
            return !unknown;
        }
        _ => LinkInfo::Kind(InfoKind::from(kind)),
    };
    message.attributes.push(LinkAttribute::LinkInfo(vec![info]));
    if handle.link().add(message).execute().await.is_err() {
        return false;
    }
    let made = handle.link().get().match_name("probe".to_owned()).execute().try_next().await.unwrap().unwrap();
    handle.link().del(made.header.index).execute().await.unwrap();
    true
}

pub(super) fn active(documents: &str) -> ConfigStatus {
    let now = SystemTime::now();
    let secrets = pki::SecretsBundle::generate(now).unwrap();
    let input = machine_config::GenerateInput::new("t", "https://127.0.0.1:6443", &secrets, now);
    let text = format!("{}{documents}", machine_config::generate(&input).unwrap().worker.expose());
    let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).config;
    let active = ActiveConfig { text: text.into(), source: "api", config };
    ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() }
}

async fn links(handle: &Handle) -> Vec<(String, LinkMessage)> {
    let all: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.unwrap();
    let name = |link: &LinkMessage| {
        link.attributes.iter().find_map(|one| if let LinkAttribute::IfName(name) = one { Some(name.clone()) } else { None })
    };
    all.into_iter().map(|link| (name(&link).unwrap(), link)).collect()
}

/// Waits until the links of this namespace are as wanted.
async fn settle(handle: &Handle, node: &Node, what: &str, wanted: impl Fn(&[(String, LinkMessage)]) -> bool) {
    let looks = async {
        loop {
            if wanted(&links(handle).await) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let names = || async { links(handle).await.into_iter().map(|(name, _)| name).collect::<Vec<_>>() };
    if tokio::time::timeout(SOON, looks).await.is_err() {
        panic!("not within {SOON:?}: {what}; {:?} {:#?}", names().await, *node.network.borrow());
    }
}

async fn run() {
    let handle = connect();
    handle.link().add(LinkVeth::new("eth0", "theirs").build()).execute().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path(), "quiet\n");
    let (node, _commands) = Node::new();
    let mut documents = String::new();
    let mut names: Vec<&str> = Vec::new();
    let mut addresses: Vec<&str> = Vec::new();
    for (kind, text) in DOCUMENTS {
        if has(&handle, kind).await {
            documents.push_str(&format!("---\napiVersion: v1alpha1\n{text}\n"));
            names.extend(text.lines().find_map(|line| line.strip_prefix("name: ")));
            addresses.extend(text.split("address: ").nth(1).and_then(|rest| rest.split(['/', '}', ',']).next()));
        } else {
            println!("links of kind {kind} are not looked at: this kernel does not make them");
        }
    }
    assert!(names.contains(&"near") && names.contains(&"br0"), "veth and bridge are in every kernel that runs these tests: {names:?}");
    node.config.send_replace(active(&documents));
    machined::net::start_with(&node, paths);

    for address in &addresses {
        until(&node, address, SOON, |status| super::has(status, address)).await;
    }
    settle(&handle, &node, "a bridge with its port", |links| {
        let find = |name: &str| links.iter().find(|(one, _)| one == name).map(|(_, link)| link);
        let (Some(bridge), Some(near)) = (find("br0"), find("near")) else { return false };
        let mac = bridge.attributes.contains(&LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]));
        let port = near.attributes.contains(&LinkAttribute::Controller(bridge.header.index));
        let mtu = find("far").is_some_and(|far| far.attributes.contains(&LinkAttribute::Mtu(1400)));
        mac && port && mtu && near.header.flags.contains(LinkFlags::Up)
    })
    .await;
    // Both ends are on one wire, in one namespace: what is sent to the far address is answered.
    let listener = tokio::net::TcpListener::bind("10.7.1.2:0").await.unwrap();
    tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();

    // Another parent name, another peer: made anew. What is not asked for any more goes; what others made stays.
    node.config.send_replace(active("---\napiVersion: v1alpha1\nkind: VethConfig\nname: near\npeer: {name: other}\n"));
    settle(&handle, &node, "another peer and no bridge", |links| {
        let there = |name: &str| links.iter().any(|(one, _)| one == name);
        there("near") && there("other") && !there("far") && !there("br0") && there("theirs") && there("eth0")
    })
    .await;
    node.config.send_replace(active(""));
    settle(&handle, &node, "nothing of ours", |links| {
        let mut names: Vec<&str> = links.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names == ["eth0", "lo", "theirs"]
    })
    .await;
    let complaints = node.warnings.list();
    assert!(complaints.iter().all(|warning| !warning.text.contains("network: ")), "{complaints:?}");
    end(&node).await;
}
