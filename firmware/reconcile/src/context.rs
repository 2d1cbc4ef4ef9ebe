//! What a reconciler sees and writes.

use std::sync::Arc;

use resource::{Key, Kind, Place, Query, Resource, StateError};

use crate::{Declaration, Store, Strength, reconciler::place_of};

/// What a reconciler asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A mistake in the program: it reads, writes or holds what it has not declared.
    #[error("{name} has not declared that it {verb} {} in {}", place.kind, place.namespace)]
    Undeclared {
        /// Who.
        name: &'static str,
        /// `reads`, `writes` or `holds`.
        verb: &'static str,
        /// What.
        place: Place,
    },
    /// The state refuses.
    #[error("{name}")]
    State {
        /// Who.
        name: &'static str,
        /// Why.
        source: StateError,
    },
}

/// What a reconciler sees of the state: its inputs and its outputs.
#[derive(Debug)]
pub struct Context {
    store: Store,
    declaration: Declaration,
}

impl Context {
    pub(crate) const fn new(store: Store, declaration: Declaration) -> Self {
        Self { store, declaration }
    }

    pub(crate) const fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// One resource in its type's own namespace.
    ///
    /// # Errors
    /// [`ContextError::Undeclared`].
    pub fn get<K: Kind>(&self, id: &str) -> Result<Option<Arc<Resource>>, ContextError> {
        let place = self.readable::<K>(Some(id))?;
        Ok(self.store.get(&Key { namespace: place.namespace, kind: place.kind, id: id.into() }))
    }

    /// All of a type in its own namespace, by id.
    ///
    /// # Errors
    /// [`ContextError::Undeclared`].
    pub fn list<K: Kind>(&self) -> Result<Vec<Arc<Resource>>, ContextError> {
        Ok(self.store.list(&self.readable::<K>(None)?, &Query::default()))
    }

    /// Makes its outputs of a type exactly these; whether some that are to go are still held by others.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn keep<K: Kind>(&self, wanted: impl IntoIterator<Item = (String, K)>) -> Result<bool, ContextError> {
        self.keep_resources::<K>(wanted.into_iter().map(|(id, spec)| Resource::of(id, spec)).collect())
    }

    /// As [`Self::keep`], in another namespace than the type's own.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn keep_within<K: Kind>(
        &self,
        namespace: &'static str,
        wanted: impl IntoIterator<Item = (String, K)>,
    ) -> Result<bool, ContextError> {
        let place = Place { namespace: namespace.into(), ..place_of(&K::DEFINITION) };
        let resource = |(id, spec): (String, K)| Resource::new(Key::new(namespace, K::DEFINITION.kind, id), Arc::new(spec));
        self.keep_at(place, wanted.into_iter().map(resource).collect())
    }

    /// As [`Self::keep`], with labels and annotations.
    ///
    /// # Errors
    /// [`ContextError`].
    pub fn keep_resources<K: Kind>(&self, wanted: Vec<Resource>) -> Result<bool, ContextError> {
        self.keep_at(place_of(&K::DEFINITION), wanted)
    }

    fn keep_at(&self, place: Place, wanted: Vec<Resource>) -> Result<bool, ContextError> {
        if !self.declaration.outputs.iter().any(|output| output.place == place) {
            return Err(self.undeclared("writes", place));
        }
        self.refused(self.store.keep(&place, self.declaration.name, wanted))
    }

    /// Keeps a strong input from going.
    ///
    /// # Errors
    /// [`ContextError`]; the state refuses for one that is going already.
    pub fn hold(&self, key: &Key) -> Result<(), ContextError> {
        self.holdable(key)?;
        self.refused(self.store.hold(key, self.declaration.name)).map(drop)
    }

    /// Lets a strong input go.
    ///
    /// # Errors
    /// [`ContextError`]; one that is gone already is no error.
    pub fn release(&self, key: &Key) -> Result<(), ContextError> {
        self.holdable(key)?;
        match self.store.release(key, self.declaration.name) {
            Ok(_) | Err(StateError::NotFound { .. }) => Ok(()),
            Err(source) => self.refused(Err(source)),
        }
    }

    fn holdable(&self, key: &Key) -> Result<(), ContextError> {
        let place = Place::from(key);
        let strong = |input: &crate::Input| input.place == place && input.strength == Strength::Strong;
        if self.declaration.inputs.iter().any(strong) { Ok(()) } else { Err(self.undeclared("holds", place)) }
    }

    fn readable<K: Kind>(&self, id: Option<&str>) -> Result<Place, ContextError> {
        let place = place_of(&K::DEFINITION);
        let input = self.declaration.inputs.iter().any(|input| input.place == place && (input.id.is_none() || input.id == id));
        let output = self.declaration.outputs.iter().any(|output| output.place == place);
        if input || output { Ok(place) } else { Err(self.undeclared("reads", place)) }
    }

    const fn undeclared(&self, verb: &'static str, place: Place) -> ContextError {
        ContextError::Undeclared { name: self.declaration.name, verb, place }
    }

    fn refused<T>(&self, done: Result<T, StateError>) -> Result<T, ContextError> {
        done.map_err(|source| ContextError::State { name: self.declaration.name, source })
    }
}
