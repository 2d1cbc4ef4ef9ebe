//! Calls about the cluster and about packets.

use std::{net::UdpSocket, time::SystemTime};

use machine_config::{Config, GenerateInput, generate};
use wire::machine::{BpfInstruction, GenerateClientConfigurationRequest, PacketCaptureRequest, RollbackRequest};

use super::*;
use crate::node::{ActiveConfig, ConfigText, Slot};

/// Makes the node one of a cluster, by the configuration of a control plane or a worker.
fn configure(api: &Fixture, worker: bool) {
    let secrets = pki::SecretsBundle::generate(SystemTime::now()).expect("secrets");
    let generated = generate(&GenerateInput::new("alpha", "https://10.0.0.1:6443", &secrets, SystemTime::now())).expect("generated");
    let text = if worker { &generated.worker } else { &generated.controlplane };
    let config = Config::parse(text.expose()).expect("valid").config;
    let active = ActiveConfig { text: ConfigText::from(text.expose().to_owned()), source: "api", config };
    api.sources.node.config.send_modify(|status| status.active = Some(Arc::new(active)));
}

#[tokio::test]
async fn client_configurations_are_made_by_control_planes_for_administrators() {
    let request = |roles: &[&str], seconds| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        GenerateClientConfigurationRequest { roles, crt_ttl: Some(prost_types::Duration { seconds, nanos: 0 }) }
    };
    let mut api = start();
    let refused = api.client.generate_client_configuration(with_role("os:admin", request(&["os:reader"], 60))).await;
    assert_eq!(refused.expect_err("no configuration").code(), Code::FailedPrecondition);
    configure(&api, true);
    let refused = api.client.generate_client_configuration(with_role("os:admin", request(&["os:reader"], 60))).await;
    let refused = refused.expect_err("a worker");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::FailedPrecondition, "client configuration (talosconfig) can't be generated on worker nodes")
    );
    configure(&api, false);
    for (role, roles, seconds, wanted) in [
        ("os:operator", &["os:reader"][..], 60, Code::PermissionDenied),
        ("os:admin", &["os:root"], 60, Code::InvalidArgument),
        ("os:admin", &["os:reader"], 0, Code::InvalidArgument),
    ] {
        let refused = api.client.generate_client_configuration(with_role(role, request(roles, seconds))).await.expect_err("refused");
        assert_eq!(refused.code(), wanted, "{role} {roles:?} {seconds}: {refused}");
    }
    let made =
        api.client.generate_client_configuration(with_role("os:admin", request(&["os:reader"], 60))).await.expect("made").into_inner();
    let [message] = &made.messages[..] else { panic!("{} messages", made.messages.len()) };
    let leaf = &pki::read_chain(std::str::from_utf8(&message.crt).expect("PEM")).expect("a chain")[0];
    assert_eq!(pki::roles(leaf).expect("roles"), ["os:reader"]);
}

#[tokio::test]
async fn there_is_nothing_to_roll_back_to() {
    let mut api = start();
    let refused = api.client.rollback(with_role("os:operator", RollbackRequest {})).await.expect_err("an operator");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let slot = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(slot.path(), [0; 8192]).expect("written");
    let partition = PartitionStatus { label: "ROOT-B".into(), device: slot.path().into(), ..PartitionStatus::default() };
    for (running, partitions, expect) in [
        (None, vec![], "not found: the node does not run from a slot"),
        (Some(Slot::A), vec![], "not found: slot ROOT-B holds no system"),
        (Some(Slot::A), vec![partition.clone()], "not found: slot ROOT-B holds no system"),
        (Some(Slot::B), vec![partition.clone()], "not found: slot ROOT-A holds no system"),
    ] {
        api.sources.node.boot.send_modify(|boot| boot.slot = running);
        api.sources.node.disk.send_modify(|disk| disk.partitions = partitions);
        let refused = api.client.rollback(with_role("os:admin", RollbackRequest {})).await.expect_err("nothing there");
        assert!(refused.code() == Code::FailedPrecondition && refused.message().contains(expect), "{running:?}: {refused}");
    }
    let mut system = [0; 8192];
    system[1024..1028].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
    std::fs::write(slot.path(), system).expect("written");
    api.sources.node.boot.send_modify(|boot| boot.slot = Some(Slot::A));
    let refused = api.client.rollback(with_role("os:admin", RollbackRequest {})).await.expect_err("not built");
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    assert!(api.commands.try_recv().is_err(), "something was ordered");
}

/// Needs root, as every packet socket.
#[tokio::test]
async fn packets_are_captured_until_the_client_goes() {
    let mut api = start();
    let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").expect("bound"), UdpSocket::bind("127.0.0.1:0").expect("bound"));
    let target = receiver.local_addr().expect("an address");
    let instruction = |op, jt, jf, k| BpfInstruction { op, jt, jf, k };
    // UDP to that port, over IPv4: half a word at 36, equal, all of it or nothing.
    let to_port = vec![
        instruction(0x28, 0, 0, 36),
        instruction(0x15, 0, 1, target.port().into()),
        instruction(6, 0, 0, u32::MAX),
        instruction(6, 0, 0, 0),
    ];
    let request = |interface: &str, bpf_filter: &[BpfInstruction]| PacketCaptureRequest {
        interface: interface.into(),
        promiscuous: false,
        snap_len: 60,
        bpf_filter: bpf_filter.to_vec(),
    };
    for (role, request, wanted) in [
        ("os:reader", request("lo", &[]), Code::PermissionDenied),
        ("os:operator", request("nothing", &[]), Code::NotFound),
        ("os:operator", request("", &[]), Code::InvalidArgument),
        ("os:operator", request("lo", &[instruction(0x15, 9, 9, 0)]), Code::InvalidArgument),
    ] {
        let refused = api.client.packet_capture(with_role(role, request.clone())).await.expect_err("refused");
        assert_eq!(refused.code(), wanted, "{role} {request:?}: {refused}");
    }
    let mut captures = Vec::new();
    for _ in 0..4 {
        let mut stream = api.client.packet_capture(with_role("os:operator", request("lo", &to_port))).await.expect("captured").into_inner();
        let header = timeout(LIMIT, stream.message()).await.expect("in time").expect("data").expect("open").bytes;
        assert_eq!(header[..], *b"\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\x3c\0\0\0\x01\0\0\0");
        captures.push(stream);
    }
    let refused = api.client.packet_capture(with_role("os:admin", request("lo", &[]))).await.expect_err("too many");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    sender.send_to(&[b'x'; 100], target).expect("sent");
    for stream in &mut captures {
        let record = timeout(LIMIT, stream.message()).await.expect("in time").expect("data").expect("open").bytes;
        // One record: 60 of 142 bytes, the last of them the datagram's.
        assert_eq!((record.len(), &record[8..16], &record[16 + 42..]), (76, &b"\x3c\0\0\0\x8e\0\0\0"[..], &[b'x'; 18][..]));
    }
    drop(captures);
    // A turn comes back when the server has noticed.
    let again = async {
        while let Err(status) = api.client.packet_capture(with_role("os:admin", request("lo", &to_port))).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, again).await.expect("a turn in time");
}

#[tokio::test]
async fn what_is_missing_says_so_by_kind_of_machine() {
    let mut api = start();
    for (worker, kubeconfig, etcd) in [
        (false, (Code::FailedPrecondition, "runs no Kubernetes"), "runs no etcd"),
        (true, (Code::Unimplemented, "only available on control plane nodes"), "only available on control plane nodes"),
    ] {
        configure(&api, worker);
        let refused = api.client.kubeconfig(with_role("os:admin", ())).await.expect_err("no Kubernetes");
        assert!((refused.code(), refused.message().contains(kubeconfig.1)) == (kubeconfig.0, true), "{refused}");
        let refused = api.client.etcd_status(with_role("os:reader", ())).await.expect_err("no etcd");
        assert!((refused.code(), refused.message().contains(etcd)) == (Code::Unimplemented, true), "{refused}");
    }
}
