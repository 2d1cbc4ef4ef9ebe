//! What a resource says.

use std::{any::Any, fmt, sync::Arc};

use crate::{Definition, Form, Key, Metadata, Shape, Value};

/// What a resource says, whatever its type. Implemented for everything that can be taken apart.
pub trait Spec: fmt::Debug + Send + Sync + 'static {
    /// Its parts: `Spec.proto_spec` and `Spec.yaml_spec` of the resource API are made from them.
    fn parts(&self) -> Form<'_>;
    /// Whether both say the same.
    fn same(&self, other: &dyn Spec) -> bool;
    /// For [`Resource::spec`].
    fn as_any(&self) -> &dyn Any;
}

impl<T> Spec for T
where
    T: Value + PartialEq + fmt::Debug + Send + Sync + 'static,
{
    fn parts(&self) -> Form<'_> {
        self.form()
    }

    fn same(&self, other: &dyn Spec) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A type of resources, by what they say.
pub trait Kind: Spec + Value + Sized {
    /// What clients must know of it.
    const DEFINITION: Definition;
}

/// A resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Who it is.
    pub metadata: Metadata,
    content: Arc<dyn Spec>,
}

impl Resource {
    /// One in its type's own namespace.
    pub fn of<K: Kind>(id: impl Into<Arc<str>>, spec: K) -> Self {
        Self::new(Key::new(K::DEFINITION.namespace, K::DEFINITION.kind, id), Arc::new(spec))
    }

    /// One that was never in a state.
    #[must_use]
    pub fn new(key: Key, content: Arc<dyn Spec>) -> Self {
        Self { metadata: Metadata::new(key), content }
    }

    /// What it says.
    #[must_use]
    pub fn content(&self) -> &dyn Spec {
        &*self.content
    }

    /// What it says, as its type; `None` for another.
    #[must_use]
    pub fn spec<K: Kind>(&self) -> Option<&K> {
        self.content.as_any().downcast_ref()
    }

    /// The same resource saying something else.
    #[must_use]
    pub fn with(mut self, content: Arc<dyn Spec>) -> Self {
        self.content = content;
        self
    }
}

/// A type of resources as the node knows it.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// What clients must know of it.
    pub definition: Definition,
    /// What its resources say, for people.
    pub shape: fn() -> Shape,
}

impl Registered {
    /// Of a type.
    #[must_use]
    pub const fn of<K: Kind>() -> Self {
        Self { definition: K::DEFINITION, shape: K::shape }
    }
}
