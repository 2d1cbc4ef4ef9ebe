//! All resources, and what happened to them.

mod history;
pub mod watch;

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use crate::{Key, Metadata, Phase, Query, Resource, StateError, kinds};
use history::History;

/// How much is kept of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events of one type that are kept for those who watch.
    pub history: usize,
    /// The same of a type for administrators only, whose former secrets are not kept for long, and of one with large values, which would
    /// fill the memory.
    pub few: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { history: 1000, few: 8 }
    }
}

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It says or is something else.
    Updated,
    /// It is gone.
    Destroyed,
}

/// Something that happened to a resource.
#[derive(Clone, Debug)]
pub struct Event {
    /// What.
    pub change: Change,
    /// The resource after it, or as it was last.
    pub resource: Arc<Resource>,
    /// The resource before an update.
    pub old: Option<Arc<Resource>>,
}

/// Who changes something, and what of.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Name of the caller; empty for none.
    pub owner: &'a str,
    /// The phase that the resource must be in; `None` for either.
    pub phase: Option<Phase>,
    /// The time.
    pub now: SystemTime,
}

impl<'a> Options<'a> {
    /// Changes by `owner` to what is in force.
    #[must_use]
    pub const fn by(owner: &'a str, now: SystemTime) -> Self {
        Self { owner, phase: Some(Phase::Running), now }
    }
}

/// A namespace's type: what is listed and watched as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Full name of the type.
    pub kind: Arc<str>,
}

impl Place {
    /// From its parts.
    pub fn new(namespace: impl Into<Arc<str>>, kind: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), kind: kind.into() }
    }
}

impl From<&Key> for Place {
    fn from(key: &Key) -> Self {
        Self { namespace: Arc::clone(&key.namespace), kind: Arc::clone(&key.kind) }
    }
}

#[derive(Debug)]
struct Collection {
    resources: BTreeMap<Arc<str>, Arc<Resource>>,
    history: History,
}

/// All resources.
#[derive(Debug)]
pub struct State {
    /// Tells this state's bookmarks from another's.
    epoch: u64,
    limits: Limits,
    places: BTreeMap<Place, Collection>,
}

impl State {
    /// An empty one. `epoch` is a number that no other state has had: bookmarks of that one are worth nothing here.
    #[must_use]
    pub const fn new(epoch: u64, limits: Limits) -> Self {
        Self { epoch, limits, places: BTreeMap::new() }
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.places.get(&Place::from(key))?.resources.get(&key.id)
    }

    /// Those that are meant, by id.
    pub fn list<'a>(&'a self, place: &Place, query: &'a Query) -> impl Iterator<Item = &'a Arc<Resource>> {
        let all = self.places.get(place).into_iter().flat_map(|collection| collection.resources.values());
        all.filter(|resource| query.matches(&resource.metadata))
    }

    /// Takes a new resource: version 1, owned by the caller.
    ///
    /// # Errors
    /// [`StateError::Exists`].
    pub fn create(&mut self, mut resource: Resource, by: Options<'_>) -> Result<Arc<Resource>, StateError> {
        if self.get(&resource.metadata.key).is_some() {
            return Err(StateError::Exists { key: resource.metadata.key });
        }
        let metadata = &mut resource.metadata;
        (metadata.version, metadata.phase, metadata.owner) = (1, Phase::Running, by.owner.into());
        (metadata.created, metadata.updated) = (by.now, by.now);
        Ok(self.put(Change::Created, resource, None))
    }

    /// Takes another content, labels, annotations, finalizers or phase for a resource; its version says what the caller knew.
    /// A change that changes nothing is none.
    ///
    /// # Errors
    /// [`StateError::NotFound`], [`StateError::Conflict`], [`StateError::Owner`], [`StateError::Phase`].
    pub fn update(&mut self, mut resource: Resource, by: Options<'_>) -> Result<Arc<Resource>, StateError> {
        let old = self.checked(&resource.metadata.key, by)?;
        let (expected, found) = (resource.metadata.version, old.metadata.version);
        if expected != found {
            return Err(StateError::Conflict { key: resource.metadata.key, expected, found });
        }
        let metadata = &mut resource.metadata;
        metadata.owner = Arc::clone(&old.metadata.owner);
        (metadata.created, metadata.updated) = (old.metadata.created, old.metadata.updated);
        if *metadata == old.metadata && resource.content().same(old.content()) {
            return Ok(old);
        }
        (resource.metadata.version, resource.metadata.updated) = (found.saturating_add(1), by.now);
        Ok(self.put(Change::Updated, resource, Some(old)))
    }

    /// Says that a resource is to go; whether it can go now.
    ///
    /// # Errors
    /// [`StateError::NotFound`], [`StateError::Owner`].
    pub fn teardown(&mut self, key: &Key, by: Options<'_>) -> Result<bool, StateError> {
        let torn = self.amend(key, Options { phase: None, ..by }, |metadata| metadata.phase = Phase::TearingDown)?;
        Ok(torn.metadata.finalizers.is_empty())
    }

    /// Removes a resource that nobody needs any more.
    ///
    /// # Errors
    /// [`StateError::NotFound`], [`StateError::Owner`], [`StateError::Finalizers`].
    pub fn destroy(&mut self, key: &Key, by: Options<'_>) -> Result<(), StateError> {
        let old = self.checked(key, Options { phase: None, ..by })?;
        if !old.metadata.finalizers.is_empty() {
            return Err(StateError::Finalizers { key: key.clone(), finalizers: old.metadata.finalizers.iter().cloned().collect() });
        }
        let collection = self.collection(Place::from(key));
        collection.resources.remove(&key.id);
        collection.history.push(Event { change: Change::Destroyed, resource: old, old: None });
        Ok(())
    }

    /// Says that `who` needs a resource: it stays until `who` has said otherwise. Anybody may, as long as it is in force.
    ///
    /// # Errors
    /// [`StateError::NotFound`], [`StateError::Phase`].
    pub fn add_finalizer(&mut self, key: &Key, who: &str, now: SystemTime) -> Result<Arc<Resource>, StateError> {
        self.amend_for_all(key, Some(Phase::Running), now, |metadata| {
            metadata.finalizers.insert(who.to_owned());
        })
    }

    /// Says that `who` does not need a resource any more.
    ///
    /// # Errors
    /// [`StateError::NotFound`].
    pub fn remove_finalizer(&mut self, key: &Key, who: &str, now: SystemTime) -> Result<Arc<Resource>, StateError> {
        self.amend_for_all(key, None, now, |metadata| {
            metadata.finalizers.remove(who);
        })
    }

    /// As [`Self::amend`], in the name of whoever the owner is.
    fn amend_for_all(
        &mut self,
        key: &Key,
        phase: Option<Phase>,
        now: SystemTime,
        change: impl FnOnce(&mut Metadata),
    ) -> Result<Arc<Resource>, StateError> {
        let owner = self.existing(key)?.metadata.owner.clone();
        self.amend(key, Options { owner: &owner, phase, now }, change)
    }

    /// Changes what a resource is, not what it says.
    fn amend(&mut self, key: &Key, by: Options<'_>, change: impl FnOnce(&mut Metadata)) -> Result<Arc<Resource>, StateError> {
        let mut next = Resource::clone(&*self.existing(key)?);
        change(&mut next.metadata);
        self.update(next, by)
    }

    fn existing(&self, key: &Key) -> Result<Arc<Resource>, StateError> {
        self.get(key).cloned().ok_or_else(|| StateError::NotFound { key: key.clone() })
    }

    /// The resource, if the caller may change it.
    fn checked(&self, key: &Key, by: Options<'_>) -> Result<Arc<Resource>, StateError> {
        let resource = self.existing(key)?;
        let metadata = &resource.metadata;
        if &*metadata.owner != by.owner {
            return Err(StateError::Owner { key: key.clone(), owner: metadata.owner.as_ref().to_owned(), caller: by.owner.to_owned() });
        }
        match by.phase {
            Some(phase) if phase != metadata.phase => Err(StateError::Phase { key: key.clone(), found: metadata.phase }),
            _ => Ok(resource),
        }
    }

    fn put(&mut self, change: Change, resource: Resource, old: Option<Arc<Resource>>) -> Arc<Resource> {
        let resource = Arc::new(resource);
        let key = &resource.metadata.key;
        let collection = self.collection(Place::from(key));
        collection.resources.insert(Arc::clone(&key.id), Arc::clone(&resource));
        collection.history.push(Event { change, resource: Arc::clone(&resource), old });
        resource
    }

    fn collection(&mut self, place: Place) -> &mut Collection {
        let limits = self.limits;
        self.places.entry(place).or_insert_with_key(|place| {
            let definition = kinds::all().map(|known| &known.definition).find(|definition| definition.kind == &*place.kind);
            let few = definition.is_some_and(|definition| definition.sensitive || definition.large);
            let limit = if few { limits.few } else { limits.history };
            Collection { resources: BTreeMap::new(), history: History::new(limit) }
        })
    }
}

#[cfg(test)]
mod tests;
