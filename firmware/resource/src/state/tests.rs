use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use proptest::prelude::*;

use super::*;
use crate::{Delivery, LabelQuery, LabelTerm, Operation, Spec, Start, Target, Watch, WatchError};
use crate::{Kind, kinds::config::MachineConfigSpec};

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn key(id: &str) -> Key {
    Key::new("n", "k", id)
}

fn place() -> Place {
    Place::new("n", "k")
}

fn said(text: &str) -> Arc<dyn Spec> {
    Arc::new(text.to_owned())
}

fn state() -> State {
    State::new(7, Limits { history: 4, ..Limits::default() })
}

fn text(resource: &Resource) -> String {
    resource.content().as_any().downcast_ref::<String>().unwrap().clone()
}

/// `+a1 *a2 -a2 ... .`: created, updated, destroyed (each with what it says), bootstrapped.
fn words(deliveries: &[Delivery]) -> String {
    let word = |delivery: &Delivery| match delivery {
        Delivery::Changed { change, resource, .. } => {
            let sign = match change {
                Change::Created => '+',
                Change::Updated => '*',
                Change::Destroyed => '-',
            };
            format!("{sign}{}={}", resource.metadata.key.id, text(resource))
        }
        Delivery::Absent { key, .. } => format!("?{}", key.id),
        Delivery::Bootstrapped { .. } => ".".to_owned(),
        Delivery::Started { .. } => "^".to_owned(),
    };
    deliveries.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_life() {
    let mut state = state();
    let by = |second| Options::by("me", at(second));
    let made = state.create(Resource::new(key("a"), said("1")), by(1)).unwrap();
    assert_eq!((made.metadata.version, &*made.metadata.owner, made.metadata.created), (1, "me", at(1)));
    let exists = state.create(Resource::new(key("a"), said("1")), by(1)).unwrap_err();
    assert_eq!(exists.to_string(), "resource k(n/a) exists already");

    let next = state.update(Resource::clone(&made).with(said("2")), by(2)).unwrap();
    assert_eq!((next.metadata.version, next.metadata.created, next.metadata.updated), (2, at(1), at(2)));
    let late = state.update(Resource::clone(&made).with(said("3")), by(3)).unwrap_err();
    assert_eq!(late, StateError::Conflict { key: key("a"), expected: 1, found: 2 });
    let same = state.update(Resource::clone(&next).with(said("2")), by(3)).unwrap();
    assert_eq!((same.metadata.version, same.metadata.updated), (2, at(2)), "nothing changed");
    let other = state.update(Resource::clone(&next).with(said("3")), Options::by("you", at(3))).unwrap_err();
    assert_eq!(other, StateError::Owner { key: key("a"), owner: "me".into(), caller: "you".into() });

    state.add_finalizer(&key("a"), "kubelet", at(4)).unwrap();
    assert_eq!(state.teardown(&key("a"), by(5)), Ok(false));
    assert_eq!(state.teardown(&key("a"), by(6)), Ok(false), "again is no error");
    let torn = Arc::clone(state.get(&key("a")).unwrap());
    assert_eq!(
        state.update(Resource::clone(&torn).with(said("4")), by(6)).unwrap_err(),
        StateError::Phase { key: key("a"), found: Phase::TearingDown }
    );
    assert_eq!(state.add_finalizer(&key("a"), "late", at(6)).unwrap_err(), StateError::Phase { key: key("a"), found: Phase::TearingDown });
    let needed = state.destroy(&key("a"), by(7)).unwrap_err();
    assert_eq!(needed.to_string(), "resource k(n/a) is still needed by kubelet");
    state.remove_finalizer(&key("a"), "kubelet", at(8)).unwrap();
    assert_eq!(state.teardown(&key("a"), by(9)), Ok(true));
    state.destroy(&key("a"), by(9)).unwrap();
    assert_eq!(state.destroy(&key("a"), by(9)), Err(StateError::NotFound { key: key("a") }));
    assert_eq!(state.list(&place(), &Query::default()).count(), 0);
}

fn put(state: &mut State, id: &str, what: &str) {
    let by = Options::by("", at(1));
    match state.get(&key(id)).map(|old| Resource::clone(old)) {
        Some(old) => state.update(old.with(said(what)), by),
        None => state.create(Resource::new(key(id), said(what)), by),
    }
    .unwrap();
}

#[track_caller]
fn check_start(state: &State, target: Target, start: Start<'_>, expect: &str) -> Watch {
    let (watch, first) = Watch::start(state, place(), target, start).unwrap();
    assert_eq!(words(&first), expect);
    watch
}

#[track_caller]
fn check_look(watch: &mut Watch, state: &State, expect: &str) {
    assert_eq!(words(&watch.look(state, 10).unwrap()), expect);
}

#[test]
fn watches_begin_where_they_are_told_to() {
    let mut state = state();
    let all = || Target::All(Query::default());
    let mut early = check_start(&state, all(), Start::Contents, ".");
    put(&mut state, "a", "1");
    put(&mut state, "b", "1");
    put(&mut state, "a", "2");
    check_look(&mut early, &state, "+a=1 +b=1 *a=2");
    check_look(&mut early, &state, "");
    check_start(&state, all(), Start::Now, "");
    check_start(&state, all(), Start::Marked, "^");
    check_start(&state, all(), Start::Contents, "+a=2 +b=1 .");
    check_start(&state, Target::One("a".into()), Start::Now, "+a=2");
    let mut tail = check_start(&state, all(), Start::Tail(2), "");
    check_look(&mut tail, &state, "+b=1 *a=2");
    let mut one = check_start(&state, Target::One("c".into()), Start::Now, "?c");
    put(&mut state, "c", "1");
    check_look(&mut one, &state, "+c=1");
    state.destroy(&key("c"), Options::by("", at(1))).unwrap();
    check_look(&mut one, &state, "-c=1");
}

#[test]
fn bookmarks_go_on_where_they_were_taken() {
    let mut state = state();
    for what in ["1", "2", "3"] {
        put(&mut state, "a", what);
    }
    let (mut watch, _) = Watch::start(&state, place(), Target::All(Query::default()), Start::Tail(3)).unwrap();
    let told = watch.look(&state, 10).unwrap();
    let Delivery::Changed { bookmark, .. } = told[0] else { panic!("{told:?}") };
    let mut again = check_start(&state, Target::All(Query::default()), Start::Bookmark(&bookmark), "");
    check_look(&mut again, &state, "*a=2 *a=3");
    for what in ["4", "5", "6"] {
        put(&mut state, "a", what);
    }
    let unknown = |state: &State, bytes: &[u8]| {
        let started = Watch::start(state, place(), Target::All(Query::default()), Start::Bookmark(bytes));
        assert_eq!(started.unwrap_err(), WatchError::Bookmark);
    };
    unknown(&state, &bookmark);
    unknown(&state, &[]);
    unknown(&state, &[0; 17]);
    unknown(&State::new(8, Limits::default()), &bookmark);
}

#[test]
fn who_comes_too_late_is_told_and_costs_nothing() {
    let mut state = state();
    put(&mut state, "a", "0");
    let mut slow = check_start(&state, Target::All(Query::default()), Start::Now, "");
    for what in ["1", "2", "3", "4", "5"] {
        put(&mut state, "a", what);
    }
    assert_eq!(slow.look(&state, 10).unwrap_err(), WatchError::Behind { place: place() });
}

#[test]
fn former_secrets_are_not_kept() {
    let (kind, namespace) = (MachineConfigSpec::DEFINITION.kind, MachineConfigSpec::DEFINITION.namespace);
    let mut state = State::new(7, Limits { history: 100, few: 2 });
    let key = || Key::new(namespace, kind, "v1alpha1");
    let texts: Vec<Arc<_>> = (0..5).map(|number| Arc::new(zeroize::Zeroizing::new(format!("token: {number}")))).collect();
    for text in &texts {
        let spec = MachineConfigSpec(Arc::clone(text));
        match state.get(&key()).map(|old| Resource::clone(old)) {
            Some(old) => state.update(old.with(Arc::new(spec)), Options::by("", at(1))),
            None => state.create(Resource::of("v1alpha1", spec), Options::by("", at(1))),
        }
        .unwrap();
    }
    // The newest two events hold what they are about and what was before: the last three texts.
    let held: Vec<bool> = texts.iter().map(|text| Arc::strong_count(text) > 1).collect();
    assert_eq!(held, [false, false, true, true, true]);
}

#[test]
fn few_former_values_of_large_ones_are_kept() {
    let large = kinds::all().map(|known| &known.definition).filter(|definition| definition.large);
    let mut count = 0;
    for definition in large {
        count += 1;
        let mut state = State::new(7, Limits { history: 100, few: 3 });
        let value = said("a value of some size");
        for id in ["0x0a", "0x0b", "0x0c", "0x0d"] {
            let resource = Resource::new(Key::new(definition.namespace, definition.kind, id), Arc::clone(&value));
            let key = resource.metadata.key.clone();
            state.create(resource, Options::by("", at(1))).unwrap();
            state.destroy(&key, Options::by("", at(1))).unwrap();
        }
        assert!(Arc::strong_count(&value) <= 1 + 3, "{}: {} are held", definition.kind, Arc::strong_count(&value) - 1);
    }
    assert!(count > 0);
}

#[test]
fn what_begins_to_be_meant_is_new_and_what_ceases_to_is_gone() {
    let mut state = state();
    let term = LabelTerm { key: "on".into(), operation: Operation::Exists, values: vec![], invert: false };
    let query = Query { labels: vec![LabelQuery { terms: vec![term] }], id: None };
    let mut watch = check_start(&state, Target::All(query), Start::Contents, ".");
    put(&mut state, "a", "1");
    check_look(&mut watch, &state, "");
    for (labels, what, expect) in [(true, "2", "+a=2"), (true, "3", "*a=3"), (false, "4", "-a=4"), (false, "5", "")] {
        let mut next = Resource::clone(state.get(&key("a")).unwrap()).with(said(what));
        next.metadata.labels = if labels { BTreeMap::from([("on".to_owned(), String::new())]) } else { BTreeMap::new() };
        state.update(next, Options::by("", at(1))).unwrap();
        check_look(&mut watch, &state, expect);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Put(u8, u8),
    Destroy(u8),
    Look(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..4u8, 0..3u8).prop_map(|(id, what)| Act::Put(id, what)),
        (0..4u8).prop_map(Act::Destroy),
        (1..4usize).prop_map(Act::Look),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    /// Whoever applies what a watch tells to an empty table has the state's contents, unless told to begin anew.
    #[test]
    fn what_is_told_adds_up(acts in acts()) {
        let mut state = State::new(1, Limits { history: 8, ..Limits::default() });
        let start = |state: &State| Watch::start(state, place(), Target::All(Query::default()), Start::Contents).unwrap();
        let mut known: BTreeMap<String, (u64, String)> = BTreeMap::new();
        let apply = |known: &mut BTreeMap<String, (u64, String)>, told: &[Delivery]| {
            for delivery in told {
                let Delivery::Changed { change, resource, .. } = delivery else { continue };
                let id = resource.metadata.key.id.as_ref().to_owned();
                match change {
                    Change::Destroyed => assert!(known.remove(&id).is_some()),
                    Change::Created => assert!(known.insert(id, (resource.metadata.version, text(resource))).is_none()),
                    Change::Updated => {
                        let before = known.insert(id, (resource.metadata.version, text(resource)));
                        assert_eq!(before.map(|(version, _)| version + 1), Some(resource.metadata.version));
                    }
                }
            }
        };
        let (mut watch, _) = start(&state);
        let look = |watch: &mut Watch, known: &mut BTreeMap<String, (u64, String)>, state: &State, most: usize| match watch.look(state, most) {
            Ok(told) => {
                apply(known, &told);
                !told.is_empty()
            }
            Err(_) => {
                let (anew, first) = start(state);
                *watch = anew;
                known.clear();
                apply(known, &first);
                false
            }
        };
        for act in acts {
            match act {
                Act::Put(id, what) => put(&mut state, &id.to_string(), &what.to_string()),
                Act::Destroy(id) => drop(state.destroy(&key(&id.to_string()), Options::by("", at(1)))),
                Act::Look(most) => drop(look(&mut watch, &mut known, &state, most)),
            }
        }
        while look(&mut watch, &mut known, &state, 3) {}
        let is: BTreeMap<String, (u64, String)> = state
            .list(&place(), &Query::default())
            .map(|resource| (resource.metadata.key.id.as_ref().to_owned(), (resource.metadata.version, text(resource))))
            .collect();
        prop_assert_eq!(known, is);
    }
}
