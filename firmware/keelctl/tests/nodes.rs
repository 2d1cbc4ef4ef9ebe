//! The commands that need a node, run as a user runs them.

mod stub;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;
use stub::{Stub, absent, error, many, one, pieces};
use tonic::{Code, Status};
use wire::{
    cluster::HealthCheckProgress,
    cosi,
    machine::{self, ApplyConfiguration, ApplyConfigurationResponse, DiskUsageInfo, DiskUsageRequest},
    storage::{BlockDeviceWipe, BlockDeviceWipeRequest, BlockDeviceWipeResponse},
    time,
};

/// A tar.gz with these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o640);
        builder.append_data(&mut header, name, text.as_bytes()).expect("written");
    }
    builder.into_inner().expect("written").finish().expect("written")
}

#[test]
fn files_are_copied_and_nothing_is_overwritten() {
    let content = "x".repeat(100_000);
    let packed = archive(&[("log/a", &content), ("log/b", "two")]);
    let expect = packed.clone();
    let node = Stub::start(move |path, request| {
        let mut answer = pieces(&packed, 1000);
        match path {
            "/machine.MachineService/Copy" => {
                let request = machine::CopyRequest::decode(request.clone()).expect("a request");
                if request.root_path == "/partly" {
                    answer.1 = Some(Status::unknown("open /partly/secret: permission denied"));
                }
                answer
            }
            _ => absent(path),
        }
    });
    node.ok("copy /var/log out");
    assert_eq!(fs::read_to_string(node.path().join("out/log/a")).expect("there"), content);
    assert_eq!(fs::metadata(node.path().join("out/log/b")).expect("there").permissions().mode() & 0o777, 0o640);
    let text = node.fails("cp /var/log out");
    assert!(text.contains("File exists") && text.contains("copy /var/log of node 127.0.0.1"), "{text}");
    let output = node.keelctl("copy /var/log -");
    assert!(output.status.success() && output.stdout == expect, "the archive as it came");
    // What the node could not read is said, and the rest is there.
    let text = node.fails("copy /partly other");
    assert!(text.contains("/partly/secret") && text.contains("2 files"), "{text}");
    assert_eq!(fs::read_to_string(node.path().join("other/log/b")).expect("there"), "two");
}

#[test]
fn an_archive_cannot_lead_elsewhere() {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.as_mut_bytes()[..9].copy_from_slice(b"../victim");
    header.set_cksum();
    builder.append(&header, b"new".as_slice()).expect("written");
    let packed = builder.into_inner().expect("written").finish().expect("written");
    let node = Stub::start(move |_, _| pieces(&packed, 100));
    let text = node.fails("copy / out");
    assert!(text.contains("leads out of the folder"), "{text}");
    assert!(!node.path().join("victim").exists());
}

#[test]
fn what_a_node_cannot_do_is_its_own_sentence_with_a_way_out() {
    let node = Stub::start(|path, _| match path {
        "/machine.MachineService/Reboot" | "/machine.MachineService/Read" => error(Code::PermissionDenied, "not authorized"),
        "/machine.MachineService/Bootstrap" => error(Code::FailedPrecondition, "time is not in sync yet"),
        _ => absent(path),
    });
    for (line, words) in [
        ("rollback", ["machine.MachineService/Rollback is not in this version", "hint: the node's version"]),
        ("etcd members", ["EtcdMemberList is not in this version", "hint"]),
        ("stats -k", ["Stats is not in this version", "hint"]),
        ("image list", ["machine.ImageService/List is not in this version", "hint"]),
        ("kubeconfig -", ["Kubeconfig is not in this version", "hint"]),
        ("health", ["HealthCheck is not in this version", "hint"]),
        ("netstat -l", ["Netstat is not in this version", "error from node 127.0.0.1"]),
        ("pcap -o p --duration 1s", ["PacketCapture is not in this version", "capture packets of eth0 of node 127.0.0.1"]),
        ("read /proc/version", ["not authorized", "Read needs the role os:admin"]),
        ("reboot --wait=false", ["not authorized", "os:operator or os:admin"]),
        ("bootstrap", ["time is not in sync yet", "bootstrap the cluster on node 127.0.0.1"]),
    ] {
        let text = node.fails(line);
        assert!(words.iter().all(|word| text.contains(word)), "{line}: {text}");
    }
    assert!(!node.path().join("p").exists(), "no file without packets");
    // Another cluster's context, and nobody there.
    let other = Stub::start(|path, _| absent(path));
    let text = node.fails(&format!("version -e {}", other.address));
    assert!(text.contains("hint: the certificate there is another authority's"), "{text}");
    drop(other);
    let text = node.fails("version -e 127.0.0.1:1");
    assert!(text.contains("hint: nothing listens there"), "{text}");
    let text = node.fails("version -i -n 127.0.0.1:1");
    assert!(text.contains("error from node 127.0.0.1:1") && text.contains("hint: nothing listens there"), "{text}");
}

#[test]
fn tables_of_a_node() {
    let node = Stub::start(|path, request| match path.rsplit('/').next().unwrap_or_default() {
        "DiskUsage" => {
            let entry = |relative_name: &str, size, error: &str| DiskUsageInfo {
                name: format!("/var/{relative_name}"),
                relative_name: relative_name.into(),
                size,
                error: error.into(),
                ..DiskUsageInfo::default()
            };
            many(&[entry("log", 2048, ""), entry("lib", 0, "permission denied"), entry(".", 4096, "")])
        }
        "Statfs" => {
            let request = machine::StorageServiceStatfsRequest::decode(request.clone()).expect("a request");
            let size = if request.path == "/var" { 4 << 30 } else { 1 << 30 };
            one(&machine::StorageServiceStatfsResponse { size, used: 1 << 29, available: size - (1 << 29), ..Default::default() })
        }
        // This system's nodes have the second of the types that the client asks for.
        "List" => {
            let request = cosi::ListRequest::decode(request.clone()).expect("a request");
            if request.r#type == "MountStatuses.block.talos.dev" {
                return error(Code::PermissionDenied, "resource type is not supported");
            }
            let mount = |id: &str, target: &str| {
                let spec = cosi::Spec { proto_spec: Vec::new(), yaml_spec: format!("source: /dev/vda5\ntarget: {target}\n") };
                let metadata = Some(cosi::Metadata { id: id.into(), ..Default::default() });
                cosi::ListResponse { resource: Some(cosi::Resource { metadata, spec: Some(spec) }) }
            };
            many(&[mount("EPHEMERAL", "/var"), mount("STATE", "/system/state")])
        }
        "TimeCheck" => {
            let stamp = Some(prost_types::Timestamp { seconds: 10, nanos: 0 });
            let message = time::Time { server: "ntp.lan".into(), localtime: stamp, remotetime: stamp, ..Default::default() };
            one(&time::TimeResponse { messages: vec![message] })
        }
        "Containers" => {
            let container = machine::ContainerInfo { id: "apid".into(), namespace: "system".into(), pid: 7, ..Default::default() };
            one(&machine::ContainersResponse { messages: vec![machine::Container { metadata: None, containers: vec![container] }] })
        }
        "BlockDeviceWipe" => one(&BlockDeviceWipeResponse { messages: vec![BlockDeviceWipe { metadata: None }] }),
        _ => absent(path),
    });
    let output = node.keelctl("usage /var -d 1 -a -t 10");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("127.0.0.1   2048   log") && errors.contains("/var/lib: permission denied"), "{text}{errors}");
    let request: DiskUsageRequest = node.last("DiskUsage");
    assert_eq!((request.recursion_depth, request.all, request.threshold, request.paths), (2, true, 10, vec!["/var".to_owned()]));

    let text = node.ok("df");
    assert!(text.contains("STATE") && text.contains("4 GiB   512 MiB   3.5 GiB     12.5%          /var"), "{text}");
    let text = node.ok("df ephemeral -b -o json");
    assert!(text.contains("\"size\": 4294967296") && !text.contains("STATE"), "{text}");
    assert!(node.fails("df NONE").contains("no mounted volume \"NONE\""));
    assert!(node.ok("time --check ntp.lan").contains("+0.000 s"));
    assert!(node.ok("containers -o yaml").contains("pid: 7"));
    node.ok("wipe disk /dev/vdb vdc --method zeroes");
    let request: BlockDeviceWipeRequest = node.last("BlockDeviceWipe");
    assert_eq!(request.devices.iter().map(|device| (device.device.as_str(), device.method)).collect::<Vec<_>>(), [("vdb", 1), ("vdc", 1)]);
}

#[test]
fn resources_by_a_template() {
    let node = Stub::start(|path, request| match path {
        "/cosi.resource.State/List" => {
            let request = cosi::ListRequest::decode(request.clone()).expect("a request");
            let resource = |id: &str, spec: &str| {
                let metadata = cosi::Metadata { id: id.into(), version: "1".into(), ..Default::default() };
                cosi::ListResponse {
                    resource: Some(cosi::Resource {
                        metadata: Some(metadata),
                        spec: Some(cosi::Spec { proto_spec: vec![], yaml_spec: spec.into() }),
                    }),
                }
            };
            match request.r#type.as_str() {
                "ResourceDefinitions.meta.cosi.dev" => {
                    many(&[resource("links.net.talos.dev", "type: Links.net.talos.dev\ndefaultNamespace: network\nallAliases: [links]\n")])
                }
                _ => many(&[resource("eth0", "up: true\nnames: [a, b]\n"), resource("lo", "up: false\n")]),
            }
        }
        _ => absent(path),
    });
    assert_eq!(node.ok("get links -o jsonpath={.metadata.id}={.spec.up}"), "eth0=true\nlo=false\n");
    assert_eq!(node.ok("get links -o jsonpath={range.spec.names[*]}"), "\n\n", "no range without a space");
    assert!(node.ok("get links -o yaml").contains("names:"));
    assert_eq!(node.keelctl("get links -o jsonpath={.a").status.code(), Some(2));
}

/// The configuration in force, and what is done with others.
fn configured(apply: impl Fn(&str) -> stub::Answer + Send + Sync + 'static) -> Stub {
    Stub::start(move |path, request| match path {
        "/cosi.resource.State/Get" => {
            let spec = cosi::Spec { proto_spec: vec![], yaml_spec: "|\n  version: v1alpha1\n  machine:\n    type: worker\n".into() };
            one(&cosi::GetResponse { resource: Some(cosi::Resource { metadata: None, spec: Some(spec) }) })
        }
        "/machine.MachineService/ApplyConfiguration" => {
            let request = machine::ApplyConfigurationRequest::decode(request.clone()).expect("a request");
            apply(&String::from_utf8_lossy(&request.data))
        }
        _ => absent(path),
    })
}

fn applied() -> stub::Answer {
    let message = ApplyConfiguration { mode_details: "applied at once".into(), ..ApplyConfiguration::default() };
    one(&ApplyConfigurationResponse { messages: vec![message] })
}

#[test]
fn a_configuration_is_edited_until_the_node_takes_it() {
    let tries = AtomicUsize::new(0);
    let node = configured(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => error(Code::InvalidArgument, "line 3: no such type"),
        _ => applied(),
    });
    // An editor that changes more each time, and keeps what it was shown.
    let editor = node.path().join("editor");
    fs::write(&editor, "#!/bin/sh\ncat \"$1\" >> shown\nsed -i 's/type: .*/&x/' \"$1\"\n").expect("written");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("set");
    let output = node.keelctl_with("edit machineconfig", &[("EDITOR", "./editor")]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("applied at once"), "{errors}");
    let shown = fs::read_to_string(node.path().join("shown")).expect("shown");
    assert!(shown.contains("#~   ") && shown.contains("line 3: no such type"), "{shown}");
    let request: machine::ApplyConfigurationRequest = node.last("ApplyConfiguration");
    assert_eq!(String::from_utf8_lossy(&request.data), "version: v1alpha1\nmachine:\n  type: workerxx\n");
}

#[test]
fn what_was_typed_is_kept_when_it_is_given_up() {
    let node = configured(|_| error(Code::InvalidArgument, "never"));
    let editor = node.path().join("editor");
    fs::write(&editor, "#!/bin/sh\nsed -i 's/worker/mine/' \"$1\"\n").expect("written");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("set");
    let output = node.keelctl_with("edit mc", &[("TALOS_EDITOR", "./editor"), ("EDITOR", "false")]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let kept = errors.split_whitespace().find(|word| word.contains("keelctl-edit-")).expect("a file is named");
    let text = fs::read_to_string(kept).expect("it is there");
    assert!(text.contains("type: mine"), "{text}");
    assert_eq!(fs::metadata(kept).expect("there").permissions().mode() & 0o777, 0o600);
    // An editor that fails, and one that changes nothing.
    let output = node.keelctl_with("edit mc", &[("EDITOR", "false")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("editor \"false\" failed"));
    let output = node.keelctl_with("edit mc", &[("EDITOR", "true")]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("nothing was changed"));
    assert!(node.fails("edit services").contains("machineconfig can"));
}

#[test]
fn streams_to_their_end() {
    let mut sealed = vec![7_u8; 1024];
    sealed.extend_from_slice(&<sha2::Sha256 as sha2::Digest>::digest(&sealed));
    let config =
        "apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: [{name: admin@home, context: {}}]\ncurrent-context: admin@home\n";
    let packed = archive(&[("kubeconfig", config)]);
    let calls = AtomicUsize::new(0);
    let node = Stub::start(move |path, _| match path.rsplit('/').next().unwrap_or_default() {
        // The second one is damaged.
        "EtcdSnapshot" if calls.fetch_add(1, Ordering::Relaxed) == 0 => pieces(&sealed, 100),
        "EtcdSnapshot" => pieces(&sealed[..1000], 100),
        "Kubeconfig" => pieces(&packed, 100),
        "PacketCapture" => {
            let (messages, _) = pieces(b"packets", 3);
            (messages, Some(Status::deadline_exceeded("over")))
        }
        "HealthCheck" => {
            let line = |message: &str| HealthCheckProgress { metadata: None, message: message.into() };
            let (messages, _) = many(&[line("waiting for etcd to be healthy: ..."), line("waiting for etcd to be healthy: OK")]);
            (messages, Some(Status::deadline_exceeded("waiting for apid to be ready: no answer")))
        }
        _ => absent(path),
    });
    node.ok("etcd snapshot saved");
    assert_eq!(fs::metadata(node.path().join("saved")).expect("there").len(), 1024 + 32);
    assert!(node.fails("etcd snapshot broken").contains("broken off"));
    assert!(!node.path().join("broken").exists());
    node.ok("kubeconfig");
    let path = node.path().join(".kube/config");
    assert!(fs::read_to_string(&path).expect("there").contains("current-context: admin@home"));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    node.ok("kubeconfig");
    assert!(node.fails("kubeconfig --merge=false").contains("--force"));
    assert!(node.ok("kubeconfig - --force-context-name mine").contains("current-context: mine"));
    node.ok("pcap -i lo -o packets --promiscuous -s 100");
    assert_eq!(fs::read(node.path().join("packets")).expect("there"), b"packets");
    let request: machine::PacketCaptureRequest = node.last("PacketCapture");
    assert_eq!((request.interface.as_str(), request.promiscuous, request.snap_len), ("lo", true, 100));
    let text = node.fails("health --wait-timeout 5s");
    assert!(text.contains("etcd to be healthy: OK\n") && text.contains("no answer"), "{text}");
    assert!(node.fails("health --server=false").contains("not in this version"));
}

#[test]
fn a_node_signs_a_client_configuration() {
    let node = Stub::start(|path, _| match path {
        "/machine.MachineService/GenerateClientConfiguration" => {
            let talosconfig = b"context: home\ncontexts:\n  home: {endpoints: [], ca: YQ==, crt: YQ==, key: YQ==}\n".to_vec();
            let message = machine::GenerateClientConfiguration { talosconfig, ..Default::default() };
            one(&machine::GenerateClientConfigurationResponse { messages: vec![message] })
        }
        _ => absent(path),
    });
    node.ok("config new reader --roles os:reader --crt-ttl 24h");
    let text = fs::read_to_string(node.path().join("reader")).expect("there");
    assert!(text.contains(&node.address.to_string()), "{text}");
    let request: machine::GenerateClientConfigurationRequest = node.last("GenerateClientConfiguration");
    assert_eq!((request.roles, request.crt_ttl.map(|ttl| ttl.seconds)), (vec!["os:reader".to_owned()], Some(24 * 3600)));
    assert!(node.fails("config new reader").contains("--force"));
}

#[test]
fn a_bundle_without_secrets() {
    const SECRET: &str = "do-not-tell";
    let node = Stub::start(|path, request| match path.rsplit('/').next().unwrap_or_default() {
        "Version" => one(&machine::VersionResponse { messages: vec![machine::Version::default()] }),
        "Dmesg" => pieces(b"kernel: [0]: hello\n", 5),
        "Logs" => {
            let request = machine::LogsRequest::decode(request.clone()).expect("a request");
            match request.id.as_str() {
                "apid" => pieces(b"started\n", 100),
                id => error(Code::Unknown, &format!("log {id:?} was not registered")),
            }
        }
        "ServiceList" => {
            let service = machine::ServiceInfo { id: "apid".into(), state: "Running".into(), ..Default::default() };
            one(&machine::ServiceListResponse { messages: vec![machine::ServiceList { metadata: None, services: vec![service] }] })
        }
        "List" => {
            let request = cosi::ListRequest::decode(request.clone()).expect("a request");
            let resource = |id: &str, spec: String| {
                let annotations = [("from".to_owned(), SECRET.to_owned())].into_iter().filter(|_| id == "v1alpha1").collect();
                let metadata = cosi::Metadata { id: id.into(), version: "1".into(), annotations, ..Default::default() };
                let spec = Some(cosi::Spec { proto_spec: Vec::new(), yaml_spec: spec });
                cosi::ListResponse { resource: Some(cosi::Resource { metadata: Some(metadata), spec }) }
            };
            match request.r#type.as_str() {
                "ResourceDefinitions.meta.cosi.dev" => many(&[
                    resource("mc", "type: MachineConfigs.config.talos.dev\ndefaultNamespace: config\nsensitivity: sensitive\n".into()),
                    resource("rs", "type: OSRoots.secrets.talos.dev\ndefaultNamespace: secrets\n".into()),
                    resource("links", "type: Links.net.talos.dev\ndefaultNamespace: network\n".into()),
                ]),
                "Links.net.talos.dev" => many(&[resource("eth0", "up: true\n".into())]),
                _ => many(&[resource("v1alpha1", format!("key: {SECRET}\n"))]),
            }
        }
        _ => absent(path),
    });
    let output = node.keelctl("support");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("not collected: 127.0.0.1: processes: Processes: Unimplemented"), "{errors}");
    let packed = fs::read(node.path().join("support.tar.gz")).expect("there");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
    let mut files = std::collections::BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("name").display().to_string();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
        files.insert(name, text);
    }
    assert!(!files.values().any(|text| text.contains(SECRET)), "a secret is in the bundle");
    for (name, wanted) in [
        ("127.0.0.1/dmesg.log", "kernel: [0]: hello"),
        ("127.0.0.1/service-logs/apid.log", "started"),
        ("127.0.0.1/service-logs/apid.state", "Running"),
        ("127.0.0.1/resources/MachineConfigs.config.talos.dev.yaml", "<REDACTED>"),
        ("127.0.0.1/resources/OSRoots.secrets.talos.dev.yaml", "<REDACTED>"),
        ("127.0.0.1/resources/Links.net.talos.dev.yaml", "up: true"),
        ("failures.txt", "was not registered"),
    ] {
        assert!(files.get(name).is_some_and(|text| text.contains(wanted)), "{name}: {files:?}");
    }
    assert_eq!(fs::metadata(node.path().join("support.tar.gz")).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(node.fails("support").contains("--force"));
    // A node that does not answer is not asked for everything, and there is no bundle of nothing.
    let silent = Stub::start(|path, _| absent(path));
    assert!(silent.fails("support").contains("no node gave anything"));
    assert_eq!(silent.seen.lock().expect("calls").len(), 1);
    assert!(!silent.path().join("support.tar.gz").exists());
}

#[test]
fn the_dashboard_wants_a_terminal() {
    let node = Stub::start(|path, _| absent(path));
    assert!(node.fails("dashboard").contains("needs a terminal"));
}
