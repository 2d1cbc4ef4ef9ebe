//! The last warnings, bounded, for people who come later.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// How many warnings are kept; older ones are in the log.
const KEEP: usize = 32;

/// A warning with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// What, for people.
    pub text: String,
}

/// A bounded list of warnings.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<VecDeque<Warning>>);

impl Warnings {
    /// Adds a warning; the oldest goes when the list is full. An exact repeat of the newest is not added.
    pub fn push(&self, text: impl Into<String>) {
        let text = text.into();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.back().is_some_and(|last| last.text == text) {
            return;
        }
        if list.len() == KEEP {
            list.pop_front();
        }
        list.push_back(Warning { at, text });
    }

    /// The warnings, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Warning> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
