//! Reconcilers at work on a store.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use reconcile::{Context, Declaration, Failure, GraphError, Input, Output, Reconciler, Runtime, Store, Strength, Task};
use resource::{
    Key, Kind, Limits, Phase, Place, Query, Resource, Start, StateError, Target,
    kinds::{
        network::HostnameStatusSpec,
        runtime::{ReconcilerSpec, VersionSpec},
    },
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than anything here takes; the clock is the runtime's own and stands still while there is work.
const LIMIT: Duration = Duration::from_secs(600);

struct Bench {
    store: Store,
    runtime: Runtime,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn bench() -> Bench {
    let (store, tasks, stop) = (Store::new(1, Limits::default()), TaskTracker::new(), CancellationToken::new());
    Bench { runtime: Runtime::new(store.clone(), tasks.clone(), stop.clone()), store, tasks, stop }
}

fn name_key() -> Key {
    Key::new("network", HostnameStatusSpec::DEFINITION.kind, "a")
}

fn version_key(id: &str) -> Key {
    Key::new("runtime", VersionSpec::DEFINITION.kind, id)
}

fn say(store: &Store, version: &str) {
    let spec = VersionSpec { name: "k".into(), version: version.into() };
    let done = match store.get(&version_key("a")) {
        Some(old) => store.update(Resource::clone(&old).with(Arc::new(spec)), ""),
        None => store.create(Resource::of("a", spec), ""),
    };
    done.unwrap();
}

/// Waits until `holds` of what is in a place.
async fn until(store: &Store, place: Place, mut holds: impl FnMut(&[Arc<Resource>]) -> bool) {
    let waits = async {
        let (mut watching, _) = store.watch(&place, Target::All(Query::default()), Start::Now).unwrap();
        while !holds(&store.list(&place, &Query::default())) {
            watching.next(10).await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, waits).await.expect("the state in time");
}

fn hostname(found: &[Arc<Resource>]) -> Option<&str> {
    found.first()?.spec::<HostnameStatusSpec>().map(|spec| spec.hostname.as_str())
}

/// Writes every version down as a host name; fails as often as it is told to, holds its input if it is told to.
struct Copier {
    name: &'static str,
    strength: Strength,
    fails: Arc<AtomicU32>,
    stirs: Arc<Notify>,
    suffix: Arc<AtomicU32>,
}

impl Copier {
    fn new(name: &'static str) -> Self {
        Self { name, strength: Strength::Weak, fails: Arc::default(), stirs: Arc::default(), suffix: Arc::default() }
    }

    fn work(&self, context: &Context) -> Result<(), Failure> {
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err("no luck".into());
        }
        assert_ne!(self.fails.load(Ordering::SeqCst), u32::MAX, "told to panic");
        let mut wanted = Vec::new();
        for version in context.list::<VersionSpec>()? {
            let key = &version.metadata.key;
            if version.metadata.phase == Phase::TearingDown {
                context.release(key)?;
                continue;
            }
            if self.strength == Strength::Strong {
                context.hold(key)?;
            }
            let text = version.spec::<VersionSpec>().map(|spec| spec.version.clone()).unwrap_or_default();
            let hostname = format!("{text}{}", self.suffix.load(Ordering::SeqCst));
            wanted.push((key.id.to_string(), HostnameStatusSpec { hostname, domainname: String::new() }));
        }
        context.keep(wanted)?;
        Ok(())
    }
}

impl Reconciler for Copier {
    fn declaration(&self) -> Declaration {
        Declaration {
            name: self.name,
            inputs: vec![Input::all::<VersionSpec>().with(self.strength)],
            outputs: vec![Output::exclusive::<HostnameStatusSpec>()],
        }
    }

    fn stirred(&mut self) -> Task<'_, ()> {
        Box::pin(self.stirs.notified())
    }

    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
        Box::pin(async { self.work(context) })
    }
}

#[tokio::test(start_paused = true)]
async fn outputs_follow_inputs() {
    let Bench { store, mut runtime, tasks, stop } = bench();
    say(&store, "1.");
    let copier = Copier::new("copier");
    let (stirs, suffix) = (Arc::clone(&copier.stirs), Arc::clone(&copier.suffix));
    runtime.add(copier).unwrap();
    let place = || Place::from(&name_key());
    until(&store, place(), |found| hostname(found) == Some("1.0")).await;
    assert_eq!(&*store.get(&name_key()).unwrap().metadata.owner, "copier");
    say(&store, "2.");
    until(&store, place(), |found| hostname(found) == Some("2.0")).await;
    suffix.store(7, Ordering::SeqCst);
    stirs.notify_one();
    until(&store, place(), |found| hostname(found) == Some("2.7")).await;
    store.destroy(&version_key("a"), "").unwrap();
    until(&store, place(), <[_]>::is_empty).await;
    let refused = runtime.add(Copier::new("other")).unwrap_err();
    assert!(matches!(refused, GraphError::Owners { first: "copier", second: "other", .. }));
    stop.cancel();
    tasks.close();
    tokio::time::timeout(LIMIT, tasks.wait()).await.expect("all tasks end");
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_and_reported() {
    let Bench { store, mut runtime, .. } = bench();
    say(&store, "1.");
    let copier = Copier::new("copier");
    let fails = Arc::clone(&copier.fails);
    fails.store(3, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    runtime.add(copier).unwrap();
    let reports = || Place::new("runtime", ReconcilerSpec::DEFINITION.kind);
    let report = |found: &[Arc<Resource>]| found.first().and_then(|found| found.spec::<ReconcilerSpec>().cloned());
    let failed = ReconcilerSpec { failing: true, failures: 3, error: "no luck".into() };
    until(&store, reports(), |found| report(found).as_ref() == Some(&failed)).await;
    until(&store, reports(), |found| report(found) == Some(ReconcilerSpec::default())).await;
    assert_eq!(begun.elapsed().as_millis(), 500 + 1000 + 2000);
    assert!(store.get(&name_key()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    let Bench { store, mut runtime, .. } = bench();
    say(&store, "1.");
    struct Panics(u32);
    impl Reconciler for Panics {
        fn declaration(&self) -> Declaration {
            Declaration { name: "panics", outputs: vec![Output::exclusive::<HostnameStatusSpec>()], ..Declaration::default() }
        }

        fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
            self.0 += 1;
            Box::pin(async move {
                assert!(self.0 > 1, "the first time");
                context.keep([("a".to_owned(), HostnameStatusSpec::default())])?;
                Ok(())
            })
        }
    }
    runtime.add(Panics(0)).unwrap();
    until(&store, Place::from(&name_key()), |found| found.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_goes_when_it_is_let_go() {
    let Bench { store, mut runtime, .. } = bench();
    say(&store, "1.");
    runtime.add(Copier { strength: Strength::Strong, ..Copier::new("copier") }).unwrap();
    let versions = || Place::from(&version_key("a"));
    until(&store, versions(), |found| found.iter().any(|found| found.metadata.finalizers.contains("copier"))).await;
    assert!(matches!(store.destroy(&version_key("a"), ""), Err(StateError::Finalizers { .. })));
    // Somebody else holds the output, too: it stays, torn down, until that one lets go; then its owner destroys it.
    store.hold(&name_key(), "reader").unwrap();
    assert_eq!(store.teardown(&version_key("a"), ""), Ok(false));
    until(&store, versions(), |found| found.iter().all(|found| found.metadata.finalizers.is_empty())).await;
    until(&store, Place::from(&name_key()), |found| found.iter().all(|found| found.metadata.phase == Phase::TearingDown)).await;
    store.release(&name_key(), "reader").unwrap();
    until(&store, Place::from(&name_key()), <[_]>::is_empty).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_declared_is_not_seen() {
    let Bench { store, mut runtime, .. } = bench();
    struct Nosy;
    impl Reconciler for Nosy {
        fn declaration(&self) -> Declaration {
            Declaration { name: "nosy", inputs: vec![Input::one::<VersionSpec>("a")], outputs: vec![] }
        }

        fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
            Box::pin(async {
                assert!(context.get::<VersionSpec>("a").is_ok());
                let mut refused = vec![context.get::<VersionSpec>("b").map(drop)];
                refused.push(context.list::<HostnameStatusSpec>().map(drop));
                refused.push(context.keep([("a".to_owned(), HostnameStatusSpec::default())]).map(drop));
                refused.push(context.hold(&version_key("a")));
                let texts: Vec<_> = refused.into_iter().map(|refused| refused.unwrap_err().to_string()).collect();
                Err(texts.join("\n").into())
            })
        }
    }
    runtime.add(Nosy).unwrap();
    let expect = "nosy has not declared that it reads Versions.runtime.talos.dev in runtime\n\
                  nosy has not declared that it reads HostnameStatuses.net.talos.dev in network\n\
                  nosy has not declared that it writes HostnameStatuses.net.talos.dev in network\n\
                  nosy has not declared that it holds Versions.runtime.talos.dev in runtime";
    let told = |found: &[Arc<Resource>]| found.iter().any(|found| found.spec::<ReconcilerSpec>().is_some_and(|spec| spec.error == expect));
    until(&store, Place::new("runtime", ReconcilerSpec::DEFINITION.kind), told).await;
}

#[test]
fn keeping_leaves_others_alone() {
    let store = Store::new(1, Limits::default());
    let place = Place::from(&version_key("a"));
    let one = |id: &str, version: &str| Resource::of(id, VersionSpec { name: String::new(), version: version.into() });
    let ids = || {
        store
            .list(&place, &Query::default())
            .iter()
            .map(|found| (found.metadata.key.id.to_string(), found.metadata.version))
            .collect::<Vec<_>>()
    };
    let is =
        |expect: &[(&str, u64)]| assert_eq!(ids(), expect.iter().map(|(id, version)| ((*id).to_owned(), *version)).collect::<Vec<_>>());
    store.create(one("theirs", "1"), "them").unwrap();
    assert_eq!(store.keep(&place, "me", vec![one("a", "1"), one("b", "1")]), Ok(false));
    is(&[("a", 1), ("b", 1), ("theirs", 1)]);
    assert_eq!(store.keep(&place, "me", vec![one("a", "2"), one("c", "1")]), Ok(false));
    is(&[("a", 2), ("c", 1), ("theirs", 1)]);
    assert_eq!(store.keep(&place, "me", vec![one("a", "2"), one("c", "1")]), Ok(false));
    is(&[("a", 2), ("c", 1), ("theirs", 1)]);
    assert!(matches!(store.keep(&place, "me", vec![one("theirs", "2")]), Err(StateError::Exists { .. })));
    // Held: it waits, and once it is let go a wanted one is a new one.
    store.keep(&place, "me", vec![one("a", "2")]).unwrap();
    store.hold(&version_key("a"), "reader").unwrap();
    assert_eq!(store.keep(&place, "me", vec![]), Ok(true));
    assert_eq!(store.keep(&place, "me", vec![one("a", "3")]), Ok(true));
    assert_eq!(store.get(&version_key("a")).unwrap().metadata.phase, Phase::TearingDown);
    store.release(&version_key("a"), "reader").unwrap();
    assert_eq!(store.keep(&place, "me", vec![one("a", "3")]), Ok(false));
    is(&[("a", 1), ("theirs", 1)]);
}

/// What a step of the property below does.
#[derive(Clone, Debug)]
enum Step {
    Keep(BTreeMap<u8, u8>),
    Hold(u8),
    Release(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => proptest::collection::btree_map(0..4_u8, 0..3_u8, 0..4).prop_map(Step::Keep),
        1 => (0..4_u8).prop_map(Step::Hold),
        2 => (0..4_u8).prop_map(Step::Release),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    /// Whatever is held meanwhile: once all is let go, keeping twice gives exactly what is wanted, and what is held never goes.
    #[test]
    fn keeping_gets_there(steps in steps(), last in proptest::collection::btree_map(0..4_u8, 0..3_u8, 0..4)) {
        let store = Store::new(1, Limits::default());
        let place = Place::from(&version_key("0"));
        let keep = |wanted: &BTreeMap<u8, u8>| {
            let one = |(id, text): (&u8, &u8)| Resource::of(id.to_string(), VersionSpec { name: String::new(), version: text.to_string() });
            store.keep(&place, "me", wanted.iter().map(one).collect()).unwrap()
        };
        for step in &steps {
            match step {
                Step::Keep(wanted) => {
                    let held: Vec<_> = store.list(&place, &Query::default()).into_iter().filter(|found| !found.metadata.finalizers.is_empty()).collect();
                    keep(wanted);
                    prop_assert!(held.iter().all(|held| store.get(&held.metadata.key).is_some()));
                }
                // What is gone, or going, cannot be held.
                Step::Hold(id) => drop(store.hold(&version_key(&id.to_string()), "reader")),
                Step::Release(id) => drop(store.release(&version_key(&id.to_string()), "reader")),
            }
        }
        for id in 0..4_u8 {
            drop(store.release(&version_key(&id.to_string()), "reader"));
        }
        keep(&last);
        prop_assert!(!keep(&last), "nothing is held any more");
        let is: BTreeMap<String, String> = store
            .list(&place, &Query::default())
            .iter()
            .map(|found| (found.metadata.key.id.to_string(), found.spec::<VersionSpec>().unwrap().version.clone()))
            .collect();
        let wanted: BTreeMap<String, String> = last.iter().map(|(id, text)| (id.to_string(), text.to_string())).collect();
        prop_assert_eq!(is, wanted);
    }
}
