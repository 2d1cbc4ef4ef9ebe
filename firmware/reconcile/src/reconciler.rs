//! What a reconciler is.

use std::{error::Error, future::Future, pin::Pin};

use resource::{Definition, Kind, Place};

use crate::Context;

/// Why a reconciler could not do its work.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A step of a reconciler.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How an input binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// It may be held with a finalizer: it does not go before it has been let go.
    Strong,
    /// It may go at any time.
    Weak,
    /// Of interest when it is being torn down and nobody holds it any more: whoever made it destroys it then.
    DestroyReady,
}

/// Something that a reconciler reads, and is woken by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Namespace and type.
    pub place: Place,
    /// One resource only.
    pub id: Option<&'static str>,
    /// How it binds.
    pub strength: Strength,
}

impl Input {
    /// All of a type in its own namespace, weakly.
    #[must_use]
    pub fn all<K: Kind>() -> Self {
        Self { place: place_of(&K::DEFINITION), id: None, strength: Strength::Weak }
    }

    /// The one with an id.
    #[must_use]
    pub fn one<K: Kind>(id: &'static str) -> Self {
        Self { id: Some(id), ..Self::all::<K>() }
    }

    /// The same, bound in another way.
    #[must_use]
    pub fn with(self, strength: Strength) -> Self {
        Self { strength, ..self }
    }
}

/// Who else may write a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    Exclusive,
    /// Others that say so, too; each resource still has one owner.
    Shared,
}

/// Something that a reconciler writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Namespace and type.
    pub place: Place,
    /// Who else may.
    pub access: Access,
}

impl Output {
    /// Of a type in its own namespace that nobody else writes.
    #[must_use]
    pub fn exclusive<K: Kind>() -> Self {
        Self { place: place_of(&K::DEFINITION), access: Access::Exclusive }
    }

    /// The same in another namespace.
    #[must_use]
    pub fn within(self, namespace: &'static str) -> Self {
        Self { place: Place { namespace: namespace.into(), ..self.place }, ..self }
    }

    /// Of a type in its own namespace that others write, too.
    #[must_use]
    pub fn shared<K: Kind>() -> Self {
        Self { access: Access::Shared, ..Self::exclusive::<K>() }
    }
}

/// What a reconciler is called, reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Its name: owner of what it writes, finalizer on what it holds.
    pub name: &'static str,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it writes.
    pub outputs: Vec<Output>,
}

/// Brings its outputs in line with its inputs.
///
/// It is called with the state as it is, not with what has happened: at the start, whenever an input has changed,
/// whenever [`Self::stirred`] says so, and again after a failure.
pub trait Reconciler: Send + 'static {
    /// What it is called, reads and writes; asked for once.
    fn declaration(&self) -> Declaration;

    /// Ends when something outside of the resources has changed that it looks at. Dropped at any time and called again.
    fn stirred(&mut self) -> Task<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Does the work. Dropped when the node stops.
    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>>;
}

/// Where the resources of a type are.
pub(crate) fn place_of(definition: &Definition) -> Place {
    Place::new(definition.namespace, definition.kind)
}
