//! The resources behind a lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use resource::{
    Delivery, Key, Limits, Options, Phase, Place, Query, Registered, Resource, Start, State, StateError, Target, Watch, WatchError,
    kinds::{
        NAMESPACES,
        meta::{NamespaceSpec, ResourceDefinitionSpec},
    },
};
use tokio::sync::watch;

/// Owner of namespaces and definitions.
const META: &str = "meta";

/// The node's resources, shared. Cheap to clone.
///
/// Readers and writers hold the lock for the time of a table look-up; whoever watches takes what there is and waits
/// without it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    /// Counts the changes of every place that somebody has asked about.
    changes: Mutex<BTreeMap<Place, watch::Sender<u64>>>,
}

impl Store {
    /// An empty one; `epoch` is a number that no earlier store of any boot has had, for bookmarks.
    #[must_use]
    pub fn new(epoch: u64, limits: Limits) -> Self {
        Self(Arc::new(Inner { state: RwLock::new(State::new(epoch, limits)), changes: Mutex::default() }))
    }

    /// Creates what describes the rest: namespaces and definitions of types.
    ///
    /// # Errors
    /// When a type is listed twice.
    pub fn describe<'a>(&self, types: impl IntoIterator<Item = &'a Registered>) -> Result<(), StateError> {
        for (name, description) in NAMESPACES {
            let spec = NamespaceSpec { description: (*description).to_owned() };
            self.create(Resource::of(*name, spec), META)?;
        }
        for Registered { definition, .. } in types {
            self.create(Resource::of(definition.id(), ResourceDefinitionSpec::from(definition)), META)?;
        }
        Ok(())
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Resource>> {
        self.read(|state| state.get(key).cloned())
    }

    /// Those that are meant, by id.
    #[must_use]
    pub fn list(&self, place: &Place, query: &Query) -> Vec<Arc<Resource>> {
        self.read(|state| state.list(place, query).cloned().collect())
    }

    /// Takes a new resource.
    ///
    /// # Errors
    /// [`State::create`].
    pub fn create(&self, resource: Resource, owner: &str) -> Result<Arc<Resource>, StateError> {
        let place = Place::from(&resource.metadata.key);
        self.write(place, |state| state.create(resource, Options::by(owner, SystemTime::now())))
    }

    /// Takes a change of a resource; its version says what the caller knew.
    ///
    /// # Errors
    /// [`State::update`].
    pub fn update(&self, resource: Resource, owner: &str) -> Result<Arc<Resource>, StateError> {
        let place = Place::from(&resource.metadata.key);
        self.write(place, |state| state.update(resource, Options::by(owner, SystemTime::now())))
    }

    /// Says that a resource is to go; whether it can go now.
    ///
    /// # Errors
    /// [`State::teardown`].
    pub fn teardown(&self, key: &Key, owner: &str) -> Result<bool, StateError> {
        self.write(Place::from(key), |state| state.teardown(key, Options::by(owner, SystemTime::now())))
    }

    /// Removes a resource.
    ///
    /// # Errors
    /// [`State::destroy`].
    pub fn destroy(&self, key: &Key, owner: &str) -> Result<(), StateError> {
        self.write(Place::from(key), |state| state.destroy(key, Options::by(owner, SystemTime::now())))
    }

    /// Says that `who` needs a resource.
    ///
    /// # Errors
    /// [`State::add_finalizer`].
    pub fn hold(&self, key: &Key, who: &str) -> Result<Arc<Resource>, StateError> {
        self.write(Place::from(key), |state| state.add_finalizer(key, who, SystemTime::now()))
    }

    /// Says that `who` does not need a resource any more.
    ///
    /// # Errors
    /// [`State::remove_finalizer`].
    pub fn release(&self, key: &Key, who: &str) -> Result<Arc<Resource>, StateError> {
        self.write(Place::from(key), |state| state.remove_finalizer(key, who, SystemTime::now()))
    }

    /// Makes what `owner` has in a place exactly what is wanted, in one go: creates, updates, and destroys the rest. What
    /// others still hold is torn down and stays for now, also when it is wanted again; whether that is so.
    ///
    /// # Errors
    /// [`StateError::Exists`] when somebody else owns one of the ids.
    pub fn keep(&self, place: &Place, owner: &str, wanted: Vec<Resource>) -> Result<bool, StateError> {
        let by = Options::by(owner, SystemTime::now());
        self.write(place.clone(), |state| keep(state, place, by, wanted))
    }

    /// Begins to watch; what is told first comes with it.
    ///
    /// # Errors
    /// [`WatchError::Bookmark`].
    pub fn watch(&self, place: &Place, target: Target, start: Start<'_>) -> Result<(Watching, Vec<Delivery>), WatchError> {
        let changes = self.changes(place);
        let (watch, first) = self.read(|state| Watch::start(state, place.clone(), target, start))?;
        Ok((Watching { store: self.clone(), watch, changes }, first))
    }

    fn changes(&self, place: &Place) -> watch::Receiver<u64> {
        let mut all = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(place.clone()).or_default().subscribe()
    }

    fn read<T>(&self, with: impl FnOnce(&State) -> T) -> T {
        with(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something in a place and wakes those who watch it.
    fn write<T>(&self, place: Place, with: impl FnOnce(&mut State) -> T) -> T {
        let done = with(&mut self.0.state.write().unwrap_or_else(PoisonError::into_inner));
        let all = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = all.get(&place) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
        done
    }
}

fn keep(state: &mut State, place: &Place, by: Options<'_>, wanted: Vec<Resource>) -> Result<bool, StateError> {
    let all = Query::default();
    let own = state.list(place, &all).filter(|resource| &*resource.metadata.owner == by.owner);
    let mut own: BTreeMap<Key, Arc<Resource>> = own.map(|resource| (resource.metadata.key.clone(), Arc::clone(resource))).collect();
    let mut waits = false;
    for mut next in wanted {
        match own.remove(&next.metadata.key) {
            Some(old) if old.metadata.phase == Phase::Running => {
                (next.metadata.version, next.metadata.finalizers) = (old.metadata.version, old.metadata.finalizers.clone());
                state.update(next, by)?;
            }
            // Torn down earlier: what is wanted now is another one, once that is gone.
            Some(old) if !old.metadata.finalizers.is_empty() => waits = true,
            Some(old) => {
                state.destroy(&old.metadata.key, by)?;
                state.create(next, by)?;
            }
            None => drop(state.create(next, by)?),
        }
    }
    for key in own.keys() {
        if state.teardown(key, by)? {
            state.destroy(key, by)?;
        } else {
            waits = true;
        }
    }
    Ok(waits)
}

/// A watch that can wait.
#[derive(Debug)]
pub struct Watching {
    store: Store,
    watch: Watch,
    changes: watch::Receiver<u64>,
}

impl Watching {
    /// What has happened since the last time, as soon as there is anything; at most `most` events at once.
    ///
    /// # Errors
    /// [`WatchError::Behind`]: too much has happened; begin anew.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Delivery>, WatchError> {
        loop {
            // Marked as seen before looking: what happens in between wakes once more.
            self.changes.mark_unchanged();
            let watch = &mut self.watch;
            let told = self.store.read(|state| watch.look(state, most))?;
            if !told.is_empty() {
                return Ok(told);
            }
            if self.changes.changed().await.is_err() {
                // The store outlives its watches: it is in there.
                std::future::pending::<()>().await;
            }
        }
    }
}
