//! Measures the resource state in one setting, alone in a process of its own: `state RESOURCES WATCHERS` prints one JSON
//! object. `cargo xtask bench state` runs it for each setting.
//!
//! Everything is on one thread, as in the node. The floor is a sorted table behind the same lock without history, watches
//! or checks of owners.

use std::{
    collections::BTreeMap,
    hint::black_box,
    process::ExitCode,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use reconcile::{Store, Watching};
use resource::{Key, Kind, Limits, Place, Query, Resource, Start, Target, kinds::v1alpha1::ServiceSpec};
use tokio::sync::mpsc;

/// Updates whose way to the watchers is timed.
const ROUNDS: usize = 100;
/// Writes between two turns of the watchers; as many as one reconciler makes at most.
const TURN: usize = 64;

fn main() -> ExitCode {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [resources, watchers] = numbers[..] else {
        eprintln!("usage: state RESOURCES WATCHERS");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    // A task among tasks, as every writer in the node: it takes turns with those that watch.
    let measured = runtime.block_on(async { tokio::spawn(measure(resources.max(1), watchers)).await });
    println!("{}", measured.expect("no panic"));
    ExitCode::SUCCESS
}

async fn measure(resources: usize, watchers: usize) -> String {
    let floor = floor(resources);
    let before = resident();
    let store = Store::new(1, Limits::default());
    let created = create(&store, resources);
    let bytes = resident().saturating_sub(before) / resources;
    let (seen, mut all_seen) = mpsc::unbounded_channel();
    for _ in 0..watchers {
        let (watching, _) = store.watch(&place(), Target::All(Query::default()), Start::Now).expect("a watch");
        tokio::spawn(follow(store.clone(), watching, seen.clone()));
    }
    tokio::task::yield_now().await;
    let updated = update(&store, resources).await;
    let mut spread = Vec::new();
    for round in 0..ROUNDS {
        while all_seen.try_recv().is_ok() {}
        let begun = Instant::now();
        put(&store, &format!("mark-{round}"), true);
        for _ in 0..watchers {
            // A watcher that has seen the mark says so.
            while all_seen.recv().await.is_some_and(|mark| mark != round) {}
        }
        spread.push(begun.elapsed());
    }
    spread.sort();
    let per_second = |took: Duration| resources as f64 / took.as_secs_f64();
    let micros = |at: usize| spread.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e6);
    format!(
        "{{\"resources\": {resources}, \"watchers\": {watchers}, \"floor_creates_per_s\": {:.0}, \"creates_per_s\": {:.0}, \
         \"updates_per_s\": {:.0}, \"fan_out_us_median\": {:.1}, \"fan_out_us_max\": {:.1}, \"bytes_per_resource\": {bytes}}}",
        per_second(floor),
        per_second(created),
        per_second(updated),
        micros(ROUNDS / 2),
        micros(ROUNDS - 1),
    )
}

/// Follows as a client does: whoever comes too late begins anew with what there is.
async fn follow(store: Store, mut watching: Watching, seen: mpsc::UnboundedSender<usize>) {
    loop {
        let told = match watching.next(256).await {
            Ok(told) => told,
            Err(_) => {
                let (anew, contents) = store.watch(&place(), Target::All(Query::default()), Start::Contents).expect("a watch");
                watching = anew;
                contents
            }
        };
        for delivery in &told {
            if let resource::Delivery::Changed { resource, .. } = delivery
                && let Some(mark) = resource.metadata.key.id.strip_prefix("mark-").and_then(|mark| mark.parse().ok())
            {
                let _ = seen.send(mark); // the measurement is over
            }
        }
    }
}

fn spec(healthy: bool) -> ServiceSpec {
    ServiceSpec { running: true, healthy, unknown: false }
}

fn place() -> Place {
    Place::new(ServiceSpec::DEFINITION.namespace, ServiceSpec::DEFINITION.kind)
}

fn put(store: &Store, id: &str, healthy: bool) {
    let key = Key::new(ServiceSpec::DEFINITION.namespace, ServiceSpec::DEFINITION.kind, id);
    let done = match store.get(&key) {
        Some(old) => store.update(Resource::clone(&old).with(Arc::new(spec(healthy))), ""),
        None => store.create(Resource::of(id, spec(healthy)), ""),
    };
    done.expect("nobody else writes");
}

fn create(store: &Store, resources: usize) -> Duration {
    let begun = Instant::now();
    for number in 0..resources {
        store.create(Resource::of(format!("service-{number}"), spec(false)), "").expect("it is new");
    }
    begun.elapsed()
}

async fn update(store: &Store, resources: usize) -> Duration {
    let begun = Instant::now();
    for number in 0..resources {
        put(store, &format!("service-{number}"), true);
        if number % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    begun.elapsed()
}

fn floor(resources: usize) -> Duration {
    let table: RwLock<BTreeMap<Arc<str>, Arc<Resource>>> = RwLock::default();
    let begun = Instant::now();
    for number in 0..resources {
        let resource = Arc::new(Resource::of(format!("service-{number}"), spec(false)));
        table.write().expect("one thread").insert(Arc::clone(&resource.metadata.key.id), resource);
    }
    let took = begun.elapsed();
    black_box(&table);
    took
}

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
