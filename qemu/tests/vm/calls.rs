//! Calls about the cluster: client configurations, health, captures of packets, what is not there yet, and what the log says of all that.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::{refused, wait_for},
    limits,
    node::{Access, NO_TIME, configured, maintenance, running},
};
use tonic::Code;
use wire::{
    cluster::{ClusterInfo, HealthCheckRequest, cluster_service_client::ClusterServiceClient},
    machine::{
        BpfInstruction, GenerateClientConfigurationRequest, ImageServiceListRequest, PacketCaptureRequest, RebootRequest, RollbackRequest,
        image_service_client::ImageServiceClient,
    },
};

use crate::{node::logged, trial};

/// Bytes of a capture's header, and of a record's.
const HEADER: usize = 24;
const RECORD: usize = 16;
/// What a control plane needs to pass the check of memory sizes, MiB.
const ENOUGH_MEMORY: u32 = 2048;
/// The same for disk sizes, bytes; the file is sparse.
const ENOUGH_DISK: u64 = 8 << 30;

pub fn trials() -> Vec<Trial> {
    Arch::ALL
        .into_iter()
        .flat_map(|arch| {
            [
                trial(format!("calls/{arch}/configured"), move || calls_of_a_control_plane(Machine::new(arch))),
                trial(format!("calls/{arch}/health"), move || {
                    a_node_without_etcd_is_well(Machine { memory_mib: ENOUGH_MEMORY, ..Machine::new(arch) })
                }),
            ]
        })
        .collect()
}

fn calls_of_a_control_plane(machine: Machine) -> Result<()> {
    let (vm, api, _access) = configured(machine)?;
    a_generated_reader_reads(&vm, &api)?;
    packets_are_captured(&api)?;
    nothing_to_roll_back_to(&api)?;
    missing_things_say_so(&api)?;
    etcd_is_waited_for(&api)?;
    members_and_certificates(&api)?;
    calls_have_their_lines(&api)
}

/// What the node makes lets in whom it says, and no further.
fn a_generated_reader_reads(vm: &TestVm, api: &Api) -> Result<()> {
    let ask = |roles: &[&str], seconds| {
        let request = GenerateClientConfigurationRequest {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            crt_ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        api.call(api.machine().generate_client_configuration(request))
    };
    refused(ask(&["os:reader"], 0), Code::InvalidArgument)?;
    refused(ask(&["os:root"], 3600), Code::InvalidArgument)?;
    for (roles, name) in [(&["os:reader"][..], "reader@vm-test"), (&["os:reader", "os:etcd:backup"], "vm-test")] {
        let made = ask(roles, 3600)?;
        ensure!(made.messages.len() == 1, "{} messages", made.messages.len());
        let message = &made.messages[0];
        let talosconfig = pki::Talosconfig::from_yaml(std::str::from_utf8(&message.talosconfig)?)?;
        ensure!(talosconfig.context == name, "the context is {:?}", talosconfig.context);
        let leaf = pki::read_chain(std::str::from_utf8(&message.crt)?)?.into_iter().next().context("no certificate")?;
        ensure!(pki::roles(&leaf)? == roles, "roles {:?}", pki::roles(&leaf)?);
        let reader = Api::with_talosconfig(vm.api_address(), &talosconfig)?;
        ensure!(reader.version()?.version.is_some(), "no version for a reader");
        refused(reader.call(reader.machine().reboot(RebootRequest::default())), Code::PermissionDenied)?;
        let request = GenerateClientConfigurationRequest { roles: vec!["os:admin".to_owned()], crt_ttl: None };
        refused(reader.call(reader.machine().generate_client_configuration(request)), Code::PermissionDenied)?;
    }
    Ok(())
}

/// The health check of apid is a connection over loopback: it passes by itself every few seconds.
fn packets_are_captured(api: &Api) -> Result<()> {
    let instruction = |op, jt, jf, k| BpfInstruction { op, jt, jf, k };
    // IPv4, TCP, to port 50000; then all of it, otherwise nothing.
    let filter = [
        instruction(0x28, 0, 0, 12),
        instruction(0x15, 0, 5, 0x0800),
        instruction(0x30, 0, 0, 23),
        instruction(0x15, 0, 3, 6),
        instruction(0x28, 0, 0, 36),
        instruction(0x15, 0, 1, 50000),
        instruction(0x06, 0, 0, 0xffff),
        instruction(0x06, 0, 0, 0),
    ];
    let request = |interface: &str, bpf_filter: &[BpfInstruction]| PacketCaptureRequest {
        interface: interface.to_owned(),
        promiscuous: true,
        snap_len: 128,
        bpf_filter: bpf_filter.to_vec(),
    };
    let capture = |request| api.call(api.machine().packet_capture(request));
    refused(capture(request("eth99", &[])), Code::NotFound)?;
    refused(capture(request("lo", &[instruction(0x15, 9, 9, 0)])), Code::InvalidArgument)?;
    let mut stream = capture(request("lo", &filter))?;
    let header = api.next(&mut stream)?.bytes;
    ensure!(header.len() == HEADER && header.starts_with(b"\x4d\x3c\xb2\xa1\x02\0\x04\0"), "the header is {header:02x?}");
    ensure!(header.ends_with(&[128, 0, 0, 0, 1, 0, 0, 0]), "snap length and link type are {header:02x?}");
    let packets = api.next_within(&mut stream, limits::SETTLE)?.bytes;
    let word = |at: usize| packets.get(at..at + 4).and_then(|bytes| Some(u32::from_le_bytes(*bytes.first_chunk()?))).unwrap_or(0);
    let (kept, length) = (word(8), word(12));
    ensure!(kept <= 128 && length >= kept && packets.len() >= RECORD + kept as usize, "{kept} of {length} bytes");
    let port = packets.get(RECORD + 36..RECORD + 38).context("a packet without a port")?;
    ensure!(port == 50000_u16.to_be_bytes(), "to port {port:?}");
    drop(stream);
    logged(api, "the capture on lo ended: ")
}

fn nothing_to_roll_back_to(api: &Api) -> Result<()> {
    let text = refused(api.call(api.machine().rollback(RollbackRequest {})), Code::FailedPrecondition)?;
    ensure!(text.contains("previous UKI not found"), "it says {text:?}");
    Ok(())
}

fn missing_things_say_so(api: &Api) -> Result<()> {
    let text = refused(api.call(api.machine().kubeconfig(())), Code::FailedPrecondition)?;
    ensure!(text.contains("no Kubernetes"), "it says {text:?}");
    let text = refused(api.call(api.machine().etcd_status(())), Code::Unimplemented)?;
    ensure!(text.contains("no etcd"), "it says {text:?}");
    let mut images = ImageServiceClient::new(api.channel());
    let text = refused(api.call(images.list(ImageServiceListRequest::default())), Code::Unimplemented)?;
    ensure!(text.contains("no containerd"), "it says {text:?}");
    Ok(())
}

/// The lines of a check up to its end, and how it ended.
fn health(api: &Api, nodes: &[&str], seconds: i64) -> Result<(Vec<String>, Option<Code>)> {
    let info = ClusterInfo { control_plane_nodes: nodes.iter().map(|node| (*node).to_owned()).collect(), ..ClusterInfo::default() };
    let wait_timeout = Some(prost_types::Duration { seconds, nanos: 0 });
    let mut client = ClusterServiceClient::new(api.channel());
    let mut stream = api.call(client.health_check(HealthCheckRequest { wait_timeout, cluster_info: Some(info) }))?;
    let mut lines = Vec::new();
    loop {
        match api.next_within(&mut stream, limits::SETTLE) {
            Ok(line) => lines.push(line.message),
            Err(status) if status.code() == Code::OutOfRange => return Ok((lines, None)),
            Err(status) => return Ok((lines, Some(status.code()))),
        }
    }
}

/// The configuration speaks of etcd, and none runs.
fn etcd_is_waited_for(api: &Api) -> Result<()> {
    let (lines, ended) = health(api, &["127.0.0.1"], 10)?;
    let wanted = [
        "discovered nodes: [\"127.0.0.1\"]",
        "waiting for etcd to be healthy: ...",
        "waiting for etcd to be healthy: 1 error occurred:\n\t* 127.0.0.1: service \"etcd\" not found",
    ];
    ensure!(lines == wanted && ended == Some(Code::DeadlineExceeded), "{ended:?}: {lines:#?}");
    Ok(())
}

fn members_and_certificates(api: &Api) -> Result<()> {
    let name = api.read_text("/proc/sys/kernel/hostname")?;
    let name = name.trim();
    api.says("cluster", "Members.cluster.talos.dev", name, &["machineType: controlplane\n", "operatingSystem: Keelson (v1.14.0+keelson."])?;
    ensure!(api.resource_ids("cluster", "Affiliates.cluster.talos.dev")?.len() == 1, "this node is not the only affiliate");
    api.says(
        "secrets",
        "ApiCertificates.secrets.talos.dev",
        "api",
        &["acceptedCAs:\n- crt: ", "client:\n", "skipVerifyingClientCert: false\n"],
    )
}

/// Refused and changing calls are in apid's log with who made them; reads are not.
fn calls_have_their_lines(api: &Api) -> Result<()> {
    wait_for("the lines of calls", limits::SETTLE, || {
        let log = api.logs("apid", -1)?;
        for wanted in [
            "/machine.MachineService/Reboot from ",
            "(os:reader): PermissionDenied in ",
            "(os:admin): InvalidArgument in ",
            "/machine.MachineService/GenerateClientConfiguration from ",
            "/machine.MachineService/PacketCapture from ",
        ] {
            ensure!(log.contains(wanted), "no {wanted:?} in:\n{log}");
        }
        let reads = log.lines().any(|line| line.contains("MachineService/Version from") && line.contains(": Ok in "));
        ensure!(!reads && !log.contains("PRIVATE"), "the log says too much:\n{log}");
        Ok(())
    })
}

/// A cluster without etcd and Kubernetes passes all checks that are about nodes; the others are passed over.
fn a_node_without_etcd_is_well(machine: Machine) -> Result<()> {
    let mut vm = TestVm::create_sized(machine, ENOUGH_DISK)?;
    vm.start()?;
    let mut access = Access::small()?;
    access.config.push_str(NO_TIME);
    let api = maintenance(&mut vm)?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(&mut vm, &access)?;
    let reader = Api::with_talosconfig(vm.api_address(), &access.with_role("os:reader")?)?;
    let (lines, ended) = health(&reader, &[], 120)?;
    ensure!(ended.is_none(), "the check ended with {ended:?}: {lines:#?}");
    ensure!(lines.first().is_some_and(|line| line.starts_with("discovered nodes: [\"")), "{lines:#?}");
    let done: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("waiting for ")).filter(|line| !line.ends_with("...")).collect();
    let ends: Vec<&str> = done.iter().copied().filter(|line| line.ends_with(": OK") || line.ends_with(": SKIP")).collect();
    let wanted = [
        "etcd to be healthy: SKIP",
        "etcd members to be consistent across nodes: SKIP",
        "etcd members to be control plane nodes: SKIP",
        "apid to be ready: OK",
        "all nodes memory sizes: OK",
        "all nodes disk sizes: OK",
        "no diagnostics: SKIP",
        "kubelet to be healthy: SKIP",
        "all nodes to finish boot sequence: OK",
        "all k8s nodes to report: SKIP",
        "all control plane static pods to be running: SKIP",
        "all control plane components to be ready: SKIP",
        "all k8s nodes to report ready: SKIP",
        "kube-proxy to report ready: SKIP",
        "coredns to report ready: SKIP",
        "all k8s nodes to report schedulable: SKIP",
    ];
    ensure!(ends == wanted, "{lines:#?}");
    drop(api);
    Ok(())
}
