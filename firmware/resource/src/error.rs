//! Why the state refuses.

use crate::{Key, Phase};

/// An operation that was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is one already.
    #[error("resource {key} exists already")]
    Exists {
        /// Which.
        key: Key,
    },
    /// There is none.
    #[error("resource {key} does not exist")]
    NotFound {
        /// Which.
        key: Key,
    },
    /// Somebody was quicker.
    #[error("resource {key} has version {found} and not {expected} any more")]
    Conflict {
        /// Which.
        key: Key,
        /// The version that the caller knew.
        expected: u64,
        /// The version that it has.
        found: u64,
    },
    /// It belongs to somebody else.
    #[error("resource {key} is owned by {owner:?}, not by {caller:?}")]
    Owner {
        /// Which.
        key: Key,
        /// Whose it is; empty for nobody's.
        owner: String,
        /// Who tried.
        caller: String,
    },
    /// It is being torn down, or is not yet.
    #[error("resource {key} is {found}")]
    Phase {
        /// Which.
        key: Key,
        /// The phase that it is in.
        found: Phase,
    },
    /// Others still need it.
    #[error("resource {key} is still needed by {}", finalizers.join(", "))]
    Finalizers {
        /// Which.
        key: Key,
        /// Who needs it.
        finalizers: Vec<String>,
    },
}
