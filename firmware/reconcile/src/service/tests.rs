use std::time::Duration;

use futures_util::StreamExt;
use resource::{
    Limits, Resource, StateError,
    kinds::{
        config::{ACTIVE, MachineConfigSpec},
        network::HostnameStatusSpec,
        v1alpha1::ServiceSpec,
    },
};
use tonic::Code;
use wire::cosi::{self, EventType, ListOptions, WatchOptions, label_term::Operation};

use super::*;

const SERVICES: &str = "Services.v1alpha1.talos.dev";
/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

/// Marks a call as an administrator's.
#[derive(Clone)]
struct Admin;

fn service(history: usize) -> (Store, Service) {
    let store = Store::new(1, Limits { history, ..Limits::default() });
    store.describe(kinds::all()).unwrap();
    let service = Service::new(store.clone(), |extensions| extensions.get::<Admin>().is_some(), CancellationToken::new());
    (store, service)
}

fn put(store: &Store, id: &str, healthy: bool) {
    let mut next = Resource::of(id, ServiceSpec { running: true, healthy, unknown: false });
    next.metadata.labels.insert("healthy".into(), healthy.to_string());
    let done = match store.get(&next.metadata.key) {
        Some(old) => {
            next.metadata.version = old.metadata.version;
            store.update(next, "")
        }
        None => store.create(next, ""),
    };
    done.unwrap();
}

fn get(namespace: &str, kind: &str, id: &str, admin: bool) -> Request<GetRequest> {
    let mut request = Request::new(GetRequest { namespace: namespace.into(), r#type: kind.into(), id: id.into(), options: None });
    if admin {
        request.extensions_mut().insert(Admin);
    }
    request
}

#[tokio::test]
async fn a_resource_has_both_forms() {
    let (store, service) = service(8);
    let spec = HostnameStatusSpec { hostname: "a".into(), domainname: "b".into() };
    store.create(Resource::of("hostname", spec), "net").unwrap();
    let reply = service.get(get("network", "hostnamestatuses.net.talos.dev", "hostname", false)).await.unwrap().into_inner();
    let (metadata, spec) = reply.resource.map(|resource| (resource.metadata.unwrap(), resource.spec.unwrap())).unwrap();
    assert_eq!((metadata.r#type.as_str(), metadata.version.as_str()), ("HostnameStatuses.net.talos.dev", "1"));
    assert_eq!((metadata.owner.as_str(), metadata.phase.as_str()), ("net", "running"));
    assert!(metadata.created.is_some() && metadata.created == metadata.updated);
    assert_eq!((spec.proto_spec.as_slice(), spec.yaml_spec.as_str()), (&b"\x0a\x01a\x12\x01b"[..], "hostname: a\ndomainname: b\n"));
}

#[tokio::test]
async fn who_may_read_what() {
    let (store, service) = service(8);
    store.create(Resource::of(ACTIVE, MachineConfigSpec(std::sync::Arc::new("token: x".to_owned().into()))), "config").unwrap();
    let config = "MachineConfigs.config.talos.dev";
    for (namespace, kind, id, admin, expect) in [
        ("config", config, ACTIVE, true, Ok(())),
        ("config", config, ACTIVE, false, Err((Code::PermissionDenied, "not authorized"))),
        ("config", config, "other", true, Err((Code::NotFound, "resource MachineConfigs.config.talos.dev(config/other) doesn't exist"))),
        ("runtime", "Nothing.talos.dev", "", true, Err((Code::PermissionDenied, "resource type \"Nothing.talos.dev\" is not supported"))),
        ("elsewhere", SERVICES, "a", true, Err((Code::PermissionDenied, "namespace \"elsewhere\" is not supported"))),
        ("", SERVICES, "a", true, Err((Code::PermissionDenied, "namespace \"\" is not supported"))),
    ] {
        let got = service.get(get(namespace, kind, id, admin)).await;
        let got = got.map(drop).map_err(|status| (status.code(), status.message().to_owned()));
        assert_eq!(got, expect.map_err(|(code, text)| (code, text.to_owned())), "{namespace} {kind} {id}");
    }
}

fn labelled(op: Operation, value: &[&str]) -> cosi::LabelQuery {
    let value = value.iter().map(|value| (*value).to_owned()).collect();
    cosi::LabelQuery { terms: vec![cosi::LabelTerm { key: "healthy".into(), op: op.into(), value, invert: false }] }
}

async fn listed(service: &Service, label_query: Vec<cosi::LabelQuery>, id: &str) -> Result<Vec<String>, Code> {
    let options = ListOptions { label_query, id_query: Some(cosi::IdQuery { regexp: id.into() }) };
    let request = ListRequest { namespace: "runtime".into(), r#type: SERVICES.into(), options: Some(options) };
    let found = service.list(Request::new(request)).await.map_err(|status| status.code())?.into_inner();
    Ok(found.map(|answer| answer.unwrap().resource.unwrap().metadata.unwrap().id).collect().await)
}

#[tokio::test]
async fn lists_are_sorted_and_queried() {
    let (store, service) = service(8);
    for (id, healthy) in [("kubelet", true), ("apid", true), ("etcd", false)] {
        put(&store, id, healthy);
    }
    let ids = |expect: &[&str]| Ok(expect.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    assert_eq!(listed(&service, vec![], "").await, ids(&["apid", "etcd", "kubelet"]));
    assert_eq!(listed(&service, vec![labelled(Operation::Equal, &["true"])], "").await, ids(&["apid", "kubelet"]));
    assert_eq!(listed(&service, vec![labelled(Operation::NotExists, &[])], "").await, ids(&[]));
    assert_eq!(listed(&service, vec![labelled(Operation::Exists, &[])], "^.t").await, ids(&["etcd"]));
    assert_eq!(listed(&service, vec![labelled(Operation::Equal, &[])], "").await, Err(Code::InvalidArgument));
    assert_eq!(listed(&service, vec![labelled(Operation::Exists, &[]); 65], "").await, Err(Code::InvalidArgument));
    assert_eq!(listed(&service, vec![], "(").await, Err(Code::InvalidArgument));
}

struct Watched(Replies<WatchResponse>);

impl Watched {
    async fn of(service: &Service, id: Option<&str>, api_version: i32, options: WatchOptions) -> Result<Self, Code> {
        let id = id.map(str::to_owned);
        let request = WatchRequest { namespace: "runtime".into(), r#type: SERVICES.into(), id, options: Some(options), api_version };
        Ok(Self(service.watch(Request::new(request)).await.map_err(|status| status.code())?.into_inner()))
    }

    /// One message: `CREATED a 1 (2)` is resource a at version 1 with an old one at version 2.
    async fn message(&mut self) -> Option<String> {
        let answer = tokio::time::timeout(LIMIT, self.0.next()).await.expect("an answer in time")?;
        let version =
            |resource: &cosi::Resource| resource.metadata.as_ref().map(|metadata| format!(" {} {}", metadata.id, metadata.version));
        let word = |event: &cosi::Event| {
            let resource = event.resource.as_ref().and_then(version).unwrap_or_default();
            let old = event.old.as_ref().and_then(version).map(|old| format!(" after{old}")).unwrap_or_default();
            let error = event.error.as_deref().unwrap_or_default();
            assert_eq!(event.bookmark.is_none(), event.error.is_some());
            format!("{}{resource}{old}{error}", EventType::try_from(event.event_type).unwrap().as_str_name())
        };
        Some(match answer {
            Ok(answer) => answer.event.iter().map(word).collect::<Vec<_>>().join(", "),
            Err(status) => format!("{:?}", status.code()),
        })
    }

    async fn expect(&mut self, messages: &[&str]) {
        for expect in messages {
            assert_eq!(self.message().await.as_deref(), Some(*expect));
        }
    }
}

fn contents() -> WatchOptions {
    WatchOptions { bootstrap_contents: true, ..WatchOptions::default() }
}

#[tokio::test]
async fn a_watch_greets_tells_what_there_is_and_then_what_happens() {
    let (store, service) = service(8);
    put(&store, "apid", false);
    put(&store, "etcd", false);
    let mut all = Watched::of(&service, None, 1, contents()).await.unwrap();
    let mut together = Watched::of(&service, None, 1, WatchOptions { aggregated: true, ..contents() }).await.unwrap();
    let mut old = Watched::of(&service, None, 0, contents()).await.unwrap();
    let mut one = Watched::of(&service, Some("apid"), 1, WatchOptions::default()).await.unwrap();
    let mut none = Watched::of(&service, Some("kubelet"), 1, WatchOptions::default()).await.unwrap();
    put(&store, "apid", true);
    all.expect(&["", "CREATED apid 1", "CREATED etcd 1", "BOOTSTRAPPED", "UPDATED apid 2 after apid 1"]).await;
    together.expect(&["", "CREATED apid 1, CREATED etcd 1, BOOTSTRAPPED", "UPDATED apid 2 after apid 1"]).await;
    old.expect(&["", "CREATED apid 1", "CREATED etcd 1", "UPDATED apid 2 after apid 1"]).await;
    one.expect(&["", "CREATED apid 1", "UPDATED apid 2 after apid 1"]).await;
    none.expect(&["", "DESTROYED kubelet undefined"]).await;
    let key = Key::new("runtime", SERVICES, "etcd");
    store.destroy(&key, "").unwrap();
    all.expect(&["DESTROYED etcd 1"]).await;
    service.stop.cancel();
    assert_eq!(all.message().await, None);
}

#[tokio::test]
async fn a_watch_goes_on_from_a_bookmark() {
    let (store, service) = service(8);
    for healthy in [false, true] {
        put(&store, "apid", healthy);
    }
    let options = WatchOptions { bootstrap_bookmark: true, ..WatchOptions::default() };
    let mut marked = Watched::of(&service, None, 1, options).await.unwrap();
    marked.expect(&["", "NOOP"]).await;
    put(&store, "apid", false);
    let Some(Ok(answer)) = marked.0.next().await else { panic!("no event") };
    let bookmark = answer.event[0].bookmark.clone();
    put(&store, "apid", true);
    let from = |bookmark| WatchOptions { start_from_bookmark: bookmark, ..WatchOptions::default() };
    let mut again = Watched::of(&service, None, 1, from(bookmark.clone())).await.unwrap();
    again.expect(&["", "UPDATED apid 4 after apid 3"]).await;
    let mut tail = Watched::of(&service, None, 1, WatchOptions { tail_events: 2, ..WatchOptions::default() }).await.unwrap();
    tail.expect(&["", "UPDATED apid 3 after apid 2", "UPDATED apid 4 after apid 3"]).await;
    for (options, expect) in [
        (from(Some(vec![0; 16])), Code::FailedPrecondition),
        (WatchOptions { tail_events: 1, ..from(bookmark.clone()) }, Code::InvalidArgument),
        (WatchOptions { bootstrap_contents: true, ..from(bookmark) }, Code::InvalidArgument),
    ] {
        assert_eq!(Watched::of(&service, None, 1, options).await.err(), Some(expect));
    }
    assert_eq!(Watched::of(&service, Some("apid"), 1, contents()).await.err(), Some(Code::Unimplemented));
}

#[tokio::test]
async fn who_comes_too_late_is_told_so() {
    let (store, service) = service(2);
    put(&store, "apid", false);
    let mut new = Watched::of(&service, None, 1, WatchOptions::default()).await.unwrap();
    let mut old = Watched::of(&service, None, 0, WatchOptions::default()).await.unwrap();
    for healthy in [true, false, true] {
        put(&store, "apid", healthy);
    }
    let text = format!(
        "ERROREDthe watch on {SERVICES} in runtime came too late: more has happened than is kept; begin anew with the present contents"
    );
    new.expect(&["", text.as_str()]).await;
    assert_eq!(new.message().await, None);
    old.expect(&["", "Aborted"]).await;
    assert_eq!(old.message().await, None);
}

#[tokio::test]
async fn types_are_described_once() {
    let (store, service) = service(8);
    let reply = service.get(get("meta", "ResourceDefinitions.meta.cosi.dev", "services.v1alpha1.talos.dev", false)).await.unwrap();
    let yaml = reply.into_inner().resource.unwrap().spec.unwrap().yaml_spec;
    assert!(yaml.contains("displayType: Service\n") && yaml.contains("- svc\n") && yaml.contains("jsonPath: '{.running}'\n"), "{yaml}");
    assert!(matches!(store.describe(kinds::all()), Err(StateError::Exists { .. })));
}
