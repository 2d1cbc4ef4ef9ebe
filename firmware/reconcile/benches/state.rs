//! The resource state's single operations, with Criterion's statistics: `cargo bench -p reconcile`. What a whole node of
//! them costs, watchers and memory included, is measured by `cargo xtask bench state`.

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use reconcile::Store;
use resource::{Key, Kind, Limits, Place, Query, Resource, Start, Target, kinds::v1alpha1::ServiceSpec};

/// Resources in the table.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Watches on it.
const WATCHERS: [usize; 3] = [1, 100, 1_000];

criterion_group!(benches, creates, updates, reads, watched);
criterion_main!(benches);

/// A resource more in a table of some size.
fn creates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("create");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let store = filled(size);
        let mut number = size;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    Resource::of(format!("service-{number}"), spec(false))
                },
                |resource| store.create(resource, ""),
                BatchSize::SmallInput,
            );
        });
    }
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let store = filled(size);
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                number = (number + 7919) % size;
                update(&store, number, number % 2 == 0);
            });
        });
    }
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let store = filled(size);
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                number = (number + 7919) % size;
                black_box(store.get(&key(number)))
            });
        });
    }
}

/// An update that every watcher takes: the whole way of a change through as many watches.
fn watched(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("fan-out");
    for watchers in WATCHERS {
        let store = filled(1_000);
        let place = Place::new(ServiceSpec::DEFINITION.namespace, ServiceSpec::DEFINITION.kind);
        let mut watches: Vec<_> =
            (0..watchers).map(|_| store.watch(&place, Target::All(Query::default()), Start::Now).expect("a watch").0).collect();
        let mut healthy = false;
        group.throughput(Throughput::Elements(watchers as u64));
        group.bench_function(BenchmarkId::from_parameter(watchers), |bencher| {
            bencher.iter(|| {
                healthy = !healthy;
                update(&store, 0, healthy);
                runtime.block_on(async {
                    for watch in &mut watches {
                        black_box(watch.next(256).await.expect("in time"));
                    }
                });
            });
        });
    }
}

fn filled(size: usize) -> Store {
    let store = Store::new(1, Limits::default());
    for number in 0..size {
        store.create(Resource::of(format!("service-{number}"), spec(false)), "").expect("it is new");
    }
    store
}

fn update(store: &Store, number: usize, healthy: bool) {
    let old = store.get(&key(number)).expect("it is there");
    store.update(Resource::clone(&old).with(Arc::new(spec(healthy))), "").expect("nobody else writes");
}

fn key(number: usize) -> Key {
    Key::new(ServiceSpec::DEFINITION.namespace, ServiceSpec::DEFINITION.kind, format!("service-{number}"))
}

fn spec(healthy: bool) -> ServiceSpec {
    ServiceSpec { running: true, healthy, unknown: false }
}
