//! Who a resource is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::SystemTime,
};

/// Whether a resource is to stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It is in force.
    #[default]
    Running,
    /// Its owner wants it gone as soon as nobody needs it.
    TearingDown,
}

impl Phase {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::TearingDown => "tearingDown",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::TearingDown => "being torn down",
        })
    }
}

/// Where a resource is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Full name of the type.
    pub kind: Arc<str>,
    /// Name among those of its type.
    pub id: Arc<str>,
}

impl Key {
    /// From its parts.
    pub fn new(namespace: impl Into<Arc<str>>, kind: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), kind: kind.into(), id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}/{})", self.kind, self.namespace, self.id)
    }
}

/// Everything about a resource but what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where it is found.
    pub key: Key,
    /// Counts its changes, from 1; 0 before it is in a state.
    pub version: u64,
    /// Who may change it; empty: whoever has no name either.
    pub owner: Arc<str>,
    /// Whether it is to stay.
    pub phase: Phase,
    /// When it was created.
    pub created: SystemTime,
    /// When it was last changed.
    pub updated: SystemTime,
    /// Who still needs it: it is not destroyed before this is empty.
    pub finalizers: BTreeSet<String>,
    /// What queries ask for.
    pub labels: BTreeMap<String, String>,
    /// What nobody asks for.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Of a resource that is in no state yet.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            version: 0,
            owner: "".into(),
            phase: Phase::Running,
            created: SystemTime::UNIX_EPOCH,
            updated: SystemTime::UNIX_EPOCH,
            finalizers: BTreeSet::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}
