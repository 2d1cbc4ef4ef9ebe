//! The API over its socket, as apid speaks to it.

mod calls;

use std::time::Duration;

use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tonic::{Code, Request, transport::Channel};
use wire::machine::{
    ApplyConfigurationRequest, ContainersRequest, CopyRequest, DiskUsageRequest, EventsRequest, ListRequest, LogsRequest,
    MetaDeleteRequest, MetaWriteRequest, NetstatRequest, ReadRequest, RebootRequest, ResetRequest, RestartRequest, ServiceStopRequest,
    StatsRequest, StorageServiceStatfsRequest, machine_service_client::MachineServiceClient,
    storage_service_client::StorageServiceClient as VolumesClient,
};
use wire::{
    cosi::{CreateRequest, GetRequest, state_client::StateClient},
    inspect::inspect_service_client::InspectServiceClient,
    storage::{BlockDeviceWipeDescriptor, BlockDeviceWipeRequest, storage_service_client::StorageServiceClient},
};

use super::*;
use crate::{
    node::{ApplyOutcome, Command, PartitionStatus},
    sequence::{Kind, Locked},
};

/// Longest wait for anything in here.
const LIMIT: Duration = Duration::from_secs(10);

struct Fixture {
    _folder: TempDir,
    sources: Sources,
    commands: mpsc::Receiver<Command>,
    client: MachineServiceClient<Channel>,
    channel: Channel,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

fn start() -> Fixture {
    let folder = tempfile::tempdir().expect("folder");
    let (node, commands) = Node::new();
    let sources = Sources { node, logs: Logs::new(), events: Events::new(), services: Handle::of_nobody() };
    let path = folder.path().join("s");
    let server = Server::bind_for_tests(&path, sources.clone()).expect("bound");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    let channel = wire::unix::channel(path);
    let client = MachineServiceClient::new(channel.clone());
    Fixture { _folder: folder, sources, commands, client, channel, stop, serving }
}

fn with_role<T>(role: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !role.is_empty() {
        request.metadata_mut().append(wire::ROLE_KEY, role.parse().expect("role"));
    }
    request
}

#[tokio::test]
async fn roles_decide_and_unknown_methods_say_so() {
    let mut api = start();
    assert!(api.client.version(with_role("os:reader", ())).await.is_ok());
    for (role, wanted) in [("", Code::PermissionDenied), ("os:reader", Code::PermissionDenied), ("os:admin", Code::Ok)] {
        let path = "/proc/sys/kernel/random/boot_id".to_owned();
        let answer = api.client.read(with_role(role, ReadRequest { path })).await;
        assert_eq!(answer.err().map_or(Code::Ok, |status| status.code()), wanted, "{role}");
    }
    let status = api.client.bootstrap(with_role("os:admin", Default::default())).await.expect_err("no handler");
    let wanted = "machine.MachineService/Bootstrap: this version runs no etcd: there is nothing to bootstrap";
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, wanted));
}

#[tokio::test]
async fn files_are_listed_and_read() {
    let mut api = start();
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("big"), vec![b'x'; 100_000]).expect("written");
    let path = folder.path().join("big").display().to_string();
    let mut stream = api.client.read(with_role("os:admin", ReadRequest { path })).await.expect("opened").into_inner();
    let mut size = 0;
    while let Some(data) = stream.message().await.expect("read") {
        size += data.bytes.len();
    }
    assert_eq!(size, 100_000);

    let missing = with_role("os:admin", ReadRequest { path: "/nowhere".into() });
    assert_eq!(api.client.read(missing).await.expect_err("missing").code(), Code::NotFound);
    let root = folder.path().display().to_string();
    let mut stream =
        api.client.list(with_role("os:reader", ListRequest { root, ..ListRequest::default() })).await.expect("listed").into_inner();
    let mut names = Vec::new();
    while let Some(info) = stream.message().await.expect("listed") {
        names.push(info.relative_name);
    }
    assert_eq!(names, [".", "big"]);
    let missing = with_role("os:reader", ListRequest { root: "/nowhere".into(), ..ListRequest::default() });
    let status = api.client.list(missing).await.expect_err("missing");
    assert_eq!((status.code(), status.message()), (Code::Unknown, "lstat /nowhere: no such file or directory"));
}

#[tokio::test]
async fn copies_end_with_what_they_left_out_and_are_few() {
    let mut api = start();
    let folder = tempfile::tempdir().expect("folder");
    // Nothing that a packer can make shorter, and more than the windows on the way hold.
    let noise: Vec<u8> = (0..8 << 20_u32).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(folder.path().join("big"), noise).expect("written");
    let _listening = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("bound");
    let root_path = folder.path().display().to_string();
    let request = |role| with_role(role, CopyRequest { root_path: root_path.clone() });
    assert_eq!(api.client.copy(request("os:operator")).await.expect_err("refused").code(), Code::PermissionDenied);
    let mut open = Vec::new();
    for _ in 0..COPIES {
        open.push(api.client.copy(request("os:admin")).await.expect("begun").into_inner());
    }
    assert_eq!(api.client.copy(request("os:admin")).await.expect_err("too many").code(), Code::ResourceExhausted);
    let mut stream = open.pop().expect("one");
    let (mut size, mut told) = (0, String::new());
    while let Some(data) = timeout(LIMIT, stream.message()).await.expect("in time").expect("data") {
        assert!(told.is_empty(), "something came behind the end");
        size += data.bytes.len();
        told = data.metadata.map(|metadata| metadata.error).unwrap_or_default();
    }
    assert!(size > 100_000 && told.ends_with("socket: an archive cannot hold a socket"), "{size} bytes, {told}");
    // A client that goes makes room for another.
    drop((open, stream));
    let again = async {
        while api.client.copy(request("os:admin")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, again).await.expect("a turn in time");
    for path in ["/nowhere", "relative"] {
        let status = api.client.copy(with_role("os:admin", CopyRequest { root_path: path.into() })).await.expect_err("refused");
        assert!(status.code() == Code::Unknown && status.message().contains(path), "{status}");
    }
}

#[tokio::test]
async fn readers_may_look_at_sizes_sockets_and_containers() {
    let mut api = start();
    let paths = vec!["/proc/version".to_owned(), "/nowhere".to_owned()];
    let request = with_role("os:reader", DiskUsageRequest { paths, ..DiskUsageRequest::default() });
    let mut stream = api.client.disk_usage(request).await.expect("begun").into_inner();
    let mut errors = Vec::new();
    while let Some(info) = stream.message().await.expect("told") {
        errors.push(info.error);
    }
    assert_eq!(errors, ["", "lstat /nowhere: no such file or directory"]);
    let netstat = api.client.netstat(with_role("os:reader", NetstatRequest::default())).await.expect("answered").into_inner();
    assert_eq!(netstat.messages.len(), 1);
    let frequencies = api.client.cpu_freq_stats(with_role("os:reader", ())).await.expect("answered").into_inner();
    assert!(!frequencies.messages[0].cpu_freq_stats.is_empty());
    let mut volumes = VolumesClient::new(api.channel.clone());
    let statfs = |role| with_role(role, StorageServiceStatfsRequest { path: "/".into() });
    assert!(volumes.statfs(statfs("os:reader")).await.expect("answered").into_inner().size > 0);
    assert_eq!(volumes.statfs(statfs("os:meta:writer")).await.expect_err("refused").code(), Code::PermissionDenied);
    let (namespace, driver) = ("k8s.io".to_owned(), 1);
    let request = ContainersRequest { namespace: namespace.clone(), driver };
    let containers = api.client.containers(with_role("os:reader", request)).await.expect("answered").into_inner();
    assert_eq!((containers.messages.len(), containers.messages[0].containers.len()), (1, 0));
    let stats = api.client.stats(with_role("os:reader", StatsRequest { namespace: namespace.clone(), driver })).await.expect("answered");
    assert_eq!(stats.into_inner().messages.len(), 1);
    let restart = RestartRequest { namespace, id: "a".into(), driver };
    for (role, wanted) in [("os:reader", Code::PermissionDenied), ("os:operator", Code::NotFound)] {
        assert_eq!(api.client.restart(with_role(role, restart.clone())).await.expect_err("refused").code(), wanted, "{role}");
    }
}

#[tokio::test]
async fn a_wipe_is_judged_before_it_begins() {
    let api = start();
    let mut storage = StorageServiceClient::new(api.channel.clone());
    let named = |device: &str| BlockDeviceWipeDescriptor { device: device.into(), ..BlockDeviceWipeDescriptor::default() };
    // Without a configuration a reader may set the node up.
    for (role, devices, wanted) in [
        ("os:operator", vec![], Code::PermissionDenied),
        ("os:reader", vec![], Code::InvalidArgument),
        ("os:admin", vec![named("/dev/null")], Code::NotFound),
        ("os:admin", vec![BlockDeviceWipeDescriptor { method: 3, ..named("a") }], Code::InvalidArgument),
    ] {
        let request = BlockDeviceWipeRequest { devices };
        let refused = storage.block_device_wipe(with_role(role, request.clone())).await.expect_err("refused");
        assert_eq!(refused.code(), wanted, "{role}, {request:?}: {refused}");
    }
}

#[tokio::test]
async fn logs_are_tailed_and_followed() {
    let mut api = start();
    let ring = api.sources.logs.ring("apid");
    (0..20).for_each(|number| ring.push(format!("line {number}").as_bytes()));
    let request = |id: &str, follow, tail_lines| {
        let request = LogsRequest { namespace: "system".into(), id: id.into(), driver: 0, follow, tail_lines };
        with_role("os:reader", request)
    };
    let mut tail = api.client.logs(request("apid", false, 5)).await.expect("logs").into_inner();
    let mut text = Vec::new();
    while let Some(data) = tail.message().await.expect("data") {
        text.extend_from_slice(&data.bytes);
    }
    assert_eq!(text, b"line 15\nline 16\nline 17\nline 18\nline 19\n");
    let mut follow = api.client.logs(request("apid", true, 0)).await.expect("logs").into_inner();
    ring.push(b"new");
    let data = timeout(LIMIT, follow.message()).await.expect("in time").expect("data").expect("open");
    assert_eq!(&data.bytes[..], b"new\n");
    let status = api.client.logs(request("nobody", false, -1)).await.expect_err("unknown");
    assert_eq!(status.message(), "log \"nobody\" was not registered");
    // A stream that is open ends with the server, and the server in its time.
    api.stop.cancel();
    timeout(LIMIT, api.serving).await.expect("in time").expect("ended");
}

#[tokio::test]
async fn events_start_with_a_hello_and_carry_their_actor() {
    let mut api = start();
    api.sources.events.publish(&crate::events::phase("old", true), "");
    let request = |tail_events, actor: &str| {
        with_role("os:reader", EventsRequest { tail_events, with_actor_id: actor.into(), ..EventsRequest::default() })
    };
    let mut live = api.client.events(request(0, "me")).await.expect("events").into_inner();
    let hello = live.message().await.expect("event").expect("open");
    assert!(hello.id.is_empty() && hello.data.is_none());
    api.sources.events.publish(&crate::events::phase("other", true), "somebody");
    api.sources.events.publish(&crate::events::task("mine", true), "me");
    let event = timeout(LIMIT, live.message()).await.expect("in time").expect("event").expect("open");
    assert_eq!(event.actor_id, "me");
    assert_eq!(event.data.expect("payload").type_url, "talos/runtime/machine.TaskEvent");
    let mut all = api.client.events(request(-1, "")).await.expect("events").into_inner();
    for _ in 0..4 {
        timeout(LIMIT, all.message()).await.expect("in time").expect("event").expect("open");
    }
}

#[tokio::test]
async fn power_and_configuration_reach_the_main_loop() {
    let mut api = start();
    let mut client = api.client.clone();
    let locked = Locked { running: Kind::Shutdown, wanted: Kind::Reboot };
    for (taken, wanted) in [(Ok(()), Code::Ok), (Err(locked), Code::FailedPrecondition)] {
        let order = client.reboot(with_role("os:operator", RebootRequest { mode: 2 }));
        let (answer, actor) = tokio::join!(order, async {
            let Some(Command::Sequence { request, take_over: false, reply }) = api.commands.recv().await else { panic!("no order") };
            assert_eq!((request.kind, request.force), (Kind::Reboot, true));
            reply.send(taken).expect("waiting");
            request.actor
        });
        match answer {
            Ok(reply) => assert_eq!((reply.into_inner().messages[0].actor_id.clone(), wanted), (actor, Code::Ok)),
            Err(refused) => assert_eq!(refused.code(), wanted, "{refused}"),
        }
    }

    let request = ApplyConfigurationRequest { data: b"machine:".to_vec(), mode: 1, ..Default::default() };
    // Without a configuration a reader may set the node up.
    let (answer, ()) = tokio::join!(client.apply_configuration(with_role("os:reader", request)), async {
        let Some(Command::Apply { text, anonymous: true, reply, .. }) = api.commands.recv().await else { panic!("no order") };
        assert_eq!(text, "machine:");
        let outcome = ApplyOutcome { warnings: vec!["w".into()], details: "done".into() };
        reply.send(Ok(outcome)).expect("waiting");
    });
    let message = answer.expect("applied").into_inner().messages.remove(0);
    assert_eq!((message.mode_details.as_str(), message.warnings.len(), message.mode), ("done", 1, 2));
}

#[tokio::test]
async fn meta_is_for_those_who_may_write_it() {
    let mut api = start();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), layout::meta::factory_image().expect("an image")).expect("written");
    let write = |key, value: &[u8]| MetaWriteRequest { key, value: value.to_vec() };
    let refused = api.client.meta_write(with_role("os:admin", write(10, b"a"))).await.expect_err("no disk");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let meta = PartitionStatus { label: "META".into(), device: file.path().into(), ..PartitionStatus::default() };
    api.sources.node.disk.send_modify(|disk| disk.partitions = vec![meta]);
    for (role, key, length, wanted) in [
        ("os:operator", 10, 1, Code::PermissionDenied),
        ("os:reader", 10, 1, Code::PermissionDenied),
        ("os:meta:writer", 10, 1, Code::Ok),
        ("os:admin", 255, 0, Code::Ok),
        ("os:admin", 256, 1, Code::InvalidArgument),
        ("os:admin", 12, layout::meta::MAX_VALUE + 1, Code::ResourceExhausted),
        ("os:admin", 12, layout::meta::MAX_VALUE, Code::Ok),
        ("os:admin", 13, layout::meta::MAX_VALUE, Code::Ok),
        ("os:admin", 14, layout::meta::MAX_VALUE, Code::Ok),
        ("os:admin", 15, layout::meta::MAX_VALUE, Code::ResourceExhausted),
    ] {
        let answer = api.client.meta_write(with_role(role, write(key, &vec![b'x'; length]))).await;
        assert_eq!(answer.err().map_or(Code::Ok, |status| status.code()), wanted, "{role}, key {key}, {length} bytes");
    }
    let mut state = StateClient::new(api.channel.clone());
    let get = GetRequest { namespace: "runtime".into(), r#type: "MetaKeys.runtime.talos.dev".into(), id: "0x0a".into(), options: None };
    let found = state.get(with_role("os:reader", get)).await.expect("found").into_inner().resource.expect("a resource");
    assert_eq!(found.spec.expect("a spec").yaml_spec, "value: x\n");
    for (role, key, wanted) in [
        ("os:operator", 10, Code::PermissionDenied),
        ("os:meta:writer", 10, Code::Ok),
        ("os:admin", 10, Code::NotFound),
        ("os:admin", 1000, Code::InvalidArgument),
    ] {
        let answer = api.client.meta_delete(with_role(role, MetaDeleteRequest { key })).await;
        assert_eq!(answer.err().map_or(Code::Ok, |status| status.code()), wanted, "{role}, key {key}");
    }
}

#[tokio::test]
async fn a_reset_is_for_the_administrator_and_checked_first() {
    let mut api = start();
    let disk = |mode, disk: &str| ResetRequest { mode, user_disks_to_wipe: vec![disk.into()], ..ResetRequest::default() };
    for (role, request, wanted) in [
        ("os:operator", ResetRequest::default(), Code::PermissionDenied),
        ("os:reader", ResetRequest::default(), Code::PermissionDenied),
        ("os:admin", ResetRequest { mode: 2, ..ResetRequest::default() }, Code::InvalidArgument),
        ("os:admin", disk(1, "/dev/null"), Code::InvalidArgument),
        ("os:admin", disk(2, "/dev/null"), Code::NotFound),
        // This program is tested on a machine that was not booted from an image.
        ("os:admin", ResetRequest::default(), Code::FailedPrecondition),
    ] {
        let refused = api.client.reset(with_role(role, request.clone())).await.expect_err("refused");
        assert_eq!(refused.code(), wanted, "{role}, {request:?}: {refused}");
    }
    assert!(api.commands.try_recv().is_err(), "something was ordered");
}

#[tokio::test]
async fn services_are_touched_by_role_and_while_there_is_a_supervisor() {
    let mut api = start();
    for (role, wanted) in [
        ("os:reader", (Code::PermissionDenied, "not authorized")),
        ("os:operator", (Code::Unavailable, "the node is going down: its services have been stopped")),
    ] {
        let refused = api.client.service_stop(with_role(role, ServiceStopRequest { id: "apid".into() })).await.expect_err("refused");
        assert_eq!((refused.code(), refused.message()), wanted, "{role}");
    }
}

#[tokio::test]
async fn who_is_not_the_supervised_apid_is_turned_away() {
    let folder = tempfile::tempdir().expect("folder");
    let (node, _commands) = Node::new();
    let sources = Sources { node, logs: Logs::new(), events: Events::new(), services: Handle::of_nobody() };
    let listener = UnixListener::bind(folder.path().join("s")).expect("bound");
    let admission = Admission::new(User { uid: 50, gid: 50 }, Arc::clone(&sources.node));
    let (_client, accepted) = tokio::join!(tokio::net::UnixStream::connect(folder.path().join("s")), listener.accept());
    let admitted = admission.admit(accepted.expect("accepted").0).await.expect("looked at");
    assert!(admitted.is_none());
}

#[tokio::test]
async fn resources_are_read_by_role_and_written_by_nobody() {
    let api = start();
    let mut state = StateClient::new(api.channel.clone());
    let get = |kind: &str, id: &str| GetRequest { namespace: "runtime".into(), r#type: kind.into(), id: id.into(), options: None };
    let version = get("Versions.runtime.talos.dev", "version");
    let found = state.get(with_role("os:reader", version.clone())).await.expect("found").into_inner().resource.expect("a resource");
    assert_eq!(found.spec.expect("a spec").yaml_spec, format!("name: Keelson\nversion: {TAG}\n"));
    let config = GetRequest { namespace: "config".into(), ..get("MachineConfigs.config.talos.dev", "v1alpha1") };
    for (role, message, wanted) in [
        ("", version, (Code::PermissionDenied, "not authorized")),
        ("os:reader", config.clone(), (Code::PermissionDenied, "not authorized")),
        ("os:admin", config, (Code::NotFound, "resource MachineConfigs.config.talos.dev(config/v1alpha1) doesn't exist")),
    ] {
        let refused = state.get(with_role(role, message)).await.expect_err("refused");
        assert_eq!((refused.code(), refused.message()), wanted, "{role}");
    }
    for (role, wanted) in [("os:reader", "not authorized"), ("os:admin", "write access is not allowed")] {
        let refused = state.create(with_role(role, CreateRequest::default())).await.expect_err("refused");
        assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, wanted), "{role}");
    }
    let mut inspect = InspectServiceClient::new(api.channel.clone());
    let graph = inspect.controller_runtime_dependencies(with_role("os:reader", ())).await.expect("a graph").into_inner();
    assert!(graph.messages[0].edges.iter().any(|edge| edge.controller_name == "network.status"), "{graph:?}");
}
